//! Data that is there and not served: another schema, another file, another key.

use crate::faults::fingerprint::sqlite;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::faults::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};

faults! {
    DANGLING_ENV_FILE = Fault {
        title: "The `.env` file is a link to a file that is gone",
        symptom: Symptom::Start("is a link to env.gone, which does not exist"),
        check: "config.env_file",
        outcome: "fail",
        after: After::Person("only a person knows where the file is"),
    };
    EMPTY_SCHEMA_FIRST = Fault {
        title: "An empty schema comes first in the search path",
        symptom: Symptom::Start("migrations would create others in app"),
        check: "database.tables",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    EMPTY_SCHEMA_ALONE = Fault {
        title: "The search path was changed to an empty schema",
        symptom: Symptom::Start("migrations would create others in app"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_SPELLING = Fault {
        title: "The name of the database is spelt in another way",
        symptom: Symptom::Start("does not exist"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    RENAMED_DATABASE = Fault {
        title: "The database was renamed",
        symptom: Symptom::Start("does not exist"),
        check: "database.login",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    OTHER_KEY = Fault {
        title: "The stored provider keys were encrypted with another key",
        symptom: Symptom::Risk("requests that need a provider key are answered with 500"),
        check: "database.provider_keys",
        outcome: "fail",
        after: After::Person("only a person may know the key"),
    };
    OTHER_SERVICES_FILE = Fault {
        title: "The SQLite file belongs to another program",
        symptom: Symptom::Start("tables of another service"),
        check: "database.migrations",
        outcome: "fail",
        after: After::Typed("skip"),
    };
    VIEW_IN_PLACE = Fault {
        title: "SQLite: a view stands in for the table of tasks",
        symptom: Symptom::Risk("lists are right, and every change is answered with 500"),
        check: "database.schema",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SECOND_TABLES = Fault {
        title: "Empty tables in another schema hide the tasks",
        symptom: Symptom::Risk("lists are empty, and new tasks are stored elsewhere"),
        check: "database.tables",
        outcome: "fail",
        after: After::Typed("pass"),
    };
}

#[tokio::test]
async fn a_dangling_env_file() {
    let mut scene = Scene::sqlite().await;
    let path = |name: &str| scene.path().join(name);
    let (file, moved, gone) = (path(".env"), path("env.real"), path("env.gone"));
    std::fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink("env.gone", &file).unwrap();
    scene.proves(&DANGLING_ENV_FILE).await;
    std::fs::rename(moved, gone).unwrap();
    scene.proves_gone(&DANGLING_ENV_FILE);
}

/// Gives `setting` of the scene's database to its sessions.
async fn set_search_path(scene: &Scene, of: &str, value: &str) {
    let name = &scene.database.as_ref().unwrap().name;
    let of = of.replace("{name}", name);
    scene
        .sql(&format!("ALTER {of} SET search_path = {value}"))
        .await;
}

/// The newest migration is pending, so a start would create tables.
async fn behind() -> Scene {
    let scene = Scene::postgres_after("CREATE SCHEMA app").await;
    let output = scene.todoctl(&["migrate", "down", "--yes"]);
    assert!(output.status.success());
    scene
}

#[tokio::test]
async fn an_empty_schema_first() {
    let mut scene = behind().await;
    set_search_path(&scene, "DATABASE {name}", "app, public").await;
    scene.proves(&EMPTY_SCHEMA_FIRST).await;
    set_search_path(
        &scene,
        "ROLE CURRENT_USER IN DATABASE {name}",
        "app, public",
    )
    .await;
    let report = scene.doctor("database.tables");
    let detail = report.detail("database.tables");
    assert!(
        detail.contains("the tables are in the schema public, but app comes first"),
        "{detail}"
    );
    let remedy = report.check("database.tables")["remedy"].as_str().unwrap();
    assert!(remedy.contains("RESET search_path"), "{remedy}");
    assert!(scene.type_in(remedy).status.success());
    scene
        .doctor("database.tables")
        .says("database.tables", "pass", "");
}

#[tokio::test]
async fn an_empty_schema_alone() {
    let mut scene = Scene::postgres_after("CREATE SCHEMA app").await;
    set_search_path(&scene, "DATABASE {name}", "app").await;
    let output = scene.todoctl(&["migrate", "up", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2));
    scene.proves(&EMPTY_SCHEMA_ALONE).await;
}

/// A search path in the URL is meant for this service, as where several share a database.
fn with_schema(scene: &Scene, schema: &str) {
    let output = scene.todoctl(&[
        "config",
        "set",
        &format!("DATABASE_URL.options=-csearch_path={schema}"),
    ]);
    assert!(output.status.success());
    let output = scene.todoctl(&["migrate", "up"]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn second_tables() {
    let mut scene = Scene::postgres_after("CREATE SCHEMA app").await;
    with_schema(&scene, "app");
    scene
        .doctor("database.tables")
        .says("database.tables", "pass", "");
    let output = scene.todoctl(&["config", "unset", "DATABASE_URL.options"]);
    assert!(output.status.success());
    for path in ["app, public", "app"] {
        set_search_path(&scene, "DATABASE {name}", path).await;
        scene.proves(&SECOND_TABLES).await;
    }
    scene
        .sql("INSERT INTO app.tasks (user_id, title, created_at, updated_at) VALUES ('me', 'two', now(), now())")
        .await;
    set_search_path(&scene, "DATABASE {name}", "app").await;
    scene
        .doctor("database.tables")
        .says("database.tables", "pass", "");
    set_search_path(&scene, "DATABASE {name}", "app, public").await;
    let report = scene.doctor("database.tables");
    report.says("database.tables", "warn", "both are wanted");
}

/// What the daemon has stored in a table that hides the service's is found again, by sessions that
/// run too. The ids come from one sequence, or from another, so that some are taken.
#[tokio::test]
async fn rows_in_a_table_that_hides_the_tasks() {
    const CHECK: &str = "database.tables";
    let mut scene = Scene::postgres_after("CREATE SCHEMA app").await;
    for (sequence, all) in [("public.tasks_id_seq", 3), ("app.numbers", 5)] {
        scene.stop();
        set_search_path(
            &scene,
            "ROLE CURRENT_USER IN DATABASE {name}",
            "app, public",
        )
        .await;
        scene
            .sql(&format!(
                "CREATE SEQUENCE IF NOT EXISTS app.numbers;
                 CREATE TABLE app.tasks (LIKE public.tasks INCLUDING ALL);
                 ALTER TABLE app.tasks ALTER id SET DEFAULT nextval('{sequence}')"
            ))
            .await;
        // Changed there, and created there.
        if all == 3 {
            scene
                .sql("INSERT INTO app.tasks SELECT * FROM public.tasks")
                .await;
            assert_eq!(scene.status("PUT", "/tasks/1"), 200);
        }
        for _ in 0..2 {
            assert_eq!(scene.status("POST", "/tasks/"), 201);
        }
        let report = scene.doctor(CHECK);
        report.says(CHECK, "fail", "INSERT INTO");
        let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
        for _ in 0..2 {
            assert!(scene.type_in(remedy).status.success(), "{remedy}");
        }
        scene.doctor(CHECK).says(CHECK, "pass", "");
        let count = "SELECT count(*) FROM public.tasks";
        assert_eq!(scene.number(count).await, all);
        // Without a restart.
        assert_eq!(scene.status("POST", "/tasks/"), 201);
        assert_eq!(scene.number(count).await, all + 1);
        let changed = "SELECT count(*) FROM public.tasks WHERE id = 1 AND title = 'two'";
        assert_eq!(scene.number(changed).await, 1);
        scene
            .sql("DELETE FROM public.tasks WHERE id > 3; DROP TABLE app.set_aside_tasks")
            .await;
    }
    // The search path was corrected by hand, without the rows.
    scene
        .sql("CREATE TABLE app.tasks (LIKE public.tasks INCLUDING ALL)")
        .await;
    let report = scene.doctor("database.sequences");
    report.says("database.sequences", "warn", "has hidden tasks");
}

/// A remedy that creates an empty database would hide the tasks.
#[tokio::test]
async fn another_spelling() {
    let mut scene = Scene::postgres().await;
    let name = scene.database.as_ref().unwrap().name.clone();
    for spelling in [name.to_uppercase(), name.replace('_', "-")] {
        let output = scene.todoctl(&[
            "config",
            "set",
            &format!("DATABASE_URL.database={spelling}"),
        ]);
        assert!(output.status.success());
        let report = scene.doctor("database.login");
        let detail = report.detail("database.login");
        assert!(
            detail.ends_with(&format!("there is a database {name}")),
            "{detail}"
        );
        scene.proves(&OTHER_SPELLING).await;
    }
}

/// `serve` says the same as the checks.
#[tokio::test]
async fn a_renamed_database() {
    let mut scene = Scene::postgres().await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let role = with_role(&mut scene, "", &grants).await;
    let name = scene.database.as_ref().unwrap().name.clone();
    scene
        .sql(&format!("ALTER DATABASE {name} OWNER TO {role}"))
        .await;
    let url = scene.get("DATABASE_URL").unwrap();
    // Renamed is what the URL names: the test needs the other name to clean up.
    scene.set("DATABASE_URL", &url.replace(&name, "todo_before"));
    let printed = scene.start_fails().unwrap();
    let set = format!("todoctl config set DATABASE_URL.database={name}");
    assert!(printed.contains(&set), "{printed}");
    scene.proves(&RENAMED_DATABASE).await;
    scene.stop();
    scene
        .sql(&format!("ALTER DATABASE {name} OWNER TO CURRENT_USER"))
        .await;
    drop_role_of(&mut scene, &role).await;
}

/// A provider key, encrypted with [`KEY`].
pub const TOKEN: &str = "gAAAAABrBjyvkEzLqVfRqFM7Fpg0UdX6IqtdH_BUnBC1hQawvqhEfY8Qgujuo_vMfiXYiGFfdbQ4qmhy4wWUZz9Jgip_RUNiyd-D95IKiVym7xZgqBVPO0k1SwH4HNs-7PBnTQat0TGq";
pub const KEY: &str = "-ChFqFqk2QRDcbpz2THMoadUhrGfLLJeq1y-iKZb0fw=";

#[tokio::test]
async fn another_encryption_key() {
    let insert = |now: &str| {
        format!(
            "INSERT INTO user_api_keys (user_id, provider, encrypted_key, created_at, updated_at)
             VALUES ('me', 'gemini', '{TOKEN}', {now}, {now})"
        )
    };
    let mut on_server = Scene::postgres_after(&insert("now()")).await;
    let mut in_file = Scene::sqlite().await;
    sqlite(&in_file.file(), &insert("1")).await;
    for scene in [&mut on_server, &mut in_file] {
        scene.proves(&OTHER_KEY).await;
        scene.set("ENCRYPTION_KEY_PREVIOUS", KEY);
        scene.proves_gone(&OTHER_KEY);
        scene.unset("ENCRYPTION_KEY_PREVIOUS");
        // One character was lost: the remedy does not only make another one.
        scene.set("ENCRYPTION_KEY", &KEY[..42]);
        let report = scene.doctor("config.secrets");
        report.says("config.secrets", "fail", "correct it if you know it");
        scene.proves(&OTHER_KEY).await;
        scene.set("ENCRYPTION_KEY", KEY);
        scene.proves_gone(&OTHER_KEY);
    }
}

/// The remedy leads to a file of the service's own; the other one stays as it is.
#[tokio::test]
async fn a_file_of_another_service() {
    let mut scene = Scene::new();
    std::fs::create_dir(scene.path().join("data")).unwrap();
    std::fs::write(scene.file(), "").unwrap();
    let tables = "CREATE TABLE tasks (id INTEGER PRIMARY KEY, name TEXT);
         INSERT INTO tasks VALUES (1, 'theirs')";
    sqlite(&scene.file(), tables).await;
    scene.proves(&OTHER_SERVICES_FILE).await;
    assert_eq!(scene.start_fails(), None);
    let update = "UPDATE tasks SET name = 'still theirs' WHERE name = 'theirs'";
    sqlite(&scene.file(), update).await;
}

#[tokio::test]
async fn a_view_in_place_of_the_tasks() {
    // With the old behaviour of SQLite, triggers keep the old name.
    for before in ["", "PRAGMA legacy_alter_table = ON; "] {
        let mut scene = Scene::sqlite().await;
        let rename = format!(
            "{before}ALTER TABLE tasks RENAME TO tasks_real;
             CREATE VIEW tasks AS SELECT * FROM tasks_real"
        );
        sqlite(&scene.file(), &rename).await;
        assert_eq!(scene.status("POST", "/tasks/"), 500);
        scene.proves(&VIEW_IN_PLACE).await;
        scene.stop();
        assert_eq!(scene.status("POST", "/tasks/"), 201);
    }
}
