//! `doctor --watch`, `--output` and `--format prometheus`.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::faults::files::migrated;
use crate::faults::harness::set_mode;
use crate::faults::{Broken, fix};

/// A watch with a pipe for its output.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(broken: &Broken, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_todoctl"))
            .arg("doctor")
            .args(options)
            .args(if options.contains(&"--watch") {
                &[][..]
            } else {
                &["--watch", "1"]
            })
            .current_dir(broken.path())
            .env_clear()
            .envs(broken.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended");
        line
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        Command::new("kill").args([signal, &id]).status().unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_pipe_gets_what_changes() {
    let broken = migrated();
    let database = broken.path().join("data/todo.db");
    let mut watch = Watch::start(&broken, &["--only", "database.modes", "--strict"]);
    assert!(watch.line().ends_with("Z 1 passed\n"));
    set_mode(&database, 0o666);
    let said = watch.line();
    assert!(
        said.contains("Z WARN File modes: ") && said.contains("[database.modes]"),
        "{said}"
    );
    assert!(watch.line().ends_with("Z 1 warning\n"));
    set_mode(&database, 0o600);
    assert!(watch.line().contains("Z ok   File modes: "));
    assert!(watch.line().ends_with("Z 1 passed\n"));
    set_mode(&database, 0o644);
    assert!(watch.line().contains("Z WARN "));
    assert!(watch.line().ends_with("Z 1 warning\n"));
    // The exit code is that of the last run.
    assert_eq!(watch.end("-TERM"), Some(1));
}

#[test]
fn json_is_a_report_on_each_line() {
    let broken = migrated();
    let mut watch = Watch::start(&broken, &["--only", "config", "--format", "json"]);
    let mut reports = (0..2).map(|_| serde_json::from_str::<Value>(&watch.line()).unwrap());
    let (first, second) = (reports.next().unwrap(), reports.next().unwrap());
    assert_eq!(first["checks"].as_array().unwrap().len(), 12);
    assert!(first["time"].as_str() < second["time"].as_str());
    assert_eq!(watch.end("-INT"), Some(0));
}

#[test]
fn a_reader_that_left_ends_it() {
    let broken = migrated();
    let Watch {
        mut child,
        mut lines,
    } = Watch::start(&broken, &["--format", "json"]);
    lines.read_line(&mut String::new()).unwrap();
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_terminal_is_redrawn() {
    let broken = migrated();
    // Three runs, and then Ctrl-C.
    let said = fix::at_a_terminal(
        &broken,
        "timeout -s INT 4 todoctl doctor --watch 1 --only config.cors",
        "",
    );
    let screens = said.matches("\u{1b}[H").count();
    assert!((2..=4).contains(&screens), "{said:?}");
    assert!(said.contains("again in 1 s; Ctrl-C ends"), "{said:?}");
}

/// `todoctl doctor --watch | head` ends with head, also while it waits for the next run.
#[test]
fn nobody_reads_any_more() {
    let broken = migrated();
    let mut watch = Watch::start(&broken, &["--only", "config.cors", "--watch", "3600"]);
    assert!(watch.line().ends_with("Z 1 passed\n"));
    let Watch { mut child, lines } = watch;
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The rules of promtool: HELP and TYPE before the samples, no sample twice, names of a family.
#[test]
fn metrics_in_a_file() {
    let broken = migrated().env("LOG_LEVEL", "loud");
    let file = broken.path().join("todoctl.prom");
    let command = &[
        "doctor",
        "--format",
        "prometheus",
        "--output",
        "todoctl.prom",
    ];
    let output = broken.output(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let mut families = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{family} gauge"));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(series), "{series} twice");
            assert_eq!(series.split('{').next(), Some(family));
        }
    }
    assert_eq!(families.len(), 3, "{families:?}");
    for (sample, value) in [
        (
            "todoctl_check{id=\"config.telemetry\",outcome=\"fail\"}",
            "1",
        ),
        (
            "todoctl_check{id=\"config.telemetry\",outcome=\"pass\"}",
            "0",
        ),
        ("todoctl_check{id=\"database.login\",outcome=\"pass\"}", "1"),
    ] {
        assert!(
            text.contains(&format!("{sample} {value}\n")),
            "{sample}: {text}"
        );
    }

    // With --watch the file is replaced by each run; without a file there is no place for it.
    std::fs::remove_file(&file).unwrap();
    let watch = Watch::start(&broken, &command[1..]);
    while !file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(watch.end("-TERM"), Some(1));
    let refused = broken.output(&["doctor", "--watch", "--format", "prometheus"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_report_replaces_only_own_files() {
    let broken = migrated();
    symlink("/dev/null", broken.path().join("null")).unwrap();
    for file in ["/dev/null", "data", "null", "no-such-directory/report"] {
        for command in [&["doctor"][..], &["config", "check"], &["db", "check"]] {
            let output = broken.output(&[command, &["--output", file]].concat());
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{file}: {said}");
            assert!(said.contains("cannot write the report to"), "{said}");
        }
    }
    assert!(
        broken
            .output(&["db", "check", "--output", "report"])
            .status
            .success()
    );
    let report = std::fs::read_to_string(broken.path().join("report")).unwrap();
    assert!(report.contains("checks passed"), "{report}");
}
