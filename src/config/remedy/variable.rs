//! Which variable a remedy is about.

use super::{Command, Remedy, Step};
use crate::config::database_url::DATABASE_URL;

impl Remedy {
    /// The same for the URL in `variable`, where the steps are about `DATABASE_URL`. Those that tell
    /// two URLs apart stay as they are.
    #[must_use]
    pub(crate) fn of_url(self, variable: &str) -> Self {
        if variable == DATABASE_URL || self.0.iter().any(|step| step.names(variable)) {
            return self;
        }
        let named = |text: &str| text.replace(DATABASE_URL, variable);
        let steps = self.0.into_iter().map(|step| match step {
            Step::Command(Command { line, statements }) => Step::Command(Command {
                line: named(&line),
                statements,
            }),
            Step::Note(text) => Step::Note(named(&text)),
            Step::Set(name, value) => Step::Set(named(&name).into(), value),
            Step::Or(other) => Step::Or(other.of_url(variable)),
        });
        Self(steps.collect())
    }
}

impl Step {
    fn names(&self, text: &str) -> bool {
        match self {
            Self::Command(Command { line, .. }) => line.contains(text),
            Self::Note(note) => note.contains(text),
            Self::Set(name, _) => name.contains(text),
            Self::Or(other) => other.0.iter().any(|step| step.names(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_a_connection() {
        let remedy = Remedy::note("correct DATABASE_URL:")
            .then(Remedy::set("DATABASE_URL.host", "db"))
            .or(Remedy::set("DATABASE_URL.port", 5433));
        assert_eq!(
            remedy.clone().of_url("DATABASE_URL_UNPOOLED").to_string(),
            "# correct DATABASE_URL_UNPOOLED:\n\
             todoctl config set DATABASE_URL_UNPOOLED.host=db\n\
             # or: todoctl config set DATABASE_URL_UNPOOLED.port=5433"
        );
        assert_eq!(remedy.clone().of_url(DATABASE_URL), remedy);
        let both = Remedy::note("let DATABASE_URL_UNPOOLED lead where DATABASE_URL does");
        assert_eq!(both.clone().of_url("DATABASE_URL_UNPOOLED"), both);
    }
}
