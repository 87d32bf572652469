//! What `doctor`, `db check` or `config check` prints as JSON.

use std::time::Duration;

use serde_json::Value;

/// What is promised for a whole run, and the time that a loaded machine needs besides.
pub const PROMISE: Duration = Duration::from_secs(33);

/// One report.
pub struct Report {
    pub command: String,
    pub code: i32,
    pub json: Value,
}

impl Report {
    pub fn check(&self, id: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap();
        let found = checks.iter().find(|check| check["id"] == id);
        found.unwrap_or_else(|| panic!("{}: no {id} in {:#}", self.command, self.json))
    }

    pub fn detail(&self, id: &str) -> &str {
        self.check(id)["detail"].as_str().unwrap()
    }

    /// The check ended so, and its remedy holds `remedy`; the exit code fits.
    #[track_caller]
    pub fn says(&self, id: &str, outcome: &str, remedy: &str) -> &Self {
        let check = self.check(id);
        assert_eq!(
            check["outcome"], outcome,
            "{}: {:#}",
            self.command, self.json
        );
        let said = check["remedy"].as_str().unwrap_or_default();
        assert!(said.contains(remedy), "{}: {check:#}", self.command);
        if outcome == "fail" {
            assert_eq!(self.code, 1, "{}", self.command);
            assert!(!said.is_empty(), "a fault without a remedy: {check:#}");
        }
        self
    }
}
