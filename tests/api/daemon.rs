//! A daemon of a test's own, and a client that speaks to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use todoctl::api::{ApiContext, Server};
use todoctl::clock::Clock;
use todoctl::config::{
    AuthConfig, Config, DatabaseConfig, DatabaseTarget, Environment, HealthProbe, HttpConfig,
    PoolConfig, PoolerMode, RotatingSecret, Secret, ServicesConfig, SqliteTarget, TelemetryConfig,
};
use todoctl::domain::{Timestamp, UserId};
use todoctl::store::{NewSession, SessionHash, Store, migrate};
use tokio::sync::oneshot;

use crate::support::{self, TestDatabase};

pub const JWT_SECRET: &str = "a-test-secret-for-signing-0123456789";
pub const OLD_JWT_SECRET: &str = "the-secret-before-it-0123456789-abcd";
pub const SERVICE_TOKEN: &str = "a-test-service-token-0123456789-abcd";
pub const SESSION_SECRET: &str = "a-test-session-secret-0123456789-abc";
pub const ENCRYPTION_KEY: &str = "dGhlIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzLi4=";
/// The one origin that may call from a browser.
pub const ORIGIN: &str = "https://app.example.com";

/// What a daemon of a test stores its data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Keeps a test's database until the test is over.
enum Home {
    /// Another daemon's.
    Elsewhere,
    Postgres(TestDatabase),
    Sqlite(#[expect(dead_code, reason = "deletes the directory at the end")] tempfile::TempDir),
}

/// A running daemon.
pub struct Daemon {
    pub base: String,
    pub config: Config,
    pub store: Store,
    pub clock: Clock,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<tokio::task::JoinHandle<bool>>,
    home: Home,
}

impl Daemon {
    pub async fn on_sqlite() -> Self {
        Self::start_with(Engine::Sqlite, |_| ()).await
    }

    pub async fn on_postgres() -> Self {
        Self::start_with(Engine::Postgres, |_| ()).await
    }

    /// One whose configuration is the test's own.
    pub async fn start_with(engine: Engine, alter: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(engine, Clock::system(), alter).await
    }

    /// The same with another clock than the system's.
    pub async fn start_at(engine: Engine, clock: Clock, alter: impl FnOnce(&mut Config)) -> Self {
        let (target, home) = match engine {
            Engine::Sqlite => {
                let directory = support::sqlite_dir();
                let path = directory.path().join("todo.db");
                (
                    DatabaseTarget::Sqlite(SqliteTarget { path }),
                    Home::Sqlite(directory),
                )
            }
            Engine::Postgres => {
                let database = TestDatabase::create().await;
                let target = todoctl::config::database_url::parse(&database.url)
                    .expect("the test server's URL is good")
                    .value;
                (target, Home::Postgres(database))
            }
        };
        migrate::up(&target, &clock).await.expect("migrates");
        let mut config = config(target);
        alter(&mut config);
        Self::start(config, home, clock).await
    }

    /// Another daemon on the same database: a second replica, or the next after a restart.
    pub async fn replica(&self) -> Self {
        self.replica_at(self.clock.clone()).await
    }

    /// The same with a clock of its own.
    pub async fn replica_at(&self, clock: Clock) -> Self {
        Self::start(self.config.clone(), Home::Elsewhere, clock).await
    }

    /// The same with a configuration of its own.
    pub async fn replica_with(&self, config: Config) -> Self {
        Self::start(config, Home::Elsewhere, self.clock.clone()).await
    }

    async fn start(config: Config, home: Home, clock: Clock) -> Self {
        let store = Store::connect(&config.database, clock.clone())
            .await
            .expect("connects");
        let context = ApiContext::new(&config, store.clone(), clock.clone()).expect("metrics");
        let server = Server::bind(&config, context).expect("binds");
        let base = format!("http://{}", server.address().expect("bound"));
        let (stop, stopping) = oneshot::channel();
        let stopped = tokio::spawn(server.run(async {
            let _ = stopping.await;
        }));
        let client = support::http_client().build().expect("a client");
        Self {
            base,
            config,
            store,
            clock,
            client,
            stop: Some(stop),
            stopped: Some(stopped),
            home,
        }
    }

    /// Tells the daemon to stop and waits; whether it drained.
    pub async fn stop(&mut self) -> bool {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        self.stopped
            .take()
            .expect("stopped once")
            .await
            .expect("ran")
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.home, Home::Postgres(_))
    }

    /// The database's URL, for a look behind the daemon's back.
    pub fn postgres_url(&self) -> &str {
        match &self.home {
            Home::Postgres(database) => &database.url,
            Home::Sqlite(_) | Home::Elsewhere => panic!("no PostgreSQL database of its own"),
        }
    }

    /// Runs statements behind the daemon's back.
    pub async fn execute(&self, statements: &str) {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
        if self.is_postgres() {
            let mut database = PgConnection::connect(self.postgres_url()).await.unwrap();
            statements.execute(&mut database).await.unwrap();
        } else {
            let path = self.config.database.target.redacted();
            let mut database = SqliteConnection::connect(&path).await.unwrap();
            statements.execute(&mut database).await.unwrap();
        }
    }

    /// A request without credentials.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// A request of the service on behalf of `user`.
    pub fn as_user(&self, user: &str, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .bearer_auth(SERVICE_TOKEN)
            .header("X-User-ID", user)
    }

    /// A request on behalf of the test's usual user.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.as_user("alice", method, path)
    }

    /// A request with a JWT of `user`.
    pub fn with_jwt(&self, user: &str, method: Method, path: &str) -> RequestBuilder {
        let token = jwt(&claims(user, self.clock.now()), JWT_SECRET);
        self.bare(method, path).bearer_auth(token)
    }

    /// Creates a task and returns it.
    pub async fn create(&self, body: Value) -> Value {
        let response = self
            .call(Method::POST, "/tasks/")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.json().await.unwrap()
    }

    /// Creates a task that has a title and nothing else; its id.
    pub async fn create_titled(&self, title: &str) -> i64 {
        self.create(json!({ "title": title })).await["id"]
            .as_i64()
            .unwrap()
    }

    /// Stores a session for `user` that ends after `lifetime`; its token.
    pub async fn session(&self, user: &str, lifetime: Duration) -> String {
        let token = format!("opaque-{user}");
        let session = NewSession {
            hash: SessionHash::new(&Secret::new(SESSION_SECRET), &token),
            user: UserId::new(user).unwrap(),
            label: None,
            expires_at: self.clock.now().saturating_add(lifetime),
        };
        self.store.create_session(&session).await.unwrap();
        token
    }
}

/// A JWT with these claims, signed with `secret`.
pub fn jwt(claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        claims,
        &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap()
}

/// The claims of a good token for `user`, `offset` seconds from now.
pub fn claims(user: &str, now: Timestamp) -> Value {
    let now = now.unix_seconds();
    json!({ "sub": user, "iat": now, "exp": now + 1800, "type": "access" })
}

/// The answer's status and its body as JSON.
pub async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}

/// Sends and reads.
pub async fn send(request: RequestBuilder) -> (StatusCode, Value) {
    read(request.send().await.unwrap()).await
}

/// The fields that a 422 names, in its order.
pub fn fields(body: &Value) -> Vec<&str> {
    body["errors"]
        .as_array()
        .expect("a validation error lists its fields")
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect()
}

fn secret(text: &str) -> RotatingSecret {
    RotatingSecret {
        current: Secret::new(text),
        previous: Vec::new(),
    }
}

fn config(target: DatabaseTarget) -> Config {
    Config {
        environment: Environment::Development,
        database: DatabaseConfig {
            direct: target.clone(),
            target,
            pool: PoolConfig {
                size: 4,
                overflow: 4,
                timeout: Duration::from_secs(5),
                recycle: Duration::from_secs(1800),
            },
            pooler: PoolerMode::None,
            auto_migrate: true,
            health_probe: HealthProbe::Active,
        },
        auth: AuthConfig {
            session_hash_secret: secret(SESSION_SECRET),
            service_auth_token: secret(SERVICE_TOKEN),
            encryption_key: secret(ENCRYPTION_KEY),
            jwt_secret: Some(RotatingSecret {
                current: Secret::new(JWT_SECRET),
                previous: vec![Secret::new(OLD_JWT_SECRET)],
            }),
            access_token_lifetime: Duration::from_secs(1800),
            failures_per_minute: 0,
            requests_per_minute: 0,
            trusted_proxies: Vec::new(),
        },
        http: HttpConfig {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            workers: 2,
            cors_origins: BTreeSet::from([ORIGIN.to_owned()]),
            request_timeout: Duration::from_secs(20),
            max_body_bytes: 1024 * 1024,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(8),
        },
        services: ServicesConfig::default(),
        telemetry: TelemetryConfig {
            level: "info".to_owned(),
            format: None,
            metrics_addr: None,
        },
    }
}
