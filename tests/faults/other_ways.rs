//! Servers of this machine that are reached in another way than the configured one.

use url::Url;

use super::servers::{SCHEMA, SEQUENCES, TABLES, drop_role_of, with_role};
use crate::faults::harness::{Fault, Scene, Symptom, faults};
use crate::support::{Cluster, not_tried};

const LOGIN: &str = "database.login";
const CONNECTION: &str = "database.connection";
const MIGRATIONS: &str = "database.migrations";
const NOT_STARTED: Symptom = Symptom::Risk("the daemon does not start");

faults! {
    NO_PASSWORD = Fault::failing(
        "The database takes no connections, and its administrator logs in as the system user alone",
        Symptom::Start("too many connections for database"),
        LOGIN,
    );
    OTHER_ADDRESS = Fault::failing(
        "The server listens at another address of this machine",
        NOT_STARTED,
        CONNECTION,
    );
    OTHER_CLUSTER = Fault::failing(
        "Another cluster listens at the configured port, and the service's at another one",
        Symptom::Start("password authentication failed"),
        LOGIN,
    );
    EMPTY_CLUSTER = Fault::failing(
        "An empty database of another cluster is at the configured port, and the service's at another one",
        Symptom::Risk("the service begins anew, without its tasks"),
        MIGRATIONS,
    );
}

/// Lets the server listen at a socket in `/tmp` too, and the system user `postgres` log in there.
async fn with_socket(cluster: &Cluster) {
    let own = cluster.directory().display();
    let sockets = format!("ALTER SYSTEM SET unix_socket_directories = '{own}', '/tmp'");
    cluster.execute(&[&sockets]).await;
    let rules = cluster.directory().join("data/pg_hba.conf");
    let right = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("local all postgres peer\n{right}")).unwrap();
    cluster.restart();
}

fn port(cluster: &Cluster) -> u16 {
    Url::parse(&cluster.url).unwrap().port().unwrap()
}

/// Commands of the administrator are typed by root as they are printed.
#[tokio::test]
async fn an_administrator_without_a_password() {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let has_user = users.lines().any(|line| line.starts_with("postgres:"));
    if !rustix::process::geteuid().is_root() || !has_user {
        return not_tried("this user is not root, or there is no user postgres");
    }
    let cluster = Cluster::start();
    let mut scene = Scene::on(cluster.database().await).await;
    let grants = [SCHEMA, TABLES, SEQUENCES].join("; ");
    let name = with_role(&mut scene, "", &grants).await;
    with_socket(&cluster).await;
    scene.forget_passwords();
    scene.sql("ALTER DATABASE todo CONNECTION LIMIT 0").await;
    scene.proves(&NO_PASSWORD).await;
    // The same of other programs, and where the host is the socket.
    let url = format!(
        "postgresql://{name}:canary@/gone?host=/tmp&port={}",
        port(&cluster)
    );
    scene.set("DATABASE_URL", &url);
    let report = scene.doctor(LOGIN);
    let create = format!(
        "runuser -u postgres -- createdb --template=template0 --encoding=UTF8 -h /tmp -p {} -U postgres gone",
        port(&cluster)
    );
    report.says(LOGIN, "fail", &create);
    drop_role_of(&mut scene, &name).await;
}

#[tokio::test]
async fn a_server_at_another_address() {
    let mut scene = Scene::postgres().await;
    let mut url = Url::parse(&scene.get("DATABASE_URL").unwrap()).unwrap();
    let right = url.to_string();
    url.set_host(Some("127.0.0.2")).unwrap();
    scene.set("DATABASE_URL", url.as_str());
    scene.proves(&OTHER_ADDRESS).await;
    assert_eq!(scene.get("DATABASE_URL").unwrap(), right);
}

/// `listen_addresses` is empty.
#[tokio::test]
async fn a_server_that_listens_on_its_socket_alone() {
    let cluster = Cluster::start();
    let scene = Scene::on(cluster.database().await).await;
    with_socket(&cluster).await;
    cluster
        .execute(&["CREATE ROLE todo LOGIN SUPERUSER PASSWORD 'canary'"])
        .await;
    let port = port(&cluster);
    let as_role = |role: &str| format!("postgresql://{role}:canary@127.0.0.1:{port}/todo");
    scene.set("DATABASE_URL", &as_role("todo"));
    cluster
        .execute(&["ALTER SYSTEM SET listen_addresses = ''"])
        .await;
    cluster.restart();
    let report = scene.doctor(CONNECTION);
    report.says(
        CONNECTION,
        "fail",
        "todoctl config set DATABASE_URL.host=/tmp",
    );
    let remedy = report.check(CONNECTION)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    scene.doctor(LOGIN).says(LOGIN, "pass", "");
    // A role that the socket does not accept, as with peer.
    scene.set("DATABASE_URL", &as_role("postgres"));
    let report = scene.doctor(CONNECTION);
    report.says(CONNECTION, "fail", "-h /tmp");
    let remedy = report.check(CONNECTION)["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("SET listen_addresses = 'localhost'"),
        "{remedy}"
    );
    let settings = cluster.directory().join("data/postgresql.auto.conf");
    std::fs::write(settings, "").unwrap();
    cluster.restart();
}

/// As after an upgrade that left the old cluster at another port.
#[tokio::test]
async fn a_new_cluster_in_place_of_the_services() {
    let (right, new) = (Cluster::start(), Cluster::start());
    let mut scene = Scene::on(right.database().await).await;
    with_socket(&right).await;
    scene.start();
    scene.end();
    let url = scene.get("DATABASE_URL").unwrap();
    let mut wrong = Url::parse(&url).unwrap();
    wrong.set_port(Some(port(&new))).unwrap();
    scene.set("DATABASE_URL", wrong.as_str());
    scene.proves(&OTHER_CLUSTER).await;
    assert_eq!(scene.get("DATABASE_URL").unwrap(), url);
    scene.stop();

    let password = wrong.password().unwrap();
    new.execute(&[
        "CREATE DATABASE todo",
        &format!("ALTER ROLE postgres PASSWORD '{password}'"),
    ])
    .await;
    scene.set("DATABASE_URL", wrong.as_str());
    scene.proves(&EMPTY_CLUSTER).await;
    assert_eq!(scene.get("DATABASE_URL").unwrap(), url);
}
