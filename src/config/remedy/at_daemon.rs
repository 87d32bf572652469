//! Remedies for a command that runs in the place of a running daemon, as they are typed outside it.

use crate::config::daemon_place::DaemonPlace;

use super::{ALSO_WHERE_IT_IS_SET, Command, Remedy, Step};

impl Remedy {
    /// With the commands of todoctl run there, and changes of the environment where it is set.
    pub(in crate::config) fn typed_at(self, place: &DaemonPlace) -> Self {
        let mut is_changed = false;
        let mut steps = Vec::with_capacity(self.0.len());
        for step in self.0 {
            match step {
                Step::Command(command) if changes_shell(&command.line) => {
                    is_changed = true;
                    let line = command.line;
                    steps.push(Step::Note(format!("in {}: {line}", place.environment())));
                }
                Step::Command(command) => {
                    is_changed |= command.line.contains(EDIT);
                    let line = typed(&command.line, place);
                    steps.push(Step::Command(Command { line, ..command }));
                }
                Step::Note(text) if text == ALSO_WHERE_IT_IS_SET => {}
                step => steps.push(step),
            }
        }
        let restart = is_changed.then(|| place.restart());
        Self(steps).then(restart)
    }
}

/// Begins what changes variables.
const EDIT: &str = "todoctl config ";

/// Whether the line changes variables of the shell alone.
fn changes_shell(line: &str) -> bool {
    line.starts_with("export ") || line.starts_with("unset ")
}

fn typed(line: &str, place: &DaemonPlace) -> String {
    let parts = line.split(" | ").map(|part| {
        let program = if part.starts_with(EDIT) {
            place.editor()
        } else {
            place.program()
        };
        match part.strip_prefix("todoctl ") {
            Some(rest) => format!("{program} {rest}"),
            None => part.to_owned(),
        }
    });
    parts.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_lead_to_the_daemon() {
        let remedy = Remedy::command("todoctl migrate up")
            .then(Remedy::command("todoctl config set PORT=1"))
            .then(Remedy::command("cat x | todoctl config set JWT_SECRET=-"))
            .then(Remedy::command("export HOST=::1"));
        let place = |unit: Option<&str>, file: Option<&str>| DaemonPlace {
            process: "7".to_owned(),
            unit: unit.map(str::to_owned),
            file: file.map(Into::into),
        };
        let of_unit = place(Some("todoctl.service"), Some("/etc/todoctl/env"));
        assert_eq!(
            remedy.clone().typed_at(&of_unit).to_string(),
            "todoctl --pid 7 migrate up\n\
             todoctl --env-file /etc/todoctl/env config set PORT=1\n\
             cat x | todoctl --env-file /etc/todoctl/env config set JWT_SECRET=-\n\
             # in the environment of the unit (systemctl edit todoctl.service): export HOST=::1\n\
             # then: systemctl restart todoctl.service"
        );
        let elsewhere = remedy.typed_at(&place(None, None)).to_string();
        assert!(
            elsewhere.contains("todoctl --pid 7 config set PORT=1"),
            "{elsewhere}"
        );
        assert!(
            elsewhere.ends_with("from where its environment is set"),
            "{elsewhere}"
        );
        let nothing = Remedy::command("df -h .").typed_at(&place(None, None));
        assert_eq!(nothing.to_string(), "df -h .");
    }
}
