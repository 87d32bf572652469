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
            if let Some(other) = self
                .shown_for(&line)
                .or_else(|| self.changed_for(id, &line))
            {
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

    /// The other check whose command changes the variables of this one. It is the worse finding, and
    /// a second value would undo the first.
    fn changed_for(&self, id: &str, line: &str) -> Option<&'static str> {
        let names = variables(line);
        let others = self.0.iter().filter(|(other, _)| *other != id);
        let mut others = others.filter(|(_, shown)| {
            let changed = variables(shown);
            names.iter().all(|name| changed.contains(name))
        });
        let other = others.next()?.0;
        (!names.is_empty()).then_some(other)
    }

    fn shown_for(&self, line: &str) -> Option<&'static str> {
        let shown = self.0.iter().find(|(_, shown)| shown == line);
        shown.map(|(id, _)| *id)
    }
}

/// The variables, or the parts of URLs, that a command changes.
fn variables(line: &str) -> Vec<&str> {
    let words = match line.split_once(" config set ") {
        Some((program, words)) if program.starts_with("todoctl") => words,
        _ => line.strip_prefix("export ").unwrap_or_default(),
    };
    let names = words.split(' ').filter_map(|word| word.split_once('='));
    let is_name = |name: &&str| name.starts_with(|sign: char| sign.is_ascii_uppercase());
    names.map(|(name, _)| name).filter(is_name).collect()
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

    #[test]
    fn a_variable_is_set_once() {
        let mut shown = Steps::default();
        let set = |value: &str| Remedy::set("METRICS_ADDR", value);
        let first = set("127.0.0.1:9001").then(Remedy::set("PORT", 8001));
        assert_eq!(
            shown.new_ones("a", &first),
            ["todoctl config set METRICS_ADDR=127.0.0.1:9001 PORT=8001"]
        );
        assert_eq!(shown.new_ones("b", &set("127.0.0.1:9000")), ["# as for a"]);
        let more = set("127.0.0.1:9000").then(Remedy::set("HOST", "::1"));
        assert_eq!(shown.new_ones("c", &more).len(), 1);
        let part = Remedy::set("DATABASE_URL.sslmode", "require");
        assert_eq!(shown.new_ones("d", &part).len(), 1);
        assert_eq!(
            shown
                .new_ones("e", &Remedy::set("DATABASE_URL", "sqlite://x"))
                .len(),
            1
        );
    }
}
