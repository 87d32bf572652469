//! Why an operation fails, and what to do about it.
//!
//! What the catalogue shows is looked up by the checks of the schema; their remedies are used
//! here. The rest is in the error itself.

use std::time::Duration;

use crate::config::{DatabaseConfig, DatabaseTarget, Remedy, sql_name};
use crate::diagnostics::check::Server;
use crate::diagnostics::context::Context;
use crate::diagnostics::database::{integrity, role, schema, search};
use crate::diagnostics::verdict::{Outcome, Unexplained, Verdict};
use crate::store::messages::{KnownMessage, Place, quoted_name};
use crate::store::migrate::{is_own_part, is_required};
use crate::store::{PostgresFault, StoreError, TrialFault, known_message};

/// What to do about a fault, and the check that finds the same cause.
pub(super) struct Cause {
    pub(super) check: Option<&'static str>,
    pub(super) remedy: Remedy,
}

/// What an error begins with where a right is missing.
const DENIED: &str = "permission denied for ";

const TABLES: &str = "database.tables";
const ROLE: &str = "database.role";
const ROW_SECURITY: &str = "database.row_security";
const TRIGGERS: &str = "database.triggers";
const SCHEMA: &str = "database.schema";
const INDEXES: &str = "database.indexes";
const SEQUENCES: &str = "database.sequences";
const SEARCH: &str = "database.search";
const INTEGRITY: &str = "database.integrity";

/// The causes of `faults`, each once.
pub(super) async fn of(
    context: &Context,
    config: &DatabaseConfig,
    faults: &[(&str, &TrialFault)],
    limit: Duration,
) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut asked: Vec<&str> = Vec::new();
    for (_, fault) in faults {
        if let Some(cause) = of_function(context, config, fault, limit).await {
            causes.push(cause);
            continue;
        }
        let mut is_found = false;
        let first = suspects(fault);
        for (index, check) in first.iter().chain(last_resort(fault)).enumerate() {
            if is_found && index >= first.len() {
                break;
            }
            is_found |= causes.iter().any(|one: &Cause| one.check == Some(*check));
            if asked.contains(check) {
                continue;
            }
            asked.push(check);
            let verdict = verdict_of(check, context, config, limit).await;
            let remedy = verdict.filter(|one| one.outcome != Outcome::Pass);
            if let Some(remedy) = remedy.and_then(|one| one.remedy) {
                is_found = true;
                causes.push(Cause {
                    check: Some(check),
                    remedy,
                });
            }
        }
        if !is_found {
            let remedy = by_error(fault, &config.target);
            causes.push(Cause {
                check: None,
                remedy,
            });
        }
    }
    causes
}

/// A fault that is raised in a function of others: a right that it needs, or the trigger that runs
/// it.
async fn of_function(
    context: &Context,
    config: &DatabaseConfig,
    fault: &TrialFault,
    limit: Duration,
) -> Option<Cause> {
    let (TrialFault::Refused(error), DatabaseTarget::Postgres(target)) = (fault, &config.target)
    else {
        return None;
    };
    let fault = error.postgres()?;
    let server = Server { config, target };
    if let Some(remedy) = schema::without_repack(context, server, limit, &fault).await {
        return Some(Cause {
            check: Some(TRIGGERS),
            remedy,
        });
    }
    let function = fault.raised_in.as_deref()?;
    if fault.code == "42501"
        && let Some(remedy) = schema::missing_rights(context, server, limit).await
    {
        return Some(Cause {
            check: None,
            remedy,
        });
    }
    let remedy = schema::without_trigger(context, server, limit, function).await?;
    Some(Cause {
        check: Some(TRIGGERS),
        remedy,
    })
}

/// The checks that may know the cause.
fn suspects(fault: &TrialFault) -> &'static [&'static str] {
    match fault {
        TrialFault::Swallowed(_) | TrialFault::Altered { .. } => &[TRIGGERS, ROW_SECURITY, SCHEMA],
        TrialFault::Unseen(_) | TrialFault::Hidden(_) => &[ROW_SECURITY, TRIGGERS],
        TrialFault::Refused(error) => of_error(error),
    }
}

/// Where neither a check nor the error itself tells the cause: what others attached to the tables.
fn last_resort(fault: &TrialFault) -> &'static [&'static str] {
    match fault {
        // SQLite says the same of the index of searches.
        TrialFault::Refused(error)
            if known_message(error).is_some_and(KnownMessage::is_of_pages) =>
        {
            &[SEARCH]
        }
        // Functions that are no text, as that of tsvector_update_trigger, do not name themselves.
        TrialFault::Refused(error)
            if known_message(error).is_none_or(|known| known.id == "postgres.no-table")
                && error
                    .postgres()
                    .is_some_and(|one| statement(&one, "").is_none()) =>
        {
            &[TRIGGERS]
        }
        _ => &[],
    }
}

fn of_error(error: &StoreError) -> &'static [&'static str] {
    let Some(fault) = error.postgres() else {
        return match known_message(error) {
            // SQLite says the same where the ids are used up.
            Some(known) if known.id == "sqlite.disk-full" => &[SEQUENCES],
            Some(known) if known.is_of_pages() => &[INTEGRITY],
            _ => &[SCHEMA, SEARCH],
        };
    };
    let class = fault.code.get(..2).unwrap_or_default();
    // PostgreSQL, appendix A.
    match fault.code.as_str() {
        "42501" if fault.message.contains("row-level security") => &[ROW_SECURITY],
        // In another language it may be either.
        "42501" => &[ROLE, ROW_SECURITY],
        "25006" => &[ROLE],
        "42P10" => &[INDEXES, SCHEMA],
        // The ids are used up.
        "2200H" => &[SEQUENCES],
        // As of a parameter that a policy or a default reads.
        "42704" => &[ROW_SECURITY, SCHEMA, TRIGGERS],
        // RETURNING fails where a rule does something else instead.
        "0A000" => &[TRIGGERS],
        "23505" => &[SEQUENCES, INDEXES, SCHEMA],
        // An entry that is too long for its index.
        "54000" => &[INDEXES],
        _ if fault.raised_in.is_some() => &[TRIGGERS],
        _ if matches!(class, "22" | "23" | "42") => &[SCHEMA],
        _ => &[],
    }
}

/// What one of the suspects says now.
pub(in crate::diagnostics::database) async fn verdict_of(
    id: &str,
    context: &Context,
    config: &DatabaseConfig,
    limit: Duration,
) -> Option<Verdict> {
    if let (ROLE, DatabaseTarget::Postgres(target)) = (id, &config.target) {
        return Some(role::role(context, Server { config, target }, limit).await);
    }
    if let (TABLES, DatabaseTarget::Postgres(target)) = (id, &config.target) {
        return Some(schema::tables(context, Server { config, target }, limit).await);
    }
    if let (SEARCH, DatabaseTarget::Sqlite(_)) = (id, &config.target) {
        return Some(search::search(context, config, limit).await);
    }
    if let (INTEGRITY, DatabaseTarget::Sqlite(file)) = (id, &config.target) {
        return Some(integrity::integrity(context, file, limit).await);
    }
    let check = schema::CHECKS.iter().find(|check| check.id == id)?;
    Some(check.start(context, limit)?.await)
}

/// What the error itself tells.
fn by_error(fault: &TrialFault, target: &DatabaseTarget) -> Remedy {
    let TrialFault::Refused(error) = fault else {
        return Remedy::note("see what differs from the migrations:")
            .then(Remedy::command("todoctl migrate check"));
    };
    if let DatabaseTarget::Postgres(server) = target
        && let Some(fault) = error.postgres()
        && let Some(statement) = statement(&fault, &server.user)
    {
        return Remedy::admin_sql(server, None, statement);
    }
    match known_message(error) {
        // The runner adds the cause.
        Some(known) if !known.is_of_catalogue() && Unexplained::of(known, error).is_some() => {
            Remedy::default()
        }
        Some(known) => known.remedy_at(Place::from(target), &error.to_string()),
        None => Place::from(target).unexplained(),
    }
}

/// The statement that removes the reason for an error.
fn statement(fault: &PostgresFault, role: &str) -> Option<String> {
    let table = fault.table.as_deref().map(sql_name);
    match fault.code.as_str() {
        "42501" => {
            // As in "permission denied for table tasks".
            let (_, object) = fault.message.split_once(DENIED)?;
            let (kind, name) = object.split_once(' ')?;
            let privileges = match kind {
                "table" => "SELECT, INSERT, UPDATE, DELETE ON TABLE",
                "sequence" => "USAGE, SELECT ON SEQUENCE",
                "schema" => "USAGE ON SCHEMA",
                "type" => "USAGE ON TYPE",
                _ => return None,
            };
            Some(format!(
                "GRANT {privileges} {} TO {}",
                sql_name(name),
                sql_name(role)
            ))
        }
        // As in: cannot update table "tasks" because it does not have a replica identity.
        "55000" if fault.is_of_publication() => Some(format!(
            "ALTER TABLE {} REPLICA IDENTITY DEFAULT",
            sql_name(quoted_name(&fault.message)?)
        )),
        // As in: Column used in the publication WHERE expression is not part of the replica identity.
        "42P10" if fault.detail.as_ref()?.contains("WHERE") => Some(format!(
            "ALTER TABLE {} REPLICA IDENTITY FULL",
            sql_name(quoted_name(&fault.message)?)
        )),
        // As in: index row size 4056 exceeds btree version 4 maximum 2704 for index "long".
        "54000" if fault.is_of_index_entry() => {
            let index = quoted_name(&fault.message)?;
            (!is_own_part("index", index))
                .then(|| format!("DROP INDEX CONCURRENTLY IF EXISTS {}", sql_name(index)))
        }
        "23502" => {
            let column = fault.column.as_deref()?;
            let table = table.filter(|_| !is_required(fault.table.as_deref(), column))?;
            Some(format!(
                "ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL",
                sql_name(column)
            ))
        }
        "23503" | "23514" => {
            let constraint = fault.constraint.as_deref()?;
            let table = table.filter(|_| !is_own_part("constraint", constraint))?;
            let name = sql_name(constraint);
            Some(format!(
                "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::expected_tables;

    fn fault(code: &str, message: &str) -> PostgresFault {
        let routine = match code {
            "54000" => "_bt_check_third_page",
            _ => "CheckCmdReplicaIdentity",
        };
        PostgresFault {
            code: code.to_owned(),
            message: message.to_owned(),
            table: Some("tasks".to_owned()),
            column: Some("Colour".to_owned()),
            constraint: Some("short".to_owned()),
            routine: Some(routine.to_owned()),
            detail: Some("Column used in the publication WHERE expression is not part of the replica identity.".to_owned()),
            raised_in: None,
        }
    }

    /// As where another program's temporary table hides the one that a key refers to.
    #[test]
    fn own_constraints_and_indexes_stay() {
        let mut own = 0;
        for part in expected_tables().flat_map(|(_, parts)| parts.keys()) {
            let Some((kind, name)) = part.split_once(' ') else {
                continue;
            };
            own += usize::from(matches!(kind, "constraint" | "index"));
            let message = format!(
                "index row size 4056 exceeds btree version 4 maximum 2704 for index \"{name}\""
            );
            for code in ["23503", "23514", "54000"] {
                let fault = PostgresFault {
                    constraint: Some(name.to_owned()),
                    routine: Some("_bt_check_third_page".to_owned()),
                    ..fault(code, &message)
                };
                let is_dropped = statement(&fault, "todo").is_some();
                let is_kind = matches!(
                    (kind, code),
                    ("constraint", "23503" | "23514") | ("index", "54000")
                );
                assert!(!(is_kind && is_dropped), "{part} {code}");
            }
        }
        assert!(own > 10);
        // As where a trigger of others empties it.
        let column = Some("title".to_owned());
        let emptied = PostgresFault {
            column,
            ..fault("23502", "")
        };
        assert_eq!(statement(&emptied, "todo"), None);
    }

    #[test]
    fn statements() {
        let of = |code, message| statement(&fault(code, message), "todo-app");
        for (code, message, expected) in [
            (
                "42501",
                "permission denied for table user_sessions",
                Some(
                    r#"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "user_sessions" TO "todo-app""#,
                ),
            ),
            (
                "42501",
                "permission denied for sequence tasks_id_seq",
                Some(r#"GRANT USAGE, SELECT ON SEQUENCE "tasks_id_seq" TO "todo-app""#),
            ),
            ("42501", "keine Berechtigung", None),
            ("42501", "permission denied for language c", None),
            (
                "23502",
                "",
                Some(r#"ALTER TABLE "tasks" ALTER COLUMN "Colour" DROP NOT NULL"#),
            ),
            (
                "23514",
                "",
                Some(r#"ALTER TABLE "tasks" DROP CONSTRAINT IF EXISTS "short""#),
            ),
            (
                "55000",
                "cannot update table \"tasks\" because it does not have a replica identity and publishes updates",
                Some(r#"ALTER TABLE "tasks" REPLICA IDENTITY DEFAULT"#),
            ),
            (
                "55000",
                "kann Tabelle »tasks« nicht aktualisieren, weil sie keine Replik-Identität hat",
                Some(r#"ALTER TABLE "tasks" REPLICA IDENTITY DEFAULT"#),
            ),
            (
                "42P10",
                "cannot update table \"tasks\"",
                Some(r#"ALTER TABLE "tasks" REPLICA IDENTITY FULL"#),
            ),
            (
                "54000",
                "index row size 4056 exceeds btree version 4 maximum 2704 for index \"long\"",
                Some(r#"DROP INDEX CONCURRENTLY IF EXISTS "long""#),
            ),
            ("57014", "", None),
        ] {
            assert_eq!(of(code, message).as_deref(), expected, "{message}");
        }
    }
}
