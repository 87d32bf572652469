//! The environments of running daemons (`proc_pid_environ(5)`), as far as this user may read them.

use std::collections::BTreeMap;

use super::open_file::daemons;

/// The variables that a daemon was started with. They may be secrets.
pub(crate) struct Environment {
    pub(crate) pid: i32,
    values: BTreeMap<String, String>,
}

impl Environment {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn of(pid: i32, values: &[(&str, &str)]) -> Self {
        let values = values.iter();
        Self {
            pid,
            values: values
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }
}

/// Those of all daemons of this machine.
pub(crate) fn environments() -> Vec<Environment> {
    let found = daemons().filter_map(|process| {
        let values = process.environ().ok()?.into_iter();
        let texts = values.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Some(Environment {
            pid: process.pid,
            values: texts.collect(),
        })
    });
    found.collect()
}
