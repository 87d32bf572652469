//! Reads variables one by one and collects everything that is wrong with them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use super::bounds::Bounds;
use super::environment::{ENVIRONMENT, Environment};
use super::error::{ConfigError, Loaded, Problem, Warning};
use super::invisible;
use super::leftover::Leftover;
use super::meant::meant;
use super::remedy::{ALSO_WHERE_IT_IS_SET, Remedy};
use super::respell::{has_foreign_end, has_typographic_quotes, is_quote};
use super::secret::Secret;
use super::secret_file::{elsewhere, is_no_path, is_reference, one_of_both, written};
use super::secret_text::{NoSecret, read_secret_file};
use super::source::Source;
use super::strength::is_placeholder;
use super::variable::{Default, Defaulted, Kind, Optional, Parser, Section, Variable};

/// One load in progress.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub source: &'a Source,
    pub environment: Environment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    /// Each secret that was read, by the name of its variable, right or wrong.
    pub secrets: Vec<(&'static str, Secret)>,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
}

/// What the source has for a variable.
enum Found<'a> {
    Unset,
    /// A problem was reported.
    Faulty,
    /// A value, and the name under which it is set (the alias, perhaps).
    Text(&'static str, Cow<'a, str>),
}

impl<'a> Reader<'a> {
    /// `ENVIRONMENT` is read first, because defaults depend on it.
    pub fn new(source: &'a Source) -> Self {
        let mut reader = Self {
            source,
            environment: Environment::default(),
            problems: Vec::new(),
            warnings: Vec::new(),
            secrets: Vec::new(),
            secret_files: Vec::new(),
        };
        reader.environment = reader.value(&ENVIRONMENT);
        reader
    }

    /// The value, or the default where the variable is not set or has a problem.
    pub fn value<T>(&mut self, declaration: &Defaulted<T>) -> T {
        match self.parsed(&declaration.variable, declaration.parse) {
            Some(value) => value,
            None => default(declaration, self.environment),
        }
    }

    /// The value; `None` where the variable is not set or has a problem.
    pub fn optional<T>(&mut self, declaration: &Optional<T>) -> Option<T> {
        self.parsed(&declaration.variable, declaration.parse)
    }

    fn parsed<T>(&mut self, variable: &Variable, parse: Parser<T>) -> Option<T> {
        let Found::Text(name, text) = self.find(variable) else {
            return None;
        };
        match parse(&text) {
            Ok(value) => {
                if is_quoted(&text) {
                    self.warn(
                        name,
                        "begins and ends with a quote, which is part of the value: docker run --env-file and unit files of other programs keep quotes",
                        self.without_quotes(variable, name),
                    );
                }
                let bare = text.trim_matches(is_quote);
                if has_typographic_quotes(&text) && is_shown(variable.kind, bare) {
                    self.warn(
                        name,
                        "is in typographic quotes, which are part of the value",
                        Remedy::set(name, bare),
                    );
                }
                // Of todoctl's own secrets more is said, and an old value is kept as it was.
                if variable.section != Section::Secrets
                    && let Some(sign) = invisible::first_at_end(&text)
                {
                    let remedy = self.without_invisible(name, &text);
                    self.warn(name, ends_with_invisible(&sign), remedy);
                }
                if variable.name.ends_with("_URL") && has_foreign_end(&text) {
                    self.warn(
                        name,
                        "ends with a semicolon or a comma, which is part of the value",
                        Remedy::respell(name, "take the sign at its end away"),
                    );
                }
                if let Some(left) = leftover(variable, &text) {
                    self.warn(name, left.fault(), left.remedy(name));
                }
                if let Some(bounds) = Bounds::of(variable.name)
                    && let Some(unwise) = bounds.fault(&text)
                {
                    self.warn(name, unwise, Remedy::set(name, bounds.usual));
                }
                Some(value)
            }
            Err(fault) => {
                let meant = meant(variable.name, &text, |one| parse(one).is_ok());
                let hidden = invisible::first_at_end(&text)
                    .filter(|_| parse(invisible::trimmed(&text)).is_ok());
                let (message, remedy) = match (hidden, leftover(variable, &text), meant) {
                    (Some(sign), ..) => (
                        format!("{}: it {}", fault.message, ends_with_invisible(&sign)),
                        self.without_invisible(name, &text),
                    ),
                    (None, Some(left), _) => (left.fault().to_owned(), left.remedy(name)),
                    // Other values may be, or contain, a secret.
                    (None, None, Some(meant)) if is_shown(variable.kind, &meant.value) => (
                        format!("{}: {}", fault.message, meant.why),
                        Remedy::set(name, meant.value),
                    ),
                    _ => {
                        let remedy = fault.remedy.unwrap_or_else(|| variable.correction(name));
                        (fault.message, remedy)
                    }
                };
                self.problem(name, message, remedy);
                None
            }
        }
    }

    /// The text of a variable: from its name, its alias or, for a secret, from the file that
    /// `NAME_FILE` names.
    fn find(&mut self, variable: &Variable) -> Found<'a> {
        let mut found = Found::Unset;
        for name in variable.names() {
            if self.source.is_unreadable(name) {
                self.problem(name, "is not UTF-8 text", variable.correction(name));
                return Found::Faulty;
            }
            if let Some(value) = self.source.get(name) {
                found = Found::Text(name, Cow::Borrowed(value));
                break;
            }
        }
        self.warn_of_alias(variable, &found);
        if variable.kind.has_file() {
            found = self.find_file(variable, found);
        }
        if let (Kind::Secret, Found::Text(name, text)) = (variable.kind, &found) {
            self.note_secret(name, &Secret::new(text.as_ref()));
        }
        found
    }

    /// The alias is not read where the name is set.
    fn warn_of_alias(&mut self, variable: &Variable, found: &Found<'_>) {
        if let (Some(alias), Found::Text(name, value)) = (variable.alias, found)
            && *name != alias
            && self.source.get(alias).is_some_and(|other| other != value)
        {
            let message = format!("has no effect, because {name} is set to another value");
            self.warn(alias, message, Remedy::unset(alias));
        }
    }

    /// `direct` is what the variable itself has.
    fn find_file(&mut self, variable: &Variable, direct: Found<'a>) -> Found<'a> {
        let name = variable.name;
        let file_name = variable.file_name();
        if self.source.is_unreadable(&file_name) {
            let remedy = Remedy::unset(file_name.clone());
            self.problem(&file_name, "is not UTF-8 text", remedy);
            return Found::Faulty;
        }
        let Some(path) = self.source.get(&file_name) else {
            return direct;
        };
        if is_no_path(path) && !is_reference(self.source, path, &file_name) {
            self.problem(
                &file_name,
                "is no path of a file; it may be the value itself, which is not shown",
                Remedy::note(format!("if it is the value of {name}:"))
                    .then(Remedy::rename(file_name.clone(), name)),
            );
            return Found::Faulty;
        }
        self.secret_files.push(PathBuf::from(path));
        if let Found::Text(own, text) = &direct {
            let remedy = one_of_both(own, text, &file_name, path);
            self.problem(own, format!("and {file_name} are both set"), remedy);
            return Found::Faulty;
        }
        match read_secret_file(Path::new(path)) {
            Ok(value) => {
                let lines = value.lines().count();
                if lines > 1 {
                    self.warn(
                        &file_name,
                        format!("names {path}, which has {lines} lines: all of them are the value, and other programs may take the first alone"),
                        Remedy::note(format!("leave the line that is {name} in {path}, and no other")),
                    );
                }
                Found::Text(name, Cow::Owned(value))
            }
            Err(NoSecret { fault, remedy }) => {
                let elsewhere = || {
                    let found = elsewhere(path, self.source.file())?;
                    Some(Remedy::set(file_name.clone(), found.display()))
                };
                let remedy = remedy
                    .or_else(elsewhere)
                    .unwrap_or_else(|| written(self.source, path, name));
                self.problem(&file_name, format!("names {path}, which {fault}"), remedy);
                Found::Faulty
            }
        }
    }

    fn without_quotes(&self, variable: &Variable, name: &str) -> Remedy {
        let file_name = variable.file_name();
        if self.source.get(name).is_none() {
            return Remedy::note(format!(
                "remove the quotes in the file that {file_name} names"
            ));
        }
        if let Some(file) = self.env_file_of(name) {
            return Remedy::note(format!(
                "write {name} with one pair of quotes in {}, or with none",
                file.display()
            ));
        }
        let without =
            |sign| Remedy::command(["export ", name, "=\"${", name, sign, "?}\""].concat());
        without("#").then(without("%")).then(Remedy::note(
            "remove the quotes also where the daemon's environment is set: unit file, env file of docker run or platform",
        ))
    }

    pub fn note_secret(&mut self, name: &'static str, value: &Secret) {
        self.secrets.push((name, value.clone()));
    }

    /// Whether the variable has a value, right or wrong.
    pub fn is_set(&self, variable: &Variable) -> bool {
        let is_set =
            |name: &str| self.source.get(name).is_some() || self.source.is_unreadable(name);
        variable.names().any(is_set) || variable.kind.has_file() && is_set(&variable.file_name())
    }

    /// Whether the value of a secret is in the file that `NAME_FILE` names.
    pub fn is_in_file(&self, name: &str) -> bool {
        self.source.get(&format!("{name}_FILE")).is_some()
    }

    /// The env file that was read.
    pub fn env_file(&self) -> Option<&'a Path> {
        self.source.file()
    }

    /// The text of that file.
    pub fn text(&self) -> &'a str {
        self.source.text()
    }

    /// Whether the variable has a value that is no placeholder, here or in its file.
    pub fn has_value(&self, name: &str) -> bool {
        self.is_in_file(name)
            || self
                .source
                .get(name)
                .is_some_and(|one| !is_placeholder(one))
    }

    /// How a variable loses the invisible characters of its value, where that comes from.
    pub fn without_invisible(&self, name: &'static str, text: &str) -> Remedy {
        let is_plain = invisible::removed(text).is_ascii();
        if !self.source.is_in_environment(name) || !is_plain {
            return Remedy::respell(name, "take the invisible characters out of it");
        }
        let ascii = format!("$(printf %s \"${name}\" | LC_ALL=C tr -cd ' -~')");
        Remedy::command(format!("export {name}=\"{ascii}\""))
            .then(Remedy::note(ALSO_WHERE_IT_IS_SET))
    }

    /// The env file, if the value of `name` comes from it.
    pub fn env_file_of(&self, name: &str) -> Option<&Path> {
        self.source.env_file_of(name)
    }

    pub fn problem(&mut self, variable: &str, message: impl Into<String>, remedy: Remedy) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            message: message.into(),
            remedy,
        });
    }

    pub fn warn(&mut self, variable: &str, message: impl Into<String>, remedy: Remedy) {
        self.warnings.push(Warning {
            variable: variable.to_owned(),
            message: message.into(),
            remedy,
        });
    }

    /// Says about a variable whose value is wrong only this, as its cause.
    pub fn replace_problems(&mut self, cause: &Warning) {
        let is_other = |name: &str| name != cause.variable;
        self.warnings.retain(|one| is_other(&one.variable));
        let count = self.problems.len();
        self.problems.retain(|one| is_other(&one.variable));
        if self.problems.len() < count {
            self.problems.push(cause.clone().into());
        }
    }

    /// The value with all warnings, or all problems. `None` stands for a problem that was
    /// reported.
    pub fn finish<T>(&self, value: Option<T>) -> Result<Loaded<T>, ConfigError> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(Loaded {
                value,
                warnings: [self.source.warnings(), &self.warnings].concat(),
            }),
            _ => Err(ConfigError {
                problems: self.problems.clone(),
            }),
        }
    }
}

/// Whether the value has quotes around it that its reader did not take off.
pub(crate) fn is_quoted(text: &str) -> bool {
    let text = text.trim();
    let is_within = |quote| text.len() > 2 && text.starts_with(quote) && text.ends_with(quote);
    is_within('"') || is_within('\'')
}

fn ends_with_invisible(sign: &str) -> String {
    format!("begins or ends with an invisible character ({sign}), which is part of the value")
}

/// Whether a value may be repeated: of a URL its query may be a secret.
fn is_shown(kind: Kind, value: &str) -> bool {
    kind == Kind::Plain || kind == Kind::Url && !value.contains(['@', '?', '#'])
}

/// What was left in the place of a value, where the variable may be left out. Without
/// `DATABASE_URL` another database is served.
fn leftover(variable: &Variable, text: &str) -> Option<Leftover> {
    let may_be_unset = matches!(variable.default, Default::None) && variable.name != "DATABASE_URL";
    Leftover::of(text).filter(|left| may_be_unset || *left == Leftover::Reference)
}

#[expect(
    clippy::expect_used,
    reason = "the test `defaults` reads every variable of an empty environment, in each ENVIRONMENT"
)]
fn default<T>(declaration: &Defaulted<T>, environment: Environment) -> T {
    let text = default_text(&declaration.variable, environment).unwrap_or_default();
    (declaration.parse)(&text).expect("a declaration's own default is valid")
}

/// The default of a variable in this environment.
pub(super) fn default_text(
    variable: &Variable,
    environment: Environment,
) -> Option<Cow<'static, str>> {
    match variable.default {
        Default::Value(text) => Some(text.into()),
        Default::InDevelopment(text) if environment == Environment::Development => {
            Some(text.into())
        }
        Default::Computed(text) => Some(text().into()),
        Default::None | Default::InDevelopment(_) => None,
    }
}
/// The environment of a configuration; the default if `ENVIRONMENT` has a problem.
pub(crate) fn environment_of(source: &Source) -> Environment {
    Reader::new(source).environment
}
