//! Remedies for a command that runs in the place of a running daemon, or in a container, as they are
//! typed outside it.

use crate::config::container::{AS_ROOT, Input};
use crate::config::daemon_place::DaemonPlace;

use super::programs::is_installed;
use super::{ALSO_WHERE_IT_IS_SET, Command, Remedy, Step};

/// The subcommands that notes name.
const SUBCOMMANDS: [&str; 6] = ["config", "db", "doctor", "explain", "migrate", "session"];

impl Remedy {
    /// With the commands of todoctl run there, and changes of the environment where it is set.
    /// `has_file` is whether there is a `.env` file, whose variables todoctl can change.
    pub(in crate::config) fn typed_at(self, place: &DaemonPlace, has_file: bool) -> Self {
        let can_edit = has_file || place.file.is_some() || !place.is_in_container();
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
                    let edits = parts(&command.line).any(edits);
                    is_changed |= edits;
                    if edits && !can_edit {
                        steps.push(Step::Note(by_hand(&command.line, place)));
                        continue;
                    }
                    let is_root = steps.last() == Some(&Step::Note(AS_ROOT.to_owned()));
                    steps.push(match typed(&command.line, place, is_root) {
                        Ok(line) => Step::Command(Command { line, ..command }),
                        Err(note) => Step::Note(note),
                    });
                }
                Step::Note(text) if text == ALSO_WHERE_IT_IS_SET => {}
                Step::Note(text) => {
                    is_changed |=
                        !can_edit && text.split("todoctl ").skip(1).any(changes_variables);
                    steps.push(Step::Note(noted(&text, place, can_edit)));
                }
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
    of_program(command).is_some_and(changes_variables)
}

/// The same of what follows the program's name.
fn changes_variables(rest: &str) -> bool {
    rest.starts_with("config ") || rest.starts_with("--env-file ") && rest.contains(" config ")
}

/// A change of variables that only a person can make, where the environment is set.
fn by_hand(line: &str, place: &DaemonPlace) -> String {
    let environment = place.environment();
    for (command, what) in [
        ("config set ", "set in"),
        ("config unset ", "remove from"),
        ("config respell ", "correct in"),
    ] {
        if let Some(variables) = of_program(line).and_then(|rest| rest.strip_prefix(command)) {
            return format!("{what} {environment}: {variables}");
        }
    }
    format!("in {environment}: {line}")
}

/// Whether the line changes variables of the shell alone.
fn changes_shell(line: &str) -> bool {
    line.starts_with("export ") || line.starts_with("unset ")
}

/// The line as it is typed, or as a person has to read it.
fn typed(line: &str, place: &DaemonPlace, is_root: bool) -> Result<String, String> {
    let has_program = parts(line).any(|part| of_program(part).is_some());
    if !has_program {
        return shell_line(line, place, is_root);
    }
    let mut words = Vec::new();
    let mut is_first = true;
    for part in parts(line) {
        words.push(match of_program(part) {
            Some(rest) => {
                let input = match (is_first, part.ends_with("=-")) {
                    (false, _) => Input::Piped,
                    (true, true) => Input::Terminal,
                    (true, false) => Input::Nothing,
                };
                if edits(part) {
                    place.edited(input, rest)
                } else {
                    place.typed(input, rest)
                }
            }
            None => shell_line(part, place, is_root)?,
        });
        is_first = false;
    }
    Ok(words.join(" | "))
}

/// A line of another program.
fn shell_line(line: &str, place: &DaemonPlace, is_root: bool) -> Result<String, String> {
    if let Some(outside) = &place.outside {
        return Ok(outside.line(line));
    }
    let Some(container) = &place.container else {
        return Ok(line.to_owned());
    };
    let signal = line.strip_prefix("kill -").and_then(|rest| {
        let signal = rest.strip_suffix(" 1")?;
        container.signal(signal)
    });
    if let Some(signal) = signal {
        return Ok(signal);
    }
    let program = line.split(' ').next().unwrap_or_default();
    if is_installed("sh") && is_installed(program) {
        return Ok(container.shell(is_root, line));
    }
    Err(format!(
        "the container {} has no {program}, so on its host, with the path there of what is mounted here, or with a container that has it: {line}",
        container.name()
    ))
}

/// A note whose commands of todoctl run there.
fn noted(text: &str, place: &DaemonPlace, can_edit: bool) -> String {
    let mut pieces = text.split("todoctl ");
    let mut noted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let word = piece.split(' ').next().unwrap_or_default();
        if !SUBCOMMANDS.contains(&word) {
            noted = noted + "todoctl " + piece;
        } else if word != "config" {
            noted += &place.typed(Input::Nothing, piece);
        } else if can_edit {
            let is_asked = piece.split(' ').any(|word| word.ends_with("=-"));
            let input = if is_asked {
                Input::Terminal
            } else {
                Input::Nothing
            };
            noted += &place.edited(input, piece);
        } else {
            noted = noted + "in " + &place.environment() + ", in place of todoctl " + piece;
        }
    }
    noted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::container::Container;

    fn remedy() -> Remedy {
        Remedy::command("todoctl migrate up")
            .then(Remedy::command("todoctl config set PORT=1"))
            .then(Remedy::command("cat x | todoctl config set JWT_SECRET=-"))
            .then(Remedy::command("export HOST=::1"))
    }

    #[test]
    fn commands_lead_to_the_daemon() {
        let place = |unit: Option<&str>, file: Option<&str>| DaemonPlace {
            process: Some("7".to_owned()),
            unit: unit.map(str::to_owned),
            file: file.map(Into::into),
            ..DaemonPlace::default()
        };
        let of_unit = place(Some("todoctl.service"), Some("/etc/todoctl/env"));
        assert_eq!(
            remedy().typed_at(&of_unit, false).to_string(),
            "todoctl --pid 7 migrate up\n\
             todoctl --env-file /etc/todoctl/env config set PORT=1\n\
             cat x | todoctl --env-file /etc/todoctl/env config set JWT_SECRET=-\n\
             # in the environment of the unit (systemctl edit todoctl.service): export HOST=::1\n\
             # then: systemctl restart todoctl.service"
        );
        let elsewhere = remedy().typed_at(&place(None, None), false).to_string();
        assert!(
            elsewhere.contains("todoctl --pid 7 config set PORT=1"),
            "{elsewhere}"
        );
        assert!(
            elsewhere.ends_with("from where its environment is set"),
            "{elsewhere}"
        );
        let nothing = Remedy::command("df -h .").typed_at(&place(None, None), false);
        assert_eq!(nothing.to_string(), "df -h .");
        let note = Remedy::note("asks for it: todoctl config set JWT_SECRET=-; todoctl serve");
        assert_eq!(
            note.typed_at(&of_unit, false).to_string(),
            "# asks for it: todoctl --env-file /etc/todoctl/env config set JWT_SECRET=-; todoctl serve"
        );
    }

    #[test]
    fn commands_lead_into_the_container() {
        let place = DaemonPlace {
            container: Some(Container::Engine {
                program: "docker".to_owned(),
                id: "0b1ff9f64d89".to_owned(),
            }),
            ..DaemonPlace::default()
        };
        assert_eq!(
            remedy().typed_at(&place, true).to_string(),
            "docker exec 0b1ff9f64d89 todoctl migrate up\n\
             docker exec 0b1ff9f64d89 todoctl config set PORT=1\n\
             docker exec 0b1ff9f64d89 sh -c 'cat x' | docker exec -i 0b1ff9f64d89 todoctl config set JWT_SECRET=-\n\
             # in the environment of the container (compose file, docker run -e): export HOST=::1\n\
             # then create the container again, which restarting it does not: docker compose up -d, or docker run"
        );
        // What sets its variables is outside.
        let without = Remedy::command("todoctl config set PORT=1").typed_at(&place, false);
        assert!(without.to_string().starts_with(
            "# set in the environment of the container (compose file, docker run -e): PORT=1"
        ));
        let kill = Remedy::command("kill -CONT 1").typed_at(&place, false);
        assert_eq!(kill.to_string(), "docker kill --signal CONT 0b1ff9f64d89");
        let root = Remedy::note(AS_ROOT).then(Remedy::command("chown 5 /x"));
        assert!(
            root.typed_at(&place, false)
                .to_string()
                .ends_with("docker exec -u 0 0b1ff9f64d89 sh -c 'chown 5 /x'")
        );
        let absent = Remedy::command("nosuchprogram /x").typed_at(&place, false);
        assert!(absent.to_string().starts_with("# the container 0b1ff"));
    }
}
