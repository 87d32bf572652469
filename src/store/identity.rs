//! Which database a connection leads to.
//!
//! The row of `todoctl_identity` alone does not tell a database from its restored copy, so the
//! place counts as well: the server's cluster, database and schema, or the file's inode.

use std::os::unix::fs::MetadataExt as _;

use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::config::{DatabaseConfig, DatabaseTarget, SqliteTarget};

use super::connect::{SqliteAccess, open_postgres, open_sqlite};
use super::connect_error::ConnectError;
use super::messages::ConnectFault;
use super::server::{close_quietly, optional};
use super::two_servers::two_servers;

const ROW: &str = "SELECT id FROM todoctl_identity";

/// Database and schema. The simple protocol returns text.
const PLACE: &str = "
    SELECT concat_ws('.', (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
                     current_schema())";

/// The name under which the database is found, and its schema.
const NAME: &str = "SELECT concat_ws('.', current_database(), current_schema())";

/// Stays the same on standbys and after a failover to one of them.
const CLUSTER: &str = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";

/// Which database a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// The row that the migrations make; `None` before them, or where it may not be read.
    row: Option<String>,
    /// The cluster; `None` where the server does not tell.
    cluster: Option<String>,
    /// The number of the database and its schema, or the file's device and inode.
    place: String,
    /// The names of the database and its schema, or the file's path.
    name: String,
}

/// What leads to a database, as hashes that tell nothing about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// The server's cluster; `None` for a file, and where the server does not tell.
    pub(crate) server: Option<String>,
    /// The database without its schema, or the file.
    pub(crate) database: String,
    /// The name of the database and its schema, or the file's path.
    pub(crate) name: String,
}

impl Identity {
    pub(super) async fn of_server(session: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(Self {
            row: optional(session, ROW).await?,
            cluster: optional(session, CLUSTER).await?,
            place: optional(session, PLACE).await?.unwrap_or_default(),
            name: optional(session, NAME).await?.unwrap_or_default(),
        })
    }

    pub(super) async fn of_file(
        file: &SqliteTarget,
        session: &mut SqliteConnection,
    ) -> Result<Self, sqlx::Error> {
        let found = std::fs::metadata(&file.path)?;
        let row = sqlx::query_scalar(ROW).fetch_optional(session).await;
        Ok(Self {
            row: match row {
                // Not migrated yet.
                Err(sqlx::Error::Database(_)) => None,
                row => row?,
            },
            cluster: None,
            place: format!("{}.{}", found.dev(), found.ino()),
            // A relative path leads elsewhere in another working directory.
            name: std::fs::canonicalize(&file.path)?.display().to_string(),
        })
    }

    /// Asks the database at `target`.
    pub(crate) async fn ask(target: &DatabaseTarget) -> Result<Self, ConnectError> {
        let identity = match target {
            DatabaseTarget::Postgres(server) => {
                let mut session = open_postgres(server).await?;
                let identity = Self::of_server(&mut session).await;
                close_quietly(session).await;
                identity
            }
            DatabaseTarget::Sqlite(file) => {
                let mut session = open_sqlite(file, SqliteAccess::Read).await?;
                let identity = Self::of_file(file, &mut session).await;
                // Dropped, it may still be closing when the process ends, and leave its log there.
                session.close().await.and(identity)
            }
        };
        identity.map_err(|error| ConnectError::from_sqlx(target, &error))
    }

    /// The row that the migrations make.
    pub(crate) fn row(&self) -> Option<&str> {
        self.row.as_deref()
    }

    /// A hash of cluster, database and schema, or of the file's inode, which tells nothing about
    /// the server.
    pub(crate) fn place(&self) -> String {
        self.hash(&self.place)
    }

    /// What tells the users of this database from those of others, for counters that its daemons
    /// share. A restored copy has the same row, so the row counts only where the server does not
    /// tell which it is.
    pub(crate) fn scope(&self) -> String {
        match (&self.cluster, &self.row) {
            (None, Some(row)) => self.hash(&format!("{row}.{}", self.place)),
            _ => self.place(),
        }
    }

    /// What [`Self::place`] is in another schema of the same database.
    pub(crate) fn place_in(&self, schema: &str) -> String {
        let database = self.place.split('.').next().unwrap_or_default();
        self.hash(&format!("{database}.{schema}"))
    }

    /// The schema of a server's database; `None` if the search path leads to none.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.place.split_once('.').map(|(_, schema)| schema)
    }

    /// What tells the reasons apart for which two places differ.
    pub(crate) fn parts(&self) -> Parts {
        let database = match self.cluster {
            Some(_) => self.place.split_once('.').map_or(&*self.place, |one| one.0),
            None => &self.place,
        };
        Parts {
            server: self.cluster.as_ref().map(|_| self.hash("")),
            database: self.hash(database),
            name: self.hash(&self.name),
        }
    }

    #[cfg(test)]
    pub(crate) fn fixture(row: Option<&str>, place: &str) -> Self {
        Self {
            row: row.map(str::to_owned),
            cluster: Some("1".to_owned()),
            place: place.to_owned(),
            name: "todo.public".to_owned(),
        }
    }

    fn hash(&self, text: &str) -> String {
        let parts = [self.cluster.as_deref(), Some(text)];
        let hash = blake3::hash(format!("{parts:?}").as_bytes());
        hash.to_hex()[..16].to_owned()
    }

    /// The schemas that search paths lead to in what is one database, where they differ.
    fn other_schemas<'a>(&'a self, other: &'a Self) -> Option<[&'a str; 2]> {
        let cluster = self.cluster.as_ref().zip(other.cluster.as_ref());
        let database = |one: &'a Self| one.place.split('.').next();
        let is_same =
            database(self) == database(other) && cluster.is_none_or(|(one, other)| one == other);
        let [one, two] = [self, other].map(|one| one.schema().unwrap_or("none"));
        (is_same && one != two).then_some([one, two])
    }

    /// Whether both may be the same database: what only one of them tells is not compared. The row
    /// may be hidden from one of two roles; before the first migration it tells databases apart
    /// where the server does not tell which it is.
    fn may_be(&self, other: &Self) -> bool {
        let cluster = self.cluster.as_ref().zip(other.cluster.as_ref());
        let has_same_row = match (&self.row, &other.row) {
            (Some(one), Some(other)) => one == other,
            (None, None) => true,
            _ => cluster.is_some(),
        };
        self.place == other.place && has_same_row && cluster.is_none_or(|(one, other)| one == other)
    }
}

/// Fails if `DATABASE_URL_UNPOOLED` leads to another database than `DATABASE_URL`, which would
/// be migrated in its place.
pub(crate) async fn compare_urls(config: &DatabaseConfig) -> Result<(), ConnectError> {
    let (DatabaseTarget::Postgres(pooled), DatabaseTarget::Postgres(direct)) =
        (&config.target, &config.direct)
    else {
        return Ok(());
    };
    if config.has_one_address() {
        return Ok(());
    }
    let one = Identity::ask(&config.target).await?;
    let other = Identity::ask(&config.direct).await?;
    if one.may_be(&other) {
        let Some([pooled_start, direct_start]) = two_servers(pooled, direct).await? else {
            return Ok(());
        };
        let message = format!(
            "DATABASE_URL leads to another server than DATABASE_URL_UNPOOLED: {} to one that was started at {pooled_start}, and {} to one that was started at {direct_start}; they have two copies of one database",
            pooled.host_port(),
            direct.host_port(),
        );
        let fault = ConnectFault::OtherDatabase;
        return Err(ConnectError::new(fault, &config.target, message));
    }
    if let Some([schema, right]) = one.other_schemas(&other) {
        let message = format!(
            "sessions at {} have another search path than those at {}, and so another schema: {schema}, not {right}",
            pooled.host_port(),
            direct.host_port(),
        );
        let fault = ConnectFault::OtherDatabase;
        return Err(ConnectError::new(fault, &config.target, message));
    }
    let message = format!(
        "DATABASE_URL_UNPOOLED leads to another database than DATABASE_URL: {} at {}, not {} at {}",
        direct.database,
        direct.host_port(),
        pooled.database,
        pooled.host_port(),
    );
    Err(ConnectError::new(
        ConnectFault::OtherDatabase,
        &config.direct,
        message,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(row: Option<&str>, cluster: Option<&str>, place: &str) -> Identity {
        Identity {
            row: row.map(str::to_owned),
            cluster: cluster.map(str::to_owned),
            place: place.to_owned(),
            name: "todo.public".to_owned(),
        }
    }

    #[test]
    fn what_tells_databases_apart() {
        let one = identity(Some("a"), Some("1"), "5.public");
        assert!(one.may_be(&one));
        // A role that may not ask for the cluster, and one that may not read the row.
        assert!(one.may_be(&identity(Some("a"), None, "5.public")));
        assert!(one.may_be(&identity(None, Some("1"), "5.public")));
        for other in [
            // Another database, another cluster, a copy, another schema, one not migrated.
            identity(Some("b"), Some("1"), "5.public"),
            identity(Some("a"), Some("2"), "5.public"),
            identity(Some("a"), Some("1"), "6.public"),
            identity(Some("a"), Some("1"), "5.todo"),
            identity(None, Some("2"), "5.public"),
            identity(None, None, "5.public"),
        ] {
            assert!(!one.may_be(&other), "{other:?}");
            assert_ne!((one.row(), one.place()), (other.row(), other.place()));
        }
    }

    #[test]
    fn search_paths_that_differ() {
        let one = identity(Some("a"), Some("1"), "5.public");
        let hidden = identity(None, Some("1"), "5.audit");
        assert_eq!(hidden.other_schemas(&one), Some(["audit", "public"]));
        let empty = identity(None, Some("1"), "5");
        assert_eq!(empty.other_schemas(&one), Some(["none", "public"]));
        let elsewhere = identity(Some("a"), Some("2"), "5.audit");
        assert_eq!(elsewhere.other_schemas(&one), None);
        assert_eq!(one.other_schemas(&one), None);
    }

    #[test]
    fn why_places_differ() {
        let one = identity(Some("a"), Some("1"), "5.public").parts();
        let schema = identity(Some("a"), Some("1"), "5.todo").parts();
        assert_eq!(one.database, schema.database);
        let created_again = identity(None, Some("1"), "6.public").parts();
        assert_eq!(
            (&one.server, &one.name),
            (&created_again.server, &created_again.name)
        );
        assert_ne!(one.database, created_again.database);
        let elsewhere = identity(Some("a"), Some("2"), "5.public").parts();
        assert_ne!(one.server, elsewhere.server);
        assert_ne!(one.name, elsewhere.name);
    }
}
