//! Programs by their names.

/// Whether a process of this name runs this program, also where its file is called `todoctl-1.2`.
pub(crate) fn is_todoctl(name: &str) -> bool {
    name.starts_with(env!("CARGO_PKG_NAME"))
}

pub(crate) fn is_pgbouncer(name: &str) -> bool {
    name == "pgbouncer"
}
