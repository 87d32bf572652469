//! Who holds the server connections that a pooler lends, as the server itself tells it.

use std::time::Duration;

use tokio::time::timeout;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::probe::{Activity, Connection as _, ServerConnection, WorkSession};

use super::ending::{described, end, end_at, idle_in_transaction};

/// Clients that work leave a transaction sooner.
const IDLE_SECONDS: i64 = 2;

/// So many are named.
const NAMED: usize = 3;

/// The sessions of the database behind a pooler.
#[derive(Debug)]
pub(in crate::diagnostics::database) struct Held {
    /// Those of the pooler's role.
    pub(in crate::diagnostics::database) own: Sessions,
    /// Those of all roles.
    pub(in crate::diagnostics::database) all: Sessions,
}

#[derive(Debug)]
pub(in crate::diagnostics::database) struct Sessions {
    pub(in crate::diagnostics::database) count: u32,
    /// Those that are idle in a transaction, in words, and what ends them.
    pub(in crate::diagnostics::database) idle: Option<(String, Remedy)>,
}

impl Held {
    /// Asks the server behind the pooler at `server`, which is at `behind`; `None` if it does not
    /// answer.
    pub(in crate::diagnostics::database) async fn ask(
        server: &PostgresTarget,
        behind: &PostgresTarget,
        limit: Duration,
    ) -> Option<Self> {
        let connection = ServerConnection::open(behind, limit).await.ok()?;
        Self::on(connection, server, behind, limit).await
    }

    /// The same on a connection.
    pub(in crate::diagnostics::database) async fn on(
        mut connection: ServerConnection,
        server: &PostgresTarget,
        behind: &PostgresTarget,
        limit: Duration,
    ) -> Option<Self> {
        let activity = timeout(limit, connection.activity(&behind.database)).await;
        connection.close().await;
        Some(Self::of(&activity.ok()?.ok()?, server, behind))
    }

    fn of(activity: &Activity, server: &PostgresTarget, behind: &PostgresTarget) -> Self {
        // A command through the pooler would wait for the connections that it shall free.
        let ends = |session: &WorkSession| match server.direct {
            Some(_) => end(session, server),
            None => end_at(session, behind),
        };
        let sessions = || activity.sessions.iter().filter(|one| one.is_here);
        Self {
            own: Sessions::of(sessions().filter(|one| one.role == server.user), ends),
            all: Sessions::of(sessions(), ends),
        }
    }
}

impl Sessions {
    fn of<'a>(
        sessions: impl Iterator<Item = &'a WorkSession>,
        end: impl Fn(&WorkSession) -> Remedy,
    ) -> Self {
        let all: Vec<&WorkSession> = sessions.collect();
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let mut idle: Vec<(i64, &WorkSession)> = all
            .into_iter()
            .filter_map(|one| Some((idle_in_transaction(one)?, one)))
            .filter(|(age, _)| *age >= IDLE_SECONDS)
            .collect();
        if idle.is_empty() {
            return Self { count, idle: None };
        }
        idle.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
        let named = || idle.iter().take(NAMED).map(|(_, session)| *session);
        let mut texts: Vec<String> = named().map(described).collect();
        if idle.len() > NAMED {
            texts.push(format!("{} more", idle.len() - NAMED));
        }
        let ends = named().map(end);
        let ends = ends.fold(Remedy::default(), Remedy::then);
        Self {
            count,
            idle: Some((texts.join(", "), ends)),
        }
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
            Held::of(&activity, &server(), &server())
        };
        let (text, remedy) = of(|_| ()).own.idle.unwrap();
        assert!(text.contains("pid 7 (psql, role todo, idle in transaction for 12m"));
        assert!(remedy.to_string().contains("pg_terminate_backend"));
        let counts = |held: &Held| {
            let of = |one: &Sessions| (one.count, one.idle.is_some());
            (of(&held.own), of(&held.all))
        };
        let working = ((1, false), (1, false));
        assert_eq!(counts(&of(|one| one.state_age = Some(1))), working);
        let active = of(|one| one.state = Some("active".to_owned()));
        assert_eq!(counts(&active), working);
        let other = of(|one| one.role = "other".to_owned());
        assert_eq!(counts(&other), ((0, false), (1, true)));
        let elsewhere = of(|one| one.is_here = false);
        assert_eq!(counts(&elsewhere), ((0, false), (0, false)));
    }
}
