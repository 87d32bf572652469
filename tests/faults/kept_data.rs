//! Something else is where a SQLite file or its directory should be. The data is near, and the remedy
//! leads there: nothing is moved away or begun anew.

use std::path::Path;

use crate::faults::harness::{Fault, Scene, Symptom, faults};

faults! {
    DIRECTORY_NAMED = Fault::failing(
        "DATABASE_URL names the directory of the database",
        Symptom::Start("data/todo.db"),
        "database.connection",
    );
    OTHER_FILE_NAMED = Fault::failing(
        "DATABASE_URL names a file of another kind",
        Symptom::Start("not a SQLite database"),
        "database.login",
    );
    FILE_AS_DIRECTORY = Fault::failing(
        "TODOCTL_DATA_DIR names the SQLite file",
        Symptom::Start("sqlite://data/todo.db"),
        "database.connection",
    );
    BACKUP_AS_DIRECTORY = Fault::failing(
        "A backup of the SQLite file has the name of its directory",
        Symptom::Start("mv -n data data.new/todo.db"),
        "config.data_directory",
    );
}

fn is_served(scene: &mut Scene) {
    assert_eq!(scene.status("GET", "/tasks/1"), 200);
    scene.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_to_the_data() {
    let mut scene = Scene::sqlite().await;
    let env_file = scene.path().join(".env");
    for (name, value, fault) in [
        ("DATABASE_URL", "sqlite://data", &DIRECTORY_NAMED),
        ("DATABASE_URL", "sqlite://.env", &OTHER_FILE_NAMED),
        ("TODOCTL_DATA_DIR", "data/todo.db", &FILE_AS_DIRECTORY),
    ] {
        scene.set(name, value);
        if value == "sqlite://data" {
            // Not one of hard links.
            let report = scene.doctor("database.directory");
            report.says("database.directory", "pass", "");
        }
        scene.proves(fault).await;
        assert_eq!(scene.get("DATABASE_URL").unwrap(), "sqlite://data/todo.db");
        is_served(&mut scene);
        for name in ["DATABASE_URL", "TODOCTL_DATA_DIR"] {
            scene.unset(name);
        }
        assert!(env_file.exists());
    }
    // What another program has there stays as well.
    std::fs::create_dir(scene.path().join("other")).unwrap();
    std::fs::write(scene.path().join("other/letter.odt"), "").unwrap();
    scene.set("DATABASE_URL", "sqlite://other");
    let report = scene.doctor("database.connection");
    report.says(
        "database.connection",
        "fail",
        "# other is a directory with files",
    );
    // Only an empty directory makes room.
    std::fs::remove_file(scene.path().join("other/letter.odt")).unwrap();
    let report = scene.doctor("database.connection");
    report.says("database.connection", "fail", "rmdir other");
}

/// As after `rm -rf data; cp backup.db data`. The log of a crash goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_the_name_of_the_directory() {
    let mut scene = Scene::sqlite().await;
    let data = scene.path().join("data");
    scene.start();
    assert_eq!(scene.status("POST", "/tasks/"), 201);
    scene.stop();
    let old = scene.path().join("old");
    std::fs::rename(&data, &old).unwrap();
    for suffix in ["", "-wal"] {
        let name = old.join(format!("todo.db{suffix}"));
        std::fs::rename(name, scene.path().join(format!("data{suffix}"))).unwrap();
    }
    scene.proves(&BACKUP_AS_DIRECTORY).await;
    assert_eq!(scene.status("GET", "/tasks/2"), 200);
    assert!(!Path::new(&scene.path().join("data.old")).exists());
}
