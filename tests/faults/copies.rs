//! Two servers with copies of one database, and a server at another port.

use url::Url;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};
use crate::support::{Cluster, PgBouncer};

faults! {
    TWO_SERVERS = Fault {
        after: After::Person("only a person knows which copy is the right one"),
        ..Fault::failing(
            "The pooler leads to the copy from before a move, DATABASE_URL_UNPOOLED to the server",
            Symptom::Start("DATABASE_URL leads to another server than DATABASE_URL_UNPOOLED"),
            "database.migrations",
        )
    };
    STANDBY = Fault {
        after: After::Person("only its administrator can change the pooler's configuration"),
        ..Fault::failing(
            "The pooler leads to a standby, DATABASE_URL_UNPOOLED to the primary",
            Symptom::Risk("every change is answered with 503"),
            "database.role",
        )
    };
    OTHER_PORT = Fault::failing(
        "A server of this machine listens at another port than before",
        Symptom::Risk("the daemon does not start"),
        "database.connection",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_one_database() {
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    let right = scene.get("DATABASE_URL").unwrap();
    let copy = cluster.copy();
    let mut old = Url::parse(&right).unwrap();
    let other = Url::parse(&copy.url).unwrap();
    old.set_port(other.port()).unwrap();
    let pooler = PgBouncer::configured(old.as_str(), "todo", "");
    scene.set("DATABASE_URL", &pooler.url);
    scene.set("DATABASE_URL_UNPOOLED", &right);
    scene.set("DB_POOLER", "transaction");
    scene.proves(&TWO_SERVERS).await;
    let report = scene.doctor(TWO_SERVERS.check);
    report.says(TWO_SERVERS.check, "fail", "correct host= and port= of");
    drop(pooler);
    let pooler = PgBouncer::configured(&right, "todo", "");
    scene.set("DATABASE_URL", &pooler.url);
    scene.proves_gone(&TWO_SERVERS);
    scene.stop();
    drop(pooler);

    std::fs::write(copy.directory().join("data/standby.signal"), "").unwrap();
    copy.restart();
    let pooler = PgBouncer::configured(old.as_str(), "todo", "");
    scene.set("DATABASE_URL", &pooler.url);
    scene.proves(&STANDBY).await;
    let report = scene.doctor(STANDBY.check);
    report.says(STANDBY.check, "fail", "correct host= and port= of");
    let detail = report.detail(STANDBY.check);
    assert!(detail.contains("leads to the primary"), "{detail}");
    drop(pooler);
    let pooler = PgBouncer::configured(&right, "todo", "");
    scene.set("DATABASE_URL", &pooler.url);
    scene.proves_gone(&STANDBY);

    for name in ["DATABASE_URL_UNPOOLED", "DB_POOLER"] {
        scene.unset(name);
    }
    let url = Url::parse(&right).unwrap();
    // It is read-only.
    let (directory, password) = (copy.directory().display(), url.password().unwrap());
    let standby = format!("postgresql://postgres:{password}@/todo?host={directory}&port=1");
    scene.set("DATABASE_URL", &standby);
    let report = scene.doctor(OTHER_PORT.check);
    let detail = report.detail(OTHER_PORT.check);
    assert!(detail.contains("is a standby"), "{detail}");
    let remedy = report.check(OTHER_PORT.check)["remedy"].as_str().unwrap();
    assert!(!remedy.contains("DATABASE_URL.port="), "{remedy}");
    let by_socket = |port: u16| {
        let (directory, password) = (cluster.directory().display(), url.password().unwrap());
        format!("postgresql://postgres:{password}@/todo?host={directory}&port={port}")
    };
    scene.set("DATABASE_URL", &by_socket(1));
    scene.proves(&OTHER_PORT).await;
    // Without a record of what the service had, only a person knows whether it is the right one.
    std::fs::remove_file(scene.path().join(".env-database")).unwrap();
    scene.set("DATABASE_URL", &by_socket(1));
    let port = url.port().unwrap();
    let report = scene.doctor(OTHER_PORT.check);
    let set = format!("no older copy: todoctl config set DATABASE_URL.port={port}");
    report.says(OTHER_PORT.check, "fail", &set);
}
