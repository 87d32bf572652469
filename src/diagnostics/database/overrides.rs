//! Settings that `ALTER ROLE`, `ALTER DATABASE` or the URL's options give to the daemon's sessions.

use crate::config::{PostgresTarget, Remedy};
use crate::store::inspect::Override;

/// Removes a setting from wherever it is set, so that sessions have the server's default.
pub(super) fn reset(server: &PostgresTarget, overrides: &[Override], name: &str) -> Remedy {
    let mut remedy = Remedy::default();
    let options = server.options.as_deref().unwrap_or_default();
    if let Some(rest) = without(options, name) {
        remedy = remedy.then(if rest.is_empty() {
            Remedy::unset("DATABASE_URL.options")
        } else {
            Remedy::set("DATABASE_URL.options", rest)
        });
    }
    let statements: Vec<String> = overrides
        .iter()
        .filter(|one| one.name == name)
        .map(|one| format!("ALTER {} RESET {name}", one.of))
        .collect();
    if !statements.is_empty() {
        remedy = remedy.then(Remedy::admin_settings(server, &statements.join("; ")));
    }
    if remedy.is_empty() {
        return Remedy::admin_sql(server, None, format!("ALTER SYSTEM RESET {name}"))
            .then(Remedy::admin_sql(server, None, "SELECT pg_reload_conf()"));
    }
    remedy
}

/// The options without this setting; `None` if it is not among them.
fn without(options: &str, name: &str) -> Option<String> {
    let mut kept = Vec::new();
    let mut is_found = false;
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let (switch, setting) = if word == "-c" {
            (word, words.next().unwrap_or_default())
        } else {
            let long = word.strip_prefix("--").or_else(|| word.strip_prefix("-c"));
            ("", long.unwrap_or_default())
        };
        let is_it = setting
            .split('=')
            .next()
            .is_some_and(|found| found.replace('-', "_").eq_ignore_ascii_case(name));
        if is_it {
            is_found = true;
        } else if switch.is_empty() {
            kept.push(word);
        } else {
            kept.extend([switch, setting]);
        }
    }
    is_found.then(|| kept.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_among_options() {
        for (options, rest) in [
            ("-c role=ro", Some("")),
            ("-crole=ro -c search_path=app", Some("-c search_path=app")),
            ("-c work_mem=1MB --role=ro", Some("-c work_mem=1MB")),
            ("-c work_mem=1MB", None),
            ("", None),
        ] {
            assert_eq!(without(options, "role").as_deref(), rest, "{options}");
        }
    }
}
