//! How searches and priorities differ between the engines.

/// How a database searches for a substring without regard to case, for all of Unicode.
///
/// `strpos` and `instr` have no wildcards, so nothing needs escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// PostgreSQL with ICU: its collation folds whatever the database's locale is.
    PostgresIcu,
    /// PostgreSQL built without ICU: the database's locale decides what folds.
    PostgresLocale,
    /// SQLite folds ASCII only, so folded copies are kept beside the texts.
    SqliteFolded,
}

impl Dialect {
    /// The condition that title or description contains the text bound as `$position`.
    pub fn search_condition(self, position: usize) -> String {
        match self {
            Self::PostgresIcu => format!(
                r#"(strpos(translate(lower(title COLLATE "und-x-icu"), 'ς', 'σ'), translate(lower(${position} COLLATE "und-x-icu"), 'ς', 'σ')) > 0
                 OR strpos(translate(lower(description COLLATE "und-x-icu"), 'ς', 'σ'), translate(lower(${position} COLLATE "und-x-icu"), 'ς', 'σ')) > 0)"#
            ),
            Self::PostgresLocale => format!(
                "(strpos(lower(title), lower(${position})) > 0
                 OR strpos(lower(description), lower(${position})) > 0)"
            ),
            Self::SqliteFolded => format!(
                "(instr(replace(title_folded, 'ς', 'σ'), ${position}) > 0
                 OR instr(replace(description_folded, 'ς', 'σ'), ${position}) > 0)"
            ),
        }
    }

    /// Whether todoctl folds the bound text and stores folded copies of the texts.
    pub fn wants_folded(self) -> bool {
        self == Self::SqliteFolded
    }

    /// What follows a bound priority so that it compares with the column.
    pub fn priority_cast(self) -> &'static str {
        match self {
            Self::PostgresIcu | Self::PostgresLocale => "::text::prioritylevel",
            Self::SqliteFolded => "",
        }
    }
}

/// The folded copy of a text that SQLite searches.
pub(super) fn fold(text: &str) -> String {
    // The lower-case sigma at the end of a word is another letter (ς), so a search for part of a
    // longer word would miss it. Copies that were stored earlier may contain it.
    text.to_lowercase().replace('ς', "σ")
}
