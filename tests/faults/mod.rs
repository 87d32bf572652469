//! Environments that are broken on purpose, what `todoctl doctor` and `db check` say, and that
//! the remedy works when it is typed.
//!
//! Every fault is a real one: a server, a port, a file, a certificate, a disk. To add one:
//!
//! 1. Declare it in the table of its file, inside of `faults!`. [`all`] lists the tables, and
//!    `docs/checks.md` is made from it.
//!
//!    ```ignore
//!    CLOSED_TABLES = Fault {
//!        title: "the role may not read the tables",
//!        symptom: Symptom::Answer { method: "GET", path: "/tasks/", status: 500 },
//!        check: "database.role",
//!        outcome: "fail",
//!        after: After::Typed("pass"),
//!    };
//!    ```
//!
//! 2. Write a test that makes it in a [`Scene`] (a working directory with a `.env` file that is
//!    right, a database with a task, no other environment), and proves it:
//!
//!    ```ignore
//!    let mut scene = Scene::postgres().await;
//!    scene.start(); // where the fault comes while the daemon runs
//!    scene.sql("REVOKE …").await;
//!    scene.proves(&CLOSED_TABLES).await;
//!    ```
//!
//! `proves` asserts the symptom, the outcome in `doctor` and in `db check`, types the remedy
//! literally into `sh` (`todoctl` and PostgreSQL's clients are in PATH; `~/.pgpass` has the
//! administrator's password), and asserts that all rows of all tables are as before, that the
//! check passes, and that the symptom is gone. `Symptom::Risk` is for what no client notices yet.
//!
//! Where only a person can act, the remedy is a comment: say `After::Person("why")`, do in the
//! test what the person would do, and call `scene.proves_gone(&FAULT)`.
//!
//! A file that declares faults is listed in [`all`].

mod access;
mod activity;
mod additions;
mod attached;
mod auth_answers;
mod auth_keys;
mod barriers;
mod callers;
mod canary;
mod clients;
mod closed_poolers;
mod configuration;
mod containers;
mod copies;
mod counts;
mod daemon;
mod dependents;
mod deployed;
mod duplicates;
mod emptied;
mod env_lines;
mod env_values;
mod exchanged;
mod expressions;
mod fields;
mod file_contents;
mod file_ids;
mod file_journals;
mod file_pages;
mod file_places;
mod file_restores;
mod file_rights;
mod file_search;
mod file_values;
mod files;
mod fingerprint;
mod fix;
mod fronts;
mod frozen_disk;
mod functions;
mod generated_secrets;
pub mod harness;
mod healthy;
mod hidden;
mod identity;
mod ids;
mod in_place;
mod interrupted;
mod kept_data;
mod kept_out;
mod kept_secrets;
mod kinds;
mod languages;
mod live_data;
mod locked_files;
mod lost_file;
mod lost_secrets;
mod mail_relays;
mod mails;
mod missing_files;
mod moved_tables;
mod network;
mod not_mounted;
mod other_ways;
mod others;
mod out_of_reach;
mod overrides;
mod page;
mod pasted;
mod peer_tls;
pub mod peers;
mod pgbouncer;
mod pooled;
mod poolers;
mod private_ca;
mod process_limits;
mod providers;
mod rebuilt;
mod records;
mod redis;
mod redis_limits;
mod redis_peers;
mod redis_values;
mod refreshes;
mod refused;
mod replaced;
mod replicas;
mod report;
mod rights;
mod roles;
mod rows;
mod running;
mod same_database;
mod scene;
mod schema;
mod secret_files;
mod secrets_in_use;
mod server_files;
mod server_settings;
mod servers;
mod settings;
mod sqlite_shell;
mod started;
mod stopped;
mod surroundings;
mod tables;
mod tls;
mod trial;
mod tried;
mod types;
mod unpooled;
mod unwise;
mod upset_settings;
mod watch;
mod wrong_records;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support;

use harness::{After, Fault};
use report::{PROMISE, Report};

/// Every fault that is proved.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    [
        settings::FAULTS,
        emptied::FAULTS,
        env_lines::FAULTS,
        env_values::FAULTS,
        secrets_in_use::FAULTS,
        generated_secrets::FAULTS,
        kept_secrets::FAULTS,
        unpooled::FAULTS,
        unwise::FAULTS,
        files::FAULTS,
        kept_data::FAULTS,
        live_data::FAULTS,
        network::FAULTS,
        servers::FAULTS,
        trial::FAULTS,
        redis::FAULTS,
        redis_limits::FAULTS,
        redis_peers::FAULTS,
        redis_values::FAULTS,
        providers::FAULTS,
        auth_answers::FAULTS,
        auth_keys::FAULTS,
        peer_tls::FAULTS,
        mail_relays::FAULTS,
        mails::FAULTS,
        schema::FAULTS,
        records::FAULTS,
        copies::FAULTS,
        counts::FAULTS,
        types::FAULTS,
        roles::FAULTS,
        additions::FAULTS,
        ids::FAULTS,
        other_ways::FAULTS,
        others::FAULTS,
        out_of_reach::FAULTS,
        poolers::FAULTS,
        pgbouncer::FAULTS,
        pooled::FAULTS,
        closed_poolers::FAULTS,
        tls::FAULTS,
        daemon::FAULTS,
        started::FAULTS,
        stopped::FAULTS,
        surroundings::FAULTS,
        activity::FAULTS,
        tables::FAULTS,
        server_settings::FAULTS,
        server_files::FAULTS,
        upset_settings::FAULTS,
        replicas::FAULTS,
        locked_files::FAULTS,
        lost_secrets::FAULTS,
        running::FAULTS,
        clients::FAULTS,
        refreshes::FAULTS,
        refused::FAULTS,
        callers::FAULTS,
        kinds::FAULTS,
        fields::FAULTS,
        exchanged::FAULTS,
        pasted::FAULTS,
        fronts::FAULTS,
        access::FAULTS,
        identity::FAULTS,
        hidden::FAULTS,
        rebuilt::FAULTS,
        wrong_records::FAULTS,
        overrides::FAULTS,
        functions::FAULTS,
        duplicates::FAULTS,
        expressions::FAULTS,
        rights::FAULTS,
        rows::FAULTS,
        barriers::FAULTS,
        file_contents::FAULTS,
        file_ids::FAULTS,
        attached::FAULTS,
        dependents::FAULTS,
        languages::FAULTS,
        kept_out::FAULTS,
        moved_tables::FAULTS,
        file_places::FAULTS,
        file_restores::FAULTS,
        file_search::FAULTS,
        file_values::FAULTS,
        same_database::FAULTS,
    ]
    .concat()
    .into_iter()
}

#[test]
fn titles_are_unique_and_every_fault_is_proved() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults");
    let mut titles: Vec<&str> = all().map(|fault| fault.title).collect();
    let count = titles.len();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), count);
    for fault in all() {
        if let After::Person(why) = fault.after {
            assert!(!why.is_empty(), "{}", fault.title);
        }
    }
    let mut declared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            // A row of `faults!`.
            let Some((name, _)) = line
                .strip_prefix("    ")
                .and_then(|row| row.split_once(" = "))
                .filter(|(name, _)| {
                    name.chars()
                        .all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_'))
                })
            else {
                continue;
            };
            declared += 1;
            // Or a table or a condition of the test hands it over.
            let text = text.replace("proves_gone(&", "");
            let mut ways = [
                format!("proves(&{name})"),
                format!("&{name},"),
                format!("&{name})"),
            ]
            .into_iter();
            let is_proved = text.contains("proves(") && ways.any(|way| text.contains(&way));
            assert!(is_proved, "no test proves {name}");
        }
    }
    assert_eq!(declared, count, "a table is missing in `all`");
}

/// An environment of its own, healthy but for what a test breaks.
struct Broken {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    user: Option<u32>,
}

impl Broken {
    /// The embedded database in a directory of its own, and nothing that leaves the machine.
    fn new() -> Self {
        let closed = "http://127.0.0.1:1";
        Self {
            directory: support::sqlite_dir(),
            environment: Vec::new(),
            user: None,
        }
        .env("GEMINI_API_URL", closed)
        .env("PORT", "1")
    }

    /// With a database at `url`, and the secrets that PostgreSQL requires.
    fn with_server(url: &str) -> Self {
        Self::new().env("DATABASE_URL", url).secrets()
    }

    fn secrets(self) -> Self {
        let hex = |seed: &str| seed.repeat(4);
        self.env("SESSION_HASH_SECRET", &hex("0f1e2d3c4b5a6978"))
            .env("SERVICE_AUTH_TOKEN", &hex("89abcdef01234567"))
            .env("JWT_SECRET", &hex("fedcba9876543210"))
            .env(
                "ENCRYPTION_KEY",
                "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            )
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs everything as another user from now on.
    fn run_by(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn output(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todoctl"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt as _;
            command.uid(user).gid(user);
        }
        command.output().expect("the binary runs")
    }

    fn report(&self, arguments: &[&str]) -> Report {
        let started = Instant::now();
        let output = self.output(arguments);
        assert!(
            started.elapsed() < PROMISE,
            "{arguments:?} took {:?}",
            started.elapsed()
        );
        let said = String::from_utf8(output.stdout).unwrap();
        let command = arguments.join(" ");
        let json = serde_json::from_str(&said).unwrap_or_else(|error| {
            panic!(
                "{command}: {error}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        Report {
            command,
            code: output.status.code().unwrap(),
            json,
        }
    }

    fn doctor(&self) -> Report {
        self.report(&["doctor", "--format", "json"])
    }

    fn db_check(&self) -> Report {
        self.report(&["db", "check", "--format", "json"])
    }

    /// `doctor` and `db check` find the same.
    #[track_caller]
    fn database_says(&self, id: &str, outcome: &str, remedy: &str) {
        for report in [self.db_check(), self.doctor()] {
            report.says(id, outcome, remedy);
        }
    }
}
