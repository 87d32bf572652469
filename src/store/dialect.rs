//! What differs between the engines in statements that are built.

/// The engine that a statement is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// The ids in the JSON array that is bound as `$position`.
    pub fn ids_of_array(self, position: usize) -> String {
        match self {
            Self::Postgres => {
                format!("SELECT value::bigint FROM json_array_elements_text(${position}::json)")
            }
            Self::Sqlite => format!("SELECT value FROM json_each(${position})"),
        }
    }
}
