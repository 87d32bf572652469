//! Where a command runs that does so in the place of a running daemon.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shell::shell_word;

/// What a command needs to know to name what changes the daemon's variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DaemonPlace {
    /// The daemon as `--pid` names it.
    pub(crate) process: String,
    /// The unit of systemd that runs it.
    pub(crate) unit: Option<String>,
    /// The only `EnvironmentFile` of the unit, which has precedence over its `Environment`.
    pub(crate) file: Option<PathBuf>,
}

impl DaemonPlace {
    /// How todoctl is typed so that it runs there too.
    pub(super) fn program(&self) -> String {
        format!("todoctl --pid {}", self.process)
    }

    /// How todoctl is typed so that it changes the variables that the daemon gets.
    pub(super) fn editor(&self) -> String {
        match &self.file {
            Some(file) => format!("todoctl --env-file {}", shell_word(file)),
            None => self.program(),
        }
    }

    /// What a change of variables needs to have an effect.
    pub(super) fn restart(&self) -> String {
        match &self.unit {
            Some(unit) => format!("then: systemctl restart {}", shell_word(Path::new(unit))),
            None => "then start the daemon again from where its environment is set".to_owned(),
        }
    }

    /// Where its environment is set.
    pub(super) fn environment(&self) -> String {
        match &self.unit {
            Some(unit) => format!("the environment of the unit (systemctl edit {unit})"),
            None => "the daemon's environment, where it is started".to_owned(),
        }
    }
}
