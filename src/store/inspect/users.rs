//! Users that no sign-in service knows: what clients send in place of an id.

use crate::domain::{PLACEHOLDERS, UNFILLED, is_placeholder};

use super::{Asked, StoreError};

/// Fewer tasks may be somebody's trial.
const TASKS: u32 = 10;

/// So many of them are told.
const MOST: u32 = 50;

/// A user id that is none.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct NoUser {
    pub(crate) user_id: String,
    pub(crate) tasks: i64,
    /// The id of one of them.
    pub(crate) first: i64,
}

impl NoUser {
    /// Those with the most tasks.
    pub(crate) async fn ask(session: Asked<'_>) -> Result<Vec<Self>, StoreError> {
        let mut found: Vec<Self> = session.rows(&query()).await?;
        // The query looks at beginnings only.
        found.retain(|one| is_placeholder(&one.user_id) || one.is_twice());
        Ok(found)
    }

    /// Whether it is one id twice, as a list of headers is written.
    pub(crate) fn is_twice(&self) -> bool {
        is_twice(&self.user_id)
    }
}

fn query() -> String {
    let names = PLACEHOLDERS.map(|name| format!("'{name}'")).join(", ");
    let begins =
        |(start, _): (&str, &str)| format!(" OR substr(user_id, 1, {}) = '{start}'", start.len());
    let begins = UNFILLED.map(begins).concat();
    let twice = |comma: &str| {
        let half = format!(
            "substr(user_id, 1, (length(user_id) - {}) / 2)",
            comma.len()
        );
        format!(" OR {half} || '{comma}' || {half} = user_id")
    };
    let twice = [", ", ","].map(twice).concat();
    format!(
        "SELECT CAST(user_id AS text) AS user_id, count(*) AS tasks,
                min(id) AS first
         FROM tasks
         WHERE CASE WHEN length(user_id) > 2 THEN user_id IN ({names}){begins}{twice} ELSE FALSE END
         GROUP BY user_id HAVING count(*) >= {TASKS} ORDER BY count(*) DESC LIMIT {MOST}"
    )
}

fn is_twice(id: &str) -> bool {
    let mut commas = id.match_indices(',');
    commas.any(|(at, _)| {
        let rest = id.get(at + 1..).unwrap_or_default();
        id.get(..at) == Some(rest.strip_prefix(' ').unwrap_or(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_there_twice() {
        for (id, expected) in [
            ("u1, u1", true),
            ("u1,u1", true),
            ("a,b,a,b", true),
            ("u1, u2", false),
            ("cn=a,ou=a", false),
            ("u1", false),
        ] {
            assert_eq!(is_twice(id), expected, "{id}");
        }
    }
}
