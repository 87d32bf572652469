//! The command line: one file a subcommand, each its options and its `run`.
//!
//! Data goes to stdout, everything else to stderr, both through [`output`]; the
//! configuration is loaded by [`context`], and only as much of it as the
//! command needs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod completions;
pub mod config;
pub mod context;
pub mod db;
pub mod doctor;
pub mod explain;
pub mod gen_secrets;
pub mod health;
pub mod hint;
pub mod input;
pub mod jobs;
pub mod man;
pub mod migrate;
pub mod openapi;
pub mod output;
pub mod serve;
pub mod session;
pub mod usage;

use context::Context;

const EXAMPLES: &str = "\
Exit codes: 0 yes, 1 a negative answer, 2 it could not be done.

Examples:
  todoctl serve                      SQLite in ./data, secrets made by itself
  todoctl gen-secrets --write .env   what a daemon on PostgreSQL needs
  todoctl db check                   is the database reached, its schema right
  todoctl health                     ask the daemon that runs here";

/// A todo API daemon and the toolkit that runs it.
#[derive(Debug, Parser)]
#[command(
    name = "todoctl",
    version = crate::VERSION,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 80,
    after_help = EXAMPLES
)]
pub struct Cli {
    /// Read this file instead of ./.env; the real environment wins over both.
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Migrate the database, then serve the API.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Options),
    /// Print new secrets, or fill them into a .env file.
    #[command(after_help = gen_secrets::EXAMPLES)]
    GenSecrets(gen_secrets::Options),
    /// Look at the database.
    #[command(subcommand)]
    Db(db::Command),
    /// Change the database's schema, or show where it stands.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Ask a running daemon whether it is healthy.
    #[command(after_help = health::EXAMPLES)]
    Health(health::Options),
    /// Run a job of the daemon now, once.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Look at everything and say what to type: configuration, database, services, daemon.
    Doctor(doctor::Options),
    /// Explain a message out of a log.
    Explain(explain::Options),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Make, list and revoke session tokens.
    #[command(subcommand)]
    Session(session::Command),
    /// Print the API's OpenAPI description.
    #[command(after_help = openapi::EXAMPLES)]
    Openapi(openapi::Options),
    /// Print the completion script of a shell.
    Completions(completions::Options),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Options),
}

/// Runs the command and returns the process's exit code.
pub fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let context = || Context::new(cli.env_file.as_deref());
    let lenient = || Context::of_what_can_be_read(cli.env_file.as_deref());
    match &cli.command {
        Command::Serve(options) => serve::run(options, &context()?),
        Command::GenSecrets(options) => gen_secrets::run(options),
        Command::Db(command) => block_on(db::run(command, &context()?)),
        Command::Migrate(command) => block_on(migrate::run(command, &context()?)),
        Command::Health(options) => block_on(health::run(options, context())),
        Command::Jobs(command) => block_on(jobs::run(command, &context()?)),
        Command::Doctor(options) => block_on(doctor::run(options, &lenient())),
        Command::Explain(options) => explain::run(options),
        Command::Config(command) => block_on(config::run(command, &lenient())),
        Command::Session(command) => block_on(session::run(command, &context()?)),
        Command::Openapi(options) => openapi::run(options),
        Command::Completions(options) => completions::run(options),
        Command::Man(options) => man::run(options),
    }
}

/// Runs a short command; only the daemon needs more than one thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // A name server that does not answer holds a thread for half a minute: nobody waits for it.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
