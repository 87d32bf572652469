//! The command line: one file per subcommand, with its options and its `run`.
//!
//! [`output`] is the only code that prints; [`context`] loads as much of the configuration
//! as a command needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

mod completions;
mod config;
mod context;
mod db;
mod doctor;
mod env_file;
mod explain;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod gen_secrets;
mod health;
mod hint;
mod in_place;
mod input;
mod jobs;
mod man;
mod migrate;
mod new_secrets;
mod openapi;
mod output;
mod own_file;
mod reporting;
mod running;
mod serve;
mod session;
mod signals;
#[cfg(test)]
mod tests;
mod usage;

use crate::config::{DaemonPlace, Source};
use crate::diagnostics::{TRY_DISK, try_disk};

use context::Context;
use running::Daemon;
use signals::ExitOnSignal;
use usage::Parsed;

const EXAMPLES: &str = "\
Data goes to stdout, everything else to stderr.
Exit codes: 0 success, 1 check failed or declined, 2 error.

Examples:
  todoctl serve                      serve the API on SQLite in ./data
  todoctl gen-secrets --write .env   generate the secrets for PostgreSQL
  todoctl db check                   check the database connection and schema
  todoctl doctor                     find what is wrong and how to fix it";

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
struct Cli {
    /// Read variables from FILE instead of ./.env; the environment takes precedence.
    #[arg(long, global = true, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Run with the environment, directory, mounts, network and user of the daemon with this
    /// process id, or of the only one that runs ("auto").
    #[arg(long, global = true, value_name = "PID")]
    pid: Option<Daemon>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Migrate the database and serve the API.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Options),
    /// Generate secrets, and print them or add them to a .env file.
    #[command(after_help = gen_secrets::EXAMPLES)]
    GenSecrets(gen_secrets::Options),
    /// Check the database, or open psql.
    #[command(subcommand)]
    Db(db::Command),
    /// Apply, revert, list and check database migrations.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Check whether a running daemon is healthy.
    #[command(after_help = health::EXAMPLES)]
    Health(health::Options),
    /// Run a background job once.
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Diagnose configuration, database, services and daemon, and suggest fixes.
    Doctor(doctor::Options),
    /// Explain an error message or a log line.
    Explain(explain::Options),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Create, list and revoke session tokens.
    #[command(subcommand)]
    Session(session::Command),
    /// Print the OpenAPI description of the API.
    #[command(after_help = openapi::EXAMPLES)]
    Openapi,
    /// Print a shell completion script.
    Completions(completions::Options),
    /// Print the manual page, or write the pages of all commands.
    Man(man::Options),
}

/// Parses the command line of this process and runs its command.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // doctor runs it, not a person.
    if let [_, command, file] = &words[..]
        && command == TRY_DISK
    {
        try_disk(Path::new(file));
        return ExitCode::SUCCESS;
    }
    let mut source_of = SourceOf::default();
    parse_and_run(&words, &mut source_of).unwrap_or_else(|error| {
        // Remedies change variables where they are set.
        let (mut source, _) = Source::load_what_can_be_read(source_of.env_file.as_deref());
        source.run_in(source_of.place);
        output::error(&error, &source);
        ExitCode::from(2)
    })
}

/// Where the variables of a command come from.
#[derive(Default)]
struct SourceOf {
    env_file: Option<PathBuf>,
    place: Option<DaemonPlace>,
}

fn parse_and_run(words: &[OsString], source_of: &mut SourceOf) -> anyhow::Result<ExitCode> {
    match usage::parse(&Cli::command())? {
        Parsed::Run(matches) => {
            let cli = Cli::from_arg_matches(&matches)?;
            source_of.env_file.clone_from(&cli.env_file);
            source_of.place = in_place::place().or_else(DaemonPlace::of_container);
            run(&cli, words, source_of.place.as_ref())
        }
        Parsed::Show(text) => output::data(text.trim_end()).map(|()| ExitCode::SUCCESS),
        Parsed::Nothing(help) => {
            output::note(help.trim_end());
            Ok(ExitCode::from(2))
        }
    }
}

fn run(cli: &Cli, words: &[OsString], place: Option<&DaemonPlace>) -> anyhow::Result<ExitCode> {
    let env_file = cli.env_file.as_deref();
    if let Some(daemon) = cli.pid {
        if env_file.is_some() {
            anyhow::bail!("--pid and --env-file exclude each other: the daemon names its own file");
        }
        return in_place::run(daemon, words, None);
    }
    let context = || Context::new(env_file, place);
    let lenient = || Context::of_what_can_be_read(env_file, place);
    if let Command::Doctor(options) = &cli.command
        && place.is_none()
        && options.reporting.output.is_none()
    {
        let context = lenient();
        let file = context.source().file();
        if let Some(daemon) = running::daemon_in_container(context.source()) {
            return in_place::run(daemon, words, file);
        }
    }
    let on_signal = match &cli.command {
        Command::Serve(_) => ExitOnSignal::default(),
        _ => signals::end_at_once()?,
    };
    match &cli.command {
        Command::Serve(options) => serve::run(options, &context()?),
        Command::GenSecrets(options) => gen_secrets::run(options),
        Command::Db(command) => block_on(db::run(command, &context()?)),
        Command::Migrate(command) => block_on(migrate::run(command, &context()?)),
        Command::Health(options) => block_on(health::run(options, context())),
        Command::Jobs(command) => block_on(jobs::run(command, &context()?)),
        Command::Doctor(options) => block_on(doctor::run(options, &lenient(), &on_signal)),
        Command::Explain(options) => explain::run(options),
        Command::Config(command) => block_on(config::run(command, &lenient())),
        Command::Session(command) => block_on(session::run(command, &context()?)),
        Command::Openapi => openapi::run(),
        Command::Completions(options) => completions::run(options, Cli::command()),
        Command::Man(options) => man::run(options, Cli::command()),
    }
}

/// Runs a command other than `serve`, on one thread.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // A name lookup without an answer blocks a thread for up to 30 s; do not wait for it.
    runtime.shutdown_background();
    outcome
}
