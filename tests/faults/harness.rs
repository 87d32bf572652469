//! A fault that is made for real, found, corrected by typing its remedy, and gone.

use std::fmt;
use std::path::Path;

use serde_json::Value;
use url::Url;

use super::fingerprint::Fingerprint;
use crate::support::remedies::remedy_faults;

pub(super) use super::scene::said;
pub use super::scene::{Scene, set_mode};

/// A row of the table of faults. `docs/checks.md` lists them.
#[derive(Debug)]
pub struct Fault {
    /// What is wrong, in a few words; unique.
    pub title: &'static str,
    pub symptom: Symptom,
    /// The check that finds it.
    pub check: &'static str,
    /// How that check ends: `fail` or `warn`.
    pub outcome: &'static str,
    pub after: After,
}

impl Fault {
    /// One that fails the check, and whose remedy is typed.
    pub const fn failing(title: &'static str, symptom: Symptom, check: &'static str) -> Self {
        Self {
            title,
            symptom,
            check,
            outcome: "fail",
            after: After::Typed("pass"),
        }
    }

    /// The same that is warned of.
    pub const fn warned_of(title: &'static str, symptom: Symptom, check: &'static str) -> Self {
        Self {
            outcome: "warn",
            ..Self::failing(title, symptom, check)
        }
    }
}

/// What a client or an operator notices.
#[derive(Debug, Clone, Copy)]
pub enum Symptom {
    /// `todoctl serve` ends with exit code 2, and this text is in what it prints.
    Start(&'static str),
    /// The daemon answers a request of a user with this status, and with 2xx when the fault is
    /// gone.
    Answer {
        method: &'static str,
        path: &'static str,
        status: u16,
    },
    /// Clients notice nothing yet; what is at risk.
    Risk(&'static str),
}

/// How the check ends after the remedy.
#[derive(Debug, Clone, Copy)]
pub enum After {
    /// The remedy was typed.
    Typed(&'static str),
    /// The remedy is a comment, because only a person can act; why.
    Person(&'static str),
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(said) => write!(f, "`todoctl serve` ends: {said}"),
            Self::Answer {
                method,
                path,
                status,
            } => write!(f, "`{method} {path}` answers {status}"),
            Self::Risk(what) => f.write_str(what),
        }
    }
}

/// Declares the faults of a file, and lists them in its `FAULTS`.
macro_rules! faults {
    ($($name:ident = $value:expr;)*) => {
        $(static $name: $crate::faults::harness::Fault = $value;)*
        pub static FAULTS: &[&$crate::faults::harness::Fault] = &[$(&$name),*];
    };
}
pub(crate) use faults;

impl Scene {
    fn shows(&mut self, fault: &Fault) {
        match fault.symptom {
            Symptom::Start(text) => {
                let printed = self.start_fails();
                let printed = printed.unwrap_or_else(|| panic!("{}: it starts", fault.title));
                assert!(printed.contains(text), "{}: {printed}", fault.title);
            }
            Symptom::Answer {
                method,
                path,
                status,
            } => assert_eq!(self.status(method, path), status, "{}", fault.title),
            Symptom::Risk(_) => {}
        }
    }

    fn is_well(&mut self, fault: &Fault) {
        match fault.symptom {
            Symptom::Start(_) => {
                let printed = self.start_fails();
                assert!(printed.is_none(), "{}: {printed:?}", fault.title);
            }
            Symptom::Answer { method, path, .. } => {
                let status = self.status(method, path);
                assert!((200..300).contains(&status), "{}: {status}", fault.title);
            }
            Symptom::Risk(_) => {}
        }
    }

    /// Proves a fault that was made: its symptom, what `doctor` and `db check` say, and that the
    /// remedy, typed literally, corrects it and changes no data. A remedy for a person is a
    /// comment; [`Scene::proves_gone`] then shows that what the person does is enough.
    ///
    /// # Panics
    /// If one of that is not so.
    pub async fn proves(&mut self, fault: &Fault) {
        self.shows(fault);
        let before = Fingerprint::of(self).await;
        let remedy = self.found(fault);
        match fault.after {
            After::Typed(_) => {
                assert!(
                    remedy.lines().any(|line| !line.starts_with("# ")),
                    "{}: the remedy has no command:\n{remedy}",
                    fault.title
                );
                let output = self.type_in(&remedy);
                assert!(
                    output.status.success(),
                    "{}: the remedy failed:\n{remedy}\n{}",
                    fault.title,
                    said(&output)
                );
                // As when two checks print it. SQLite has no conditional ALTER TABLE.
                if self.database.is_some() && MAY_BE_TYPED_TWICE.contains(&fault.check) {
                    let again = self.type_in(&remedy);
                    assert!(
                        again.status.success(),
                        "{}: typed again:\n{remedy}\n{}",
                        fault.title,
                        said(&again)
                    );
                }
                before.is_kept_in(&Fingerprint::of(self).await, fault.title);
                self.proves_gone(fault);
            }
            After::Person(_) => {
                for line in remedy.lines().filter(|line| !line.starts_with("# ")) {
                    // It only shows something.
                    assert!(is_harmless(line), "{}: {line}", fault.title);
                }
                self.type_in(&remedy);
                before.is_kept_in(&Fingerprint::of(self).await, fault.title);
            }
        }
    }

    /// The passwords in URLs of the `.env` file, and the secrets.
    fn passwords(&self) -> Vec<String> {
        let urls = ["DATABASE_URL", "REDIS_URL"].into_iter();
        let urls = urls.filter_map(|name| Url::parse(&self.get(name)?).ok());
        let passwords = urls.filter_map(|url| url.password().map(str::to_owned));
        let names = [
            "JWT_SECRET",
            "SERVICE_AUTH_TOKEN",
            "SESSION_HASH_SECRET",
            "ENCRYPTION_KEY",
        ];
        let secrets = names.into_iter().filter_map(|name| self.get(name));
        // Shorter ones are in other words, and the path of a file is none.
        passwords
            .chain(secrets)
            .filter(|one| one.len() > 5 && !Path::new(one).is_file())
            .collect()
    }

    /// What the checks say about the fault; its remedy.
    fn found(&self, fault: &Fault) -> String {
        let mut reports = vec![self.doctor(fault.check)];
        if fault.check.starts_with("database.") {
            reports.push(self.check(&["db", "check", "--format", "json"]));
        }
        let secrets = self.passwords();
        for report in &reports {
            report.says(fault.check, fault.outcome, "");
            let text = report.json.to_string();
            let shown = secrets.iter().any(|secret| text.contains(secret));
            assert!(!shown, "{}: a secret is shown", fault.title);
            // As sqlx says where in PostgreSQL's own source an error was raised.
            assert!(!text.contains(" at line "), "{}: {text}", fault.title);
        }
        let remedy = reports[0].check(fault.check)["remedy"].as_str();
        let remedy = remedy.unwrap_or_else(|| panic!("{}: no remedy", fault.title));
        let faults = remedy_faults(remedy);
        assert!(faults.is_empty(), "{}: {faults:?}\n{remedy}", fault.title);
        remedy.to_owned()
    }

    /// The check passes, and clients are served again.
    pub fn proves_gone(&mut self, fault: &Fault) {
        let expected = match fault.after {
            After::Typed(outcome) => outcome,
            After::Person(_) => "pass",
        };
        let report = self.doctor(fault.check);
        let outcome: &Value = &report.check(fault.check)["outcome"];
        assert_eq!(outcome, expected, "{}: {:#}", fault.title, report.json);
        self.is_well(fault);
    }
}

/// Checks whose remedies are also those of `database.trial`.
const MAY_BE_TYPED_TWICE: [&str; 11] = [
    "database.trial",
    "database.role",
    "database.tables",
    "database.migrations",
    "database.schema",
    "database.indexes",
    "database.triggers",
    "database.sequences",
    "database.unread",
    "database.owners",
    "database.row_security",
];

/// Commands that a person is shown something by.
fn is_harmless(line: &str) -> bool {
    let begins = [
        "todoctl migrate check",
        "todoctl migrate status",
        "todoctl db psql -c 'SELECT",
        "todoctl db psql -c \"SELECT",
        "ss -ltnp",
        "fuser -v ",
        "curl -i ",
        "date -u",
        "df -h ",
        "ps -o ",
        "du --inodes ",
        "find ",
        "findmnt ",
        "redis-cli ",
        "openssl crl2pkcs7 ",
        "openssl s_client ",
        "runuser -u postgres -- psql ",
    ];
    let selects = [" -c 'SELECT ", " -c \"SELECT ", " 'SELECT ", " \"SELECT "];
    begins.iter().any(|begin| line.starts_with(begin))
        || ["psql ", "sqlite3 "]
            .iter()
            .any(|client| line.starts_with(client))
            && selects.iter().any(|words| line.contains(words))
        || line.ends_with(" -c 'SHOW archive_command'")
}
