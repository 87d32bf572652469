//! Nothing listens, nothing answers, or another service answers.

use crate::faults::Broken;
use crate::faults::peers::{BlackHole, http, refusing, silent};

fn url(at: impl std::fmt::Display) -> String {
    format!("postgresql://todo:canary@{at}/todo?sslmode=disable")
}

#[test]
fn a_host_that_does_not_exist() {
    let broken = Broken::with_server("postgresql://todo:x@no-such-host.invalid/todo");
    broken.database_says("database.dns", "fail", "check the host in DATABASE_URL");
    let report = broken.doctor();
    report.says("database.login", "skip", "");
}

#[test]
fn a_server_that_is_stopped() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let broken = Broken::with_server(&url(at));
    broken.database_says("database.connection", "fail", "start PostgreSQL on");
}

#[tokio::test]
async fn an_address_that_swallows_packets() {
    let hole = BlackHole::new();
    let broken = Broken::with_server(&url(hole.at));
    let report = broken.doctor();
    report.says("database.connection", "fail", "firewall");
    assert_eq!(report.detail("database.connection"), "no answer within 5 s");
}

#[test]
fn a_server_that_accepts_and_never_answers() {
    let broken = Broken::with_server(&url(silent()));
    broken.database_says("database.tls", "fail", "");
}

#[test]
fn a_server_that_speaks_http() {
    let broken = Broken::with_server(&url(http()));
    broken.database_says("database.tls", "fail", "check the port in DATABASE_URL");
}

/// Each message of Neon's and of PgBouncer's as they send it.
#[test]
fn messages_of_hosted_services() {
    for (code, message, id, remedy) in [
        (
            "XX000",
            "Couldn't connect to compute node",
            "database.login",
            "todoctl db check",
        ),
        (
            "XX000",
            "Failed to acquire permit to connect to the database. Too many database connection attempts are currently ongoing.",
            "database.login",
            "-pooler",
        ),
        (
            "XX000",
            "The requested endpoint could not be found, or you don't have access to it. Please check the provided ID and try again.",
            "database.login",
            "Neon's console",
        ),
        (
            "XX000",
            "The endpoint is disabled. Enable it using the Neon API and retry.",
            "database.login",
            "enable the endpoint",
        ),
        (
            "XX000",
            "Your project is temporarily unavailable. Check your quotas.",
            "database.login",
            "raise the quota",
        ),
        (
            "XX000",
            "This IP address 198.51.100.7 is not allowed to connect to this endpoint.",
            "database.login",
            "IP Allow",
        ),
        (
            "XX000",
            "You have exceeded the limit of concurrently active endpoints.",
            "database.login",
            "suspend another endpoint",
        ),
        (
            "53300",
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "database.login",
            "SQLALCHEMY_POOL_SIZE",
        ),
        (
            "57P01",
            "terminating connection due to administrator command",
            "database.login",
            "lost connection",
        ),
        (
            "57P03",
            "the database system is starting up",
            "database.login",
            "try again",
        ),
        (
            "28P01",
            "password authentication failed for user \"todo\"",
            "database.login",
            "percent-encoded",
        ),
        (
            "08P01",
            "unsupported startup parameter: extra_float_digits",
            "database.startup",
            "ignore_startup_parameters",
        ),
        (
            "08P01",
            "query_wait_timeout",
            "database.login",
            "default_pool_size",
        ),
        (
            "08P01",
            "no more connections allowed (max_client_conn)",
            "database.login",
            "max_client_conn",
        ),
        (
            "08P01",
            "server login has been failing, try again later (server_login_retry)",
            "database.login",
            "pooler's log",
        ),
    ] {
        let broken = Broken::with_server(&url(refusing(code, message)));
        let report = broken.db_check();
        report.says(id, "fail", remedy);
        assert!(report.detail(id).contains(message), "{}", report.detail(id));
        let explained = broken.output(&["explain", message]);
        assert_eq!(explained.status.code(), Some(0), "{message}");
    }
}
