//! What the environment of a running daemon has in place of the `.env` file (`proc_pid_environ(5)`).

use procfs::process::Process;

use crate::config::{Remedy, Source, is_quoted};
use crate::diagnostics::probe::is_todoctl;

/// The variables of `names` that the environment of the daemon sets, as a clause, and what to do;
/// `None` where it cannot be read, or sets none of them. No value is told.
pub(super) fn own_values(pid: u32, names: &[&str]) -> Option<(String, Remedy)> {
    let process = Process::new(i32::try_from(pid).ok()?).ok()?;
    // In a container the number is that of another process here.
    let program = process.stat().ok()?.comm;
    if !is_todoctl(&program) {
        return None;
    }
    let environment = process.environ().ok()?;
    let values = names.iter().filter_map(|name| {
        let value = environment
            .get(std::ffi::OsStr::new(name))?
            .to_str()?
            .trim();
        (!value.is_empty()).then_some((*name, value))
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

fn clause(values: &[(&str, &str)]) -> Option<(String, Remedy)> {
    let quoted: Vec<&str> = values
        .iter()
        .filter(|(_, value)| is_quoted(value))
        .map(|(name, _)| *name)
        .collect();
    if !quoted.is_empty() {
        let names = quoted.join(", ");
        return Some((
            format!(
                "in its environment the value of {names} begins and ends with a quote, which is part of it"
            ),
            Remedy::note(format!(
                "docker run --env-file and other programs keep quotes: remove those of {names} where the daemon's environment is set, and start the daemon again from there"
            )),
        ));
    }
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_environment() {
        assert!(clause(&[]).is_none());
        let said = |values: &[(&str, &str)]| {
            let (text, remedy) = clause(values).unwrap();
            format!("{text}\n{remedy}")
        };
        for value in ["\"canary\"", "'canary'"] {
            let said = said(&[("PORT", "1"), ("JWT_SECRET", value)]);
            assert!(said.contains("value of JWT_SECRET begins"), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
        let said = said(&[("PORT", "1"), ("JWT_SECRET", "\"canary")]);
        assert!(said.contains("sets PORT, JWT_SECRET"), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}
