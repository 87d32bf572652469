//! Names, texts and statements in SQL, as remedies have them.

/// How long, in milliseconds, a statement that is pasted waits for a table: all requests that use
/// the table queue behind it.
const LOCK_TIMEOUT: &str = "lock_timeout = 5000";

/// What locks a table against requests. `CONCURRENTLY` does not.
const LOCKING: [&str; 11] = [
    "ALTER TABLE ",
    "ALTER TYPE ",
    "ALTER TRIGGER ",
    "CREATE TRIGGER ",
    "CREATE POLICY ",
    "CREATE INDEX ",
    "CREATE UNIQUE INDEX ",
    "DROP INDEX ",
    "DROP POLICY ",
    "DROP TRIGGER ",
    "LOCK TABLE ",
];

/// A statement as psql gets it, in one argument of `-c` or two. One that locks tables gives up
/// where it has to wait for them, and can be pasted again.
pub(super) fn pasted(statement: &str) -> Vec<String> {
    let line = one_line(statement);
    if line.starts_with("VACUUM (FULL") {
        // Refused in a transaction, which several statements of one argument are.
        return vec![format!("SET {LOCK_TIMEOUT}"), line];
    }
    let locks = LOCKING.iter().any(|words| line.contains(words));
    if locks && !line.contains(" CONCURRENTLY ") {
        return vec![format!("SET LOCAL {LOCK_TIMEOUT}; {line}")];
    }
    vec![line]
}

/// A line break would end the command in the middle of a word.
pub(crate) fn one_line(statement: &str) -> String {
    let words: Vec<&str> = statement.split_whitespace().collect();
    words.join(" ")
}

/// A name in SQL, quoted.
#[must_use]
pub fn sql_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, quoted.
#[must_use]
pub fn sql_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(sql_name("to\"do"), "\"to\"\"do\"");
    }

    #[test]
    fn only_what_locks_tables_has_a_limit() {
        for (statement, parts) in [
            (
                "ALTER TABLE t\n SET LOGGED",
                &["SET LOCAL lock_timeout = 5000; ALTER TABLE t SET LOGGED"][..],
            ),
            (
                "DO $$ BEGIN CREATE TRIGGER x END $$",
                &["SET LOCAL lock_timeout = 5000; DO $$ BEGIN CREATE TRIGGER x END $$"],
            ),
            (
                "DROP INDEX CONCURRENTLY IF EXISTS i",
                &["DROP INDEX CONCURRENTLY IF EXISTS i"],
            ),
            (
                "VACUUM (FULL, ANALYZE) t",
                &["SET lock_timeout = 5000", "VACUUM (FULL, ANALYZE) t"],
            ),
            ("VACUUM (ANALYZE) t", &["VACUUM (ANALYZE) t"]),
            ("SELECT 1", &["SELECT 1"]),
        ] {
            assert_eq!(pasted(statement), parts);
        }
    }
}
