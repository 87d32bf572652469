//! Files of a PostgreSQL server: who may log in how, and damaged pages.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sqlx::Connection as _;
use url::Url;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Cluster, PgBouncer, eventually};

const LOGIN: &str = "database.login";
const TRIAL: &str = "database.trial";

const NOT_CREATED: Symptom = Symptom::Answer {
    method: "POST",
    path: "/tasks/",
    status: 500,
};

faults! {
    PEER = Fault::failing(
        "pg_hba.conf has peer for sockets, and DATABASE_URL a password",
        Symptom::Start("Peer authentication failed"),
        LOGIN,
    );
    IDENT = Fault {
        after: After::Person("only root may change pg_hba.conf"),
        ..Fault::failing(
            "pg_hba.conf has ident for connections by TCP",
            Symptom::Start("Ident authentication failed"),
            LOGIN,
        )
    };
    DAMAGED_INDEX = Fault::failing("A page of an index is damaged", NOT_CREATED, TRIAL);
    LOST_INDEX_FILE = Fault::failing("The file of an index is gone", NOT_CREATED, TRIAL);
}

/// What Debian and Red Hat have in `pg_hba.conf`.
#[tokio::test]
async fn logins_without_the_password() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    cluster
        .execute(&[
            "CREATE ROLE todo LOGIN PASSWORD 'canary'",
            "ALTER DATABASE todo OWNER TO todo",
        ])
        .await;
    scene.sql("GRANT ALL ON SCHEMA public TO todo; GRANT ALL ON ALL TABLES IN SCHEMA public TO todo; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO todo").await;
    let port = Url::parse(&cluster.url).unwrap().port().unwrap();
    let rules = cluster.directory().join("data/pg_hba.conf");
    let of_superuser = "local all postgres peer\nhost all postgres 127.0.0.1/32 scram-sha-256\n";
    let socket = cluster.directory().display();
    let by_socket = format!("postgresql://todo:canary@/todo?host={socket}&port={port}");
    let by_tcp = format!("postgresql://todo:canary@localhost/todo?port={port}");
    // Until a login by TCP ends so.
    let rule = async |text: &str, ends: &str| {
        std::fs::write(&rules, format!("{of_superuser}{text}\n")).unwrap();
        cluster.execute(&["SELECT pg_reload_conf()"]).await;
        let address = format!("postgresql://todo:canary@127.0.0.1:{port}/todo");
        eventually("the rule is loaded", async || {
            let login = sqlx::PgConnection::connect(&address).await;
            let said = login.map_or_else(|error| error.to_string(), |_| String::new());
            said.contains(ends) && said.is_empty() == ends.is_empty()
        })
        .await;
    };
    rule("local all all peer", "no pg_hba.conf entry").await;
    scene.set("DATABASE_URL", &by_socket);
    // Nowhere a way: the line has to be changed.
    let report = scene.doctor(LOGIN);
    report.says(LOGIN, "fail", "pg_hba_file_rules");
    // The server has no TLS to offer.
    let remedy = report.check(LOGIN)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("sslmode"), "{remedy}");
    rule(
        "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256",
        "",
    )
    .await;
    scene.proves(&PEER).await;
    assert_eq!(scene.get("DATABASE_URL").unwrap(), by_tcp);
    scene.stop();
    rule("host all all 127.0.0.1/32 ident", "Ident").await;
    scene.proves(&IDENT).await;
    let own = scene.get("DATABASE_URL").unwrap();
    let server = format!("postgresql://todo:canary@127.0.0.1:{port}/todo");
    let pooler = PgBouncer::configured(&server, "todo", "");
    scene.set("DATABASE_URL", &pooler.url);
    scene.set("DATABASE_URL_UNPOOLED", &server);
    let report = scene.doctor(LOGIN);
    report.says(LOGIN, "fail", "pg_hba_file_rules");
    let remedy = report.check(LOGIN)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("auth_file"), "{remedy}");
    drop(pooler);
    scene.unset("DATABASE_URL_UNPOOLED");
    scene.set("DATABASE_URL", &own);
    rule("host all all 127.0.0.1/32 scram-sha-256", "").await;
    scene.proves_gone(&IDENT);
}

/// Changes the file of a relation, and lets the server read it again.
async fn change(cluster: &Cluster, scene: &Scene, relation: &str, change: fn(&Path)) {
    let mut connection = sqlx::PgConnection::connect(&scene.administrators_url().unwrap())
        .await
        .unwrap();
    let path: String = sqlx::query_scalar("SELECT pg_relation_filepath(to_regclass($1))")
        .bind(relation)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    // The server has nothing left to write when it stops.
    sqlx::raw_sql("CHECKPOINT")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    change(&cluster.directory().join("data").join(path));
    cluster.restart();
}

/// Overwrites the first two pages.
fn damage(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len().min(16_384);
    file.write_all_at(&vec![0xa5; usize::try_from(pages).unwrap()], 0)
        .unwrap();
}

fn delete(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn damaged_pages() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    scene
        .sql("INSERT INTO notifications (user_id, task_id, type, message, created_at) SELECT user_id, id, 'reminder', 'canary', now() FROM tasks")
        .await;
    change(&cluster, &scene, "tasks_pkey", damage).await;
    let report = scene.doctor(TRIAL);
    let detail = report.detail(TRIAL);
    assert!(
        detail.contains("that is the index public.tasks_pkey of public.tasks"),
        "{detail}"
    );
    scene.proves(&DAMAGED_INDEX).await;
    scene.stop();

    change(&cluster, &scene, "tasks_pkey", delete).await;
    scene.proves(&LOST_INDEX_FILE).await;
    scene.stop();

    change(&cluster, &scene, "notifications", damage).await;
    let report = scene.doctor(TRIAL);
    report.says(TRIAL, "fail", "switch to a standby");
    let detail = report.detail(TRIAL);
    assert!(
        detail.contains("that is the table public.notifications"),
        "{detail}"
    );
    // What another check meets is explained as well.
    let report = scene.doctor("database.unread");
    report.says("database.unread", "fail", "notifications_rescued");
}
