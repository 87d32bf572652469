//! The body of `GET /status`.

use serde::{Deserialize, Serialize};

/// The state of a running daemon, for `todoctl doctor`. Reading it does not query the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DaemonStatus {
    /// The version of the program.
    pub version: String,
    /// Which database it serves; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub database: Option<DatabaseStatus>,
    /// The connection pools: one on PostgreSQL, a writer's and the readers' on SQLite.
    pub pools: Vec<PoolStatus>,
    /// Mails in the outbox; null until the outbox has been read once.
    #[schema(required)]
    pub mails: Option<MailStatus>,
    /// When a reminder run last succeeded, in seconds since 1970; null before the first.
    #[schema(required)]
    pub last_reminder_run: Option<i64>,
}

/// Which database a daemon serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DatabaseStatus {
    /// What todoctl stored in the database when it migrated it; null if it was not migrated then.
    #[schema(required)]
    pub id: Option<String>,
    /// A hash of where it is: two copies of a database have one id and two places.
    pub place: String,
}

/// The connections of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DaemonPoolStatus)]
pub struct PoolStatus {
    /// `main`, `writer` or `readers`.
    pub name: String,
    /// Open connections.
    pub size: usize,
    /// Open connections that are not in use.
    pub idle: usize,
    /// Callers that wait for a connection.
    pub waiting: usize,
    /// The most connections that may be open.
    pub max: usize,
}

/// Mails in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MailStatus {
    /// Mails that wait to be sent.
    pub pending: i64,
    /// Mails that were given up.
    pub dead: i64,
    /// Whether mails wait because the provider refuses the key or the sender.
    #[serde(default)]
    pub paused: bool,
}
