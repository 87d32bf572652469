//! `todoctl migrate new`: the files of a migration, for whoever works on the project.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::store::migrate::files;

use super::super::output;

pub(super) const EXAMPLES: &str = "\
Makes four files with the next number: up and down, for PostgreSQL and SQLite.
They are part of the program once it is built again.

Examples:
  todoctl migrate new task_colour
  todoctl migrate new task_colour --source ../todoctl/migrations";

/// What it is called.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Its name, such as "task colour".
    pub name: String,
    /// The folder with postgres/ and sqlite/ in it.
    #[arg(long, value_name = "DIR", default_value = "migrations")]
    pub source: PathBuf,
}

/// Runs the command. It needs no database.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let made = files::new(&options.source, &options.name)?;
    let paths: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
    output::data(&paths.join("\n"))?;
    output::note(&format!(
        "fill them in, then: todoctl migrate check --allow-pending --source {}",
        options.source.display()
    ));
    Ok(ExitCode::SUCCESS)
}
