//! `todoctl gen-secrets`: generates secrets and prints them, or writes them into a `.env` file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{
    Audit, DatabaseTarget, Secret, SecretName, Source, generated_secret_path, has_generated_secret,
    left_secret, read_small_file,
};

use super::env_file::EnvFile;
use super::hint::{Hint, no_random};
use super::output;

pub(super) const EXAMPLES: &str = "\
Examples:
  todoctl gen-secrets --write .env         add what is missing, keep the rest
  todoctl gen-secrets --only JWT_SECRET    one line for a secret store
  todoctl gen-secrets --write .env --only SERVICE_AUTH_TOKEN --replace
  docker run --rm todoctl gen-secrets > .env";

/// Which secrets, and where they go.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Generate only this secret; can be repeated.
    #[arg(long, value_name = "NAME", value_parser = secret_name)]
    pub only: Vec<SecretName>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    pub format: SecretsFormat,
    /// Write missing and placeholder values into this file instead of printing. A secret that the daemon has generated beside its SQLite database is not missing.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub write: Option<PathBuf>,
    /// Also replace real values in the file, of the secrets that --only names; the old value is
    /// kept as `NAME_PREVIOUS` if it can still be used, otherwise in a comment.
    #[arg(long, requires = "write", requires = "only")]
    pub replace: bool,
}

/// How secrets are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum SecretsFormat {
    /// NAME=value lines for a .env file.
    #[default]
    Env,
    /// One JSON object of names and values.
    Json,
    /// A table.
    Table,
}

fn secret_name(text: &str) -> Result<SecretName, String> {
    let known = SecretName::ALL;
    known
        .into_iter()
        .find(|name| name.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let names = known.map(SecretName::as_str).join(", ");
            format!("unknown secret; the secrets are {names}")
        })
}

/// Runs the command. It needs no configuration.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let secrets = generate(&options.only)?;
    match &options.write {
        Some(path) => write(path, &secrets, options.replace)?,
        None => print(options.format, &secrets)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(only: &[SecretName]) -> anyhow::Result<Vec<(SecretName, Secret)>> {
    SecretName::ALL
        .into_iter()
        .filter(|name| only.is_empty() || only.contains(name))
        .map(|name| Ok((name, name.generate()?)))
        .collect::<Result<_, getrandom::Error>>()
        .map_err(|error| {
            Hint::of(error, "the system provides no random numbers", no_random()).into()
        })
}

fn print(format: SecretsFormat, secrets: &[(SecretName, Secret)]) -> anyhow::Result<()> {
    let pairs = secrets
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()));
    match format {
        SecretsFormat::Env => {
            let lines: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            output::data(&lines.join("\n"))?;
        }
        SecretsFormat::Json => {
            let object: serde_json::Map<String, serde_json::Value> = pairs
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect();
            output::json(&object)?;
        }
        SecretsFormat::Table => {
            let rows = pairs.map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
            output::unbroken_table(&["NAME", "VALUE"], rows.collect())?;
        }
    }
    Ok(())
}

fn write(path: &Path, secrets: &[(SecretName, Secret)], replace: bool) -> anyhow::Result<()> {
    let place = path.display();
    let mut file = EnvFile::open(path)?;
    let generated = generated(path, &file);
    let mut said = Vec::new();
    for (secret, value) in secrets {
        let name = secret.as_str();
        let file_name = format!("{name}_FILE");
        said.push(if file.has(name) && !replace {
            format!("{name}: kept, because {place} has a value")
        } else if file.has(&file_name) && !file.has(name) {
            format!("{name}: kept, because {place} sets {file_name}")
        } else if let Some((_, kept)) = generated.iter().find(|(one, _)| one == secret)
            && !replace
        {
            // A placeholder would hide it.
            file.remove(name);
            format!("{name}: kept, because {} has a value", kept.display())
        } else if let Some((from, left)) = left(path, &file, *secret).filter(|_| !replace) {
            file.set(name, &left);
            format!(
                "{name}: the value of {} written to {place}: todoctl has generated it while the database was SQLite",
                from.display()
            )
        } else {
            let mut said = format!("{name}: new value written to {place}");
            if file.rotate(name, value.expose()) {
                said += "; the old value, which cannot be used, is kept there in a comment";
            }
            said
        });
    }
    file.save()?;
    for line in said {
        output::note(&line);
    }
    Ok(())
}

/// A secret that was generated beside a SQLite file before this file configured PostgreSQL, and where.
fn left(path: &Path, file: &EnvFile, name: SecretName) -> Option<(PathBuf, String)> {
    let source = Source::with_file_text(path, file.text()).unwrap_or_default();
    let from = left_secret(&source, name)?;
    let value = String::from_utf8(read_small_file(&from).ok()?).ok()?;
    Some((from, value.trim().to_owned()))
}

/// The secrets that the daemon has generated beside the SQLite database that this file configures,
/// and where they are.
fn generated(path: &Path, file: &EnvFile) -> Vec<(SecretName, PathBuf)> {
    // A file that cannot be read is found when it is saved.
    let source = Source::with_file_text(path, file.text()).unwrap_or_default();
    match Audit::of(&source).target() {
        Some(DatabaseTarget::Sqlite(database)) => SecretName::ALL
            .into_iter()
            .filter(|name| has_generated_secret(database, *name))
            .map(|name| (name, generated_secret_path(database, name.as_str())))
            .collect(),
        _ => Vec::new(),
    }
}
