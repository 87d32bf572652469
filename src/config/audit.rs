//! The whole configuration, looked at and not loaded: nothing is made that is missing.

use std::path::PathBuf;

use super::reader::Reader;
use super::{
    DatabaseConfig, DatabaseTarget, Environment, HttpConfig, Problem, Secret, SecretName,
    ServicesConfig, Source, TelemetryConfig, Warning, generated_secret_path, settings,
};
use super::{Kind, Section, VARIABLES, Variable};

/// What a look at every variable finds. Sections with faults have their defaults.
#[derive(Debug)]
pub struct Audit {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// The database, if `DATABASE_URL` is understood.
    pub database: Option<DatabaseConfig>,
    /// The listener and its limits.
    pub http: HttpConfig,
    /// Other services.
    pub services: ServicesConfig,
    /// Logs and metrics.
    pub telemetry: TelemetryConfig,
    /// Everything that stops a start.
    pub problems: Vec<Problem>,
    /// Everything that is unwise.
    pub warnings: Vec<Warning>,
    /// Secrets that the first start will make.
    pub made_later: Vec<SecretName>,
    /// Each secret that is set, by the name of its variable; generated ones too.
    pub secrets: Vec<(&'static str, Secret)>,
    /// The files that secrets come from.
    pub secret_files: Vec<PathBuf>,
}

impl Audit {
    /// Looks at every variable of `source`.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        let mut reader = Reader::looking(source);
        let environment = settings::environment(&mut reader);
        let database = super::database::read(&mut reader, environment);
        let target = database.as_ref().map(|database| &database.target);
        let http = settings::http(&mut reader, environment);
        let services = super::services::read(&mut reader);
        let telemetry = settings::telemetry(&mut reader);
        // Its value is of no use here; its faults are.
        let _ = settings::auth(&mut reader, environment, target);
        let (problems, warnings) = reader.findings();
        let (made_later, secrets, secret_files) = secrets(source, target);
        Self {
            environment,
            database,
            http,
            services,
            telemetry,
            problems,
            warnings,
            made_later,
            secrets,
            secret_files,
        }
    }

    /// Where the database is, if that is understood.
    #[must_use]
    pub fn target(&self) -> Option<&DatabaseTarget> {
        self.database.as_ref().map(|database| &database.target)
    }

    /// Everything in `section` that stops a start.
    pub fn problems_of(&self, section: Section) -> impl Iterator<Item = &Problem> {
        let is_here = move |one: &&Problem| is_in(section, &one.variable);
        self.problems.iter().filter(is_here)
    }

    /// Everything in `section` that is unwise.
    pub fn warnings_of(&self, section: Section) -> impl Iterator<Item = &Warning> {
        let is_here = move |one: &&Warning| is_in(section, &one.variable);
        self.warnings.iter().filter(is_here)
    }
}

fn is_in(section: Section, variable: &str) -> bool {
    Variable::of(variable).is_some_and(|one| one.section == section)
}

type Secrets = (Vec<SecretName>, Vec<(&'static str, Secret)>, Vec<PathBuf>);

fn secrets(source: &Source, target: Option<&DatabaseTarget>) -> Secrets {
    let (mut later, mut known, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for variable in VARIABLES {
        if !variable.kind.has_file() {
            continue;
        }
        if let Some(path) = source.get(&format!("{}_FILE", variable.name)) {
            files.push(PathBuf::from(path));
        }
        if variable.kind == Kind::Secret
            && let Some(secret) = Reader::looking(source).secret(variable.name)
        {
            known.push((variable.name, secret));
        }
    }
    let Some(DatabaseTarget::Sqlite(file)) = target else {
        return (later, known, files);
    };
    for name in SecretName::ALL {
        let variable = name.as_str();
        if name == SecretName::JwtSecret || Reader::looking(source).is_set(variable) {
            continue;
        }
        let path = generated_secret_path(file, variable);
        match super::source::read_secret_file(&path.display().to_string()) {
            Ok(value) => known.push((variable, Secret::new(value))),
            Err(_) if !path.exists() => {
                later.push(name);
                continue;
            }
            // Its fault is among the problems.
            Err(_) => {}
        }
        files.push(path);
    }
    (later, known, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_makes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data").display().to_string();
        let audit = Audit::of(&Source::from_values([("TODOCTL_DATA_DIR", data.as_str())]));
        assert_eq!(audit.problems, []);
        assert_eq!(audit.made_later.len(), 3);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn faults_of_every_section_are_found_at_once() {
        let audit = Audit::of(&Source::from_values([
            ("PORT", "many"),
            ("DATABASE_URL", "mysql://x"),
            ("LOG_LEVEL", "loud"),
            ("ENCRYPTION_KEY", "short"),
        ]));
        let named: Vec<&str> = audit
            .problems
            .iter()
            .map(|one| one.variable.as_str())
            .collect();
        assert_eq!(
            named,
            ["DATABASE_URL", "PORT", "LOG_LEVEL", "ENCRYPTION_KEY"]
        );
    }
}
