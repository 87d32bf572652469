//! The `.env` file: whether it can be read, what its lines are, and who else may read it.

use std::path::Path;

use crate::config::env_file::assignments;
use crate::config::env_file::line::{name, numbered};
use crate::config::{
    DatabaseTarget, Remedy, Source, conflicts, glued_warnings, line_warnings, mends, shell_word,
};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::{Fix, plain_line_ends};
use crate::diagnostics::probe::{
    Environment, daemon_with, daemon_with_other_file, daemons_of, environments,
};
use crate::diagnostics::verdict::Verdict;

use super::{copies, file_modes};

pub(super) fn env_file(context: &Context) -> Verdict {
    let source = &context.request.source;
    let has_mends = !mends(source.text()).is_empty();
    let mend = has_mends.then(|| Fix::Respell(Vec::new()));
    if let Some(error) = &context.request.broken {
        return Verdict::of_problems(&error.problems).with_fixes(mend);
    }
    let Some(path) = source.file() else {
        return another_file().unwrap_or_else(|| Verdict::pass("no .env file"));
    };
    let place = path.display();
    let mut fixes: Vec<Fix> = mend.into_iter().collect();
    let warnings = [line_warnings(source), source.warnings().to_vec()].concat();
    let mut said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let mut remedy = warnings
        .into_iter()
        .fold(Remedy::default(), |all, one| all.then(one.remedy));
    if daemon_with(path).is_none()
        && let Some((pid, name)) = daemon_with_other_file()
    {
        said.push(format!(
            "the daemon (pid {pid}) that was started in this directory reads {name}, and not {place}"
        ));
        remedy = remedy.then(with_file(&name));
    }
    for (text, advice) in seen_in_daemons(context) {
        said.push(text);
        remedy = remedy.then(advice);
    }
    if let Some((user, advice)) = file_modes::taken_from_daemon(path, path) {
        said.push(format!(
            "{place} cannot be read by user {user}, as whom the daemon runs: its next start fails"
        ));
        remedy = remedy.then(advice);
    }
    let daemon = file_modes::daemon(context);
    if let Some(open) = file_modes::open_to_others(path, 0o077, daemon.as_ref()) {
        said.push(format!(
            "{place} has mode {:04o}: other users of this machine may read its secrets",
            open.mode
        ));
        remedy = remedy.then(open.remedy);
        fixes.extend(open.fix);
    }
    let copies = copies::open_copies(path, &context.audit);
    for copy in &copies {
        said.push(format!(
            "{}, a copy of {place} with its secrets, may be read by other users of this machine",
            copy.display()
        ));
        fixes.extend(Fix::without_mode(copy, 0o077));
    }
    if !copies.is_empty() {
        let closed = copies
            .iter()
            .fold(Remedy::command("chmod go-rwx"), Remedy::arg);
        remedy = remedy.then(closed);
    }
    if let Some(foreign) = foreign_line_ends(path) {
        said.push(format!(
            "{place} has {foreign}, which other programs take for a part of a name or value"
        ));
        remedy = remedy.then(plain_line_ends(path));
        fixes.push(Fix::LineEnds(path.to_owned()));
    }
    // What the other checks would say of such a value is not its cause.
    let verdict = if glued_warnings(source).is_empty() {
        Verdict::warn_if_any(&said, remedy, Verdict::pass(read(source, path)))
    } else {
        Verdict::fail(said.join("; "), remedy)
    };
    verdict.with_fixes(fixes)
}

/// The daemon of this directory reads a file that this command does not.
fn another_file() -> Option<Verdict> {
    let (pid, name) = daemon_with_other_file()?;
    let what = format!(
        "no .env file, but the daemon (pid {pid}) that was started in this directory reads {name}"
    );
    Some(Verdict::warn(what, with_file(&name)))
}

fn with_file(name: &str) -> Remedy {
    let word = shell_word(Path::new(name));
    Remedy::note(format!(
        "give each command the file of the daemon: todoctl --env-file {word} doctor"
    ))
}

/// That the file is read, and which of its values have no effect.
fn read(source: &Source, path: &Path) -> String {
    let overridden: Vec<&str> = source.overridden().collect();
    let place = path.display();
    if overridden.is_empty() {
        return format!("{place} is read");
    }
    format!(
        "{place} is read; the environment has other values of {}, and they count",
        overridden.join(", ")
    )
}

/// What a file of Windows has.
fn foreign_line_ends(path: &Path) -> Option<&'static str> {
    // A pipe can be read only once.
    let bytes = path.is_file().then(|| std::fs::read(path).ok()).flatten()?;
    if bytes.starts_with("\u{feff}".as_bytes()) {
        Some("a byte-order mark")
    } else if bytes.windows(2).any(|pair| pair == b"\r\n") {
        Some("line ends of Windows (CRLF)")
    } else {
        None
    }
}

/// What the environments of the service's running daemons show about the lines of the file, and what
/// to do.
fn seen_in_daemons(context: &Context) -> Vec<(String, Remedy)> {
    let source = &context.request.source;
    let database = match context.audit.target() {
        Some(DatabaseTarget::Sqlite(file)) => Some(file),
        _ => None,
    };
    let Some(file) = source.file() else {
        return Vec::new();
    };
    let place = file.display();
    let conflicts = conflicts(source.text());
    let mut seen = Vec::new();
    let reads_file = daemon_with(file);
    let url = source.get("DATABASE_URL");
    let is_ours = |daemon: &Environment| {
        let theirs = daemon.value("DATABASE_URL");
        reads_file == Some(daemon.pid)
            || database.is_some_and(|file| {
                let mut daemons = daemons_of(&file.path).into_iter();
                daemons.any(|one| one.pid == daemon.pid)
            })
            || url.is_some() && theirs.map(|text| text.trim_matches(['"', '\''])) == url
    };
    for daemon in environments().into_iter().filter(is_ours) {
        let pid = daemon.pid;
        for conflict in &conflicts {
            let value = daemon.value(&conflict.name);
            if let Some(number) = value.and_then(|value| conflict.line_with(value)) {
                seen.push((
                    format!(
                        "the daemon (pid {pid}) has got {} of line {number}",
                        conflict.name
                    ),
                    Remedy::default(),
                ));
            }
        }
        let literal = taken_literally(source.text(), &daemon);
        if !literal.is_empty() {
            seen.push((
                format!(
                    "the daemon (pid {pid}) has got the quotes, or the comment, of {} with the value, as docker run --env-file reads {place}",
                    literal.join(", ")
                ),
                Remedy::note(format!(
                    "write each of them in {place} as NAME=value without export, blanks, quotes, $ and #, and start the container again"
                )),
            ));
        }
    }
    seen
}

/// The variables whose lines are in the daemon's environment as they are written, and not as they are
/// read here.
fn taken_literally<'a>(text: &'a str, daemon: &Environment) -> Vec<&'a str> {
    let lines = numbered(text).into_iter();
    let found = lines.filter_map(|line| {
        let name = name(line.text)?;
        let (_, written) = line.text.split_once('=')?;
        let written = written.trim_end_matches(['\r', '\n']);
        let read = assignments(line.text).ok()?;
        let is_other = read
            .get(name)
            .is_some_and(|value| value.trim() != written.trim());
        (is_other && daemon.value(name) == Some(written)).then_some(name)
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_the_environment_of_a_daemon() {
        let text = "A='x'\nB=1 # one\nC=plain\nD='y'\nE=\"z\"\n";
        let daemon = Environment::of(
            7,
            &[("A", "'x'"), ("B", "1 # one"), ("C", "plain"), ("D", "y")],
        );
        assert_eq!(taken_literally(text, &daemon), ["A", "B"]);
    }
}
