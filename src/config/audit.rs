//! The configuration as read from the environment, with all its problems and warnings.

use std::path::PathBuf;

use super::auth::{self, Limits};
use super::beside::secrets_directory;
use super::database::{self, DatabaseConfig};
use super::database_url::DatabaseTarget;
use super::environment::Environment;
use super::error::{Problem, Warning};
use super::http::{self, HttpConfig};
use super::lost_secrets::{SecretPlaces, put_back};
use super::mend;
use super::reader::Reader;
use super::remedy::Remedy;
use super::secret::Secret;
use super::secret_name::SecretName;
use super::secrets::Secrets;
use super::services::{self, ServicesConfig};
use super::source::Source;
use super::telemetry::{self, TelemetryConfig};
use super::variable::{Section, Variable};

/// All variables, read once; nothing is changed. A variable with a problem has its default here.
#[derive(Debug)]
pub struct Audit {
    pub environment: Environment,
    /// `None` if `DATABASE_URL` is not understood.
    pub database: Option<DatabaseConfig>,
    pub http: HttpConfig,
    pub services: ServicesConfig,
    pub telemetry: TelemetryConfig,
    /// Everything that stops a start.
    pub problems: Vec<Problem>,
    /// Everything that works and is unwise.
    pub warnings: Vec<Warning>,
    /// Each secret that is set, by the name of its variable; generated ones too.
    pub secrets: Vec<(&'static str, Secret)>,
    /// The files that secrets come from.
    pub secret_files: Vec<PathBuf>,
    pub(super) limits: Limits,
    pub(super) own_secrets: Secrets,
}

impl Audit {
    /// Reads every variable of `source`.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        let mut reader = Reader::new(source);
        let mut database = database::read(&mut reader);
        let http = http::read(&mut reader);
        if let Some(database) = &mut database {
            database.pool.statement_timeout = database::statement_timeout(http.request_timeout);
        }
        let target = database.as_ref().map(|database| &database.target);
        let services = services::read(&mut reader);
        let telemetry = telemetry::read(&mut reader);
        telemetry::warn_of_open_metrics(&mut reader, &telemetry, &http);
        let limits = auth::read(&mut reader);
        let own_secrets = Secrets::read(&mut reader, target, &SecretName::ALL);
        // What is left of such a secret is too short, or empty, which is not its cause.
        let is_cut = |one: &&Warning| {
            let mut secrets = SecretName::ALL.into_iter();
            !source.is_in_environment(&one.variable)
                && secrets.any(|secret| secret.as_str() == one.variable)
        };
        let cut = source.warnings().iter().filter(is_cut).cloned();
        for cause in mend::glued(source).into_iter().chain(cut) {
            reader.replace_problems(&cause);
        }
        Self {
            environment: reader.environment,
            database,
            http,
            services,
            telemetry,
            limits,
            own_secrets,
            problems: reader.problems,
            warnings: reader.warnings,
            secrets: reader.secrets,
            secret_files: reader.secret_files,
        }
    }

    /// Where the database is, if `DATABASE_URL` is understood.
    #[must_use]
    pub fn target(&self) -> Option<&DatabaseTarget> {
        self.database.as_ref().map(|database| &database.target)
    }

    /// The problems with variables of `section`.
    pub fn problems_of(&self, section: Section) -> impl Iterator<Item = &Problem> {
        let problems = self.problems.iter();
        problems.filter(move |one| is_in(section, &one.variable))
    }

    /// The warnings about variables of `section`.
    fn warnings_of(&self, section: Section) -> impl Iterator<Item = &Warning> {
        let warnings = self.warnings.iter();
        warnings.filter(move |one| is_in(section, &one.variable))
    }

    /// The texts of the warnings about variables of `section`, and what to do about all of them.
    #[must_use]
    pub fn warned_of(&self, section: Section) -> (Vec<String>, Remedy) {
        let all = self.warnings_of(section);
        all.fold(Default::default(), |(mut texts, remedy), one| {
            texts.push(one.to_string());
            (texts, remedy.then(one.remedy.clone()))
        })
    }

    /// Secrets that `serve` will generate.
    #[must_use]
    pub fn missing_secrets(&self) -> &[SecretName] {
        &self.own_secrets.missing
    }

    /// The problems, where the service needs the values that it had of the secrets which are not
    /// set: with what puts them back in place of what makes new ones.
    pub(crate) fn problems_in_use(&self, source: &Source, places: &SecretPlaces) -> Vec<Problem> {
        let absent = &self.own_secrets.absent;
        let generated = match self.target() {
            Some(DatabaseTarget::Sqlite(file)) => Some(secrets_directory(&file.path)),
            _ => None,
        };
        let remedy = put_back(source, absent, places, generated.as_deref());
        let mut problems = self.problems.clone();
        let is_absent =
            |one: &&mut Problem| absent.iter().any(|name| name.as_str() == one.variable);
        for problem in problems.iter_mut().filter(is_absent) {
            problem.remedy.clone_from(&remedy);
        }
        problems
    }

    /// Secrets that are a problem because they are required and not set, or are placeholders.
    pub(crate) fn absent_secrets(&self) -> &[SecretName] {
        &self.own_secrets.absent
    }

    /// The keys that stored provider keys may be encrypted with, whether they are usable or not.
    pub fn encryption_keys(&self) -> impl Iterator<Item = &Secret> {
        self.own_secrets.all(SecretName::EncryptionKey)
    }

    /// Generates the secrets that are missing, where the database is SQLite. Does nothing while
    /// there are problems.
    pub fn generate_missing_secrets(&mut self) {
        if let Some(database) = &self.database
            && self.problems.is_empty()
        {
            self.problems = self.own_secrets.generate_missing(&database.target);
        }
    }
}

fn is_in(section: Section, variable: &str) -> bool {
    Variable::of(variable).is_some_and(|one| one.section == section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data").display().to_string();
        let audit = Audit::of(&Source::from_values([("TODOCTL_DATA_DIR", data.as_str())]));
        assert_eq!(audit.problems, []);
        assert_eq!(audit.missing_secrets().len(), 3);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn missing_secrets_are_generated_unless_something_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data").display().to_string();
        let generate = |port: &str| {
            let values = [("TODOCTL_DATA_DIR", data.as_str()), ("PORT", port)];
            let mut audit = Audit::of(&Source::from_values(values));
            audit.generate_missing_secrets();
            audit.missing_secrets().len()
        };
        assert_eq!(generate("many"), 3);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(generate("8000"), 0);
        assert_eq!(
            std::fs::read_dir(directory.path().join("data/secrets"))
                .unwrap()
                .count(),
            3
        );
    }

    #[test]
    fn problems_of_every_section_are_found_at_once() {
        let audit = Audit::of(&Source::from_values([
            ("PORT", "many"),
            ("DATABASE_URL", "mysql://x"),
            ("LOG_LEVEL", "loud"),
            ("ENCRYPTION_KEY", "short"),
        ]));
        let problems = audit.problems.iter();
        let named: Vec<&str> = problems.map(|one| one.variable.as_str()).collect();
        assert_eq!(
            named,
            ["DATABASE_URL", "PORT", "LOG_LEVEL", "ENCRYPTION_KEY"]
        );
    }
}
