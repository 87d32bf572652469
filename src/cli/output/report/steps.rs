//! The steps of remedies, each of which a report has once.

use crate::config::Remedy;

/// The commands that were printed, with the ids of their checks.
#[derive(Default)]
pub(super) struct Steps(Vec<(&'static str, String)>);

impl Steps {
    /// The lines of the remedy for the check `id`, without the commands that were printed for
    /// another one, and without the comments before such a command.
    pub(super) fn new_ones(&mut self, id: &'static str, remedy: &Remedy) -> Vec<String> {
        let text = remedy.to_string();
        let lines = text.lines().map(str::to_owned);
        // Comments alone are one piece.
        if text.lines().all(|line| line.starts_with('#')) {
            return match self.shown_for(&text) {
                Some(other) => vec![format!("# as for {other}")],
                None => {
                    self.0.push((id, text.clone()));
                    lines.collect()
                }
            };
        }
        let (mut steps, mut comments) = (Vec::new(), Vec::new());
        let mut others: Vec<&str> = Vec::new();
        for line in lines {
            if line.starts_with('#') {
                comments.push(line);
                continue;
            }
            if let Some(other) = self.shown_for(&line) {
                comments.clear();
                if !others.contains(&other) {
                    others.push(other);
                }
                continue;
            }
            steps.append(&mut comments);
            self.0.push((id, line.clone()));
            steps.push(line);
        }
        // What follows the last command says more about it, or is another way.
        if !steps.is_empty() {
            steps.append(&mut comments);
        }
        steps.extend(others.iter().map(|other| format!("# as for {other}")));
        steps
    }

    fn shown_for(&self, line: &str) -> Option<&'static str> {
        let shown = self.0.iter().find(|(_, shown)| shown == line);
        shown.map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_once() {
        let mut shown = Steps::default();
        let drop = || Remedy::note("drops it:").then(Remedy::command("drop x"));
        assert_eq!(shown.new_ones("a", &drop()), ["# drops it:", "drop x"]);
        assert_eq!(shown.new_ones("b", &drop()), ["# as for a"]);
        let more = drop()
            .then(Remedy::command("create y"))
            .then(Remedy::note("then restart"));
        assert_eq!(
            shown.new_ones("c", &more),
            ["create y", "# then restart", "# as for a"]
        );
        let restart = Remedy::note("restart\nthe daemon");
        assert_eq!(shown.new_ones("d", &restart), ["# restart", "# the daemon"]);
        assert_eq!(shown.new_ones("e", &restart), ["# as for d"]);
    }
}
