//! Servers of PostgreSQL: their copies, their disk, their clock, and the way to them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::activity::execute;
use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Cluster, PgBouncer, eventually};

faults! {
    NO_SYNCHRONOUS_REPLICA = Fault {
        title: "The synchronous replica is gone",
        symptom: Symptom::Risk("every change waits for it, without end"),
        check: "database.replication",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    SILENT_SYNCHRONOUS_REPLICA = Fault {
        title: "The synchronous replica is connected and does not confirm",
        symptom: Symptom::Risk("every change waits for it, without end"),
        check: "database.replication",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    FAILING_ARCHIVE = Fault {
        title: "The write-ahead log cannot be archived",
        symptom: Symptom::Risk("the log fills the disk, and backups have a gap"),
        check: "database.replication",
        outcome: "warn",
        after: After::Person("the archive's command or target has to be corrected"),
    };
    UNREAD_SLOT = Fault {
        title: "A replication slot of a replica that is gone",
        symptom: Symptom::Risk("the log that is kept for it fills the disk"),
        check: "database.replication",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    FULL_DISK = Fault {
        title: "The disk of a server on this machine is full",
        symptom: Symptom::Risk("the server stops when it cannot write its log"),
        check: "database.size",
        outcome: "fail",
        after: After::Person("the disk has to be made larger, or files removed"),
    };
    WRONG_CLOCK = Fault {
        title: "The server's clock is wrong by minutes",
        symptom: Symptom::Risk("reminders come at the wrong time"),
        check: "database.clock",
        outcome: "fail",
        after: After::Person("the clock of a machine has to be set"),
    };
    OLD_SERVER = Fault {
        title: "The server is older than the oldest supported release",
        symptom: Symptom::Start("is too old"),
        check: "database.version",
        outcome: "fail",
        after: After::Person("the server has to be upgraded"),
    };
    FAR_SERVER = Fault {
        title: "The server is on another continent",
        symptom: Symptom::Risk("every request takes a second"),
        check: "database.latency",
        outcome: "warn",
        after: After::Person("the daemon has to run near its database"),
    };
}

/// A commit that waits for replicas of these names.
async fn hanging_commit(cluster: &Cluster, names: &str) -> JoinHandle<()> {
    let setting = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
    cluster
        .execute(&["ALTER SYSTEM SET synchronous_commit = on", &setting])
        .await;
    cluster.reload().await;
    let mut session = cluster.connect().await;
    let commit = tokio::spawn(async move {
        execute(&mut session, "CREATE TABLE after_all ()").await;
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!commit.is_finished(), "a commit does not return");
    commit
}

/// Reads work, and every commit hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_replica_that_is_gone() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    let commit = hanging_commit(&cluster, "ANY 1 (gone)").await;
    scene.proves(&NO_SYNCHRONOUS_REPLICA).await;
    commit.await.unwrap();
}

/// A receiver that writes the log, and does not say that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_replica_that_does_not_confirm() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    let copy = tempfile::tempdir().unwrap();
    let mut receiver = Command::new("pg_receivewal")
        .arg("--directory")
        .arg(copy.path())
        .arg("--dbname")
        .arg(&cluster.url)
        .spawn()
        .expect("pg_receivewal is installed with PostgreSQL's client");
    let commit = hanging_commit(&cluster, "*").await;
    scene.proves(&SILENT_SYNCHRONOUS_REPLICA).await;
    commit.await.unwrap();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

/// The outcome of `database.replication` becomes this.
async fn becomes(scene: &Scene, outcome: &str) {
    eventually(outcome, async || {
        let report = scene.doctor("database.replication");
        tokio::time::sleep(Duration::from_millis(300)).await;
        report.check("database.replication")["outcome"] == outcome
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_given_back() {
    let cluster = Cluster::start();
    cluster
        .execute(&[
            "ALTER SYSTEM SET wal_init_zero = off",
            "ALTER SYSTEM SET archive_mode = on",
            "ALTER SYSTEM SET archive_command = 'false'",
        ])
        .await;
    cluster.restart();
    let mut scene = Scene::on(cluster.database().await).await;
    let mut session = cluster.connect().await;
    execute(&mut session, "SELECT pg_switch_wal()").await;
    becomes(&scene, "warn").await;
    scene.proves(&FAILING_ARCHIVE).await;
    for statement in [
        "ALTER SYSTEM SET archive_command = 'true'",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
    ] {
        execute(&mut session, statement).await;
    }
    becomes(&scene, "pass").await;
    scene.proves_gone(&FAILING_ARCHIVE);

    execute(
        &mut session,
        "SELECT pg_create_physical_replication_slot('gone', true)",
    )
    .await;
    for _ in 0..66 {
        execute(
            &mut session,
            "SELECT pg_logical_emit_message(true, 'a', 'b')",
        )
        .await;
        execute(&mut session, "SELECT pg_switch_wal()").await;
    }
    session.close().await.unwrap();
    scene.proves(&UNREAD_SLOT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_almost_full() {
    let base = tempfile::Builder::new()
        .prefix("disk-")
        .tempdir_in("/tmp")
        .unwrap();
    let disk = Mounted(base.path());
    disk.mount("size=2g,mode=755");
    let cluster = Cluster::start_below(base.path());
    let mut scene = Scene::on(cluster.database().await).await;
    let report = scene.doctor("database.size");
    report.says("database.size", "pass", "");
    assert!(
        report
            .detail("database.size")
            .contains("free on the disk of")
    );
    disk.mount("remount,size=90m");
    scene.proves(&FULL_DISK).await;
    disk.mount("remount,size=2g");
    scene.proves_gone(&FULL_DISK);
    drop(cluster);
}

/// A file system in memory, taken away with its value.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn mount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0)
            .status()
            .unwrap();
        assert!(
            status.success(),
            "this test mounts a small disk and may not"
        );
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// A schema before `pg_catalog` in the search path, whose function answers as a server would that
/// is older, or whose clock is wrong.
async fn shadow(scene: &Scene, function: &str) {
    let name = &scene.database.as_ref().unwrap().name;
    scene
        .sql(&format!("CREATE SCHEMA shadow; {function}"))
        .await;
    scene
        .sql(&format!(
            "ALTER DATABASE {name} SET search_path = shadow, pg_catalog, public"
        ))
        .await;
}

async fn unshadow(scene: &Scene) {
    scene.sql("DROP SCHEMA shadow CASCADE").await;
}

#[tokio::test]
async fn a_server_with_a_wrong_clock() {
    let mut scene = Scene::postgres().await;
    shadow(
        &scene,
        "CREATE FUNCTION shadow.clock_timestamp() RETURNS timestamptz LANGUAGE sql
         AS 'SELECT pg_catalog.clock_timestamp() - interval ''20 seconds'''",
    )
    .await;
    scene
        .doctor("database.clock")
        .says("database.clock", "warn", "");
    scene
        .sql(
            "CREATE OR REPLACE FUNCTION shadow.clock_timestamp() RETURNS timestamptz LANGUAGE sql
             AS 'SELECT pg_catalog.clock_timestamp() + interval ''10 minutes'''",
        )
        .await;
    scene.proves(&WRONG_CLOCK).await;
    unshadow(&scene).await;
    scene.proves_gone(&WRONG_CLOCK);
}

#[tokio::test]
async fn a_server_that_is_too_old() {
    let mut scene = Scene::postgres().await;
    shadow(
        &scene,
        "CREATE FUNCTION shadow.current_setting(name text) RETURNS text LANGUAGE sql
         AS 'SELECT CASE name WHEN ''server_version_num'' THEN ''110022''
                              WHEN ''server_version'' THEN ''11.22''
                              ELSE pg_catalog.current_setting(name) END'",
    )
    .await;
    scene.proves(&OLD_SERVER).await;
    unshadow(&scene).await;
    scene.proves_gone(&OLD_SERVER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_far_away() {
    let mut scene = Scene::postgres().await;
    let near = scene.get("DATABASE_URL").unwrap();
    let mut far = url::Url::parse(&near).unwrap();
    let port = slow(far.port().unwrap(), Duration::from_millis(120)).await;
    far.set_port(Some(port)).unwrap();
    scene.set("DATABASE_URL", far.as_str());
    scene.proves(&FAR_SERVER).await;
    scene.set("DATABASE_URL", &near);
    scene.proves_gone(&FAR_SERVER);
}

/// Carries bytes to a port of this machine; answers arrive late.
async fn slow(to: u16, pause: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = tokio::io::copy(&mut from_client, &mut to_server);
                let down = async {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                        tokio::time::sleep(pause).await;
                        if to_client.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! { _ = up => {}, () = down => {} }
            });
        }
    });
    port
}

/// The pooler lets everybody in, and all its connections to the server are taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_without_a_free_connection() {
    let scene = Scene::postgres().await;
    let pooler = PgBouncer::start(&scene.database.as_ref().unwrap().url);
    scene.set("DATABASE_URL", &pooler.url);
    scene.set("DB_POOLER", "transaction");
    scene
        .doctor("database.query")
        .says("database.query", "pass", "");
    let options: sqlx::postgres::PgConnectOptions = pooler.url.parse().unwrap();
    // PgBouncer refuses it.
    let options = options.extra_float_digits(None);
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut holder = sqlx::PgConnection::connect_with(&options).await.unwrap();
        execute(&mut holder, "BEGIN").await;
        holders.push(holder);
    }
    let report = scene.doctor("database.query");
    assert_eq!(report.check("database.query")["outcome"], "fail");
    drop(holders);
    scene
        .doctor("database.query")
        .says("database.query", "pass", "");
}
