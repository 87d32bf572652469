//! All variables.

use std::sync::LazyLock;

use super::variable::Variable;
use super::{auth, cors, database, environment, http, secret_name, services, telemetry};

/// All variables, in the order of `.env.example`.
pub static VARIABLES: LazyLock<Vec<&'static Variable>> = LazyLock::new(|| {
    let secrets: Vec<&Variable> = secret_name::variables().collect();
    [
        environment::VARIABLES,
        http::VARIABLES,
        auth::VARIABLES,
        cors::VARIABLES,
        database::VARIABLES,
        &secrets,
        services::VARIABLES,
        telemetry::VARIABLES,
    ]
    .concat()
});

impl Variable {
    /// The variable that `name` sets: by its name, its alias or `NAME_FILE`.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        VARIABLES.iter().copied().find(|one| {
            one.names().any(|known| known == name)
                || (one.kind.has_file() && name.strip_suffix("_FILE") == Some(one.name))
        })
    }
}
