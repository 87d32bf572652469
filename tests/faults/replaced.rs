//! An empty database in the place of the service's: nothing proposes to begin anew in it.

use crate::faults::harness::Scene;
use crate::support::remedies::remedy_faults;
use crate::support::{TestDatabase, postgres_url};

const MIGRATIONS: &str = "database.migrations";
const DAEMON: &str = "daemon.database";

/// Renames the scene's database away, and creates an empty one. The other one is dropped with the
/// value.
async fn renamed_away(scene: &Scene) -> TestDatabase {
    let database = scene.database.as_ref().unwrap();
    let (name, old) = (&database.name, format!("{}_old", database.name));
    for statement in [
        // The daemon connects again at once.
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'; ALTER DATABASE {name} RENAME TO {old}"
        ),
        format!("ALTER DATABASE {old} ALLOW_CONNECTIONS true"),
        format!("CREATE DATABASE {name}"),
    ] {
        database.administer(&statement).await;
    }
    TestDatabase::on(postgres_url(), format!("{name}_empty"))
}

/// No check proposes to migrate, and no fix does.
fn withholds(scene: &Scene, why: &str) {
    let report = scene.doctor("database");
    report.says(MIGRATIONS, "fail", "only to begin anew");
    let detail = report.detail(MIGRATIONS);
    assert!(detail.contains(why), "{detail}");
    for check in report.json["checks"].as_array().unwrap() {
        let remedy = check["remedy"].as_str().unwrap_or_default();
        let mut lines = remedy.lines();
        assert!(
            !lines.any(|line| line.starts_with("todoctl migrate")),
            "{check:#}"
        );
    }
    let fixed = scene.todoctl(&["doctor", "--only", "database", "--fix", "--yes"]);
    let said = String::from_utf8_lossy(&fixed.stderr).into_owned();
    assert!(said.contains("nothing that --fix can do"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_renamed_away() {
    let mut scene = Scene::postgres().await;
    scene.start_at_its_port();
    let _aside = renamed_away(&scene).await;
    withholds(&scene, "1 task in another database");
    // Without what was kept beside the .env file, the daemon knows.
    let kept = scene.path().join(".env-database");
    std::fs::remove_file(&kept).unwrap();
    withholds(&scene, "the running daemon has served another database");
    let report = scene.doctor(DAEMON);
    report.says(DAEMON, "fail", "ALTER DATABASE ");
    assert_eq!(scene.status("GET", "/tasks/1"), 503);
    let report = scene.doctor(MIGRATIONS);
    let remedy = report.check(MIGRATIONS)["remedy"].as_str().unwrap();
    assert_eq!(remedy_faults(remedy), Vec::<String>::new());
    let typed = scene.type_in(remedy);
    assert!(typed.status.success(), "{remedy}\n{typed:?}");
    for check in [MIGRATIONS, DAEMON] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    // It has no more to do.
    scene.type_in(remedy);
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
}

/// The schema was emptied, and later a restore has failed half way.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_was_emptied() {
    // Databases of other tests are copies.
    let mut scene =
        Scene::postgres_after("UPDATE todoctl_identity SET id = md5(random()::text)").await;
    scene.start_at_its_port();
    scene
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    withholds(&scene, "1 task in another database");
    scene
        .doctor(DAEMON)
        .says(DAEMON, "fail", "restore the backup");
    scene.end();
    scene
        .sql("CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL)")
        .await;
    withholds(&scene, "1 task in another database");
    // As after a move to another server, which is served on purpose.
    std::fs::remove_file(scene.path().join(".env-database")).unwrap();
    scene
        .doctor(MIGRATIONS)
        .says(MIGRATIONS, "fail", "todoctl migrate up");
    scene.sql("DROP TABLE _sqlx_migrations").await;
    assert_eq!(scene.start_fails(), None);
}
