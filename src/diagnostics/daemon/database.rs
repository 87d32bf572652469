//! Whether the daemon serves the database of this configuration, and if not, what has changed.

use std::path::Path;
use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, PostgresTarget, Remedy, sql_literal};
use crate::diagnostics::context::Context;
use crate::diagnostics::database::former::{Former, content, named_back};
use crate::diagnostics::database::work::reset_search_path;
use crate::diagnostics::probe;
use crate::diagnostics::verdict::{Outcome, Verdict};
use crate::services::daemon::DatabaseStatus;
use crate::store::Identity;

use super::environ::hidden_here;
use super::foreign_ids::foreign_ids;
use super::status::{OLDER, daemon_status};

/// The variables that decide about the database.
const DATABASE: [&str; 3] = ["DATABASE_URL", "DATABASE_URL_FILE", "TODOCTL_DATA_DIR"];

pub(super) async fn database(
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Verdict {
    let status = match daemon_status(context, limit).await {
        Ok(status) => status,
        Err(skipped) => return skipped,
    };
    let Some(served) = &status.database else {
        return Verdict::skip(OLDER);
    };
    let ours = match tokio::time::timeout(limit, Identity::ask(&config.target)).await {
        Ok(Ok(ours)) => ours,
        Ok(Err(error)) => return Verdict::skip(format!("skipped: {error}")),
        Err(_) => return Verdict::skip("skipped: the database did not answer in time"),
    };
    let found = compare(served, &ours);
    let hidden = hidden_here(&context.request.source, &DATABASE);
    if let (false, Some((why, remedy))) = (found == Difference::None, hidden) {
        return Verdict::fail(
            format!("the daemon serves another database than this command looks at; {why}"),
            remedy,
        );
    }
    if let (Difference::Removed(_), DatabaseTarget::Postgres(server)) = (&found, &config.target) {
        let asked = context.server.ask(server, limit, async |connection| {
            connection.hides_identity().await
        });
        if let Ok(Ok(true)) = tokio::time::timeout(limit, asked).await {
            return Verdict::skip("skipped: this role may not read todoctl_identity");
        }
    }
    match (found, &config.target) {
        (Difference::None, target) => foreign_ids(context, config, status, limit)
            .await
            .unwrap_or_else(|| verdict(Difference::None, target)),
        (Difference::Schema, DatabaseTarget::Postgres(server)) => {
            other_schema(context, server, &ours, served, limit).await
        }
        (
            difference @ (Difference::CreatedAgain | Difference::Other),
            DatabaseTarget::Sqlite(file),
        ) => {
            let listener = probe::listener(context.audit.http.port).await;
            match listener.map(|one| one.pid) {
                Some(pid) if probe::has_own_mounts(pid) => elsewhere(pid, &file.path),
                Some(pid) if !is_relative_to_another(&file.path, pid) => {
                    match probe::open_database(pid) {
                        Some(open) => led_elsewhere(pid, &open, &file.path),
                        None => verdict(difference, &config.target),
                    }
                }
                _ => verdict(difference, &config.target),
            }
        }
        (
            difference @ (Difference::Removed(_) | Difference::CreatedAgain),
            DatabaseTarget::Postgres(_),
        ) => {
            let found = content(context, config, limit).await;
            match found.filter(|(content, _)| content.tasks == 0) {
                Some((_, has_tables)) => emptied(difference, config, served, has_tables).await,
                None => verdict(difference, &config.target),
            }
        }
        (difference, target) => verdict(difference, target),
    }
}

/// Nothing is left in it, or it is a new one.
async fn emptied(
    difference: Difference,
    config: &DatabaseConfig,
    served: &DatabaseStatus,
    has_tables: bool,
) -> Verdict {
    let mut found = match difference {
        Difference::Removed(_) if !has_tables => Verdict::fail(
            "the same database without its tables: since the daemon started, its schema was emptied",
            Remedy::note(
                "stop the daemon, which creates empty tables when it starts, and restore the backup first (pg_restore)",
            ),
        ),
        difference => verdict(difference, &config.target),
    };
    if found.outcome == Outcome::Fail
        && let Some(id) = &served.id
    {
        let former = Former {
            id,
            database: served.database.as_deref(),
        };
        let remedy = found.remedy.unwrap_or_default();
        found.remedy = Some(named_back(config, former, 0, remedy).await);
    }
    found
}

/// The same path leads to another file in a container.
fn elsewhere(pid: i32, path: &Path) -> Verdict {
    Verdict::fail(
        format!(
            "the daemon (pid {pid}) runs in a container, or with mounts of its own, where {} is another file than here: this command examined a file that the daemon does not use",
            path.display()
        ),
        Remedy::note(format!(
            "run this command where the daemon runs, as root: todoctl --pid {pid} doctor"
        )),
    )
}

/// Whether the path leads elsewhere from the directory in which the process was started.
fn is_relative_to_another(path: &Path, pid: i32) -> bool {
    let of = |process: &str| std::fs::read_link(format!("/proc/{process}/cwd")).ok();
    path.is_relative() && of(&pid.to_string()) != of("self")
}

/// Mostly because a link or a mount on the path has changed. The daemon refuses changes then.
fn led_elsewhere(pid: i32, open: &Path, path: &Path) -> Verdict {
    let (open, path) = (open.display(), path.display());
    Verdict::fail(
        format!(
            "the daemon (pid {pid}) has {open} open, which is not what {path} leads to: since it started, a link or a mount on that path has changed, or it was started with another DATABASE_URL"
        ),
        Remedy::note(format!(
            "what was stored until now is in {open}: if that is the right file, lead {path} there again, which needs no restart; otherwise restart the daemon, if the configuration was changed on purpose"
        )),
    )
}

/// What has changed since the daemon started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// The row of `todoctl_identity` is gone; what it was.
    Removed(String),
    /// The same place with the content of another database.
    Content,
    /// The same database, another schema.
    Schema,
    /// Another database, or another file, under the same name.
    CreatedAgain,
    Other,
}

pub(super) fn compare(served: &DatabaseStatus, ours: &Identity) -> Difference {
    let parts = ours.parts();
    if served.place == ours.place() {
        return match (&served.id, ours.row()) {
            (Some(id), None) => Difference::Removed(id.clone()),
            (Some(id), Some(row)) if id != row => Difference::Content,
            // A daemon that started before the migration knows no id.
            _ => Difference::None,
        };
    }
    if served.database.as_ref() == Some(&parts.database) {
        Difference::Schema
    } else if served.name.as_ref() == Some(&parts.name) {
        Difference::CreatedAgain
    } else {
        Difference::Other
    }
}

fn verdict(difference: Difference, target: &DatabaseTarget) -> Verdict {
    match difference {
        Difference::None => Verdict::pass("the one of this configuration"),
        Difference::Removed(id) => Verdict::warn(
            "the same database, but its identity is gone: since the daemon started, the table todoctl_identity was emptied or dropped",
            stored_again(&id, target),
        ),
        Difference::Content => Verdict::fail(
            "the same database with another identity: since the daemon started, its content was replaced, as by a restore",
            Remedy::note("restart the daemon, so that it knows what it serves"),
        ),
        Difference::CreatedAgain => Verdict::fail(
            match target {
                DatabaseTarget::Postgres(server) => format!(
                    "since the daemon started, the database {} was dropped and created again; its new connections lead to the new one",
                    server.database
                ),
                DatabaseTarget::Sqlite(file) => format!(
                    "since the daemon started, {} was replaced by another file; the daemon still has the old one open",
                    file.path.display()
                ),
            },
            Remedy::note(
                "restart the daemon, if that was on purpose: it creates the tables where they are missing; otherwise stop it, and put the old data back first",
            ),
        ),
        Difference::Schema | Difference::Other => Verdict::fail(
            "the daemon serves another database than this configuration names",
            Remedy::note(
                "restart the daemon if the configuration was changed on purpose; otherwise correct DATABASE_URL, or run this command with the daemon's environment",
            )
            .or(whole_path(target)),
        ),
    }
}

/// A relative path leads to another file in each working directory.
fn whole_path(target: &DatabaseTarget) -> Remedy {
    match target {
        DatabaseTarget::Sqlite(file) if file.path.is_relative() => {
            let whole = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone());
            Remedy::note("a relative path leads to another file in each working directory: for the daemon to use the file that is here, DATABASE_URL needs its whole path, and the daemon a restart")
                .then(Remedy::set("DATABASE_URL", format!("sqlite://{}", whole.display())))
        }
        _ => Remedy::default(),
    }
}

/// Stores the identity that the daemon knows.
fn stored_again(id: &str, target: &DatabaseTarget) -> Remedy {
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS todoctl_identity (single boolean PRIMARY KEY DEFAULT TRUE CHECK (single), id text NOT NULL)";
    // As the migrations make it. What answers as the daemon may be another program.
    if id.len() != 32 || !id.bytes().all(|sign| sign.is_ascii_hexdigit()) {
        return Remedy::note("restart the daemon, and read its log");
    }
    let id = sql_literal(id);
    match target {
        DatabaseTarget::Postgres(_) => Remedy::sql(format!(
            "{TABLE}; INSERT INTO todoctl_identity (id) VALUES ({id}) ON CONFLICT DO NOTHING"
        )),
        // SQLite gives the key of a row without one the next number, which may be 2.
        DatabaseTarget::Sqlite(file) => Remedy::command("sqlite3").arg(&file.path).arg(format!(
            "INSERT OR REPLACE INTO todoctl_identity (single, id) VALUES (1, {id});"
        )),
    }
}

/// The search path has changed, or the daemon was started with another one.
async fn other_schema(
    context: &Context,
    server: &PostgresTarget,
    ours: &Identity,
    served: &DatabaseStatus,
    limit: Duration,
) -> Verdict {
    let ask = context.server.ask(server, limit, async |connection| {
        Ok((connection.schemas().await?, connection.role().await?))
    });
    let (schemas, unusable) = match ask.await {
        Ok((schemas, role)) => (schemas, role.unusable),
        Err(_) => (Vec::new(), Vec::new()),
    };
    let theirs = schemas
        .iter()
        .find(|schema| ours.place_in(schema) == served.place);
    // The search path leads there again when the role may use the schema.
    if theirs.is_some_and(|schema| unusable.iter().any(|one| one.trim_matches('"') == schema)) {
        return Verdict::skip_because_failed("database.role");
    }
    if theirs.is_none() && ours.schema().is_none() {
        return Verdict::skip_because_failed("database.role");
    }
    let named = theirs.map_or_else(
        || "one that is gone".to_owned(),
        |schema| format!("the schema {schema}"),
    );
    let remedy = reset_search_path(context, server, theirs.map(String::as_str), limit).await;
    Verdict::fail(
        format!(
            "the same database in another schema: the daemon started with {named}, and the search path leads to {} now",
            ours.schema().unwrap_or("none")
        ),
        remedy.or(Remedy::note(
            "if it was changed on purpose, restart the daemon",
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(id: Option<&str>, ours: &Identity) -> DatabaseStatus {
        let parts = ours.parts();
        DatabaseStatus {
            id: id.map(str::to_owned),
            place: ours.place(),
            server: parts.server,
            database: Some(parts.database),
            name: Some(parts.name),
        }
    }

    #[test]
    fn what_has_changed() {
        let ours = Identity::fixture(Some("a"), "5.public");
        let of = |served: &DatabaseStatus| compare(served, &ours);
        assert_eq!(of(&served(Some("a"), &ours)), Difference::None);
        assert_eq!(of(&served(None, &ours)), Difference::None);
        assert_eq!(of(&served(Some("b"), &ours)), Difference::Content);
        let emptied = Identity::fixture(None, "5.public");
        assert_eq!(
            compare(&served(Some("a"), &ours), &emptied),
            Difference::Removed("a".to_owned())
        );
        let schema = served(Some("a"), &Identity::fixture(Some("a"), "5.app"));
        assert_eq!(of(&schema), Difference::Schema);
        let created_again = served(Some("a"), &Identity::fixture(Some("a"), "6.public"));
        assert_eq!(of(&created_again), Difference::CreatedAgain);
        let mut other = created_again;
        other.name = Some("x".to_owned());
        assert_eq!(of(&other), Difference::Other);
        // An older daemon tells its place alone.
        (other.database, other.name) = (None, None);
        assert_eq!(of(&other), Difference::Other);
    }

    #[test]
    fn what_answers_as_the_daemon_may_be_another_program() {
        let target = DatabaseTarget::Postgres(PostgresTarget::fixture("db.example.com", 5432));
        let id = "0123456789abcdef0123456789abcdef";
        assert!(stored_again(id, &target).to_string().contains(id));
        let other = stored_again("'; DROP TABLE tasks; --", &target);
        assert_eq!(other.commands().count(), 0);
    }
}
