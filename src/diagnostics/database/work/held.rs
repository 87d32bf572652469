//! Who holds the server connections that a pooler lends, as the server itself tells it.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::probe::{Activity, Connection as _, ServerConnection, WorkSession};

use super::ending::{described, end, idle_in_transaction};

/// Clients that work leave a transaction sooner.
const IDLE_SECONDS: i64 = 2;

/// So many are named.
const NAMED: usize = 3;

/// The sessions of the pooler's role.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::diagnostics::database) enum Held {
    /// There are none, so the pooler lends none.
    None,
    /// None of them is idle in a transaction.
    Working,
    /// Those that are idle in a transaction, in words, and what ends them.
    Idle(String, Remedy),
}

impl Held {
    /// Asks the server behind the pooler at `server`; `None` if `DATABASE_URL_UNPOOLED` does not lead
    /// there.
    pub(in crate::diagnostics::database) async fn ask(
        server: &PostgresTarget,
        limit: Duration,
    ) -> Option<Self> {
        let direct = server.direct.as_ref()?;
        let mut connection = ServerConnection::open(direct, limit).await.ok()?;
        let activity = timeout(limit, connection.activity(server.own_name())).await;
        connection.close().await;
        Some(Self::of(&activity.ok()?.ok()?, server))
    }

    fn of(activity: &Activity, server: &PostgresTarget) -> Self {
        let is_own = |one: &&WorkSession| one.is_here && one.role == server.user;
        let own: Vec<&WorkSession> = activity.sessions.iter().filter(is_own).collect();
        if own.is_empty() {
            return Self::None;
        }
        let mut idle: Vec<(i64, &WorkSession)> = own
            .into_iter()
            .filter_map(|one| Some((idle_in_transaction(one)?, one)))
            .filter(|(age, _)| *age >= IDLE_SECONDS)
            .collect();
        if idle.is_empty() {
            return Self::Working;
        }
        idle.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        let named = || idle.iter().take(NAMED).map(|(_, session)| *session);
        let mut texts: Vec<String> = named().map(described).collect();
        if idle.len() > NAMED {
            texts.push(format!("{} more", idle.len() - NAMED));
        }
        let ends = named().map(|session| end(session, server));
        Self::Idle(texts.join(", "), ends.fold(Remedy::default(), Remedy::then))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::{server, session};
    use super::*;

    #[test]
    fn transactions_of_the_role() {
        let idle = WorkSession {
            role: "todo".to_owned(),
            ..session(7, "idle in transaction")
        };
        let of = |change: fn(&mut WorkSession)| {
            let mut one = idle.clone();
            change(&mut one);
            let activity = Activity {
                sessions: vec![one],
                is_partial: false,
            };
            Held::of(&activity, &server())
        };
        let Held::Idle(text, remedy) = of(|_| ()) else {
            panic!("it is idle");
        };
        assert!(text.contains("pid 7 (psql, role todo, idle in transaction for 12m"));
        assert!(remedy.to_string().contains("pg_terminate_backend"));
        assert_eq!(of(|one| one.state_age = Some(1)), Held::Working);
        assert_eq!(
            of(|one| one.state = Some("active".to_owned())),
            Held::Working
        );
        assert_eq!(of(|one| one.role = "other".to_owned()), Held::None);
        assert_eq!(of(|one| one.is_here = false), Held::None);
    }
}
