//! The body of `GET /status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The state of a running daemon, for `todoctl doctor`. Reading it does not query the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DaemonStatus {
    /// The version of the program.
    pub version: String,
    /// The commit that the program was built from; empty if it is unknown.
    #[serde(default)]
    #[schema(required)]
    pub commit: String,
    /// The process; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub process: Option<ProcessStatus>,
    /// Which database it serves; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub database: Option<DatabaseStatus>,
    /// The connection pools: one on PostgreSQL, a writer's and the readers' on SQLite.
    pub pools: Vec<PoolStatus>,
    /// The requests of the last minutes; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub requests: Option<RequestStatus>,
    /// The configured services that the daemon keeps a connection or a circuit breaker for.
    #[serde(default)]
    #[schema(required)]
    pub services: Vec<ServiceStatus>,
    /// Mails in the outbox; null until the outbox has been read once.
    #[schema(required)]
    pub mails: Option<MailStatus>,
    /// When a reminder run last succeeded, in seconds since 1970; null before the first.
    #[schema(required)]
    pub last_reminder_run: Option<i64>,
    /// A fingerprint of each setting, by the name of its variable; empty if
    /// `SESSION_HASH_SECRET` is weak. Only who has that secret can compare them with values.
    #[serde(default)]
    #[schema(required)]
    pub configuration: BTreeMap<String, String>,
}

/// The process of a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessStatus {
    /// Its number, as the daemon's own machine or container counts.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: i64,
    /// Open files and sockets; null where the system does not tell.
    #[schema(required)]
    pub open_files: Option<u64>,
    /// How many may be open; null for any number.
    #[schema(required)]
    pub max_files: Option<u64>,
    /// Its threads; null where the system does not tell.
    #[schema(required)]
    pub threads: Option<u64>,
    /// Its memory in bytes; null where the system does not tell.
    #[schema(required)]
    pub resident_bytes: Option<u64>,
    /// Log lines of the last 15 minutes that could not be written.
    pub dropped_log_lines: u64,
    /// How large its files may become, in bytes; null for any size, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub max_file_bytes: Option<u64>,
    /// Its memory that only swap can take, in bytes; null where the system does not tell, and from
    /// older daemons.
    #[serde(default)]
    #[schema(required)]
    pub anonymous_bytes: Option<u64>,
    /// How much memory its control group may have, in bytes; null for any amount, and from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub max_memory_bytes: Option<u64>,
    /// Since when it is about to stop, in seconds since 1970; null if it is not, and from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub draining_since: Option<i64>,
}

/// Which database a daemon serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DatabaseStatus {
    /// What todoctl stored in the database when it migrated it; null if it was not migrated then.
    #[schema(required)]
    pub id: Option<String>,
    /// A hash of where it is: two copies of a database have one id and two places.
    pub place: String,
    /// A hash of the server; null for a file, where the server does not tell, and from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub server: Option<String>,
    /// A hash of server and database without the schema, or of the file; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub database: Option<String>,
    /// A hash of server and the names of database and schema, or of the file's path; null from
    /// older daemons.
    #[serde(default)]
    #[schema(required)]
    pub name: Option<String>,
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

/// The requests of the last minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequestStatus {
    /// How far back the counts reach.
    pub minutes: u32,
    /// Answered requests, those that failed included.
    pub answered: u64,
    /// The same by method and template of the path; none from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub answered_routes: BTreeMap<String, u64>,
    /// Requests that were refused at once because of too much load.
    pub shed: u64,
    /// How long a request waits for a database connection now, in milliseconds.
    pub queue_ms: u64,
    /// The routes that answered with a 5xx status for another reason.
    pub failures: Vec<RouteFailures>,
    /// Requests that `RATE_LIMIT_PER_MINUTE` refused.
    #[serde(default)]
    #[schema(required)]
    pub limited: u64,
    /// Proxies with private addresses that `TRUSTED_PROXIES` does not name, and how many requests
    /// that came through each of them `AUTH_FAILURES_PER_MINUTE` refused.
    #[serde(default)]
    #[schema(required)]
    pub limited_proxies: BTreeMap<String, u64>,
    /// Origins of web pages that `CORS_ORIGINS` does not have, and how many preflights of each were
    /// refused.
    #[serde(default)]
    #[schema(required)]
    pub refused_origins: BTreeMap<String, u64>,
    /// Web pages that `CORS_ORIGINS` has, and that have asked; none from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub pages: BTreeMap<String, PageStatus>,
    /// Requests whose body was larger than `MAX_BODY_BYTES`.
    #[serde(default)]
    #[schema(required)]
    pub too_large: u64,
    /// Its `MAX_BODY_BYTES`; 0 from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub max_body_bytes: u64,
    /// Requests with credentials for paths that do not exist.
    #[serde(default)]
    #[schema(required)]
    pub unknown_paths: u64,
    /// Keys of users that the key provider could not check, by the reason: `location`, `timed_out`,
    /// `network`, `unexpected`.
    #[serde(default)]
    #[schema(required)]
    pub key_obstacles: BTreeMap<String, u64>,
    /// Whether a proxy of the daemon's own machine, container or pod has forwarded a request since the
    /// start.
    #[serde(default)]
    #[schema(required)]
    pub has_local_proxy: bool,
    /// Whether somebody has read the metrics since the start; null from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub has_scraper: Option<bool>,
    /// Whether a request has come since the start that is no probe, or that a proxy has forwarded; null
    /// from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub has_clients: Option<bool>,
    /// The credentials of the requests, by their kind: `jwt`, `service`, `session`, `none`.
    #[serde(default)]
    #[schema(required)]
    pub credentials: BTreeMap<String, CredentialStatus>,
    /// How many different session tokens of todoctl were accepted since the start; null from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub sessions_in_use: Option<u64>,
    /// What was refused, the most frequent kinds first; none from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub refusals: Vec<RefusalStatus>,
    /// Requests that have succeeded, by their methods: `POST`, `PUT`, `PATCH`, `DELETE`; and
    /// refreshed access tokens (`refresh`).
    #[serde(default)]
    #[schema(required)]
    pub done: BTreeMap<String, u64>,
    /// The ids of the newest requests for tasks that do not exist, by callers with right credentials;
    /// at most 100, and 5 of one client on the internet. None from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub missing_tasks: Vec<i64>,
}

/// The requests of one web page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PageStatus {
    /// Preflights of browsers that were answered with yes.
    pub preflights: u64,
    /// Its other requests.
    pub requests: u64,
}

/// Requests that were refused for one reason, and connections without a request; or requests that
/// were accepted with something that has to be corrected, which have the status 200.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RefusalStatus {
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// Why, in a word.
    pub reason: String,
    /// The method; empty where it does not matter.
    pub method: String,
    /// The template of the path; empty where it does not matter.
    pub route: String,
    /// The kind of the credentials: `jwt`, `service`, `session`, `none`, or `unknown` where they
    /// were not checked; empty where it does not matter.
    pub caller: String,
    /// How many there were.
    pub count: u64,
    /// What exactly was wrong, and how often; at most 12.
    pub details: BTreeMap<String, u64>,
    /// Clients with private addresses, and how often each was refused; at most 4.
    pub addresses: BTreeMap<String, u64>,
    /// How many other addresses there were; at most 4.
    pub public_addresses: u64,
}

/// The credentials of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CredentialStatus {
    /// How many were accepted.
    pub accepted: u64,
    /// How many were refused, by the reason, as in the metric `auth_refusals_total`.
    pub refused: BTreeMap<String, u64>,
}

/// The failures of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RouteFailures {
    /// The method.
    pub method: String,
    /// The template of the path.
    pub route: String,
    /// How many there were.
    pub failed: u64,
    /// The newest of them, the last one first.
    pub newest: Vec<RequestFailure>,
}

/// A request that was answered with a 5xx status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequestFailure {
    /// When, in seconds since 1970.
    pub at: i64,
    /// The status of the answer.
    pub status: u16,
    /// The kind of error, such as `database`.
    pub kind: String,
    /// The database's error code; null without one.
    #[schema(required)]
    pub code: Option<String>,
    /// What `todoctl explain` knows the error as; null if it does not.
    #[schema(required)]
    pub known_message: Option<String>,
    /// The id of the request, which its log line has too.
    pub request_id: String,
}

/// A service that a daemon uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceStatus {
    /// `auth_server` or `redis`.
    pub name: String,
    /// Whether the daemon has stopped asking it for a while, because it failed.
    pub is_down: bool,
    /// Why it failed when it was last asked; null if it answered, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub reason: Option<String>,
    /// When it failed for that reason, in seconds since 1970; null if it answered, and from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub failed_at: Option<i64>,
    /// The issuer (iss) of the newest token that was signed with the auth server's own key, and refused
    /// because it has another one than `AUTH_ISSUER`; empty where the token has none, null if there was no
    /// such token, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub other_issuer: Option<String>,
}

/// Mails in the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MailStatus {
    /// Mails that wait to be sent.
    pub pending: i64,
    /// Mails that were given up.
    pub dead: i64,
    /// Whether mails wait because the provider refuses the key or the sender.
    #[serde(default)]
    #[schema(required)]
    pub paused: bool,
    /// Since when, in seconds since 1970; null if mails are sent.
    #[serde(default)]
    #[schema(required)]
    pub paused_since: Option<i64>,
    /// The provider's status and name of the error; null if mails are sent.
    #[serde(default)]
    #[schema(required)]
    pub paused_reason: Option<String>,
    /// When a mail is tried again, in seconds since 1970; null if mails are sent, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub paused_until: Option<i64>,
    /// Whether users' addresses can be read: `ready`, or why not (`missing`, `other_columns`,
    /// `no_right`); null until a reminder run has looked, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub accounts: Option<String>,
    /// Mails that wait, and those of the last 24 hours, by state and reason; null from older
    /// daemons.
    #[serde(default)]
    #[schema(required)]
    pub outcomes: Option<Vec<MailOutcome>>,
    /// When the provider last accepted a mail from this daemon, in seconds since 1970; null if it has
    /// not since the start, and from older daemons.
    #[serde(default)]
    #[schema(required)]
    pub last_sent: Option<i64>,
}

/// Mails that share a state and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = DaemonMailOutcome)]
pub struct MailOutcome {
    /// `pending`, `sent`, `skipped` or `dead`.
    pub state: String,
    /// Why; null if they were sent, or not tried yet.
    #[schema(required)]
    pub reason: Option<String>,
    /// How many there are.
    pub mails: i64,
    /// When the first of them was written, in seconds since 1970.
    pub oldest: i64,
}
