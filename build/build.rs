//! What the compiler cannot see: files that macros embed, and the commit.

mod swagger_ui;
mod version;

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    // Migrations are embedded by a macro, which does not see a file that was added.
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=build");
    version::tell();
    swagger_ui::pack(Path::new(&env::var("OUT_DIR")?))
}
