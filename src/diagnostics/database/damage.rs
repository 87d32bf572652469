//! What a damaged file of a PostgreSQL server belongs to.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy};
use crate::diagnostics::context::Context;
use crate::diagnostics::probe::ServerConnection;
use crate::diagnostics::verdict::Verdict;
use crate::store::inspect::StoredFile;

/// The table or index whose file a message names, and how it becomes whole.
pub(super) async fn owner(
    context: &Context,
    server: &PostgresTarget,
    message: &str,
    limit: Duration,
) -> Option<Verdict> {
    let ask = async |connection: &mut ServerConnection| StoredFile::ask(connection.session()).await;
    let files = context.server.ask(server, limit, ask).await.ok()?;
    let damaged = files.iter().find(|one| is_named(one, message))?;
    Some(check(damaged, server))
}

/// Whether a message names the file, as in: invalid page in block 0 of relation base/5/16402. That
/// of an index may name the index.
fn is_named(file: &StoredFile, message: &str) -> bool {
    let names = |text: &str, is_part: fn(char) -> bool| {
        let mut found = message.match_indices(text);
        found.any(|(at, _)| !message[at + text.len()..].starts_with(is_part))
    };
    names(&file.path, |next| next.is_ascii_digit())
        || file.is_index
            && names(&file.plain_name, |next| {
                next.is_alphanumeric() || next == '_'
            })
}

fn check(file: &StoredFile, server: &PostgresTarget) -> Verdict {
    let StoredFile { name, table, .. } = file;
    if file.is_index {
        let statement = format!("REINDEX INDEX CONCURRENTLY {name}");
        let remedy = if file.is_owned {
            Remedy::sql(statement)
        } else {
            Remedy::admin_sql(server, None, statement)
        };
        return Verdict::fail(
            format!("that is the index {name} of {table}, which can be made again"),
            remedy.then(Remedy::note(LOOK)),
        );
    }
    let rescued = file.table_with("_rescued");
    let copy = Remedy::admin_command("psql", server, None)
        .arg("-d")
        .arg(server.own_name())
        .arg("-c")
        .arg("SET zero_damaged_pages = on")
        .arg("-c")
        .arg(format!("CREATE TABLE {rescued} AS TABLE {table}"));
    let what = if name == table {
        format!("that is the table {table}: rows of it cannot be read")
    } else {
        format!("that is where {table} has its long texts: some cannot be read")
    };
    Verdict::fail(
        what,
        Remedy::note(format!(
            "switch to a standby, or restore a backup of {table} (with the log since then, nothing is lost)"
        ))
        .then(Remedy::note(format!(
            "without either, this copies the rows that can be read to {rescued}, and changes nothing else:"
        )))
        .or(copy)
        .then(Remedy::note(LOOK)),
    )
}

const LOOK: &str =
    "look for errors of the disk in the kernel's log (dmesg): what damaged one page damages more";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_messages() {
        let file = StoredFile {
            name: "public.tasks_pkey".to_owned(),
            plain_name: "tasks_pkey".to_owned(),
            table: "public.tasks".to_owned(),
            path: "base/5/1640".to_owned(),
            is_index: true,
            is_owned: true,
        };
        for (message, is_it) in [
            ("invalid page in block 0 of relation base/5/1640", true),
            ("invalid page in block 0 of relation base/5/16402", false),
            ("could not read block 3 in file \"base/5/1640.1\"", true),
            (
                "Index »tasks_pkey« enthält korrupte Seite bei Block 1",
                true,
            ),
            ("index \"tasks_pkey_old\" is not a btree", false),
        ] {
            assert_eq!(is_named(&file, message), is_it, "{message}");
        }
    }
}
