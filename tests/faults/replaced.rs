//! An empty database in the place of the service's: nothing proposes to begin anew in it.

use crate::faults::harness::Scene;
use crate::support::remedies::remedy_faults;
use crate::support::{TestDatabase, eventually, postgres_url};

const MIGRATIONS: &str = "database.migrations";
const DAEMON: &str = "daemon.database";
const CONTINUITY: &str = "database.continuity";

/// On PostgreSQL.
const TASK: &str = "INSERT INTO tasks (user_id, title, created_at, updated_at)
                    VALUES ('me', 'one', now(), now())";

/// Renames the scene's database away, and creates an empty one. The others are dropped with the value.
async fn renamed_away(scene: &Scene) -> [TestDatabase; 2] {
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
    ["aside", "old"].map(|word| TestDatabase::on(postgres_url(), format!("{name}_{word}")))
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

fn remedy_of(scene: &Scene, check: &str) -> String {
    let report = scene.doctor(check);
    let remedy = report.check(check)["remedy"].as_str().unwrap();
    assert_eq!(remedy_faults(remedy), Vec::<String>::new());
    remedy.to_owned()
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
    let database = scene.database.as_ref().unwrap();
    let copy = TestDatabase::on(postgres_url(), format!("{}_copy", database.name));
    let create = format!("CREATE DATABASE {} TEMPLATE {}", copy.name, database.name);
    database.administer(&create).await;
    scene.start_at_its_port();
    scene
        .sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        .await;
    withholds(&scene, "1 task in another database");
    scene
        .doctor(DAEMON)
        .says(DAEMON, "fail", "restore the backup");
    // A copy may be an old one.
    for check in [MIGRATIONS, DAEMON] {
        let remedy = remedy_of(&scene, check);
        assert!(remedy.contains(&copy.name), "{remedy}");
        assert!(!remedy.contains("ALTER DATABASE"), "{remedy}");
    }
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

/// The backup is older than the identity, so nothing but its name tells which database it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_restored() {
    let mut scene = Scene::postgres().await;
    scene.sql(TASK).await;
    scene.start();
    scene.end();
    let _others = renamed_away(&scene).await;
    assert!(
        scene
            .todoctl(&["migrate", "up", "--to", "4"])
            .status
            .success()
    );
    let database = scene.database.as_ref().unwrap();
    database.execute(TASK).await;
    let accepted = |check: &str| {
        let remedy = remedy_of(&scene, check);
        let mut lines = remedy.lines();
        assert!(lines.all(|line| line.starts_with("# ")), "{remedy}");
        assert!(!remedy.contains("_empty"), "{remedy}");
        assert!(remedy.contains("# or: psql "), "{remedy}");
        let (_, after) = remedy
            .split_once("restored backup, accept what is in it: ")
            .unwrap();
        let (command, _) = after.split_once("; then restart the daemon").unwrap();
        command.to_owned()
    };
    let command = accepted(MIGRATIONS);
    // As by a start of the daemon that migrates.
    assert!(scene.todoctl(&["migrate", "up"]).status.success());
    accepted(CONTINUITY);
    let typed = scene.type_in(&command);
    assert!(typed.status.success(), "{command}");
    for check in [MIGRATIONS, CONTINUITY] {
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    assert_eq!(scene.status("GET", "/tasks/2"), 404);
}

/// The URL was changed, not the database.
#[tokio::test(flavor = "multi_thread")]
async fn another_database_of_the_server() {
    let mut scene = Scene::postgres().await;
    scene.sql(TASK).await;
    scene.start();
    scene.end();
    let own = scene.get("DATABASE_URL").unwrap();
    let other = TestDatabase::migrated().await;
    other
        .execute(&format!(
            "UPDATE todoctl_identity SET id = md5(random()::text); {TASK}"
        ))
        .await;
    let empty = TestDatabase::create().await;
    for (url, check) in [(&other.url, CONTINUITY), (&empty.url, MIGRATIONS)] {
        for name in ["DATABASE_URL", "DATABASE_URL_UNPOOLED"] {
            scene.set(name, url);
        }
        scene
            .doctor(check)
            .says(check, "fail", "todoctl config set DATABASE_URL.database=");
        let remedy = remedy_of(&scene, check);
        assert!(!remedy.contains("ALTER DATABASE"), "{remedy}");
        assert!(scene.type_in(&remedy).status.success(), "{remedy}");
        assert_eq!(scene.get("DATABASE_URL").as_ref(), Some(&own));
        scene.doctor(check).says(check, "pass", "");
    }
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
    // Where the environment has the URL, it is corrected there.
    let said = scene
        .command(&["doctor", "--only", CONTINUITY, "--format", "json"])
        .env("DATABASE_URL", &other.url)
        .env("DATABASE_URL_UNPOOLED", &other.url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("unit file, compose file or platform"),
        "{said}"
    );
    assert!(!said.contains("config set"), "{said}");
    // Another database that is named on purpose is no fault.
    let named = scene.check(&["db", "check", "--format", "json", "--url", &other.url]);
    named.says(CONTINUITY, "pass", "");
}

/// A daemon that was started on a new database keeps what it has stored since, so a restart does not
/// begin anew without it.
#[tokio::test]
async fn what_was_stored_since_the_start() {
    let mut scene = Scene::empty_postgres().await;
    let kept = scene.path().join(".env-database");
    let counted = |tasks: u32| {
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        text.contains(&format!("\"tasks\":{tasks},")) && text.contains("\"database\"")
    };
    scene.start();
    assert!(counted(0));
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    // Nothing tells when it is killed.
    eventually("the task is counted", async || counted(1)).await;
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.end();
    assert!(counted(2));
    let _others = renamed_away(&scene).await;
    let said = scene.start_fails().unwrap();
    assert!(
        said.contains("had tasks when they were counted last"),
        "{said}"
    );
    withholds(&scene, "2 tasks");
}
