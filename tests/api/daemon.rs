//! A daemon of a test's own, and a client that speaks to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use todoctl::api::{ApiContext, Server};
use todoctl::clock::Clock;
use todoctl::config::{
    AuthConfig, Config, DatabaseTarget, Environment, Fingerprints, HttpConfig, LogRequests,
    RotatingSecret, Secret, ServicesConfig, TelemetryConfig, statement_timeout,
};
use todoctl::domain::{Timestamp, UserId};
use todoctl::store::{NewSession, SessionHash, Store};
use tokio::sync::oneshot;

use crate::support::{self, Database, Engine, Network};

pub const JWT_SECRET: &str = "a-test-secret-for-signing-0123456789";
pub const OLD_JWT_SECRET: &str = "the-secret-before-it-0123456789-abcd";
pub const SERVICE_TOKEN: &str = "a-test-service-token-0123456789-abcd";
pub const SESSION_SECRET: &str = "a-test-session-secret-0123456789-abc";
pub const ENCRYPTION_KEY: &str = "dGhlIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGVzLi4=";
/// The only origin that CORS allows.
pub const ORIGIN: &str = "https://app.example.com";

/// A running daemon.
pub struct Daemon {
    pub base: String,
    pub config: Config,
    pub store: Store,
    pub clock: Clock,
    pub database: Arc<Database>,
    pub client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<tokio::task::JoinHandle<bool>>,
}

impl Daemon {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, |_| ()).await
    }

    /// With the test's own configuration.
    pub async fn start_with(engine: Engine, alter: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(engine, Clock::system(), alter).await
    }

    /// As above, with another clock than the system's.
    pub async fn start_at(engine: Engine, clock: Clock, alter: impl FnOnce(&mut Config)) -> Self {
        let database = Database::migrated(engine).await;
        let mut config = config(database.target());
        alter(&mut config);
        config.database.pool.statement_timeout = statement_timeout(config.http.request_timeout);
        Self::on(Arc::new(database), config, clock).await
    }

    /// Another daemon on the same database: a second replica, or the next after a restart.
    pub async fn replica(&self) -> Self {
        self.replica_at(self.clock.clone()).await
    }

    /// The same with a clock of its own.
    pub async fn replica_at(&self, clock: Clock) -> Self {
        Self::on(self.database.clone(), self.config.clone(), clock).await
    }

    /// The same with a configuration of its own.
    pub async fn replica_with(&self, config: Config) -> Self {
        Self::on(self.database.clone(), config, self.clock.clone()).await
    }

    /// A daemon that reaches PostgreSQL directly, and one that reaches it through a network.
    pub async fn behind_a_network(request_timeout: Duration) -> (Self, Self, Network) {
        let direct = Self::start_with(Engine::Postgres, |config| {
            config.http.request_timeout = request_timeout;
        })
        .await;
        let mut config = direct.config.clone();
        let network = Network::before(&mut config.database.target).await;
        let daemon = direct.replica_with(config).await;
        (direct, daemon, network)
    }

    async fn on(database: Arc<Database>, config: Config, clock: Clock) -> Self {
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
        Self {
            base,
            config,
            store,
            clock,
            database,
            client: support::http_client().build().expect("a client"),
            stop: Some(stop),
            stopped: Some(stopped),
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
        self.database.engine() == Engine::Postgres
    }

    /// A JWT of `user`.
    pub fn jwt(&self, user: &str) -> String {
        jwt(&claims(user, self.clock.now()), JWT_SECRET)
    }

    /// Creates a task and returns it.
    pub async fn create(&self, body: Value) -> Value {
        let (status, task) = self.post("/tasks/").json(&body).await;
        assert_eq!(status, 201, "{task}");
        task
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
        database: support::database_config(target, 8),
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
            keepalive: Duration::from_secs(75),
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(8),
        },
        services: ServicesConfig::default(),
        telemetry: TelemetryConfig {
            level: "info".to_owned(),
            format: None,
            requests: LogRequests::All,
            metrics_addr: None,
        },
        fingerprints: Fingerprints::new(),
    }
}
