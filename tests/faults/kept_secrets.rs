//! Something else is where the generated secrets of a database with rows should be. No remedy leads to
//! new ones.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, set_mode};

const CHECK: &str = "config.secrets";

faults! {
    NOT_A_DIRECTORY = Fault::failing(
        "SQLite: the generated secrets are in another directory, and a file has its name",
        Symptom::Start("is not a directory"),
        CHECK,
    );
    DANGLING = Fault {
        title: "SQLite: the directory of the generated secrets is a link to a place that is not mounted",
        symptom: Symptom::Start("which does not exist"),
        check: CHECK,
        outcome: "fail",
        after: After::Person("the disk has to be mounted"),
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_secrets_that_is_none() {
    let mut scene = Scene::sqlite().await;
    let names = ["SERVICE_AUTH_TOKEN", "SESSION_HASH_SECRET"];
    for name in names {
        scene.unset(name);
    }
    scene.start();
    scene.end();
    let data = scene.path().join("data");
    let values = || names.map(|name| std::fs::read(data.join("secrets").join(name)).unwrap());
    let before = values();
    let elsewhere = data.join("s");
    std::fs::rename(data.join("secrets"), &elsewhere).unwrap();
    std::fs::write(data.join("secrets"), "all of them").unwrap();
    scene.proves(&NOT_A_DIRECTORY).await;
    assert_eq!(values(), before);

    let mount = scene.path().join("volume");
    std::fs::rename(data.join("secrets"), &mount).unwrap();
    symlink("/no such mount/secrets", data.join("secrets")).unwrap();
    scene.proves(&DANGLING).await;
    assert!(!data.join("secrets").exists());
    std::fs::remove_file(data.join("secrets")).unwrap();
    symlink(&mount, data.join("secrets")).unwrap();
    scene.proves_gone(&DANGLING);
    assert_eq!(values(), before);
}

/// As after `chmod -R 600 data`.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_secrets_that_cannot_be_entered() {
    let mut scene = Scene::sqlite().await;
    scene.unset("SERVICE_AUTH_TOKEN");
    scene.start();
    scene.end();
    let data = scene.path().join("data");
    let secrets = data.join("secrets");
    let own = [data.clone(), scene.file(), secrets.clone()];
    for path in own.into_iter().chain([
        secrets.join("SERVICE_AUTH_TOKEN"),
        data.join("todo.db-migrate.lock"),
    ]) {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    scene.run_by(65_534);
    set_mode(&secrets, 0o600);
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "chmod u+rwx data/secrets");
    set_mode(&data, 0o600);
    // Root's shell heals both at once.
    scene.run_by(0);
    let report = scene.doctor("database.directory");
    let remedy = report.check("database.directory")["remedy"]
        .as_str()
        .unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    assert_eq!(
        secrets.metadata().unwrap().permissions().mode() & 0o700,
        0o700
    );
    scene.run_by(65_534);
    scene.doctor(CHECK).says(CHECK, "pass", "");
}
