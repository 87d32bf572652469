//! Rows that share a key which is gone: none is lost when the key is added again.

use crate::config::sql_name;

use super::home::Home;
use super::issue::{Step, block, literal};
use super::set_aside::set_aside;
use super::triggers::counted_again;

/// Adds a unique constraint if `is_missing`, after rows that share a key got others or were set
/// aside. `add` is the statement for the constraint.
pub(super) fn unique(
    home: Home<'_>,
    table: &str,
    definition: &str,
    is_missing: &str,
    add: &str,
) -> Vec<Step> {
    let key = key(definition);
    if table == "todoctl_unread" {
        let add = block("", is_missing, add);
        let counted = counted_again(home, Some(&format!("DELETE FROM todoctl_unread; {add}")));
        return vec![home.alter(table, counted)];
    }
    let (note, separate) = if key == "id" {
        (
            format!(
                "rows of {table} that share an id or have none: the oldest keeps it, each other gets a new one, which is shown"
            ),
            renumber(home, table),
        )
    } else {
        (
            format!(
                "rows of {table} that share their {key}: one stays, the others are moved to the table {}",
                set_aside(table)
            ),
            move_copies_away(home, table, key),
        )
    };
    let lock = format!(
        "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
        home.qualified(table)
    );
    let statement = block(
        "one record;",
        is_missing,
        &format!("{lock}; {separate}; {add}"),
    );
    vec![
        Step::note(note),
        home.alter(table, home.in_schema(&statement)),
    ]
}

/// Reminders that were stored twice stay, and the later one no longer counts as the reminder.
pub(super) fn reminders(home: Home<'_>) -> Step {
    let table = home.qualified("notifications");
    home.alter(
        "notifications",
        format!(
            "UPDATE {table} SET dedup_key = NULL WHERE dedup_key IS NOT NULL AND ctid IN ({})",
            copies(&table, "task_id, type, dedup_key", "created_at, id")
        ),
    )
}

/// `user_id, provider` of `UNIQUE (user_id, provider)`.
fn key(definition: &str) -> &str {
    let columns = definition.split_once('(').map_or("", |(_, rest)| rest);
    columns
        .split_once(')')
        .map_or(columns, |(columns, _)| columns)
}

/// The places of all rows but the first with each key.
fn copies(table: &str, key: &str, order: &str) -> String {
    format!(
        "SELECT place FROM (SELECT ctid AS place, ({key}) IS NULL AS is_empty, row_number() OVER (PARTITION BY {key} ORDER BY {order}, ctid) AS number \
         FROM {table}) AS numbered WHERE number > 1"
    )
}

/// Gives each copy, and each row without an id, one above all others, and lets the sequence continue behind them.
fn renumber(home: Home<'_>, table: &str) -> String {
    let qualified = home.qualified(table);
    let sequence = format!(
        "pg_get_serial_sequence({}, {})",
        literal(&qualified),
        literal("id")
    );
    let next = format!("greatest(max(id), nextval({sequence}))");
    let copies = format!("{} OR is_empty", copies(&qualified, "id", "created_at"));
    format!(
        "FOR one IN UPDATE {qualified} AS t SET id = copy.new FROM (SELECT c.place, t.id AS old, \
         (SELECT {next} FROM {qualified}) + row_number() OVER (ORDER BY c.place) AS new \
         FROM ({copies}) AS c JOIN {qualified} AS t ON t.ctid = c.place) AS copy \
         WHERE t.ctid = copy.place RETURNING copy.old, copy.new \
         LOOP RAISE NOTICE {}, one.old, one.new; END LOOP; \
         PERFORM setval({sequence}, {next}) FROM {qualified}",
        literal(&format!("{table}: a copy of % is now %"))
    )
}

/// Moves all rows but one with each key into a table of their own.
fn move_copies_away(home: Home<'_>, table: &str, key: &str) -> String {
    let order = match table {
        "user_api_keys" => "updated_at DESC",
        // A session that was revoked stays so: NULL sorts last.
        "todoctl_sessions" => "revoked_at",
        // A mail that was sent is not sent again.
        "todoctl_outbox" => "state = $$pending$$, id",
        "todoctl_attempts" => "attempts DESC",
        "todoctl_idempotency_keys" => "created_at",
        _ => "ctid",
    };
    let copies = copies(&home.qualified(table), key, order);
    move_away(home, table, &format!("ctid IN ({copies})"))
}

/// Moves the rows that a condition holds for into a table of their own, in PL/pgSQL.
pub(super) fn move_away(home: Home<'_>, table: &str, condition: &str) -> String {
    let qualified = home.qualified(table);
    let other = home.qualified(&set_aside(table));
    let name = sql_name(table);
    format!(
        "IF EXISTS (SELECT FROM {qualified} AS {name} WHERE {condition}) THEN \
         CREATE TABLE IF NOT EXISTS {other} (LIKE {qualified}); \
         WITH moved AS (DELETE FROM {qualified} AS {name} WHERE {condition} RETURNING *) \
         INSERT INTO {other} SELECT * FROM moved; END IF"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(key("PRIMARY KEY (id)"), "id");
        assert_eq!(key("UNIQUE (user_id, provider)"), "user_id, provider");
    }
}
