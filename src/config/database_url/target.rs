//! A database that a URL names.

use std::path::PathBuf;

use crate::config::secret::Secret;

/// The database that a URL names.
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

/// The variable that has the URL of the database.
pub(crate) const DATABASE_URL: &str = "DATABASE_URL";

/// A PostgreSQL server, database and role.
#[derive(Debug, Clone)]
pub struct PostgresTarget {
    /// The variable that leads here.
    pub(crate) variable: &'static str,
    /// Host name, address, or the directory of a Unix socket (starts with `/`).
    pub host: String,
    /// TCP port, or the socket's suffix.
    pub port: u16,
    /// The role's name.
    pub user: String,
    /// Its password, percent-decoded.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// How far the server is verified.
    pub tls: TlsMode,
    /// `sslrootcert=`: a CA file, added to the embedded roots.
    pub root_cert: Option<PathBuf>,
    /// `options=` as given, decoded (`endpoint=…` for clients without SNI).
    pub options: Option<String>,
    /// `application_name=`; `todoctl` when absent.
    pub application_name: String,
    /// The URL, or `DB_POOLER`, says that it leads to a pooler in transaction mode.
    pub pooled: bool,
    /// The parameter that says so, such as `pgbouncer=true`.
    pub pooler_parameter: Option<String>,
    /// Another address of the same database, which does not lead through a pooler.
    pub(crate) direct: Option<Box<PostgresTarget>>,
}

/// libpq's `sslmode`; `allow` is the same as `prefer`.
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
                "postgresql://{}@{}/{}",
                server.user,
                server.host_port(),
                server.database
            ),
            Self::Sqlite(file) => format!("sqlite://{}", file.path.display()),
        }
    }
}

/// Where systems keep the CAs that they trust: Debian and Alpine, Red Hat, BSD and macOS.
pub(crate) const SYSTEM_ROOTS: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The databases that every server has.
const EVERYWHERE: [&str; 2] = ["postgres", "template1"];

impl PostgresTarget {
    /// As libpq does for `sslrootcert=system`: the certificate is verified in full, also by the
    /// CAs of the system. Without such a file the embedded roots remain.
    pub(super) fn trust_system_roots(&mut self) {
        let mut files = SYSTEM_ROOTS.into_iter().map(PathBuf::from);
        self.root_cert = files.find(|file| file.is_file());
        self.tls = TlsMode::VerifyFull;
    }

    /// The server itself, where the address of a pooler is another one.
    pub(crate) fn server(&self) -> &Self {
        self.direct.as_deref().unwrap_or(self)
    }

    /// Whether a pooler is at this address, as far as the configuration tells.
    pub(crate) fn leads_to_pooler(&self) -> bool {
        self.pooled || self.server().host_port() != self.host_port()
    }

    /// Whether the host's name is that of a pooler, as Neon has it.
    pub(crate) fn has_pooler_host(&self) -> bool {
        let label = self.host.split('.').next();
        label.is_some_and(|label| label.ends_with("-pooler"))
    }

    /// The database as the server names it; a pooler may have a name of its own for it.
    pub(crate) fn own_name(&self) -> &str {
        &self.server().database
    }

    /// Where an administrator's session is that this database must not affect.
    pub(crate) fn other_database(&self) -> &'static str {
        let [first, second] = EVERYWHERE;
        if self.own_name() == first {
            second
        } else {
            first
        }
    }

    /// The databases that every server has, other than this one.
    pub(crate) fn other_databases(&self) -> impl Iterator<Item = Self> {
        let others = EVERYWHERE.into_iter().filter(|one| self.database != *one);
        others.map(|database| Self {
            database: database.to_owned(),
            ..self.clone()
        })
    }

    /// PgBouncer's console, where PgBouncer answers at this address.
    pub(crate) fn console(&self) -> Self {
        Self {
            database: "pgbouncer".to_owned(),
            options: None,
            ..self.clone()
        }
    }

    /// What decides where a connection leads.
    pub(crate) fn address(&self) -> (String, &str, &str, Option<&str>) {
        let options = self.options.as_deref();
        (self.host_port(), &self.database, &self.user, options)
    }

    /// A server for unit tests: role and database `todo`, no password, no TLS.
    #[cfg(test)]
    pub(crate) fn fixture(host: &str, port: u16) -> Self {
        Self {
            variable: DATABASE_URL,
            host: host.to_owned(),
            port,
            user: "todo".to_owned(),
            password: None,
            database: "todo".to_owned(),
            tls: TlsMode::Disable,
            root_cert: None,
            options: None,
            application_name: "todoctl".to_owned(),
            pooled: false,
            pooler_parameter: None,
            direct: None,
        }
    }

    /// Host and port as people write them.
    #[must_use]
    pub fn host_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether the connection stays on this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.starts_with('/')
            || self.host.eq_ignore_ascii_case("localhost")
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// Whether this is one of Neon's hosts.
    #[must_use]
    pub fn is_neon(&self) -> bool {
        self.host.ends_with(".neon.tech")
    }

    /// Whether a transaction-mode pooler at this host keeps prepared statements.
    #[must_use]
    pub fn keeps_prepared_statements(&self) -> bool {
        self.is_neon()
    }
}
