//! The file that a URL of the embedded database names.

use super::part::{BadUrl, Parsed, bad, decoded, ignored, parameters};
use super::target::{DatabaseTarget, SqliteTarget};

/// `path` is what follows `sqlite:`. In SQLAlchemy's spelling a relative path has three
/// slashes before it and an absolute one four; elsewhere two and three.
pub(super) fn sqlite(path: &str, sqlalchemy: bool) -> Result<Parsed, BadUrl> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = if sqlalchemy {
        path.strip_prefix('/').unwrap_or(path)
    } else {
        path
    };
    let path = decoded(path)?;
    if path.is_empty() || path.contains(":memory:") || query.contains("mode=memory") {
        return bad(
            "names no file: a database in memory would lose all tasks when todoctl stops",
            "name a file, as in sqlite://data/todo.db (relative) or sqlite:///var/lib/todoctl/todo.db",
        );
    }
    if path.ends_with('/') {
        return bad(
            "names a directory, not a file",
            "name a file in it, as in sqlite://data/todo.db",
        );
    }
    // Four slashes in the plain spelling leave `//var/x`.
    let path = match path.trim_start_matches('/') {
        rest if rest.len() < path.len() => format!("/{rest}"),
        _ => path,
    };
    let remarks = parameters(query)?
        .iter()
        .filter(|(name, value)| !(name == "mode" && matches!(value.as_str(), "rwc" | "rw")))
        .map(|(name, _)| ignored(name))
        .collect();
    Ok(Parsed {
        value: DatabaseTarget::Sqlite(SqliteTarget { path: path.into() }),
        remarks,
    })
}
