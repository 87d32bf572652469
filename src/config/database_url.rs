//! `DATABASE_URL` in every spelling that people paste.

use std::path::PathBuf;

use super::Secret;

/// What a database URL names.
#[derive(Debug, Clone)]
pub enum DatabaseTarget {
    /// A PostgreSQL server.
    Postgres(PostgresTarget),
    /// The embedded database.
    Sqlite(SqliteTarget),
}

/// A SQLite file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteTarget {
    /// The database file; never `:memory:`, which would lose tasks.
    pub path: PathBuf,
}

/// A PostgreSQL server, database and role.
#[derive(Debug, Clone)]
pub struct PostgresTarget {
    /// Host name, address, or the directory of a Unix socket (starts with `/`).
    pub host: String,
    /// TCP port, or the socket's suffix.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, percent-decoded.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// How far the server must prove who it is.
    pub tls: TlsMode,
    /// `sslrootcert=`: a CA file, added to the embedded roots.
    pub root_cert: Option<PathBuf>,
    /// `options=` as given, decoded (`endpoint=…` for clients without SNI).
    pub options: Option<String>,
    /// `application_name=`; `todoctl` when absent.
    pub application_name: String,
    /// The URL itself says that a transaction-mode pooler answers.
    pub pooled: bool,
}

/// libpq's `sslmode`, as far as it makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server offers it; nothing is verified.
    Prefer,
    /// Encrypted; nothing is verified.
    Require,
    /// Encrypted, and a known CA signed the certificate.
    VerifyCa,
    /// Encrypted, a known CA, and the certificate names this host.
    VerifyFull,
}

impl DatabaseTarget {
    /// The URL without its password.
    #[must_use]
    pub fn redacted(&self) -> String {
        match self {
            Self::Postgres(server) => format!(
                "postgresql://{}@{}:{}/{}",
                server.user, server.host, server.port, server.database
            ),
            Self::Sqlite(file) => format!("sqlite://{}", file.path.display()),
        }
    }
}

impl PostgresTarget {
    /// sqlx's options.
    pub fn connect_options(&self) -> Result<sqlx::postgres::PgConnectOptions, sqlx::Error> {
        use sqlx::ConnectOptions as _;
        let mut options = sqlx::postgres::PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .application_name(&self.application_name)
            .extra_float_digits(None)
            .disable_statement_logging();
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        Ok(options)
    }

    /// Whether a transaction-mode pooler at this host keeps prepared statements.
    #[must_use]
    pub fn keeps_prepared_statements(&self) -> bool {
        self.host.ends_with(".neon.tech")
    }
}
