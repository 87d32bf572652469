//! `ENVIRONMENT`.

use std::fmt;

use super::remedy::Remedy;
use super::variable::{Defaulted, Fault, Section, Variable, declare};

/// Where this process runs. Every environment but development refuses weak secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// A developer's machine.
    #[default]
    Development,
    /// A rehearsal of production, with production's rules.
    Staging,
    /// Real users.
    Production,
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        })
    }
}

declare! {
    pub(super) static ENVIRONMENT: Defaulted<Environment> = Variable::new(
        Section::Environment,
        "ENVIRONMENT",
        "development, staging or production. Outside development DATABASE_URL is required and \
         weak secrets are refused.",
    )
    .example("production")
    .default("development", |text| match text.to_ascii_lowercase().as_str() {
        "development" | "dev" => Ok(Environment::Development),
        "staging" => Ok(Environment::Staging),
        "production" | "prod" => Ok(Environment::Production),
        // The strictest one: the default would accept weak secrets.
        _ => Err(Fault {
            message: "is not development, staging or production".to_owned(),
            remedy: Some(Remedy::set("ENVIRONMENT", "production")),
        }),
    });
}
