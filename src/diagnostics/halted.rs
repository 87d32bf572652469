//! Programs of this machine that accept connections and do not answer.

use std::net::IpAddr;

use procfs::process::LimitValue;

use crate::config::Remedy;

use super::probe::{Listener, State, listener};
use super::process_limit::ProcessLimit;
use super::verdict::Verdict;

/// Why a process does not answer, as a predicate, and what lets it go on; `None` if it can run.
pub(super) fn halted(listener: &Listener) -> Option<(String, Remedy)> {
    why_halted(listener.pid, &listener.state)
}

/// The same of any process.
pub(super) fn why_halted(pid: i32, state: &State) -> Option<(String, Remedy)> {
    Some(match state {
        State::Running => return None,
        State::Stopped => (
            "is stopped (SIGSTOP, or a terminal)".to_owned(),
            Remedy::command(format!("kill -CONT {pid}")),
        ),
        State::Traced(tracer) => (
            format!("is stopped by a debugger (pid {tracer})"),
            Remedy::note("it goes on when its debugger ends:")
                .then(Remedy::command(format!("kill {tracer}"))),
        ),
        State::Frozen(text, file) => (
            "is frozen with its control group".to_owned(),
            Remedy::note(
                "where a container engine or systemd froze it, docker unpause or systemctl thaw do the same:",
            )
            .then(Remedy::command("echo").arg(text).write_to(file)),
        ),
        State::Waiting => (
            "waits for a disk or a network file system (state D)".to_owned(),
            Remedy::note(
                "it takes no signal before the disk answers: read the kernel's log (dmesg), and see whether the mounts of its files answer",
            ),
        ),
        State::OutOfFiles(limit) => (
            format!("has reached its limit of {limit} open files"),
            more_files(*limit, pid),
        ),
    })
}

/// Raises the limit of open files of a process.
pub(super) fn more_files(limit: u64, pid: i32) -> Remedy {
    let larger = (limit * 2).max(16_384);
    let wanted = ProcessLimit {
        option: "nofile",
        hard: |limits| limits.max_open_files.hard_limit,
        wanted: LimitValue::Value(larger),
        later: format!(
            "LimitNOFILE={larger} in the unit file, or docker run --ulimit nofile={larger}"
        ),
    };
    wanted.raised(pid)
}

/// A verdict on a service that does not answer, with the reason if its program is on this machine
/// and halted.
pub(super) async fn with_halted(verdict: Verdict, host: &str, port: u16) -> Verdict {
    let host = host.trim_matches(['[', ']']);
    let is_here = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if !is_here {
        return verdict;
    }
    let Some(program) = listener(port).await else {
        return verdict;
    };
    match halted(&program) {
        Some((why, remedy)) => Verdict {
            detail: format!(
                "{}: {} (pid {}) {why}",
                verdict.detail, program.name, program.pid
            ),
            remedy: Some(remedy),
            ..verdict
        },
        None => verdict,
    }
}
