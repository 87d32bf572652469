//! Secrets everywhere, and every output of every command searched for them.

use std::os::unix::fs::PermissionsExt as _;

use crate::faults::Broken;
use crate::faults::peers::refusing;
use crate::support::TestDatabase;

/// No word of it stands in any text of the program's.
const CANARY: &str = "xq7canaryZ9kfj2";

/// Everything that only looks, and what refuses to do more.
const COMMANDS: &[&[&str]] = &[
    &["doctor"],
    &["doctor", "--format", "json"],
    &["doctor", "--format", "prometheus"],
    &["doctor", "--fix", "--yes"],
    &["db", "check"],
    &["db", "check", "--format", "json"],
    &["config", "show"],
    &["config", "show", "--format", "env"],
    &["config", "show", "--format", "json"],
    &["config", "check"],
    &["config", "check", "--format", "json"],
    &["migrate", "status"],
    &["migrate", "up"],
    &["migrate", "down"],
    &["session", "list"],
    &["health"],
    &["explain", "FATAL: password authentication failed"],
    &["gen-secrets", "--only", "JWT_SECRET"],
    &["db", "psql", "-c", "SELECT 1"],
    &["config", "set", "DATABASE_URL.sslmode=require", "PORT=1"],
    &["config", "respell", "DATABASE_URL", "ENCRYPTION_KEY"],
    &["config", "unset", "NO_SUCH_NAME"],
    &["serve"],
];

/// Values that hold the canary wherever a person may put a secret.
fn planted(broken: Broken, database: &str) -> Broken {
    let long = format!("{CANARY}-0123456789abcdefghijklmnopqrstuvwxyz");
    let mut broken = broken
        .env("LOG_LEVEL", "trace")
        .env("DATABASE_URL", database);
    for name in ["SESSION_HASH_SECRET", "SERVICE_AUTH_TOKEN", "JWT_SECRET"] {
        broken = broken.env(name, &format!("{long}{name}"));
        broken = broken.env(&format!("{name}_PREVIOUS"), &format!("{long}{name}-before"));
    }
    broken
        .env("ENCRYPTION_KEY", &long)
        .env("ENCRYPTION_KEY_PREVIOUS", &format!("{long},{long}"))
        .env("REDIS_URL", &format!("redis://:{CANARY}@127.0.0.1:1/0"))
        .env("RESEND_API_KEY", CANARY)
        .env(
            "RESEND_API_URL",
            &format!("http://ops:{CANARY}@127.0.0.1:1/?key={CANARY}"),
        )
        .env(
            "AUTH_SERVER_URL",
            &format!("http://ops:{CANARY}@127.0.0.1:1/?key={CANARY}"),
        )
        .env(
            "GEMINI_API_URL",
            &format!("http://ops:{CANARY}@127.0.0.1:1/?key={CANARY}"),
        )
}

#[track_caller]
fn searched(broken: &Broken) {
    for arguments in COMMANDS {
        let output = broken.output(arguments);
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(said);
            assert!(
                !said.contains(CANARY),
                "{arguments:?} shows a secret:\n{said}"
            );
        }
    }
}

#[test]
fn in_variables_that_are_understood_and_in_some_that_are_not() {
    let refusing = refusing("28P01", "password authentication failed for user \"todo\"");
    for database in [
        format!("postgresql://todo:{CANARY}@{refusing}/todo?sslmode=disable"),
        format!("postgresql://todo:{CANARY}@127.0.0.1:1/todo?{CANARY}={CANARY}%20x"),
        format!("postgresql://todo:pa@ss{CANARY}@db/todo"),
        format!("mysql://todo:{CANARY}@db/todo"),
        format!("psql 'postgresql://todo:{CANARY}@db/todo'"),
    ] {
        searched(&planted(Broken::new(), &database));
    }
}

#[test]
fn in_files() {
    let broken = Broken::new();
    let file = broken.path().join("secret");
    std::fs::write(&file, format!("{CANARY}-short")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let path = file.display().to_string();
    std::fs::write(
        broken.path().join(".env"),
        format!("SESSION_HASH_SECRET='{CANARY}'\nJWT_SECRE={CANARY}\n"),
    )
    .unwrap();
    let mut broken = broken.env("LOG_LEVEL", "trace");
    for name in [
        "DATABASE_URL",
        "SERVICE_AUTH_TOKEN",
        "ENCRYPTION_KEY",
        "JWT_SECRET",
        "REDIS_URL",
        "RESEND_API_KEY",
    ] {
        broken = broken.env(&format!("{name}_FILE"), &path);
    }
    searched(&broken);
    std::fs::write(
        broken.path().join(".env"),
        format!("JWT_SECRET='{CANARY}\n"),
    )
    .unwrap();
    searched(&broken);
}

/// A server that is well, with everything logged that can be.
#[tokio::test]
async fn with_a_database_that_works() {
    let database = TestDatabase::create().await;
    let url = url::Url::parse(&database.url).unwrap();
    let password = url.password().unwrap().to_owned();
    let broken = planted(Broken::new(), &database.url)
        .env(
            "ENCRYPTION_KEY",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        )
        .env("ENCRYPTION_KEY_PREVIOUS", "");
    let commands = COMMANDS.iter().filter(|arguments| arguments[0] != "serve");
    for arguments in commands {
        let output = broken.output(arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(
            !said.contains(CANARY) && !said.contains(&password),
            "{arguments:?}:\n{said}"
        );
    }
}
