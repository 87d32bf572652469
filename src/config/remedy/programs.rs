//! Client programs that commands need, and that may not be installed.

use super::{Remedy, Step};

/// Who packages psql, and how.
pub(crate) const PSQL_PACKAGES: &str =
    "postgresql-client (Debian, Ubuntu, Alpine), postgresql (Fedora), libpq (Homebrew)";

const PACKAGES: [(&str, &str); 2] = [
    ("psql", PSQL_PACKAGES),
    (
        "sqlite3",
        "sqlite3 (Debian, Ubuntu), sqlite (Alpine, Fedora, Homebrew)",
    ),
];

impl Remedy {
    /// With a comment before the first command of each program that is not installed.
    pub(in crate::config) fn naming_packages(self, is_installed: impl Fn(&str) -> bool) -> Self {
        let missing = PACKAGES
            .iter()
            .filter(|(program, _)| !is_installed(program));
        missing.fold(self, |remedy, (program, packages)| {
            remedy.naming(program, packages)
        })
    }

    fn naming(mut self, program: &str, packages: &str) -> Self {
        let is_its = |step: &Step| matches!(step, Step::Command(command) if command.line.split(' ').next() == Some(program));
        let note = Step::Note(format!(
            "{program} is not installed here (package {packages}); todoctl doctor --fix needs no client program for what it can do:"
        ));
        if let Some(first) = self.0.iter().position(is_its)
            && !self.0.contains(&note)
        {
            self.0.insert(first, note);
        }
        self
    }
}

/// Whether a shell finds the program, as far as this process knows where it looks.
pub(in crate::config) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_none_or(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn packages_of_missing_programs() {
        let remedy = Remedy::note("first:")
            .then(Remedy::sql_in_file(Path::new("todo.db"), "REINDEX"))
            .then(Remedy::sql_in_file(Path::new("todo.db"), "ANALYZE"));
        assert_eq!(remedy.clone().naming_packages(|_| true), remedy);
        let named = remedy.naming_packages(|program| program == "psql");
        let lines: Vec<String> = named.to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 4, "{named}");
        assert!(lines[1].starts_with("# sqlite3 is not installed here (package sqlite3"));
        // What is done twice adds nothing.
        assert_eq!(named.clone().naming_packages(|_| false), named);
        let own = Remedy::sql("SELECT 1");
        assert_eq!(own.clone().naming_packages(|_| false), own);
    }
}
