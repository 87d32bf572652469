//! Settings of PostgreSQL that somebody made for another purpose.

use std::time::Duration;

use rstest::rstest;
use url::Url;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, as_role, drop_role_of, with_role};
use crate::support::{Cluster, Network};

faults! {
    FORGETFUL_SERVER = Fault {
        title: "fsync and full_page_writes are off on the server",
        symptom: Symptom::Risk("a crash of the machine can destroy the database"),
        check: "database.durability",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FORGETFUL_COMMITS = Fault {
        title: "synchronous_commit is off for the role or the database",
        symptom: Symptom::Risk("a crash of the server loses changes that were confirmed"),
        check: "database.durability",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    SHORT_STATEMENTS = Fault {
        title: "The role has a very short statement_timeout",
        symptom: Symptom::Risk("slow requests are answered with 503"),
        check: "database.timeouts",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    SHORT_LOCKS = Fault {
        title: "The database has a very short lock_timeout",
        symptom: Symptom::Risk("changes of one task at the same time are answered with 503"),
        check: "database.timeouts",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    SHORT_TRANSACTIONS = Fault {
        title: "All roles have a very short idle_in_transaction_session_timeout",
        symptom: Symptom::Risk("changes of several steps are answered with 503"),
        check: "database.timeouts",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

/// In development a server that is faster than safe is no fault; in production it is.
#[tokio::test]
async fn a_server_that_forgets() {
    let cluster = Cluster::start();
    cluster
        .execute(&["ALTER SYSTEM SET synchronous_commit = on"])
        .await;
    cluster.reload().await;
    let mut scene = Scene::on(cluster.database().await).await;
    let report = scene.doctor("database.durability");
    report.says("database.durability", "pass", "");
    assert!(
        report
            .detail("database.durability")
            .contains("fsync is off")
    );
    scene.set("ENVIRONMENT", "production");
    scene.proves(&FORGETFUL_SERVER).await;
}

#[rstest]
#[case("ALTER ROLE postgres SET synchronous_commit = off")]
#[case("ALTER DATABASE todo SET synchronous_commit = off")]
#[case("ALTER ROLE postgres IN DATABASE todo SET synchronous_commit = off")]
#[case("ALTER ROLE ALL SET synchronous_commit = off")]
#[tokio::test]
async fn commits_that_are_forgotten(#[case] set: &str) {
    let cluster = Cluster::start();
    cluster
        .execute(&[
            "ALTER SYSTEM SET fsync = on",
            "ALTER SYSTEM SET full_page_writes = on",
            "ALTER SYSTEM SET synchronous_commit = on",
        ])
        .await;
    cluster.reload().await;
    let mut scene = Scene::on(cluster.database().await).await;
    scene.set("ENVIRONMENT", "production");
    scene
        .doctor("database.durability")
        .says("database.durability", "pass", "");
    cluster.execute(&[set]).await;
    scene.proves(&FORGETFUL_COMMITS).await;
}

#[tokio::test]
async fn limits_that_end_requests() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    scene
        .doctor("database.timeouts")
        .says("database.timeouts", "pass", "");
    cluster
        .execute(&["ALTER ROLE postgres SET statement_timeout = '900ms'"])
        .await;
    scene.proves(&SHORT_STATEMENTS).await;
    cluster
        .execute(&["ALTER DATABASE todo SET lock_timeout = '1ms'"])
        .await;
    scene.proves(&SHORT_LOCKS).await;
    cluster
        .execute(&["ALTER ROLE ALL SET idle_in_transaction_session_timeout = '500ms'"])
        .await;
    scene.proves(&SHORT_TRANSACTIONS).await;
    // A limit that requests keep within is the operator's choice.
    cluster
        .execute(&["ALTER ROLE postgres SET statement_timeout = '10s'"])
        .await;
    let report = scene.doctor("database.timeouts");
    report.says("database.timeouts", "pass", "");
    let detail = report.detail("database.timeouts");
    assert!(
        detail.contains("statement_timeout is 10s (set for the role)"),
        "{detail}"
    );
}

/// Limits that end the questions of the checks themselves: each check that fails names them.
#[rstest]
#[case::of_statements("statement_timeout", Duration::ZERO)]
#[case::of_transactions("idle_in_transaction_session_timeout", Duration::ZERO)]
// Each transaction of more than one step is ended.
#[case::far_away("idle_in_transaction_session_timeout", Duration::from_millis(5))]
#[tokio::test(flavor = "multi_thread")]
async fn limits_that_end_questions(#[case] setting: &str, #[case] delay: Duration) {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    let mut url = Url::parse(&as_role(scene.database.as_ref().unwrap(), &name)).unwrap();
    let host = url.host_str().unwrap().to_owned();
    let network = Network::to(host, url.port().unwrap()).await;
    network.delay(delay);
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(network.port)).unwrap();
    scene.set("DATABASE_URL", url.as_str());
    scene
        .sql(&format!("ALTER ROLE {name} SET {setting} = '1ms'"))
        .await;
    let reset = format!("ALTER ROLE \"{name}\" RESET {setting}");
    let report = scene.check(&["doctor", "--only", "database", "--format", "json"]);
    let checks = report.json["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["outcome"] == "fail");
    assert!(
        delay.is_zero() || failed.clone().count() > 0,
        "{:#}",
        report.json
    );
    for check in failed {
        let remedy = check["remedy"].as_str().unwrap_or_default();
        let shown = remedy.replace("\\\"", "\"");
        assert!(shown.contains(&reset), "{check:#}");
    }
    let ended = checks.iter().find(|check| check["outcome"] == "fail");
    let timeouts = report.check("database.timeouts");
    let told = match ended {
        // The limit has ended this check's question, or the first of all, after which no other is asked.
        Some(ended) if timeouts["outcome"] != "warn" => ended,
        _ => {
            report.says("database.timeouts", "warn", "RESET");
            timeouts
        }
    };
    let remedy = told["remedy"].as_str().unwrap();
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}");
    let report = scene.doctor("database.timeouts");
    report.says("database.timeouts", "pass", "");
    drop_role_of(&mut scene, &name).await;
}
