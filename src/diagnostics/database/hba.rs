//! Another way to a server whose `pg_hba.conf` asks for the system user.

use std::time::Duration;

use crate::config::{PostgresTarget, Remedy, TlsMode};
use crate::diagnostics::verdict::Verdict;
use crate::store::{ConnectError, open_postgres_within};

/// Where the server behind a socket usually listens as well.
const HERE: &str = "localhost";

/// The verdict on a login that was refused, with the way on which the password counts: `peer` is
/// for sockets alone.
pub(super) async fn explained(
    verdict: Verdict,
    error: &ConnectError,
    server: &PostgresTarget,
    limit: Duration,
) -> Verdict {
    let is_it = error
        .known
        .is_some_and(|known| known.id == "postgres.system-user");
    if !is_it || !server.host.starts_with('/') || server.password.is_none() {
        return verdict;
    }
    let other = PostgresTarget {
        host: HERE.to_owned(),
        tls: TlsMode::Prefer,
        ..server.clone()
    };
    if open_postgres_within(&other, limit).await.is_err() {
        return verdict;
    }
    let by_password = Remedy::set("DATABASE_URL.host", HERE);
    Verdict::fail(
        format!(
            "{}: pg_hba.conf compares the system user for sockets; {HERE}:{} accepts user and password of DATABASE_URL",
            verdict.detail, server.port
        ),
        match verdict.remedy {
            Some(remedy) => by_password.or(remedy),
            None => by_password,
        },
    )
}
