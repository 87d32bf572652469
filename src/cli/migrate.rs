//! `todoctl migrate`: changes the database's schema, or shows its state.

use std::process::ExitCode;

use crate::cli::context::Context;

mod check;
mod down;
mod list;
mod new;
mod stamp;
mod status;
mod up;
mod wait;

/// Change the database's schema, or show its state.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Apply pending migrations.
    #[command(after_help = up::EXAMPLES)]
    Up(up::Options),
    /// Revert the newest migration or several, which deletes the data in their tables.
    #[command(after_help = down::EXAMPLES)]
    Down(down::Options),
    /// List all migrations and their state; changes nothing.
    #[command(after_help = status::EXAMPLES)]
    Status(status::Options),
    /// Check that all migrations are applied and that the schema matches them; changes nothing.
    #[command(after_help = check::EXAMPLES)]
    Check(check::Options),
    /// Record migrations that the schema already has, where their record was lost.
    #[command(after_help = stamp::EXAMPLES)]
    Stamp(stamp::Options),
    /// Create the files of a new migration for both engines, in a checkout.
    #[command(after_help = new::EXAMPLES)]
    New(new::Options),
}

/// Runs the command.
pub async fn run(command: &Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(options, context).await,
        Command::Down(options) => down::run(options, context).await,
        Command::Status(options) => status::run(options, context).await,
        Command::Check(options) => check::run(options, context).await,
        Command::Stamp(options) => stamp::run(options, context).await,
        Command::New(options) => new::run(options),
    }
}
