//! Where the server behind a pooler is.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{PostgresTarget, TlsMode};
use crate::diagnostics::database::other_port::socket_directory;
use crate::diagnostics::probe::{Connection as _, PgBouncer, ServerConnection, is_this_machine};
use crate::store::ConnectError;

/// Of a check's time little is left.
pub(super) const LOGIN: Duration = Duration::from_secs(2);
const CONNECTING: Duration = Duration::from_millis(500);

/// What is known of the server.
pub(super) struct Behind {
    /// Where user and password of `DATABASE_URL` are tried.
    pub(super) target: PostgresTarget,
    /// Whether the pooler's own line leads there, and not `DATABASE_URL_UNPOOLED`.
    pub(super) is_of_line: bool,
}

impl Behind {
    /// Where the pooler looks for it; `None` where that is not known, or leads elsewhere from here.
    pub(super) fn of_line(pooler: &PgBouncer, server: &PostgresTarget) -> Option<Self> {
        let database = pooler.database(&server.database)?;
        if database.force_user.is_some_and(|user| user != server.user) {
            return None;
        }
        let is_here = is_this_machine(server);
        let host = match database.host {
            Some(host) => host,
            None => socket_directory(database.port)?.to_owned(),
        };
        let target = PostgresTarget {
            host,
            port: database.port,
            database: database.own_name,
            tls: tls_of(pooler),
            root_cert: pooler
                .files
                .as_ref()
                .and_then(|files| files.path_of("server_tls_ca_file")),
            options: None,
            direct: None,
            ..server.clone()
        };
        (is_here || !target.is_loopback()).then_some(Self {
            target,
            is_of_line: true,
        })
    }

    /// The same, or else where `DATABASE_URL_UNPOOLED` leads.
    pub(super) fn of(pooler: &PgBouncer, server: &PostgresTarget) -> Option<Self> {
        Self::of_line(pooler, server).or_else(|| {
            let direct = server.direct.as_deref()?;
            let target = PostgresTarget {
                user: server.user.clone(),
                password: server.password.clone(),
                ..direct.clone()
            };
            Some(Self {
                target,
                is_of_line: false,
            })
        })
    }

    /// Tries user and password of `DATABASE_URL`.
    pub(super) async fn log_in(&self) -> Result<ServerConnection, ConnectError> {
        ServerConnection::open(&self.target, LOGIN).await
    }

    /// Whether its port accepts connections.
    pub(super) async fn is_open(&self) -> bool {
        let to = (self.target.host.as_str(), self.target.port);
        let connected = timeout(CONNECTING, TcpStream::connect(to)).await;
        matches!(connected, Ok(Ok(_)))
    }
}

/// How PgBouncer connects to the server.
fn tls_of(pooler: &PgBouncer) -> TlsMode {
    let mode = pooler
        .files
        .as_ref()
        .and_then(|files| files.setting("server_tls_sslmode"));
    match mode {
        Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        Some("verify-full") => TlsMode::VerifyFull,
        _ => TlsMode::Prefer,
    }
}

/// Whether `DATABASE_URL_UNPOOLED` leads to a server that answers.
pub(super) async fn direct_answers(server: &PostgresTarget) -> bool {
    let Some(direct) = &server.direct else {
        return false;
    };
    match ServerConnection::open(direct, LOGIN).await {
        Ok(session) => {
            session.close().await;
            true
        }
        Err(_) => false,
    }
}
