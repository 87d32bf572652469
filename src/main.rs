//! The `todoctl` binary.

use std::process::ExitCode;

use todoctl::cli;

/// Exit codes: 0 success, 1 check failed or declined, 2 error.
fn main() -> ExitCode {
    cli::main()
}
