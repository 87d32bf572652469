use super::*;

fn server(text: &str) -> PostgresTarget {
    match parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
        .value
    {
        DatabaseTarget::Postgres(server) => server,
        DatabaseTarget::Sqlite(_) => panic!("{text} is SQLite"),
    }
}

fn path(text: &str) -> String {
    match parse(text).unwrap().value {
        DatabaseTarget::Sqlite(file) => file.path.display().to_string(),
        DatabaseTarget::Postgres(_) => panic!("{text} is PostgreSQL"),
    }
}

#[test]
fn every_spelling_names_the_same() {
    for text in [
        "postgresql://todo:p%40ss@db.example.com:5432/todo",
        "postgres://todo:p%40ss@db.example.com/todo",
        "postgresql+asyncpg://todo:p%40ss@db.example.com:5432/todo",
        "postgresql+psycopg://todo:p%40ss@db.example.com/todo",
        "postgresql+psycopg2://todo:p%40ss@db.example.com/todo",
        "POSTGRESQL://todo:p%40ss@db.example.com/todo",
        "postgresql://todo:p%40ss@db.example.com:/todo?",
        "postgresql://db.example.com/todo?user=todo&password=p%40ss",
        "postgresql://todo:p%40ss@/todo?host=db.example.com&port=5432",
        "postgresql://todo:p%40ss@db.example.com/?dbname=todo",
        "postgresql://todo:p%40ss@db.example.com/todo?schema=public&connection_limit=5",
    ] {
        let server = server(text);
        assert_eq!(server.host, "db.example.com", "{text}");
        assert_eq!(server.port, 5432, "{text}");
        assert_eq!(server.user, "todo", "{text}");
        assert_eq!(server.database, "todo", "{text}");
        let password = server.password.unwrap();
        assert_eq!(password.expose(), "p@ss", "{text}");
    }
}

#[test]
fn hosts_and_sockets() {
    assert_eq!(server("postgresql://u@[::1]:6000/d").host, "::1");
    assert_eq!(server("postgresql://u@[::1]:6000/d").port, 6000);
    assert_eq!(server("postgresql://u@[::1]/d").host_port(), "[::1]:5432");
    for text in [
        "postgresql://u@/d?host=/var/run/postgresql",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/d",
    ] {
        assert_eq!(server(text).host, "/var/run/postgresql");
        assert_eq!(server(text).tls, TlsMode::Prefer);
    }
}

/// Contract 10.4: verified unless told otherwise.
#[test]
fn how_far_the_server_is_verified() {
    for (text, expected) in [
        ("postgresql://u@h/d", TlsMode::VerifyFull),
        ("postgresql://u@localhost/d", TlsMode::Prefer),
        ("postgresql://u@127.0.0.1/d", TlsMode::Prefer),
        ("postgresql://u@[::1]/d", TlsMode::Prefer),
        ("postgresql://u@h/d?sslmode=disable", TlsMode::Disable),
        ("postgresql://u@h/d?ssl=false", TlsMode::Disable),
        ("postgresql://u@h/d?ssl=require", TlsMode::Require),
        ("postgresql://u@h/d?sslmode=require", TlsMode::Require),
        (
            "postgresql://u@h/d?sslmode=require&sslrootcert=/ca.pem",
            TlsMode::VerifyCa,
        ),
        (
            "postgresql://u@h/d?sslmode=require&channel_binding=require",
            TlsMode::VerifyFull,
        ),
        (
            "postgresql://u@ep-a-1.eu.aws.neon.tech/d?sslmode=require",
            TlsMode::VerifyFull,
        ),
        ("postgresql://u@h/d?sslmode=verify-ca", TlsMode::VerifyCa),
    ] {
        assert_eq!(server(text).tls, expected, "{text}");
    }
}

#[test]
fn poolers_are_recognised() {
    for (text, pooled) in [
        ("postgresql://u@ep-a-1-pooler.eu.aws.neon.tech/d", true),
        ("postgresql://u@h/d?pgbouncer=true", true),
        (
            "postgresql+asyncpg://u@h/d?prepared_statement_cache_size=0",
            true,
        ),
        (
            "postgresql://u@h/d?prepared_statement_cache_size=100",
            false,
        ),
        ("postgresql://u@ep-a-1.eu.aws.neon.tech/d", false),
    ] {
        assert_eq!(server(text).pooled, pooled, "{text}");
    }
}

#[test]
fn parameters_keep_their_text() {
    let server = server("postgresql://u@h/d?options=endpoint%3Dep-a-1&application_name=x");
    assert_eq!(server.options.as_deref(), Some("endpoint=ep-a-1"));
    assert_eq!(server.application_name, "x");
}

#[test]
fn unknown_parameters_are_named_without_their_value() {
    let parsed = parse("postgresql://u@h/d?canary=secret-value&sslcert=x").unwrap();
    assert_eq!(parsed.remarks.len(), 2);
    assert!(parsed.remarks[0].contains("canary"));
    assert!(
        parsed
            .remarks
            .iter()
            .all(|remark| !remark.contains("secret-value"))
    );
}

#[test]
fn sqlite_paths() {
    for (text, expected) in [
        ("sqlite://data/todo.db", "data/todo.db"),
        ("sqlite:data/todo.db", "data/todo.db"),
        ("sqlite:///var/lib/todo.db", "/var/lib/todo.db"),
        ("sqlite:////var/lib/todo.db", "/var/lib/todo.db"),
        ("sqlite+aiosqlite:///./todo.db", "./todo.db"),
        ("sqlite+aiosqlite:////var/todo.db", "/var/todo.db"),
        ("sqlite://a%20b.db?mode=rwc", "a b.db"),
    ] {
        assert_eq!(path(text), expected, "{text}");
    }
}

/// Each mistake is called by its name, and nothing of a password is repeated.
#[test]
fn classic_mistakes_are_explained() {
    for (text, expected) in [
        ("postgresql://u:canary@x@h/d", "percent-encoded"),
        ("postgresql://u:canary/x@h/d", "percent-encoded"),
        ("postgresql://u:canary#x@h/d", "percent-encoded"),
        ("postgresql://u:canary?x@h/d", "percent-encoded"),
        ("postgresql://u:p@canary/w:x?@h/d", "percent-encoded"),
        ("postgresql://u:canary:x@h/d", "percent-encoded"),
        ("postgresql://u:canary%x@h/d", "percent-encoded"),
        ("postgresql://u:canary@h", "no database"),
        ("postgresql://u:canary@h/", "no database"),
        ("postgresql://u:canary@/d", "no host"),
        ("postgresql://h/d", "no user"),
        ("postgresql://u:canary@h:port/d", "port"),
        ("postgresql://u:canary@h:99999/d", "port"),
        ("postgresql://u:canary@h1,h2/d", "several hosts"),
        ("postgresql://u:canary@h/d?sslmode=maybe", "sslmode"),
        ("'postgresql://u:canary@h/d'", "quote"),
        ("\"postgresql://u:canary@h/d\"", "quote"),
        ("psql 'postgresql://u:canary@h/d'", "psql command"),
        ("psql \"postgresql://u:canary@h/d\"", "psql command"),
        ("DATABASE_URL=postgresql://u:canary@h/d", "its own name"),
        ("postgresql://u:canary pass@h/d", "a space in the password"),
        ("host=h user=u password=canary", "libpq"),
        ("jdbc:postgresql://h/d", "JDBC"),
        ("prisma://accelerate.example/?api_key=canary", "Prisma"),
        ("mysql://u:canary@h/d", "not supported"),
        ("file:./dev.db", "no scheme"),
        ("canary", "no scheme"),
        ("sqlite://", "no file"),
        ("sqlite::memory:", "no file"),
        ("sqlite://data/", "directory"),
    ] {
        let error = parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text} was taken"));
        let said = format!("{}\n{}", error.message, error.advice);
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("canary"), "{said}");
        assert!(!error.advice.is_empty());
    }
}

#[test]
fn the_roots_of_the_system() {
    for (parameters, expected) in [
        ("sslrootcert=system", TlsMode::VerifyFull),
        ("sslmode=require&sslrootcert=system", TlsMode::VerifyFull),
        ("sslrootcert=system&sslmode=disable", TlsMode::Disable),
    ] {
        let parsed = parse(&format!("postgresql://u@h/d?{parameters}")).unwrap();
        let DatabaseTarget::Postgres(server) = parsed.value else {
            panic!("not PostgreSQL");
        };
        assert_eq!(server.tls, expected, "{parameters}");
        let file = server.root_cert;
        assert!(file.is_none_or(|file| file.is_absolute()), "{parameters}");
    }
}
