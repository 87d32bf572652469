//! What a test needs and this machine or this user does not have.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;
use std::thread;

/// Names the file that has a line for each test, or part of one, that was not tried.
const FILE: &str = "TODOCTL_NOT_TRIED";

/// Notes that this test, or a part of it, is left out, and why. `scripts/test` prints it at the end.
///
/// # Panics
/// When nobody reads it, because `TODOCTL_NOT_TRIED` is not set.
pub fn not_tried(reason: &str) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let file = std::env::var_os(FILE).unwrap_or_else(|| {
        panic!("{reason}. Where that is intended, set {FILE} to a file, which then has a line for each test that was not tried")
    });
    let file = OpenOptions::new().append(true).create(true).open(file);
    writeln!(file.unwrap(), "{test}: {reason}").unwrap();
}

/// Whether a program of this user may have mounts of its own. It is noted if not.
pub fn may_mount() -> bool {
    let status = Command::new("unshare").args(["--mount", "true"]).status();
    let may = status.is_ok_and(|status| status.success());
    if !may {
        not_tried("this user may not have mounts of its own");
    }
    may
}
