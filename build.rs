//! What the compiler cannot see: files that a macro embeds, those of Swagger UI, and the commit.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

fn main() -> Result<(), Box<dyn Error>> {
    // Migrations are embedded by a macro, which does not see a file that was added.
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=TODOCTL_COMMIT");
    let commit = commit().unwrap_or_default();
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    if !commit.is_empty() {
        version += &format!(" ({commit})");
    }
    println!("cargo:rustc-env=TODOCTL_BUILT_FROM={commit}");
    println!("cargo:rustc-env=TODOCTL_VERSION={version}");
    pack_swagger_ui(Path::new(&env::var("OUT_DIR")?))
}

/// Those that `src/api/docs/index.html` loads. Packed, the whole of Swagger UI is more than twice as
/// large.
const SWAGGER_UI: [&str; 3] = [
    "favicon-32x32.png",
    "swagger-ui-bundle.js",
    "swagger-ui.css",
];

/// Writes each file as `NAME.gz`.
fn pack_swagger_ui(directory: &Path) -> Result<(), Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for name in SWAGGER_UI {
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

/// `TODOCTL_COMMIT`, or what git says. Debug builds do not ask git: every commit
/// would compile them again.
fn commit() -> Option<String> {
    let told = env::var("TODOCTL_COMMIT").ok().as_deref().and_then(short);
    if told.is_some() || env::var("PROFILE").as_deref() != Ok("release") {
        return told;
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"]).as_deref().and_then(short)
}

/// The first seven digits, if it is a commit's hash at all.
fn short(commit: &str) -> Option<String> {
    let commit = commit.trim();
    let is_hash = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| commit[..7].to_ascii_lowercase())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
