//! A stdout that cannot be written, and one that is closed early.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::cli::Cli;

/// Runs the binary with its stdout at `stdout`; exit code and stderr.
fn run(arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let cli = Cli::new();
    let output = Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(arguments)
        .current_dir(cli.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(stdout)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

const COMMANDS: [&[&str]; 6] = [
    &["openapi"],
    &["--help"],
    &["--version"],
    &["man"],
    &["completions", "bash"],
    &["gen-secrets"],
];

#[test]
fn a_full_disk_is_an_error() {
    for arguments in COMMANDS {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, stderr) = run(arguments, full.into());
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("error: cannot write to standard output\n  because: No space left"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_closed_pipe_is_success() {
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(
            run(arguments, writer.into()),
            (Some(0), String::new()),
            "{arguments:?}"
        );
    }
}
