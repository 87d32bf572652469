//! Causes each fault, and corrects it as the page says.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::migrate::Migrate as _;
use sqlx::{Connection as _, PgConnection};
use url::Url;

use crate::runbooks::place::{Place, chmod};
use crate::support::{PgBouncer, TestDatabase};

/// How long a sleeping database needs: within the seconds that the page shows.
const WAKING: Duration = Duration::from_millis(2_100);

/// Causes the fault of that name.
///
/// # Panics
/// If there is no such fault.
pub async fn make(fault: &str) -> Place {
    match fault {
        "missing-secrets" => {
            let mut place = Place::new(fault);
            let database = TestDatabase::create().await;
            place.set("ENVIRONMENT", "production");
            place.set("DATABASE_URL", &database.url);
            place.database = Some(database);
            place
        }
        "port-in-use" => {
            let mut place = Place::new(fault);
            let listener = TcpListener::bind(("127.0.0.1", place.port())).unwrap();
            place.parts.push(Box::new(listener));
            place
        }
        "stopped-server" => {
            let mut place = Place::new(fault);
            let server = Server::stopped();
            place.set("DATABASE_URL", &server.url);
            place.parts.push(Box::new(server));
            place
        }
        "wrong-password" => {
            let mut place = migrated(fault).await;
            let mut url = Url::parse(place.get("DATABASE_URL")).unwrap();
            url.set_password(Some("wrong")).unwrap();
            place.set("DATABASE_URL", url.as_str());
            place
        }
        "no-such-database" => {
            let mut place = migrated(fault).await;
            let mut url = Url::parse(place.get("DATABASE_URL")).unwrap();
            url.set_path("/todo_nowhere");
            place.set("DATABASE_URL", url.as_str());
            place
        }
        "pending" => {
            let mut place = Place::on_postgres(fault).await;
            place.set("AUTO_MIGRATE", "false");
            place
        }
        "foreign-table" | "locked" | "newer" | "changed" | "unrecorded" => {
            make_history(fault).await
        }
        "daemon-gone" => Place::new(fault),
        "daemon-runs" => {
            let mut place = Place::new(fault);
            place.start_daemon();
            place
        }
        "foreign-directory" => {
            let mut place = Place::new(fault);
            let data = place.path().join("data");
            std::fs::create_dir(&data).unwrap();
            chmod(&data, 0o555);
            place.as_somebody_else();
            place
        }
        "unreadable-env" => {
            let mut place = Place::new(fault);
            let file = place.path().join(".env");
            std::fs::write(&file, "LOG_LEVEL=info\n").unwrap();
            chmod(&file, 0o000);
            std::fs::create_dir(place.path().join("data")).unwrap();
            place.as_somebody_else();
            place.give("data", 0o755);
            place
        }
        "connection-limit" => limited(fault).await,
        "waking-database" => {
            let mut place = migrated(fault).await;
            let url = sleeping(place.get("DATABASE_URL"));
            place.set("DATABASE_URL", &url);
            place
        }
        "pooler" => {
            let mut place = Place::on_postgres(fault).await;
            let pooler = PgBouncer::start(place.get("DATABASE_URL"));
            place.set("DATABASE_URL", &pooler.url);
            place.parts.push(Box::new(pooler));
            place
        }
        unknown => panic!("unknown fault {unknown:?}"),
    }
}

/// What is wrong with the migrations of a database.
async fn make_history(fault: &str) -> Place {
    match fault {
        "foreign-table" => {
            let place = Place::on_postgres(fault).await;
            let database = place.database.as_ref().unwrap();
            database
                .execute("CREATE TABLE tasks (id uuid PRIMARY KEY)")
                .await;
            place
        }
        "locked" => {
            let mut place = Place::on_postgres(fault).await;
            let mut other = PgConnection::connect(place.get("DATABASE_URL"))
                .await
                .unwrap();
            other.lock().await.unwrap();
            place.parts.push(Box::new(other));
            place
        }
        "newer" => {
            let place = migrated(fault).await;
            let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                       VALUES (9000, 'from the future', TRUE, '', 0)";
            place.database.as_ref().unwrap().execute(sql).await;
            place
        }
        "changed" => {
            let place = migrated(fault).await;
            let sql = "UPDATE _sqlx_migrations SET checksum = '' WHERE version = 1";
            place.database.as_ref().unwrap().execute(sql).await;
            place
        }
        "unrecorded" => {
            let place = migrated(fault).await;
            let sql = "DROP TABLE _sqlx_migrations";
            place.database.as_ref().unwrap().execute(sql).await;
            place
        }
        unknown => panic!("unknown fault {unknown:?}"),
    }
}

/// Does what the page tells the operator to do.
///
/// # Panics
/// Where there is nothing to do.
pub async fn mend(place: &mut Place) {
    match place.fault.clone().as_str() {
        "missing-secrets" | "daemon-gone" | "waking-database" => place.start_daemon(),
        "port-in-use" => {
            place.parts.clear();
            place.start_daemon();
        }
        "stopped-server" => {
            for part in &place.parts {
                part.downcast_ref::<Server>().expect("the server").start();
            }
            place.prepares("todoctl migrate up");
        }
        "wrong-password" | "no-such-database" => {
            let url = place.database.as_ref().unwrap().url.clone();
            place.set("DATABASE_URL", &url);
        }
        "foreign-table" => {
            let database = TestDatabase::create().await;
            place.set("DATABASE_URL", &database.url);
            place.database = Some(database);
        }
        "locked" => place.parts.clear(),
        "foreign-directory" => place.give("data", 0o755),
        "unreadable-env" => place.give(".env", 0o600),
        "connection-limit" => {
            let (role, database) = (
                place.role.as_ref().unwrap(),
                place.database.as_ref().unwrap(),
            );
            let sql = format!("ALTER ROLE {role} CONNECTION LIMIT 10");
            database.execute(&sql).await;
        }
        "pooler" => {
            let url = place.database.as_ref().unwrap().url.clone();
            place.set("DATABASE_URL_UNPOOLED", &url);
        }
        other => panic!("the fault {other:?} cannot be corrected"),
    }
}

async fn migrated(fault: &str) -> Place {
    let place = Place::on_postgres(fault).await;
    place.prepares("todoctl migrate up");
    place
}

/// A role that may not connect once more.
async fn limited(fault: &str) -> Place {
    let mut place = migrated(fault).await;
    let mut random = [0; 6];
    getrandom::fill(&mut random).unwrap();
    let role = format!("todoctl_limited_{}", hex::encode(random));
    let database = place.database.as_ref().unwrap();
    database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'limited' CONNECTION LIMIT 0; \
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await;
    let admin = database.url.clone();
    let mut url = Url::parse(&admin).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("limited")).unwrap();
    place.set("DATABASE_URL", url.as_str());
    place.set("ADMIN_URL", &admin);
    place.role = Some(role);
    place
}

/// The address of a proxy whose database sleeps until somebody logs in.
fn sleeping(url: &str) -> String {
    let server = Url::parse(url).unwrap();
    let address = format!("{}:{}", server.host_str().unwrap(), server.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut own = server;
    own.set_port(Some(listener.local_addr().unwrap().port()))
        .unwrap();
    let awake = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (address, awake) = (address.clone(), Arc::clone(&awake));
            std::thread::spawn(move || forward(client, &address, &awake));
        }
    });
    own.into()
}

/// PostgreSQL, "Message Formats": `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Forwards one connection. A connection attempt or a request for TLS alone does not wake the
/// database: Neon's proxy answers those itself.
fn forward(client: TcpStream, address: &str, awake: &AtomicBool) {
    let _ = carry(client, address, awake);
}

fn carry(mut client: TcpStream, address: &str, awake: &AtomicBool) -> std::io::Result<()> {
    let mut message = [0; 1024];
    let mut count = client.read(&mut message)?;
    if message[..count] == SSL_REQUEST {
        client.write_all(b"N")?;
        count = client.read(&mut message)?;
    }
    if count == 0 {
        return Ok(());
    }
    if !awake.load(Ordering::Acquire) {
        std::thread::sleep(WAKING);
        awake.store(true, Ordering::Release);
    }
    let mut server = TcpStream::connect(address)?;
    server.write_all(&message[..count])?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    server.shutdown(std::net::Shutdown::Both)
}

/// A PostgreSQL server of the test's own, which can be stopped.
struct Server {
    folder: String,
    port: String,
    url: String,
}

impl Server {
    fn stopped() -> Self {
        let pid = std::process::id().to_string();
        let said = script(
            "pg_start test >&2; pg_guard \"$1\"; \
             pg_as \"$PG_BIN/pg_ctl\" -D \"$PG_DIR/data\" -m fast -w -s stop >&2; \
             printf '%s\\n' \"$PG_DIR\" \"$PG_PORT\" \"$PG_URL\"",
            &[&pid],
        );
        let mut lines = said.lines().map(str::to_owned);
        let mut line = || lines.next().expect("a line");
        Self {
            folder: line(),
            port: line(),
            url: line(),
        }
    }

    fn start(&self) {
        script(
            "PG_BIN=$(pg_find); pg_as \"$PG_BIN/pg_ctl\" -D \"$1/data\" -l \"$1/data/server.log\" \
             -o \"-p $2\" -w -s start </dev/null >/dev/null 2>&1",
            &[&self.folder, &self.port],
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("pg_stop \"$1\"", &[&self.folder]);
    }
}

/// Runs lines that use the project's own functions around PostgreSQL.
fn script(text: &str, arguments: &[&str]) -> String {
    let text = format!("set -euo pipefail; . scripts/lib/postgres.sh; {text}");
    let output = Command::new("bash")
        .args(["-c", &text, "bash"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}
