//! A `doctor` that ends in the middle of its trial leaves nothing behind.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rstest::rstest;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::faults::fingerprint::{Fingerprint, sqlite};
use crate::faults::harness::Scene;
use crate::support::Engine::{self, Postgres, Sqlite};

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Interrupt,
    /// On a server.
    ConnectionCut,
}

/// A trial that is in its transaction for a second or longer: storing a mail takes that long.
async fn slow_scene(engine: Engine) -> Scene {
    match engine {
        Postgres => {
            Scene::postgres_after(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$;
                 CREATE TRIGGER slow BEFORE INSERT ON notifications FOR EACH ROW EXECUTE FUNCTION slow()",
            )
            .await
        }
        Sqlite => {
            let scene = Scene::sqlite().await;
            sqlite(
                &scene.file(),
                "CREATE VIEW many (i) AS
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)
                     SELECT i FROM n;
                 CREATE TRIGGER slow AFTER INSERT ON notifications BEGIN
                     DELETE FROM notifications WHERE id = (SELECT -count(*) FROM many);
                 END",
            )
            .await;
            scene
        }
    }
}

fn doctor(scene: &Scene) -> Child {
    Command::new(env!("CARGO_BIN_EXE_todoctl"))
        .args(["doctor", "--only", "database.trial", "--format", "json"])
        .current_dir(scene.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether the trial has written something that it has not rolled back yet; the process that
/// serves it on a server.
async fn is_in_the_middle(scene: &Scene) -> Option<i32> {
    if let Some(database) = &scene.database {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        return sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'",
        )
        .fetch_optional(&mut connection)
        .await
        .unwrap();
    }
    let url = format!("sqlite://{}?mode=rw", scene.file().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let begun = async {
        sqlx::raw_sql("PRAGMA busy_timeout = 0")
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
            .execute(&mut connection)
            .await
    };
    begun.await.is_err().then_some(0)
}

/// No session of the trial, no transaction, no lock.
async fn is_gone(scene: &Scene) -> bool {
    let Some(database) = &scene.database else {
        return is_in_the_middle(scene).await.is_none();
    };
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'todoctl'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    left == 0
}

#[rstest]
#[case(Postgres, End::Kill)]
#[case(Postgres, End::Interrupt)]
#[case(Postgres, End::ConnectionCut)]
#[case(Sqlite, End::Kill)]
#[case(Sqlite, End::Interrupt)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left(#[case] engine: Engine, #[case] end: End) {
    let mut scene = slow_scene(engine).await;
    let before = Fingerprint::of(&scene).await;
    let mut child = doctor(&scene);
    let deadline = Instant::now() + Duration::from_secs(30);
    let pid = loop {
        assert!(Instant::now() < deadline, "the trial does not begin");
        if let Some(pid) = is_in_the_middle(&scene).await {
            break pid;
        }
        assert!(child.try_wait().unwrap().is_none(), "the trial has ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    match end {
        End::Kill => child.kill().unwrap(),
        End::Interrupt => {
            let process = i32::try_from(child.id()).unwrap();
            let process = rustix::process::Pid::from_raw(process).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
        }
        End::ConnectionCut => {
            scene
                .sql(&format!("SELECT pg_terminate_backend({pid})"))
                .await;
        }
    }
    let output = child.wait_with_output().unwrap();
    match end {
        End::Kill => assert_eq!(output.status.code(), None),
        End::Interrupt => assert_eq!(output.status.code(), Some(130)),
        End::ConnectionCut => assert_eq!(output.status.code(), Some(1)),
    }
    while !is_gone(&scene).await {
        assert!(Instant::now() < deadline, "something is left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(before, Fingerprint::of(&scene).await);
    scene
        .doctor("database.query")
        .says("database.query", "pass", "");
    assert_eq!(scene.status("POST", "/tasks/"), 201);
}
