//! What the environment of a running daemon has in place of the `.env` file (`proc_pid_environ(5)`).

use std::collections::BTreeSet;

use procfs::process::Process;

use crate::config::{
    AS_BASE64, CUT_AT_COMMENT, CUT_AT_DOLLAR, CUT_OR_MORE, IN_QUOTES, Remedy, Source,
    WITHOUT_REFERENCES, is_quoted, spelt,
};
use crate::diagnostics::probe::is_todoctl;

/// The variables of `names` that the environment of the daemon sets, as a clause, and what to do;
/// `None` where it cannot be read, or sets none of them. No value is told.
pub(super) fn own_values(pid: u32, source: &Source, names: &[&str]) -> Option<(String, Remedy)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    // In a container the number is that of another process here.
    let program = process.stat().ok()?.comm;
    if !is_todoctl(&program) {
        return None;
    }
    let environment = process.environ().ok()?;
    let values = names.iter().filter_map(|name| {
        let value = environment.get(std::ffi::OsStr::new(name))?.to_str()?;
        let own = source.in_file(name).unwrap_or_default();
        (!value.trim().is_empty()).then_some((*name, value.trim(), own))
    });
    clause(&values.collect::<Vec<_>>())
}

/// The variables of `names` that the environment of this command has with other values than the
/// `.env` file, as a clause, and what to do; `None` if there are none.
pub(super) fn hidden_here(source: &Source, names: &[&str]) -> Option<(String, Remedy)> {
    let hidden = source.overridden().filter(|name| names.contains(name));
    let hidden: Vec<&str> = hidden.collect();
    if hidden.is_empty() {
        return None;
    }
    let unset = Remedy::command(format!("unset {}", hidden.join(" ")));
    let hidden = hidden.join(", ");
    Some((
        format!("the environment of this command sets {hidden}, which counts before the .env file"),
        Remedy::note(format!(
            "unless the daemon should get {hidden} from the environment too, in this shell:"
        ))
        .then(unset),
    ))
}

/// Each variable, its value, and that of the `.env` file.
fn clause(values: &[(&str, &str, &str)]) -> Option<(String, Remedy)> {
    let spelt = values.iter().filter_map(|(name, value, own)| {
        let how = if is_quoted(value) {
            Some(IN_QUOTES)
        } else {
            spelt(value, own)
        };
        Some((*name, how?))
    });
    let spelt: Vec<(&str, &str)> = spelt.collect();
    if !spelt.is_empty() {
        let texts = spelt.iter().map(|(name, how)| format!("{name} {how}"));
        let names: Vec<&str> = spelt.iter().map(|(name, _)| *name).collect();
        let ways: BTreeSet<&str> = spelt.iter().map(|(_, how)| *how).collect();
        let advice: Vec<&str> = ways.into_iter().map(advice).collect();
        return Some((
            format!(
                "its environment has {}",
                texts.collect::<Vec<_>>().join(", ")
            ),
            Remedy::note(format!(
                "{}: correct {} where the daemon's environment is set, and start the daemon again from there",
                advice.join("; "),
                names.join(", ")
            )),
        ));
    }
    let names: Vec<&str> = values.iter().map(|(name, ..)| *name).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        (
            format!("its environment sets {names}, which counts before the .env file"),
            Remedy::note(format!(
                "correct {names} where the daemon's environment is set (unit file, compose file or platform), and start the daemon again from there; if its value is the right one, run this command with it"
            )),
        )
    })
}

/// What makes another spelling of a value.
fn advice(how: &str) -> &'static str {
    match how {
        IN_QUOTES => "docker run --env-file, lists in compose files and other programs keep quotes",
        AS_BASE64 => "the data of a Kubernetes Secret is encoded once, and stringData not at all",
        CUT_AT_DOLLAR | WITHOUT_REFERENCES => {
            "Compose and shells take $ for the beginning of a variable: write $$ in a compose file, and single quotes in a shell"
        }
        CUT_AT_COMMENT => "a # begins a comment there: put the value into quotes",
        CUT_OR_MORE => {
            "a part of the value is missing, or a comment, its name or another value is a part of it (systemd and docker run --env-file know comments in lines of their own alone)"
        }
        _ => "the value is not passed on as it is",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_environment() {
        assert!(clause(&[]).is_none());
        let said = |values: &[(&str, &str, &str)]| {
            let (text, remedy) = clause(values).unwrap();
            format!("{text}\n{remedy}")
        };
        for value in ["\"canary\"", "'canary'"] {
            let said = said(&[("PORT", "1", "2"), ("JWT_SECRET", value, "x")]);
            assert!(said.contains("has JWT_SECRET in quotes"), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
        for (value, own, expected) in [
            (
                "canary-0123",
                "canary-0123$abc",
                "without what begins with $",
            ),
            ("canary-0123", "canary-0123#abc", "begins a comment"),
            ("canary-0123 # x", "canary-0123", "with more around it"),
            ("Y2FuYXJ5LTAxMjM=", "canary-0123", "as base64"),
        ] {
            let said = said(&[("JWT_SECRET", value, own)]);
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
        let said = said(&[("PORT", "1", "2"), ("JWT_SECRET", "\"canary", "x")]);
        assert!(said.contains("sets PORT, JWT_SECRET"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}
