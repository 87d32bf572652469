//! Nothing listens, nothing answers, or another service answers.

use crate::faults::Broken;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::peers::{BlackHole, http, refusing, silent};

fn url(at: impl std::fmt::Display) -> String {
    format!("postgresql://todo:canary@{at}/todo?sslmode=disable")
}

faults! {
    STOPPED = Fault {
        title: "Nothing listens at the database's address",
        symptom: Symptom::Start("connection refused"),
        check: "database.connection",
        outcome: "fail",
        after: After::Person("only the server's administrator can start it, or knows where it is"),
    };
    WRONG_HOST = Fault {
        title: "The database's host name does not resolve",
        symptom: Symptom::Start("does not resolve"),
        check: "database.dns",
        outcome: "fail",
        after: After::Person("only a person knows the right name"),
    };
}

#[tokio::test]
async fn a_server_that_is_stopped() {
    let mut scene = Scene::postgres().await;
    let right = scene.get("DATABASE_URL").unwrap();
    scene.set("DATABASE_URL", "postgresql://todo:x@127.0.0.1:1/todo");
    scene.proves(&STOPPED).await;
    scene.set("DATABASE_URL", &right);
    scene.proves_gone(&STOPPED);
}

#[tokio::test]
async fn a_host_that_does_not_resolve() {
    let mut scene = Scene::postgres().await;
    let right = scene.get("DATABASE_URL").unwrap();
    scene.set(
        "DATABASE_URL",
        "postgresql://todo:x@no-such-host.invalid/todo",
    );
    scene.proves(&WRONG_HOST).await;
    scene.set("DATABASE_URL", &right);
    scene.proves_gone(&WRONG_HOST);
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
    broken.database_says("database.tls", "fail", "correct the port in DATABASE_URL");
}

/// What a server refuses every connection with: the check that fails, and a part of its remedy.
fn is_told(code: &'static str, message: &'static str, id: &str, remedy: &str) {
    let broken = Broken::with_server(&url(refusing(code, message)));
    let report = broken.db_check();
    report.says(id, "fail", remedy);
    assert!(report.detail(id).contains(message), "{}", report.detail(id));
    let explained = broken.output(&["explain", message]);
    assert_eq!(explained.status.code(), Some(0), "{message}");
}

/// Each message as Neon and PostgreSQL send it.
#[test]
fn messages_of_hosted_services() {
    for (code, message, id, remedy) in [
        (
            "XX000",
            "Couldn't connect to compute node",
            "database.login",
            "neonstatus.com",
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
            "pg_terminate_backend",
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
            "wait until",
        ),
        (
            "28P01",
            "password authentication failed for user \"todo\"",
            "database.login",
            "encodes it",
        ),
    ] {
        is_told(code, message, id, remedy);
    }
}

/// Each message as PgBouncer sends it.
#[test]
fn messages_of_poolers() {
    for (code, message, id, remedy) in [
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
            "query timeout",
            "database.login",
            "raise query_timeout",
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
        is_told(code, message, id, remedy);
    }
}
