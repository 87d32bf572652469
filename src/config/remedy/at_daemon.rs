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
                    is_changed |= parts(&command.line).any(edits);
                    let line = typed(&command.line, place);
                    steps.push(Step::Command(Command { line, ..command }));
                }
                Step::Note(text) if text == ALSO_WHERE_IT_IS_SET => {}
                step => steps.push(step),
            }
        }
        let restart = is_changed.then(|| Remedy::note(place.restart()));
        Self(steps).then(restart)
    }
}

/// The commands of a line.
fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split(" | ")
}

/// What follows the program's name.
fn of_program(command: &str) -> Option<&str> {
    command.strip_prefix("todoctl ")
}

/// Whether a command changes variables.
fn edits(command: &str) -> bool {
    of_program(command).is_some_and(|rest| rest.starts_with("config "))
}

/// Whether the line changes variables of the shell alone.
fn changes_shell(line: &str) -> bool {
    line.starts_with("export ") || line.starts_with("unset ")
}

fn typed(line: &str, place: &DaemonPlace) -> String {
    let typed = parts(line).map(|part| match of_program(part) {
        Some(rest) if edits(part) => format!("{} {rest}", place.editor()),
        Some(rest) => format!("{} {rest}", place.program()),
        None => part.to_owned(),
    });
    typed.collect::<Vec<_>>().join(" | ")
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
