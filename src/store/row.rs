//! What a statement returns: rows whose columns are read by name.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Postgres, Row as _, Sqlite, Type};

use super::error::StoreError;

/// A type that a column of either engine decodes to.
pub(super) trait Value:
    for<'r> Decode<'r, Postgres> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + Type<Sqlite>
{
}

impl<T> Value for T where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + Type<Sqlite>
{
}

/// One row of either engine.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of the column `name`.
    pub fn get<T: Value>(&self, name: &str) -> Result<T, sqlx::Error> {
        Columns::of(self).get(name)
    }

    fn is_named(&self, index: usize, name: &str) -> bool {
        let found = match self {
            Self::Postgres(row) => row.columns().get(index).map(sqlx::Column::name),
            Self::Sqlite(row) => row.columns().get(index).map(sqlx::Column::name),
        };
        found == Some(name)
    }

    fn index_of(&self, name: &str) -> Result<usize, sqlx::Error> {
        match self {
            Self::Postgres(row) => name.index(row),
            Self::Sqlite(row) => name.index(row),
        }
    }

    fn at<T: Value>(&self, index: usize) -> Result<T, sqlx::Error> {
        match self {
            Self::Postgres(row) => row.try_get(index),
            Self::Sqlite(row) => row.try_get(index),
        }
    }
}

/// Reads the columns of a row by their names.
///
/// Most readers take the columns in the order of the statement, so the column after the last
/// one is compared first. Looking the name up in the driver's hash map costs several times as
/// much, which long lists would feel.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    fn of(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    /// The value of the column `name`.
    pub fn get<T: Value>(&mut self, name: &str) -> Result<T, sqlx::Error> {
        let index = if self.row.is_named(self.next, name) {
            self.next
        } else {
            self.row.index_of(name)?
        };
        self.next = index + 1;
        self.row.at(index).map_err(|error| match error {
            // The driver names the position.
            sqlx::Error::ColumnDecode { source, .. } => sqlx::Error::ColumnDecode {
                index: name.to_owned(),
                source,
            },
            other => other,
        })
    }
}

/// A type that a row is read into.
pub(super) trait FromRow: Sized {
    /// The table that the row comes from, for the error about one that cannot be read.
    const TABLE: &'static str;

    fn from_row(columns: &mut Columns<'_>) -> Result<Self, sqlx::Error>;
}

/// Declares the columns of a type once: implements [`FromRow`] for it, and defines a macro
/// that expands to the list of columns for use in statements.
///
/// A column is named after the field; where it is not the plain column of that name, the
/// expression stands behind a colon. A field that is missing here, or that the type does not
/// have, does not compile.
macro_rules! record {
    (
        $columns:ident => $record:ident in $table:literal {
            $first:ident $(: $first_from:literal)? $(, $field:ident $(: $from:literal)?)* $(,)?
        }
    ) => {
        macro_rules! $columns {
            () => {
                concat!(
                    $crate::store::row::record!(@column $first $($first_from)?)
                    $(, ", ", $crate::store::row::record!(@column $field $($from)?))*
                )
            };
        }

        impl $crate::store::row::FromRow for $record {
            const TABLE: &'static str = $table;

            fn from_row(columns: &mut $crate::store::row::Columns<'_>) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $first: columns.get(stringify!($first))?,
                    $($field: columns.get(stringify!($field))?,)*
                })
            }
        }
    };
    (@column $field:ident) => { stringify!($field) };
    (@column $field:ident $from:literal) => { concat!($from, " AS ", stringify!($field)) };
}
pub(super) use record;

/// What a statement returned, once it had run to its end.
pub(super) struct QueryResult {
    /// In the order of the statement.
    pub rows: Vec<Row>,
    /// How many rows it inserted, updated or deleted.
    pub affected: u64,
}

impl QueryResult {
    /// Every row.
    pub fn all<T: FromRow>(&self) -> Result<Vec<T>, StoreError> {
        self.rows.iter().map(read).collect()
    }

    /// The first row, if there is one.
    pub fn optional<T: FromRow>(&self) -> Result<Option<T>, StoreError> {
        self.rows.first().map(read).transpose()
    }

    /// The first row.
    pub fn one<T: FromRow>(&self) -> Result<T, StoreError> {
        read(self.first()?)
    }

    /// The column `name` of every row.
    pub fn column<T: Value>(&self, name: &str) -> Result<Vec<T>, sqlx::Error> {
        self.rows.iter().map(|row| row.get(name)).collect()
    }

    /// The column `name` of the first row.
    pub fn value<T: Value>(&self, name: &str) -> Result<T, sqlx::Error> {
        self.first()?.get(name)
    }

    fn first(&self) -> Result<&Row, sqlx::Error> {
        self.rows.first().ok_or(sqlx::Error::RowNotFound)
    }
}

/// Reads a row; the error names it, so that it can be found and corrected.
fn read<T: FromRow>(row: &Row) -> Result<T, StoreError> {
    T::from_row(&mut Columns::of(row))
        .map_err(|source| StoreError::corrupt(T::TABLE, row.get("id").unwrap_or(0), source))
}
