//! `todoctl health` against nothing; against a daemon it is tested with `serve`.

use crate::cli::{Cli, assert_said};

/// Docker knows 0 and 1 and reserves 2.
#[test]
fn whatever_is_wrong_is_one() {
    let cli = Cli::new().env("PORT", "1");
    for (name, arguments) in [
        ("health_refused", &["health"][..]),
        ("health_json", &["health", "--format", "json"]),
        ("health_bad_url", &["health", "--url", "localhost"]),
        ("health_bad_timeout", &["health", "--timeout", "soon"]),
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 1, "{}", said.text());
        assert_said(name, &said);
    }
    let broken = Cli::new().env("PORT", "http");
    assert_said("health_bad_configuration", &broken.run(&["health"]));
}
