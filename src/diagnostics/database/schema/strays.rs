//! Rows that the daemon has written to a table of the same name in place of the service's.

use crate::config::sql_name;
use crate::store::migrate::expected_tables;

use super::set_aside::set_aside;

/// A block of PL/pgSQL that copies the rows of `from` into the service's `table` and gives `from`
/// another name, in one transaction: no request writes to it in between. A row whose id is another
/// row's, or missing, gets a new id, and rows that both have keep the newer values. Of a table of
/// another program, only rows that were made after `since` are taken, an expression of SQL. Nothing
/// happens where `from` is not there.
pub(in crate::diagnostics::database) fn carried_over(
    schema: &str,
    table: &str,
    from: &str,
    since: Option<&str>,
) -> String {
    let own = format!("{}.{}", sql_name(schema), sql_name(table));
    let copying = copying(table, &own, from, since);
    let copying = if since.is_some() && !copying.is_empty() {
        // Without these columns, the daemon has stored nothing in it.
        format!("BEGIN {copying}EXCEPTION WHEN undefined_column THEN NULL; END; ")
    } else {
        copying
    };
    format!(
        "DO $do$ BEGIN IF to_regclass($${from}$$) IS NOT NULL THEN \
         LOCK TABLE {from} IN ACCESS EXCLUSIVE MODE; {copying}\
         ALTER TABLE {from} RENAME TO {}; END IF; END $do$",
        sql_name(&set_aside(table))
    )
}

/// Empty for a table whose rows nobody misses, such as counts.
fn copying(table: &str, own: &str, from: &str, since: Option<&str>) -> String {
    let parts = expected_tables().find(|(name, _)| *name == table);
    let columns: Vec<&str> = parts
        .iter()
        .flat_map(|(_, parts)| parts.keys())
        .filter_map(|part| part.strip_prefix("column "))
        .collect();
    if !columns.contains(&"created_at") {
        return String::new();
    }
    let named = |columns: &[&str]| columns.join(", ");
    let prefixed = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|one| format!("t.{one}")).collect();
        columns.join(", ")
    };
    let all = named(&columns);
    let of_all = prefixed(&columns);
    let limit = since.map_or_else(String::new, |since| format!(" AND t.created_at >= {since}"));
    let mut statements = String::new();
    // Other programs may have changed the values of a temporary copy.
    if columns.contains(&"updated_at") && since.is_none() {
        statements += &format!(
            "UPDATE {own} o SET ({all}) = ROW ({of_all}) FROM {from} t \
             WHERE t.id = o.id AND t.created_at = o.created_at AND t.updated_at > o.updated_at; "
        );
    }
    if columns.contains(&"id") {
        let rest: Vec<&str> = columns.iter().copied().filter(|one| *one != "id").collect();
        statements += &format!(
            "INSERT INTO {own} ({}) SELECT {} FROM {from} t WHERE (t.id IS NULL OR EXISTS \
             (SELECT FROM {own} o WHERE o.id = t.id AND o.created_at <> t.created_at)){limit} \
             ON CONFLICT DO NOTHING; ",
            named(&rest),
            prefixed(&rest)
        );
    }
    let has_key = if columns.contains(&"id") {
        "t.id IS NOT NULL"
    } else {
        "true"
    };
    statements += &format!(
        "INSERT INTO {own} ({all}) SELECT {of_all} FROM {from} t WHERE {has_key}{limit} ON CONFLICT DO NOTHING; "
    );
    statements
}

/// Tables in an order in which rows come before those that refer to them.
pub(in crate::diagnostics::database) fn in_order(tables: &mut [String]) {
    let rank = |table: &str| match table {
        "tasks" => 0,
        "notifications" => 1,
        _ => 2,
    };
    tables.sort_by(|one, other| (rank(one), one).cmp(&(rank(other), other)));
}
