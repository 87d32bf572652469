//! What the declaration of an environment variable consists of.
//!
//! A section declares its variables once, with `declare!`. The reader, `config show`,
//! the check for misspelt names and `.env.example` all follow from these declarations.

use super::remedy::Remedy;

/// The part of the configuration that a variable belongs to: a heading of `.env.example`,
/// and the check of `config check` that reports its problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Environment,
    Http,
    Cors,
    Database,
    Secrets,
    Services,
    Telemetry,
}

impl Section {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Environment => "Environment",
            Self::Http => "HTTP server, tokens and limits",
            Self::Cors => "Browsers (CORS)",
            Self::Database => "Database",
            Self::Secrets => "Secrets",
            Self::Services => "Other services (all optional)",
            Self::Telemetry => "Logs and metrics",
        }
    }
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All of it.
    Plain,
    /// Nothing of it.
    Secret,
    /// A database URL: everything but the password.
    DatabaseUrl,
    /// Another URL that contains a password: scheme, host and path.
    SecretUrl,
    /// A URL: everything but user, password, query and fragment.
    Url,
}

impl Kind {
    /// Whether the value can also be read from a file, which `NAME_FILE` names.
    #[must_use]
    pub fn has_file(self) -> bool {
        matches!(self, Self::Secret | Self::DatabaseUrl | Self::SecretUrl)
    }
}

/// The value of a variable that is not set, as text that its parser accepts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    None,
    Value(&'static str),
    /// Outside development the value is empty.
    InDevelopment(&'static str),
    Computed(fn() -> String),
}

/// The declaration of one environment variable, without its type.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    /// Another name that is read when `name` is not set.
    pub alias: Option<&'static str>,
    pub section: Section,
    pub kind: Kind,
    pub(super) default: Default,
    pub(super) help: &'static str,
    /// A correct value, other than the default where the default explains little.
    pub(super) example: Option<&'static str>,
}

/// Why a value is refused.
#[derive(Debug)]
pub(super) struct Fault {
    /// A predicate such as `is not an IP address`. Never contains a secret.
    pub message: String,
    /// What to do, if a correct value is not enough.
    pub remedy: Option<Remedy>,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            message,
            remedy: None,
        }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

pub(super) type Parser<T> = fn(&str) -> Result<T, Fault>;

/// A variable that is read as `Option<T>`: it has no default.
pub(super) struct Optional<T> {
    pub variable: Variable,
    pub parse: Parser<T>,
}

/// A variable that is read as `T`, because it has a default.
pub(super) struct Defaulted<T> {
    pub variable: Variable,
    pub parse: Parser<T>,
}

impl Variable {
    pub(super) const fn new(section: Section, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            alias: None,
            section,
            kind: Kind::Plain,
            default: Default::None,
            help,
            example: None,
        }
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub(super) const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    pub(super) const fn optional<T>(self, parse: Parser<T>) -> Optional<T> {
        Optional {
            variable: self,
            parse,
        }
    }

    pub(super) const fn default<T>(self, text: &'static str, parse: Parser<T>) -> Defaulted<T> {
        self.defaulted(Default::Value(text), parse)
    }

    pub(super) const fn default_in_development<T>(
        self,
        text: &'static str,
        parse: Parser<T>,
    ) -> Defaulted<T> {
        self.defaulted(Default::InDevelopment(text), parse)
    }

    pub(super) const fn computed_default<T>(
        self,
        text: fn() -> String,
        parse: Parser<T>,
    ) -> Defaulted<T> {
        self.defaulted(Default::Computed(text), parse)
    }

    const fn defaulted<T>(mut self, default: Default, parse: Parser<T>) -> Defaulted<T> {
        self.default = default;
        Defaulted {
            variable: self,
            parse,
        }
    }

    /// The name, then the alias.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [Some(self.name), self.alias].into_iter().flatten()
    }

    /// The name of the variable that names a file with the value.
    pub(crate) fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// What to do about a wrong value of `name`, which is one of the variable's names: the default
    /// is always right, and without one only a person knows the value.
    pub(super) fn correction(&self, name: &'static str) -> Remedy {
        match (self.default, self.example) {
            (Default::Value(text), _) if !text.is_empty() => Remedy::set(name, text),
            (Default::Computed(_), _) | (_, None) => Remedy::unset(name),
            (_, Some(example)) => Remedy::note(format!("give {name} a value such as {example}")),
        }
    }
}

/// Declares the variables of a section and lists them in `VARIABLES`, in the order of
/// `.env.example`.
macro_rules! declare {
    ($($visibility:vis static $name:ident: $type:ty = $value:expr;)*) => {
        $($visibility static $name: $type = $value;)*
        pub(super) static VARIABLES: &[&$crate::config::variable::Variable] =
            &[$(&$name.variable),*];
    };
}
pub(super) use declare;
