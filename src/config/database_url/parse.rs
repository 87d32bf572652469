//! A parser of its own, because a general URL parser silently splits a password that is not
//! percent-encoded at the wrong places.

use crate::config::blanks_in_url::blank_in;
use crate::config::secret::Secret;

use super::part::{BadUrl, Parsed, bad, decoded, ignored, is_encoded, parameters};
use super::sqlite::sqlite;
use super::target::{DATABASE_URL, DatabaseTarget, PostgresTarget, TlsMode};

const EXAMPLE: &str = "write it as in postgresql://todo:secret@db.example.com:5432/todo";

/// Reads a URL as SQLAlchemy, asyncpg, Prisma, Neon's console, psql or sqlx write it.
pub fn parse(text: &str) -> Result<Parsed, BadUrl> {
    let text = text.trim();
    classic_mistakes(text)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        return sqlite(path, false);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return bad(
            "is not a database URL: it has no scheme",
            &format!("{EXAMPLE}; for a SQLite file: sqlite://data/todo.db"),
        );
    };
    let scheme = scheme.to_ascii_lowercase();
    match scheme
        .split_once('+')
        .map_or(scheme.as_str(), |(name, _)| name)
    {
        "postgresql" | "postgres" => postgres(rest),
        "sqlite" => sqlite(&format!("//{rest}"), true),
        "jdbc:postgresql" => bad(
            "is a JDBC URL",
            &format!("remove jdbc: and write user and password before the host: {EXAMPLE}"),
        ),
        "prisma" | "prisma+postgres" => bad(
            "is the address of Prisma's proxy, which speaks another protocol than PostgreSQL",
            &format!("use the database's own URL: {EXAMPLE}"),
        ),
        "file" => bad("is a file URL", "write it as in sqlite://data/todo.db"),
        "mysql" | "mariadb" | "mssql" | "oracle" | "mongodb" => bad(
            "names a database that is not supported; PostgreSQL and SQLite are",
            EXAMPLE,
        ),
        _ => bad("has an unknown scheme", EXAMPLE),
    }
}

/// What people paste together with the URL, or instead of it.
fn classic_mistakes(text: &str) -> Result<(), BadUrl> {
    let quotes = ['"', '\'', '`', '\u{201c}', '\u{201d}'];
    if text.starts_with("psql ") || text.starts_with("psql\t") {
        return bad(
            "is a whole psql command",
            &format!("use only the text between the quotes: {EXAMPLE}"),
        );
    }
    if text.starts_with(quotes) || text.ends_with(quotes) {
        return bad(
            "begins or ends with a quote that is part of the value",
            &format!("remove the quotes: {EXAMPLE}"),
        );
    }
    if text.starts_with("DATABASE_URL") {
        return bad(
            "contains its own name",
            &format!("write the name once: {EXAMPLE}"),
        );
    }
    if text.starts_with("host=") || text.starts_with("dbname=") || text.starts_with("user=") {
        return bad("is a list of libpq settings, not a URL", EXAMPLE);
    }
    if let Some(place) = blank_in(text) {
        return bad(
            &format!("contains {place}"),
            "remove it; one that belongs to the password is written as %20",
        );
    }
    Ok(())
}

fn postgres(rest: &str) -> Result<Parsed, BadUrl> {
    let parts = Parts::split(rest)?;
    let parameters = parameters(parts.query)?;
    let mut server = PostgresTarget {
        variable: DATABASE_URL,
        host: parts.host()?,
        port: parts.port()?,
        user: parts.user.map(decoded).transpose()?.unwrap_or_default(),
        password: parts.password.map(decoded).transpose()?.map(Secret::new),
        database: decoded(parts.database)?,
        tls: TlsMode::VerifyFull,
        root_cert: None,
        options: None,
        application_name: "todoctl".to_owned(),
        pooled: false,
        pooler_parameter: None,
        direct: None,
    };
    let mut remarks = Vec::new();
    let mut tls = None;
    let mut channel_binding = false;
    let mut system_roots = false;
    for (name, value) in parameters {
        match name.as_str() {
            "host" => server.host = value,
            "port" => server.port = port(&value)?,
            "user" => server.user = value,
            "password" => server.password = Some(Secret::new(value)),
            "dbname" => server.database = value,
            "sslmode" | "ssl" => tls = Some(tls_mode(&value)?),
            // libpq's word for the CAs that the system trusts.
            "sslrootcert" if value == "system" => system_roots = true,
            "sslrootcert" => server.root_cert = Some(value.into()),
            "options" => server.options = Some(value),
            "application_name" => server.application_name = value,
            "pgbouncer" | "prepared_statement_cache_size" | "statement_cache_size" => {
                let is_cache = name != "pgbouncer";
                if value == "0" && is_cache || !is_cache && (value == "true" || value == "1") {
                    server.pooler_parameter = Some(name);
                }
            }
            "channel_binding" => channel_binding = value == "require",
            // Without effect, but other settings do the same.
            "connect_timeout"
            | "connection_limit"
            | "pool_timeout"
            | "gssencmode"
            | "sslnegotiation"
            | "prepared_statement_name_func" => {}
            "target_session_attrs"
                if matches!(value.as_str(), "any" | "read-write" | "primary") => {}
            "schema" if value == "public" => {}
            _ => remarks.push(ignored(&name)),
        }
    }
    complete(&server)?;
    server.pooled = server.pooler_parameter.is_some() || server.has_pooler_host();
    server.tls = resolved_tls(&server, tls, channel_binding);
    if system_roots && server.tls != TlsMode::Disable {
        server.trust_system_roots();
    }
    Ok(Parsed {
        value: DatabaseTarget::Postgres(server),
        remarks,
    })
}

/// The parts of `user:password@host:port/database?query`, still encoded.
struct Parts<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    address: &'a str,
    database: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(rest: &'a str) -> Result<Self, BadUrl> {
        let unencoded = || {
            bad(
                "cannot be parsed: the user or password contains characters with a meaning in URLs",
                "write them percent-encoded: @ as %40, : as %3A, / as %2F, # as %23, ? as %3F, % as %25, a space as %20",
            )
        };
        if rest.contains('#') {
            return unencoded();
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        // An @ after the authority, or a "port" that is not a number, was part of a password.
        let port_is_one = address.rsplit_once(':').is_none_or(|(_, port)| {
            address.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit())
        });
        let in_name = |pair: &str| {
            pair.split('=')
                .next()
                .is_some_and(|name| name.contains('@'))
        };
        if path.contains('@')
            || query.split('&').any(in_name)
            || credentials.is_some_and(|text| text.contains('@'))
            || (credentials.is_none() && !port_is_one && rest.contains('@'))
        {
            return unencoded();
        }
        let (user, password) = match credentials {
            Some(text) => match text.split_once(':') {
                Some((_, password)) if password.contains(':') => return unencoded(),
                Some((user, password)) => (Some(user), Some(password)),
                None => (Some(text), None),
            },
            None => (None, None),
        };
        for text in [user, password].into_iter().flatten() {
            if !is_encoded(text) {
                return unencoded();
            }
        }
        Ok(Self {
            user: user.filter(|user| !user.is_empty()),
            password: password.filter(|password| !password.is_empty()),
            address,
            database: path.trim_start_matches('/'),
            query,
        })
    }

    fn host(&self) -> Result<String, BadUrl> {
        if self.address.contains(',') {
            return bad(
                "names several hosts",
                "use only the host that accepts writes",
            );
        }
        if let Some(rest) = self.address.strip_prefix('[') {
            return Ok(rest.split(']').next().unwrap_or_default().to_owned());
        }
        decoded(self.address.split(':').next().unwrap_or_default())
    }

    fn port(&self) -> Result<u16, BadUrl> {
        let behind = self.address.rsplit(']').next().unwrap_or_default();
        match behind.rsplit_once(':') {
            Some((_, "")) | None => Ok(5432),
            Some((_, text)) => port(text),
        }
    }
}

fn port(text: &str) -> Result<u16, BadUrl> {
    match text.parse() {
        Ok(0) | Err(_) => bad(
            "has a port that is not a number from 1 to 65535",
            &format!("PostgreSQL's default is 5432: {EXAMPLE}"),
        ),
        Ok(port) => Ok(port),
    }
}

/// Unlike libpq, takes nothing from the process's environment.
fn complete(server: &PostgresTarget) -> Result<(), BadUrl> {
    if server.host.is_empty() {
        return bad(
            "names no host",
            "write it as in postgresql://todo:secret@db.example.com/todo, or for a Unix socket postgresql://todo@/todo?host=/var/run/postgresql",
        );
    }
    if server.user.is_empty() {
        return bad("names no user", EXAMPLE);
    }
    if server.database.is_empty() {
        return bad(
            "names no database",
            "end it with a slash and the name, as in postgresql://todo:secret@db.example.com:5432/todo",
        );
    }
    if server.database.contains('/') {
        return bad("has a slash in the database name", EXAMPLE);
    }
    Ok(())
}

/// libpq's words, and the truth values that asyncpg and others accept.
fn tls_mode(value: &str) -> Result<TlsMode, BadUrl> {
    match value.to_ascii_lowercase().as_str() {
        "disable" | "false" | "0" | "off" => Ok(TlsMode::Disable),
        "allow" | "prefer" => Ok(TlsMode::Prefer),
        "require" | "true" | "1" | "on" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => bad(
            "has an unknown sslmode",
            "use ?sslmode= with disable, prefer, require, verify-ca or verify-full",
        ),
    }
}

fn resolved_tls(server: &PostgresTarget, given: Option<TlsMode>, channel_binding: bool) -> TlsMode {
    match given {
        None if server.is_loopback() => TlsMode::Prefer,
        None => TlsMode::VerifyFull,
        // Channel binding requires to know the server; both imply a public certificate.
        Some(TlsMode::Require) if server.is_neon() || channel_binding => TlsMode::VerifyFull,
        // As in libpq, a CA file turns verification on.
        Some(TlsMode::Require) if server.root_cert.is_some() => TlsMode::VerifyCa,
        Some(mode) => mode,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
