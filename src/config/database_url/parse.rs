//! Reading a database URL by hand, because a URL parser takes an unencoded
//! password apart at the wrong places and says nothing about it.

use percent_encoding::percent_decode_str;

use crate::config::secret::Secret;

use super::{DatabaseTarget, PostgresTarget, SqliteTarget, TlsMode};

const EXAMPLE: &str = "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME";

/// What is wrong with a URL. Holds no part of it but names of hosts and schemes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadUrl {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// A URL that was understood.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What it names.
    pub value: DatabaseTarget,
    /// What in it has no effect.
    pub remarks: Vec<String>,
}

fn bad<T>(message: &str, remedy: &str) -> Result<T, BadUrl> {
    Err(BadUrl {
        message: message.to_owned(),
        remedy: remedy.to_owned(),
    })
}

/// Reads a URL as SQLAlchemy, asyncpg, Prisma, Neon's console, psql or sqlx write it.
pub fn parse(text: &str) -> Result<Parsed, BadUrl> {
    let text = text.trim();
    classic_mistakes(text)?;
    if let Some(path) = text.strip_prefix("sqlite:") {
        return sqlite(path, false);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return bad("is not a database URL: it has no scheme", EXAMPLE);
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
            &format!("without jdbc:, and with user and password before the host: {EXAMPLE}"),
        ),
        "prisma" | "prisma+postgres" => bad(
            "is the address of Prisma's own proxy, which speaks another protocol",
            &format!("the database's own address: {EXAMPLE}"),
        ),
        "file" => bad("is a file URL", "DATABASE_URL=sqlite://data/todo.db"),
        "mysql" | "mariadb" | "mssql" | "oracle" | "mongodb" => bad(
            "names a kind of database that is not supported; PostgreSQL and SQLite are",
            EXAMPLE,
        ),
        _ => bad("has a scheme that is not known", EXAMPLE),
    }
}

/// What people paste beside the URL itself.
fn classic_mistakes(text: &str) -> Result<(), BadUrl> {
    let quotes = ['"', '\'', '`', '\u{201c}', '\u{201d}'];
    if text.starts_with("psql ") || text.starts_with("psql\t") {
        return bad(
            "is a whole psql command",
            &format!("only what stands between the quotes: {EXAMPLE}"),
        );
    }
    if text.starts_with(quotes) || text.ends_with(quotes) {
        return bad(
            "begins or ends with a quote that is part of the value",
            &format!("leave the quotes out: {EXAMPLE}"),
        );
    }
    if text.starts_with("DATABASE_URL") {
        return bad(
            "holds its own name",
            &format!("the name once, at the front: {EXAMPLE}"),
        );
    }
    if text.starts_with("host=") || text.starts_with("dbname=") || text.starts_with("user=") {
        return bad("is a list of libpq settings, not a URL", EXAMPLE);
    }
    if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) {
        return bad(
            "holds white space",
            "remove it; within a password or a value a blank is written %20",
        );
    }
    Ok(())
}

/// `path` is what follows `sqlite:`. In SQLAlchemy's spelling three slashes begin a
/// relative path and four an absolute one; elsewhere two and three do.
fn sqlite(path: &str, sqlalchemy: bool) -> Result<Parsed, BadUrl> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = if sqlalchemy {
        path.strip_prefix('/').unwrap_or(path)
    } else {
        path
    };
    let path = decoded(path)?;
    if path.is_empty() || path.contains(":memory:") || query.contains("mode=memory") {
        return bad(
            "names no file: a database in memory would lose every task at the end",
            "DATABASE_URL=sqlite://data/todo.db (relative), or sqlite:///var/lib/todoctl/todo.db",
        );
    }
    if path.ends_with('/') {
        return bad(
            "names a directory, not a file",
            "DATABASE_URL=sqlite://data/todo.db",
        );
    }
    // `//var/x` is what four slashes leave in the plain spelling.
    let path = match path.trim_start_matches('/') {
        rest if rest.len() < path.len() => format!("/{rest}"),
        _ => path,
    };
    let remarks = parameters(query)?
        .iter()
        .filter(|(name, value)| !(name == "mode" && matches!(value.as_str(), "rwc" | "rw")))
        .map(|(name, _)| ignored(name))
        .collect();
    Ok(Parsed {
        value: DatabaseTarget::Sqlite(SqliteTarget { path: path.into() }),
        remarks,
    })
}

fn postgres(rest: &str) -> Result<Parsed, BadUrl> {
    let parts = Parts::split(rest)?;
    let parameters = parameters(parts.query)?;
    let mut server = PostgresTarget {
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
    };
    let mut remarks = Vec::new();
    let mut tls = None;
    let mut channel_binding = false;
    for (name, value) in parameters {
        match name.as_str() {
            "host" => server.host = value,
            "port" => server.port = port(&value)?,
            "user" => server.user = value,
            "password" => server.password = Some(Secret::new(value)),
            "dbname" => server.database = value,
            "sslmode" | "ssl" => tls = Some(tls_mode(&value)?),
            "sslrootcert" => server.root_cert = Some(value.into()),
            "options" => server.options = Some(value),
            "application_name" => server.application_name = value,
            "pgbouncer" => server.pooled |= value == "true" || value == "1",
            "prepared_statement_cache_size" | "statement_cache_size" => {
                server.pooled |= value == "0";
            }
            "channel_binding" => channel_binding = value == "require",
            // Without effect here, and without harm: other settings do their work.
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
    server.pooled |= server
        .host
        .split('.')
        .next()
        .is_some_and(|label| label.ends_with("-pooler"));
    server.tls = resolved_tls(&server, tls, channel_binding);
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
                "cannot be taken apart: user or password hold characters that have a meaning in a URL",
                "write them percent-encoded: @ as %40, : as %3A, / as %2F, # as %23, ? as %3F, % as %25, a blank as %20",
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
        // An @ behind the authority, or a "port" that is none, was part of a password.
        let port_is_one = address.rsplit_once(':').is_none_or(|(_, port)| {
            address.ends_with(']') || port.bytes().all(|b| b.is_ascii_digit())
        });
        if path.contains('@')
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
            return bad("names several hosts", "name the one that takes writes");
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
            "has a port that is no number from 1 to 65535",
            &format!("5432 is PostgreSQL's: {EXAMPLE}"),
        ),
        Ok(port) => Ok(port),
    }
}

/// Nothing is guessed from the environment of the process.
fn complete(server: &PostgresTarget) -> Result<(), BadUrl> {
    if server.host.is_empty() {
        return bad(
            "names no host",
            "DATABASE_URL=postgresql://USER:PASSWORD@HOST/NAME, or for a socket postgresql://USER@/NAME?host=/var/run/postgresql",
        );
    }
    if server.user.is_empty() {
        return bad("names no user", EXAMPLE);
    }
    if server.database.is_empty() {
        return bad(
            "names no database",
            "end the address with /NAME: DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/NAME",
        );
    }
    if server.database.contains('/') {
        return bad("has a database name with a slash in it", EXAMPLE);
    }
    Ok(())
}

/// libpq's words, and the truth values that asyncpg and others take.
fn tls_mode(value: &str) -> Result<TlsMode, BadUrl> {
    match value.to_ascii_lowercase().as_str() {
        "disable" | "false" | "0" | "off" => Ok(TlsMode::Disable),
        "allow" | "prefer" => Ok(TlsMode::Prefer),
        "require" | "true" | "1" | "on" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => bad(
            "has an sslmode that is not known",
            "?sslmode= one of disable, prefer, require, verify-ca, verify-full",
        ),
    }
}

fn resolved_tls(server: &PostgresTarget, given: Option<TlsMode>, channel_binding: bool) -> TlsMode {
    match given {
        None if server.is_loopback() => TlsMode::Prefer,
        None => TlsMode::VerifyFull,
        // Channel binding wants to know the server; both say that the certificate is a public one.
        Some(TlsMode::Require) if server.is_neon() || channel_binding => TlsMode::VerifyFull,
        // As libpq does: whoever names a CA wants it checked.
        Some(TlsMode::Require) if server.root_cert.is_some() => TlsMode::VerifyCa,
        Some(mode) => mode,
    }
}

fn parameters(query: &str) -> Result<Vec<(String, String)>, BadUrl> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?.to_ascii_lowercase(), decoded(value)?))
        })
        .collect()
}

/// The name alone, and only if it looks like one: it may be half of a password.
fn ignored(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-[]".contains(&byte);
    if name.len() <= 40 && name.bytes().all(plain) {
        format!("the parameter {name} is not known and has no effect")
    } else {
        "a parameter is not known and has no effect".to_owned()
    }
}

/// Whether every % begins an encoded byte.
fn is_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        rest.get(..2)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

fn decoded(text: &str) -> Result<String, BadUrl> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        _ => bad(
            "holds percent-encoded bytes that are not UTF-8 text",
            "write a literal % as %25",
        ),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
