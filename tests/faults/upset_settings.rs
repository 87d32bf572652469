//! Settings of a database that would upset the statements of `doctor` itself.

use crate::faults::harness::{Fault, Scene, Symptom, faults};

const SETTINGS: &str = "database.settings";

faults! {
    NO_SCANS = Fault::warned_of(
        "The database switches off sequential scans and compiles every statement",
        Symptom::Risk("statements are compiled, which takes longer than they do"),
        SETTINGS,
    );
}

/// They are named, and nothing else is wrong.
#[tokio::test]
async fn only_the_settings_are_named() {
    const UPSET: [&str; 12] = [
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "enable_seqscan = off",
        "enable_hashjoin = off",
        "enable_nestloop = off",
        "jit_above_cost = 0",
        "jit_inline_above_cost = 0",
        "jit_optimize_above_cost = 0",
        "default_transaction_isolation = serializable",
        "default_transaction_deferrable = on",
        "DateStyle = 'German'",
        "IntervalStyle = 'sql_standard'",
    ];
    let mut scene = Scene::postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    let alter: Vec<String> = UPSET
        .iter()
        .map(|setting| format!("ALTER DATABASE {name} SET {setting}"))
        .collect();
    scene.sql(&alter.join("; ")).await;
    let report = scene.check(&["doctor", "--only", "database", "--format", "json"]);
    for check in report.json["checks"].as_array().unwrap() {
        // The tests' server is faster than safe, on purpose. The trial runs the daemon's statements,
        // which these settings make slow.
        let id = check["id"].as_str().unwrap();
        if ![SETTINGS, "database.durability", "database.trial"].contains(&id) {
            assert!(
                check["outcome"] != "fail" && check["outcome"] != "warn",
                "{check:#}"
            );
        }
    }
    let detail = report.detail(SETTINGS);
    for name in [
        "enable_seqscan is off",
        "enable_nestloop is off",
        "jit_above_cost",
        "standard_conforming_strings is off",
    ] {
        assert!(detail.contains(name), "{detail}");
    }
    scene.proves(&NO_SCANS).await;
}
