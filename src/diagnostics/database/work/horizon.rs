//! What VACUUM waits for, and how that ends.

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::probe::{Prepared, Reader, WorkSession};

use super::ending::{described, end, end_prepared, in_time};
use super::replication::drop_slot;

/// One that keeps up with the changes is so many transactions behind.
const KEEPS_UP: i64 = 5;

/// No request takes so long, in milliseconds.
const LONG: i64 = 60_000;

/// What may read old rows, and what is known about sessions and prepared transactions.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) all: Vec<Reader>,
    pub(super) sessions: Vec<WorkSession>,
    pub(super) prepared: Vec<Prepared>,
}

impl Readers {
    /// What keeps dead rows of a table; `vacuumed` is how many milliseconds ago VACUUM ended, which
    /// left the rows that something could still read.
    pub(super) fn of_table(&self, vacuumed: Option<i64>) -> Option<&Reader> {
        self.all.iter().find(|one| {
            let is_old = |began: i64| began >= LONG || vacuumed.is_some_and(|end| began > end);
            one.age >= KEEPS_UP && one.kind != "catalog" && one.began.is_none_or(is_old)
        })
    }

    /// What keeps rows from being frozen that are older than `age` transactions.
    pub(super) fn of_freezing(&self, age: i64) -> Option<&Reader> {
        self.all.iter().find(|one| one.age >= age)
    }

    pub(super) fn described(&self, reader: &Reader) -> String {
        let what = match reader.kind.as_str() {
            "session" => self
                .session(reader)
                .map_or_else(|| "a session".to_owned(), described),
            "prepared" => format!("the prepared transaction {}", reader.name),
            "replica" => format!("the replica {} (hot_standby_feedback)", reader.name),
            _ if reader.pid.is_some() => {
                format!("what reads the replication slot {}", reader.name)
            }
            _ => format!("the replication slot {}, which nobody reads", reader.name),
        };
        let began = reader
            .began
            .map(|began| format!(", which began {} ago", in_time(Some(began / 1000))));
        format!("{what}{}", began.unwrap_or_default())
    }

    /// How it ends.
    pub(super) fn end(&self, reader: &Reader, server: &PostgresTarget) -> Option<Remedy> {
        match reader.kind.as_str() {
            "session" => self.session(reader).map(|one| end(one, server)),
            "prepared" => {
                let mut prepared = self.prepared.iter();
                let found = prepared.find(|one| one.name == reader.name)?;
                Some(end_prepared(found, server))
            }
            "slot" | "catalog" if reader.pid.is_none() => Some(drop_slot(&reader.name, server)),
            "catalog" => Some(Remedy::note(format!(
                "let the consumer of the replication slot {} catch up",
                reader.name
            ))),
            _ => Some(Remedy::note(
                "on the replica: end its oldest query (pg_stat_activity shows when they began), or let it do without the rows: ALTER SYSTEM SET hot_standby_feedback = off, and SELECT pg_reload_conf(); until then VACUUM changes nothing",
            )),
        }
    }

    fn session(&self, reader: &Reader) -> Option<&WorkSession> {
        let mut sessions = self.sessions.iter();
        sessions.find(|one| Some(one.pid) == reader.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ending::tests::{server, session};
    use super::*;

    fn reader(kind: &str, age: i64, began: Option<i64>) -> Reader {
        Reader {
            kind: kind.to_owned(),
            name: "one".to_owned(),
            pid: (kind == "session" || kind == "replica").then_some(7),
            age,
            began,
        }
    }

    #[test]
    fn who_keeps_rows() {
        let keeps = |one: Reader, vacuumed| {
            let all = vec![one];
            let readers = Readers {
                all,
                ..Readers::default()
            };
            readers.of_table(vacuumed).is_some()
        };
        // A request that runs now.
        assert!(!keeps(reader("session", 90, Some(500)), None));
        assert!(!keeps(reader("session", 90, Some(500)), Some(600)));
        // VACUUM has come since.
        assert!(keeps(reader("session", 90, Some(500)), Some(400)));
        assert!(keeps(reader("prepared", 90, Some(70_000)), None));
        assert!(keeps(reader("replica", 90, None), None));
        assert!(!keeps(reader("replica", 1, None), None));
        assert!(!keeps(reader("catalog", 90, None), None));
    }

    #[test]
    fn how_each_ends() {
        let readers = Readers {
            sessions: vec![session(7, "idle in transaction")],
            prepared: vec![Prepared {
                name: "one".to_owned(),
                role: "app".to_owned(),
                age: 90,
                is_here: true,
                locked_tables: Vec::new(),
            }],
            ..Readers::default()
        };
        for (kind, said, typed) in [
            ("session", "pid 7 (psql", "pg_terminate_backend"),
            ("prepared", "transaction one", "ROLLBACK PREPARED 'one'"),
            ("replica", "the replica one", "# on the replica"),
            ("slot", "which nobody reads", "pg_drop_replication_slot"),
            ("catalog", "which nobody reads", "pg_drop_replication_slot"),
        ] {
            let one = reader(kind, 90, None);
            assert!(readers.described(&one).contains(said), "{kind}");
            let remedy = readers.end(&one, &server()).unwrap().to_string();
            assert!(remedy.contains(typed), "{kind}: {remedy}");
        }
    }
}
