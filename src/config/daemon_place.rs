//! Where a command runs whose remedies are typed somewhere else: in the place of a running daemon, or
//! in a container.

use std::os::unix::process::parent_id;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::container::{Container, Input};
use super::outside::Outside;
use super::shell::shell_word;

/// What a command needs to know to name what the operator types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DaemonPlace {
    /// The daemon as `--pid` names it, if that led there.
    pub(crate) process: Option<String>,
    /// The unit of systemd that runs it.
    pub(crate) unit: Option<String>,
    /// The file that gives the daemon its variables, and has precedence over what else does.
    pub(crate) file: Option<PathBuf>,
    /// The container that it runs in.
    pub(crate) container: Option<Container>,
    /// Its files and processes, where `--pid` has looked at them from outside of its container.
    pub(crate) outside: Option<Outside>,
}

impl DaemonPlace {
    /// The container that a command of its engine, such as `docker exec`, has started this process in:
    /// its parent is outside. The first process is one that does not run again.
    pub(crate) fn of_container() -> Option<Self> {
        if parent_id() != 0 || std::process::id() == 1 {
            return None;
        }
        Some(Self {
            container: Some(Container::own()?),
            ..Self::default()
        })
    }

    /// Whether it is a running daemon's.
    pub(super) fn is_of_daemon(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn is_in_container(&self) -> bool {
        self.container.is_some() || self.outside.is_some()
    }

    /// How todoctl is typed so that it runs there too, with these words.
    pub(super) fn typed(&self, input: Input, words: &str) -> String {
        match (&self.process, &self.container) {
            (Some(process), _) => format!("todoctl --pid {process} {words}"),
            (None, Some(container)) => container.exec(input, &format!("todoctl {words}")),
            (None, None) => format!("todoctl {words}"),
        }
    }

    /// The same so that it changes the variables that the daemon gets.
    pub(super) fn edited(&self, input: Input, words: &str) -> String {
        match &self.file {
            Some(file) => format!("todoctl --env-file {} {words}", shell_word(file)),
            None => self.typed(input, words),
        }
    }

    /// What a change of variables needs to have an effect.
    pub(super) fn restart(&self) -> String {
        match (&self.unit, &self.container) {
            (Some(unit), _) => format!("then: systemctl restart {}", shell_word(unit.as_ref())),
            (None, Some(container)) => container.anew().to_owned(),
            (None, None) => {
                "then start the daemon again from where its environment is set".to_owned()
            }
        }
    }

    /// Where its environment is set.
    pub(super) fn environment(&self) -> String {
        match (&self.unit, &self.container) {
            (Some(unit), _) => format!("the environment of the unit (systemctl edit {unit})"),
            (None, Some(container)) => container.environment().to_owned(),
            (None, None) => "the daemon's environment, where it is started".to_owned(),
        }
    }
}
