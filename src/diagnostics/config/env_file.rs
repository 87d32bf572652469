//! The `.env` file: whether it can be read, what its lines are, and who else may read it.

use std::path::{Path, PathBuf};

use crate::config::env_file::assignments;
use crate::config::env_file::line::{name, numbered};
use crate::config::{
    DatabaseTarget, Remedy, SecretName, Source, ca_file, conflicts, glued_warnings,
    is_replaced_outside, line_warnings, mends, sed, shell_word,
};
use crate::diagnostics::context::Context;
use crate::diagnostics::fix::{Fix, plain_line_ends};
use crate::diagnostics::probe::{
    Environment, daemon_with, daemon_with_other_file, daemons_of, environments, started_with,
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
    if let Some((text, advice)) = file_modes::without_memory(path) {
        said.push(text);
        remedy = remedy.then(advice);
    }
    if let Some((text, advice)) = only_in_daemon(source, path) {
        said.push(text);
        remedy = remedy.then(advice);
    }
    for file in replaced_outside(context, path) {
        said.push(format!(
            "{} is mounted by itself, and what it was mounted from was replaced since: what was changed there is not here",
            file.display()
        ));
        remedy = remedy.then(Remedy::note(
            "create the container again, so that the file that is there now is mounted (docker compose up -d --force-recreate); a restart does not do that, and where its directory is mounted it is not needed",
        ));
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
    let mut text = format!("{} is read", path.display());
    if !overridden.is_empty() {
        text += &format!(
            "; the environment has other values of {}, and they count",
            overridden.join(", ")
        );
    }
    if let Some(lent) = source.lent().filter(|lent| !lent.names.is_empty()) {
        text += &format!(
            "; the daemon (pid {}) has {} from its environment, and is judged with them (todoctl doctor with --pid {} sees its files and network too)",
            lent.pid,
            lent.names.join(", "),
            lent.pid
        );
    }
    text
}

/// The secrets that a running daemon has got from its environment, and that the file, which gave it
/// others, does not have.
fn only_in_daemon(source: &Source, path: &Path) -> Option<(String, Remedy)> {
    let lent = source.lent()?;
    let names: Vec<&str> = SecretName::ALL
        .into_iter()
        .map(SecretName::as_str)
        .filter(|secret| lent.names.iter().any(|name| name == secret))
        .collect();
    if names.is_empty() {
        return None;
    }
    let (names, place, pid) = (names.join(", "), path.display(), lent.pid);
    Some((
        format!("the running daemon (pid {pid}) has {names}, and {place} does not"),
        Remedy::note(format!(
            "if {place} has lost them, put them back before the daemon is restarted, from a backup or a secret store; if its unit, compose file or platform sets them, move them to {place}, so that every command has them"
        )),
    ))
}

/// The files of the configuration that are mounted by themselves, and were replaced outside.
fn replaced_outside(context: &Context, path: &Path) -> Vec<PathBuf> {
    let certificates = match context.audit.target() {
        Some(DatabaseTarget::Postgres(server)) => server.root_cert.clone(),
        _ => None,
    };
    let files = std::iter::once(path.to_owned())
        .chain(context.audit.secret_files.iter().cloned())
        .chain(certificates)
        .chain(ca_file(&context.request.source));
    files.filter(|file| is_replaced_outside(file)).collect()
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
    let started_with = started_with(source).map(|daemon| daemon.pid);
    let is_ours = |daemon: &Environment| {
        let theirs = daemon.value("DATABASE_URL");
        reads_file == Some(daemon.pid)
            || started_with == Some(daemon.pid)
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
        let exported = left_out(source.text(), &daemon);
        if reads_file != Some(pid) && !exported.is_empty() {
            let names: Vec<&str> = exported.iter().map(|(_, name)| *name).collect();
            let edits = exported
                .iter()
                .map(|(number, _)| format!("{number}s/export  *//"))
                .collect::<Vec<_>>();
            seen.push((
                format!(
                    "the daemon (pid {pid}) has not got {}, whose lines begin with export: systemd leaves such lines of an EnvironmentFile out",
                    names.join(", ")
                ),
                Remedy::command(sed(&format!("'{}'", edits.join(";")), file))
                    .then(Remedy::note("then restart the daemon")),
            ));
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

/// The variables whose lines begin with `export`, and that the daemon's environment lacks, with the
/// numbers of these lines.
fn left_out<'a>(text: &'a str, daemon: &Environment) -> Vec<(usize, &'a str)> {
    let lines = numbered(text).into_iter();
    let found = lines.filter_map(|line| {
        let name = name(line.text)?;
        let is_exported = line.text.trim_start().starts_with("export ");
        (is_exported && daemon.value(name).is_none()).then_some((line.number, name))
    });
    found.collect()
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
        let text = "A=1\n export B=1\nexport  C='x'\nexport F=\"1\n2\"\n#export G=1\nexport H=1\n";
        assert_eq!(left_out(text, &daemon), [(4, "F"), (7, "H")]);
    }
}
