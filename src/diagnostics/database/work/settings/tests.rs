//! Settings that hurt, by where they come from.

use super::super::ending::tests::server;
use super::*;
use crate::diagnostics::Outcome::{Fail, Pass, Warn};

#[test]
fn what_a_crash_loses() {
    let outcome = |name, value, environment| {
        let setting = SettingNow::of(name, value, "configuration file");
        check_durability(&[setting], environment, &server()).outcome
    };
    let production = Environment::Production;
    assert_eq!(outcome("fsync", "off", production), Fail);
    assert_eq!(outcome("fsync", "on", production), Pass);
    assert_eq!(outcome("synchronous_commit", "off", production), Warn);
    assert_eq!(outcome("synchronous_commit", "local", production), Pass);
    assert_eq!(outcome("fsync", "off", Environment::Development), Pass);
}

#[test]
fn limits_are_changed_where_they_come_from() {
    let check = |value: &str, source: &str| {
        check_timeouts(
            &[SettingNow::of("statement_timeout", value, source)],
            &server(),
        )
    };
    let outcome = |value| -> Outcome { check(value, "user").outcome };
    assert_eq!(outcome("0"), Pass);
    assert_eq!(outcome("5000"), Pass);
    assert_eq!(outcome("50"), Warn);
    for (source, expected) in [
        ("user", "ALTER ROLE \"todo\" RESET statement_timeout"),
        ("database", "ALTER DATABASE \"todo\" RESET"),
        ("database user", "IN DATABASE \"todo\" RESET"),
        ("global", "ALTER ROLE ALL RESET"),
        ("client", "from options in DATABASE_URL"),
        (
            "configuration file",
            "ALTER SYSTEM SET statement_timeout = 0",
        ),
    ] {
        let remedy = check("50", source).remedy.unwrap().to_string();
        let plain = remedy.replace('\\', "");
        assert!(plain.contains(expected), "{source}: {remedy}");
    }
}
