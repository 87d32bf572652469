//! All rows of all tables, in short.

use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

use super::harness::Scene;

/// The contents of each table that has rows, and of the files of a database that cannot be
/// opened.
#[derive(Debug, PartialEq, Eq)]
pub struct Fingerprint(Vec<String>);

/// The history of migrations grows when they are applied.
const HISTORY: &str = "_sqlx_migrations";

/// Counts that triggers keep: a remedy counts again. `database.unread` compares them.
const COUNTS: &str = "todoctl_unread";

/// Copies of texts for searches: a migration adds them, and the daemon fills them.
const COPIES: [&str; 2] = ["search_title", "search_description"];

impl Fingerprint {
    pub async fn of(scene: &Scene) -> Self {
        let mut tables = match scene.administrators_url() {
            Some(url) => postgres_tables(&url).await,
            None => Vec::new(),
        };
        tables.extend(files(scene.path()).await);
        tables.sort();
        Self(tables)
    }

    /// Every table is there, under this or another name, with the same rows.
    #[track_caller]
    pub fn is_kept_in(&self, later: &Self, title: &str) {
        for table in &self.0 {
            assert!(
                later.0.contains(table),
                "{title}: data was lost or changed: {table}\nnow: {later:#?}"
            );
        }
    }
}

async fn postgres_tables(url: &str) -> Vec<String> {
    let Ok(mut connection) = PgConnection::connect(url).await else {
        // A database that the fault lets not exist.
        return Vec::new();
    };
    let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT format('%I.%I', n.nspname, c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema)'
           AND c.relname NOT IN ('{HISTORY}', '{HISTORY}_old', '{COUNTS}')"
    )))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut tables = Vec::new();
    for name in names {
        let columns: String = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
               AND attname <> ALL ('{{{}}}')",
            COPIES.join(",")
        )))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        // Unlike a query, this does not read an index, which may be damaged.
        let copying = format!("COPY {name} ({columns}) TO STDOUT");
        let copy = connection.copy_out_raw(&copying).await.unwrap();
        let copy: Vec<Bytes> = copy.try_collect().await.unwrap();
        let rows = String::from_utf8(copy.concat()).unwrap();
        let mut rows: Vec<_> = rows.lines().collect();
        rows.sort_unstable();
        if !rows.is_empty() {
            tables.push(rows.join("\n"));
        }
    }
    connection.close().await.unwrap();
    tables
}

/// Whether it is a SQLite file by its name, and not one of those beside it.
fn is_database(name: &str) -> bool {
    let beside = ["-shm", "-wal", "-daemon"];
    name.contains(".db") && !beside.iter().any(|end| name.ends_with(end))
}

/// The tables of every SQLite file in the directory, or the bytes of one that cannot be opened.
async fn files(directory: &Path) -> Vec<String> {
    let mut tables = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                directories.push(path);
            } else if is_database(&name) {
                match sqlite_tables(&path).await {
                    Ok(found) => tables.extend(found),
                    Err(_) => tables.push(format!("{:?}", std::fs::read(&path).unwrap())),
                }
            }
        }
    }
    tables
}

async fn sqlite_tables(path: &Path) -> Result<Vec<String>, sqlx::Error> {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut connection = SqliteConnection::connect(&url).await?;
    let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT name FROM sqlite_master WHERE type = 'table'
         AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'todoctl_search%' AND name NOT IN ('{HISTORY}', '{HISTORY}_old', '{COUNTS}')"
    )))
    .fetch_all(&mut connection)
    .await?;
    let mut tables = Vec::new();
    for name in names {
        let columns = sqlx::query(AssertSqlSafe(format!("PRAGMA table_info('{name}')")))
            .fetch_all(&mut connection)
            .await?;
        let columns: Vec<String> = columns
            .iter()
            .map(|row| row.get::<String, _>("name"))
            .filter(|name| !COPIES.contains(&name.as_str()))
            .map(|name| format!("quote(\"{name}\")"))
            .collect();
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT {} FROM \"{name}\" ORDER BY 1",
            columns.join(" || ',' || ")
        )))
        .fetch_all(&mut connection)
        .await?;
        if !rows.is_empty() {
            tables.push(rows.join("\n"));
        }
    }
    connection.close().await?;
    Ok(tables)
}

/// Runs a statement on a SQLite file.
pub async fn sqlite(path: &Path, statement: &str) {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    connection.close().await.unwrap();
}
