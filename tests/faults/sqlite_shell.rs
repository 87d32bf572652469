//! The shell of SQLite, as an operator uses it.

use std::process::Command;

use crate::faults::harness::Scene;
use crate::faults::scene::said;

/// What the `sqlite3` shell prints of a query of the scene's file.
pub fn sqlite3(scene: &Scene, query: &str) -> String {
    let output = Command::new("sqlite3")
        .arg(scene.file())
        .arg(query)
        .output()
        .expect("sqlite3 is installed: `sudo apt-get install sqlite3`");
    assert!(output.status.success(), "{query}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
