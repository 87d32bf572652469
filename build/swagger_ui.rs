//! The files of Swagger UI.

use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// Those that `src/api/docs/index.html` loads. Packed, the whole of Swagger UI is more than twice as
/// large.
const FILES: [&str; 3] = [
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui.css",
];

/// Writes each file as `NAME.gz`.
pub fn pack(directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in FILES {
        let suffix = format!("/dist/{name}");
        let is_wanted = |path: &String| path.ends_with(&suffix);
        let mut paths = archive.file_names().flatten().map(String::from);
        let path = paths.find(is_wanted).ok_or(name)?;
        drop(paths);
        let packed = File::create(directory.join(format!("{name}.gz")))?;
        let mut packed = GzEncoder::new(packed, Compression::best());
        io::copy(&mut archive.by_name(&path)?, &mut packed)?;
        packed.finish()?;
    }
    Ok(())
}
