//! Contract 8 and 9.3: what existing deployments set, and the defaults.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// A deployment of the service before, and the one secret that it did not have.
const DEPLOYMENT: [(&str, &str); 10] = [
    (
        "DATABASE_URL",
        "postgresql+asyncpg://todo:p%40ss@db.example.com:5432/todo?sslmode=require",
    ),
    ("JWT_SECRET", "0123456789abcdefghijklmnopqrstuv"),
    ("JWT_ALGORITHM", "HS256"),
    ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "30"),
    ("SERVICE_AUTH_TOKEN", "5f0c1d2e3b4a59687786958493a2b1c0"),
    (
        "ENCRYPTION_KEY",
        "ZmVybmV0LWtleS1vZi0zMi1ieXRlcy1mb3ItdGVzdHM=",
    ),
    (
        "CORS_ORIGINS",
        " https://app.example.com , https://www.example.com,",
    ),
    ("RESEND_API_KEY", ""),
    ("ENVIRONMENT", "production"),
    ("SESSION_HASH_SECRET", "6a1b1d2e3b4a59687786958493a2b1c0"),
];

/// That deployment with one variable set otherwise.
fn load(name: &str, value: &str) -> Result<Loaded<Config>, ConfigError> {
    let others = DEPLOYMENT.into_iter().filter(|(other, _)| *other != name);
    Config::load(&Source::from_values(others.chain([(name, value)])))
}

/// Contract 9.3: every name that existing deployments use.
#[test]
fn an_existing_deployment() {
    let config = Config::load(&Source::from_values(DEPLOYMENT))
        .unwrap()
        .value;
    assert_eq!(config.environment, Environment::Production);
    let DatabaseTarget::Postgres(server) = &config.database.target else {
        panic!("{:?}", config.database.target);
    };
    assert_eq!(server.tls, TlsMode::Require);
    let auth = &config.auth;
    assert!(auth.jwt_secret.is_some());
    assert_eq!(auth.access_token_lifetime, Duration::from_secs(1800));
    assert_eq!(
        auth.service_auth_token.current.expose(),
        "5f0c1d2e3b4a59687786958493a2b1c0"
    );
    assert_eq!(config.http.port, 8000);
    // Contract 8: a list with blanks.
    let origins: Vec<&String> = config.http.cors_origins.iter().collect();
    assert_eq!(
        origins,
        ["https://app.example.com", "https://www.example.com"]
    );
}

/// Contract 8: apps and extensions have origins too; patterns and more than an origin are refused.
#[test]
fn origins() {
    let read = |text: &str| {
        let audit = Audit::of(&Source::from_values([("CORS_ORIGINS", text)]));
        let problem = audit
            .problems
            .iter()
            .find(|one| one.variable == "CORS_ORIGINS")
            .map(ToString::to_string);
        match problem {
            None => Ok(audit.http.cors_origins.into_iter().collect::<Vec<_>>()),
            Some(problem) => Err(problem),
        }
    };
    for (text, origin) in [
        ("https://App.Example.com:443/", "https://app.example.com"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost:8100", "ionic://localhost:8100"),
        (
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ),
        (
            "moz-extension://5f0c1d2e-3b4a-5968-7786-958493a2b1c0",
            "moz-extension://5f0c1d2e-3b4a-5968-7786-958493a2b1c0",
        ),
    ] {
        assert_eq!(read(text), Ok(vec![origin.to_owned()]), "{text}");
    }
    for pattern in [
        "https://*.vercel.app",
        "https://app-*.example.com",
        "*.example.com",
    ] {
        let problem = read(pattern).unwrap_err();
        assert!(problem.contains("patterns are not supported"), "{problem}");
    }
    for wrong in [
        "null",
        "app.example.com",
        "file:///index.html",
        "capacitor://localhost/index.html",
        "https://a.example/?q",
        "https://user@a.example",
        "capacitor://",
    ] {
        let problem = read(wrong).unwrap_err();
        assert!(problem.contains("is not an origin"), "{problem}");
    }
}

/// Contract 8, 9.3: the defaults. Every declared default is valid, in each environment.
#[test]
fn defaults() {
    for environment in ["development", "staging", "production"] {
        let source = Source::from_values([("ENVIRONMENT", environment)]);
        let audit = Audit::of(&source);
        let problems = audit.problems.iter();
        let named: Vec<&str> = problems.map(|one| one.variable.as_str()).collect();
        if environment == "development" {
            assert_eq!(named, [""; 0]);
            let local = "http://localhost:3000".to_owned();
            assert_eq!(audit.http.cors_origins, BTreeSet::from([local]));
        } else {
            assert_eq!(named, ["DATABASE_URL"]);
            assert_eq!(audit.http.cors_origins, BTreeSet::new());
        }
        assert_eq!(audit.http.port, 8000);
    }
    let config = load("ENVIRONMENT", "").unwrap().value;
    assert_eq!(config.environment, Environment::Development);
}

/// The values that messages and `.env.example` propose are correct.
#[test]
fn examples_are_correct() {
    let examples = VARIABLES
        .iter()
        .filter_map(|one| Some((one.name, one.example?)));
    let audit = Audit::of(&Source::from_values(examples));
    let problems = audit.problems.iter();
    let wrong: Vec<String> = problems
        .filter(|one| !one.message.starts_with("is required with PostgreSQL"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(wrong, [""; 0]);
}

/// A variable that is declared and not read fails here. Whatever its parser accepts, a value that
/// is not UTF-8 is a problem for the code that reads it.
#[test]
fn every_variable_is_read() {
    for variable in VARIABLES.iter() {
        let name = variable.name;
        let audit = Audit::of(&Source::with_unreadable(name));
        let is_reported = audit.problems.iter().any(|one| one.variable == name);
        assert!(is_reported, "{name} is declared, and nothing reads it");
    }
}

/// Names are unique, and found by alias and `NAME_FILE`.
#[test]
fn names() {
    let mut names: Vec<&str> = VARIABLES.iter().flat_map(|one| one.names()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for (name, expected) in [
        ("PORT", Some("PORT")),
        ("DB_POOL_SIZE", Some("SQLALCHEMY_POOL_SIZE")),
        ("REDIS_URL_FILE", Some("REDIS_URL")),
        ("PORT_FILE", None),
        ("PROT", None),
    ] {
        assert_eq!(Variable::of(name).map(|one| one.name), expected, "{name}");
    }
}

/// Contract 2.1, 9.3: how long access tokens live.
#[test]
fn lifetimes_of_access_tokens() {
    for (minutes, seconds) in [("", 1800), ("5", 300)] {
        let config = load("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", minutes).unwrap();
        assert_eq!(
            config.value.auth.access_token_lifetime,
            Duration::from_secs(seconds)
        );
    }
}

/// Contract 9.3: an empty mail key is none.
#[test]
fn empty_mail_keys() {
    for (key, expected) in [("", false), (" ", false), ("re_0123", true)] {
        let services = load("RESEND_API_KEY", key).unwrap().value.services;
        assert_eq!(services.resend_api_key.is_some(), expected, "{key:?}");
    }
}

/// Contract 10.1, 10.8: no default secrets, and 32 bytes at least, outside development.
#[test]
fn secrets_outside_development() {
    for name in ["JWT_SECRET", "SERVICE_AUTH_TOKEN", "SESSION_HASH_SECRET"] {
        let long = "abcdefghijklmnopqrstuvwxyz012345";
        assert_eq!(long.len(), 32);
        assert!(load(name, long).is_ok(), "{name}");
        for weak in [&long[..31], "change-me-change-me-change-me-0123456789"] {
            let error = load(name, weak).unwrap_err();
            assert_eq!(error.problems.len(), 1, "{error}");
            assert_eq!(error.problems[0].variable, name);
        }
    }
    for name in ["SERVICE_AUTH_TOKEN", "ENCRYPTION_KEY"] {
        let error = load(name, " ").unwrap_err();
        assert_eq!(error.problems[0].variable, name);
    }
}

/// Connections that others can read or impersonate, and listeners for everybody.
#[test]
fn unwise_addresses() {
    let warned = |name: &str, value: &str| {
        let audit = Audit::of(&Source::from_values([(name, value)]));
        let found = audit.warnings.iter().find(|one| one.variable == name);
        found.map(|one| one.message.clone()).unwrap_or_default()
    };
    for (name, value, expected) in [
        (
            "DATABASE_URL",
            "postgresql://u:p@db.example.com/d?sslmode=disable",
            "sslmode=disable",
        ),
        (
            "DATABASE_URL",
            "postgresql://u:p@10.0.0.7/d?sslmode=prefer",
            "sslmode=prefer",
        ),
        (
            "DATABASE_URL",
            "postgresql://u:p@db.example.com/d?ssl=false",
            "sslmode=disable",
        ),
        (
            "DATABASE_URL_UNPOOLED",
            "postgresql://u:p@db.example.com/d?sslmode=allow",
            "sslmode=prefer",
        ),
        (
            "DATABASE_URL",
            "postgresql://u:p@db.example.com/d?sslmode=require",
            "",
        ),
        ("DATABASE_URL", "postgresql://u:p@db.example.com/d", ""),
        (
            "DATABASE_URL",
            "postgresql://u:p@localhost/d?sslmode=disable",
            "",
        ),
        ("DATABASE_URL", "postgresql://u:p@db/d?sslmode=disable", ""),
        (
            "DATABASE_URL",
            "postgresql://u@/d?host=/run/pg.d&sslmode=disable",
            "",
        ),
        (
            "REDIS_URL",
            "rediss://:p@redis.example.com/0#insecure",
            "#insecure",
        ),
        ("REDIS_URL", "rediss://:p@redis/#insecure", "#insecure"),
        ("REDIS_URL", "rediss://:p@redis.example.com/0", ""),
    ] {
        let found = warned(name, value);
        assert!(found.contains(expected), "{value}: {found}");
        assert_eq!(found.is_empty(), expected.is_empty(), "{value}: {found}");
    }
    for (address, is_open) in [
        ("0.0.0.0:9000", true),
        ("[::]:9000", true),
        ("[::ffff:0.0.0.0]:9000", true),
        ("127.0.0.1:9000", false),
        ("10.0.0.7:9000", false),
    ] {
        let found = warned("METRICS_ADDR", address);
        assert_eq!(!found.is_empty(), is_open, "{address}: {found}");
    }
    let values = [("METRICS_ADDR", "0.0.0.0:9000"), ("HOST", "0.0.0.0")];
    assert_eq!(Audit::of(&Source::from_values(values)).warnings, []);
}

#[test]
fn quotes_that_are_part_of_a_value() {
    let token = "5f0c1d2e3b4a59687786958493a2b1c0";
    for name in ["SERVICE_AUTH_TOKEN", "JWT_SECRET_PREVIOUS", "AUTH_ISSUER"] {
        for value in [format!("\"{token}\""), format!("'{token}'")] {
            let audit = Audit::of(&Source::from_values([(name, value.as_str())]));
            let found = audit.warnings.iter().find(|one| one.variable == name);
            let remedy = found.unwrap().remedy.to_string();
            assert!(found.unwrap().message.contains("a quote"), "{name}");
            // What a shell makes of it.
            let typed = format!("{remedy}\nprintf %s \"${name}\"");
            let output = std::process::Command::new("sh")
                .args(["-c", &typed])
                .env(name, &value)
                .output();
            assert_eq!(output.unwrap().stdout, token.as_bytes(), "{remedy}");
        }
        let audit = Audit::of(&Source::from_values([(name, token)]));
        let mut messages = audit.warnings.iter().map(|one| &one.message);
        assert!(messages.all(|message| !message.contains("a quote")));
    }
}

#[test]
fn limits_that_refuse_nearly_all() {
    for (value, is_low) in [("0", false), ("1", true), ("19", true), ("60", false)] {
        let audit = Audit::of(&Source::from_values([("RATE_LIMIT_PER_MINUTE", value)]));
        let mut warnings = audit.warnings.iter();
        let found = warnings.any(|one| one.variable == "RATE_LIMIT_PER_MINUTE");
        assert_eq!(found, is_low, "{value}");
    }
}

#[test]
fn algorithms_of_key_pairs() {
    for (value, is_unset) in [
        ("RS256", true),
        ("es384", true),
        ("EdDSA", true),
        ("HS512", false),
        ("none", false),
    ] {
        let audit = Audit::of(&Source::from_values([("JWT_ALGORITHM", value)]));
        let remedy = audit.problems[0].remedy.to_string();
        assert_eq!(
            remedy.contains("todoctl config unset JWT_ALGORITHM"),
            is_unset,
            "{value}: {remedy}"
        );
        assert_ne!(remedy.contains("HS256"), is_unset, "{value}: {remedy}");
    }
}

#[test]
fn every_number_has_bounds_and_a_wise_default() {
    for variable in VARIABLES.iter().filter(|one| one.name != "PORT") {
        let text = reader::default_text(variable, Environment::Production).unwrap_or_default();
        let is_number = text.parse::<f64>().is_ok();
        let bounds = Bounds::of(variable.name);
        assert_eq!(bounds.is_some(), is_number, "{}", variable.name);
        if let Some(bounds) = bounds {
            // One for each core, which may be many.
            if variable.name != "WORKERS" {
                assert_eq!(bounds.fault(&text), None, "{}", variable.name);
            }
            let usual = bounds.usual.to_string();
            assert_eq!(bounds.fault(&usual), None, "{}", variable.name);
        }
    }
}

#[test]
fn unwise_numbers() {
    for (name, text, is_unwise) in [
        ("REQUEST_TIMEOUT_SECONDS", "0.1", true),
        ("REQUEST_TIMEOUT_SECONDS", "5", false),
        ("REQUEST_TIMEOUT_SECONDS", "30", true),
        ("SHUTDOWN_DELAY_SECONDS", "0", false),
        ("SHUTDOWN_GRACE_SECONDS", "0", true),
        ("RATE_LIMIT_PER_MINUTE", "0", false),
        ("RATE_LIMIT_PER_MINUTE", "19", true),
    ] {
        let found = Bounds::of(name).unwrap().fault(text);
        assert_eq!(found.is_some(), is_unwise, "{name}={text}");
    }
}
