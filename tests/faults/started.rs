//! How a daemon was started: twice, from a program that is gone, with a log that is not read.

use std::fs;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults, said};

faults! {
    DELETED_PROGRAM = Fault {
        title: "The program of the daemon was deleted",
        symptom: Symptom::Risk("it cannot be started again"),
        check: "daemon.version",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    REPLACED_PROGRAM = Fault {
        title: "The program of the daemon was replaced, and the daemon not restarted",
        symptom: Symptom::Risk("the old one runs on"),
        check: "daemon.version",
        outcome: "warn",
        after: After::Person("the daemon has to be restarted"),
    };
    STOPPED_READER = Fault {
        title: "The program that reads the daemon's log is stopped",
        symptom: Symptom::Risk("lines of the log are lost"),
        check: "daemon.process",
        outcome: "warn",
        after: After::Typed("pass"),
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_gone() {
    let mut scene = Scene::sqlite().await;
    scene.start_by(
        "mkdir own; cp -L \"$(command -v todoctl)\" own/todoctl; cp -p own/todoctl kept; exec own/todoctl serve",
    );
    let own = scene.path().join("own/todoctl");
    scene
        .doctor("daemon.version")
        .says("daemon.version", "pass", "");
    fs::remove_file(&own).unwrap();
    scene.proves(&DELETED_PROGRAM).await;
    assert_eq!(
        fs::read(&own).unwrap(),
        fs::read(scene.path().join("kept")).unwrap()
    );
    fs::remove_file(&own).unwrap();
    fs::write(&own, "another one").unwrap();
    scene.proves(&REPLACED_PROGRAM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read() {
    let mut scene = Scene::sqlite().await;
    scene.start_by(
        "mkfifo log; sh -c 'echo $$ > reader; exec cat log >&2' & exec todoctl serve 2> log",
    );
    scene
        .doctor("daemon.process")
        .says("daemon.process", "pass", "");
    let reader = fs::read_to_string(scene.path().join("reader")).unwrap();
    let reader = reader.trim();
    assert!(
        scene
            .type_in(&format!("kill -STOP {reader}"))
            .status
            .success()
    );
    scene
        .doctor("daemon.process")
        .says("daemon.process", "warn", &format!("kill -CONT {reader}"));
    scene.proves(&STOPPED_READER).await;
}

/// With another port, as a busy one would ask for, there would be two daemons.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_start() {
    for mut scene in [Scene::sqlite().await, Scene::postgres().await] {
        scene.start_at_its_port();
        let output = scene.todoctl(&["serve"]);
        assert_eq!(output.status.code(), Some(2));
        let text = said(&output);
        let expected = format!("runs already (pid {}", scene.daemon_pid());
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("PORT"), "{text}");
    }
}

/// Each is described as its operator knows it.
#[tokio::test(flavor = "multi_thread")]
async fn several_daemons() {
    let (mut one, mut other) = (Scene::sqlite().await, Scene::sqlite().await);
    one.start();
    other.start();
    let output = one.todoctl(&["doctor", "--pid", "auto"]);
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    for scene in [&one, &other] {
        let place = scene.path().canonicalize().unwrap();
        let expected = format!("--pid {} (user ", scene.daemon_pid());
        assert!(text.contains(&expected), "{text}");
        assert!(
            text.contains(&format!(", in {}", place.display())),
            "{text}"
        );
    }
}
