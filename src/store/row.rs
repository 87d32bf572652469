//! What a statement returns: rows whose columns are read by name.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column as _, ColumnIndex, Decode, Postgres, Row as _, Sqlite, Type};

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

/// A row of one engine.
pub(super) trait EngineRow {
    /// The position of the column `name`, which is probably `guess`.
    fn position(&self, name: &str, guess: usize) -> Result<usize, sqlx::Error>;

    /// The value of the column at `position`, if that has the right type.
    fn at<T: Value>(&self, position: usize) -> Result<T, sqlx::Error>;

    /// The same where the type is known to be right.
    fn at_known<T: Value>(&self, position: usize) -> Result<T, sqlx::Error>;
}

impl EngineRow for PgRow {
    fn position(&self, name: &str, guess: usize) -> Result<usize, sqlx::Error> {
        position_in(self, name, guess)
    }

    fn at<T: Value>(&self, position: usize) -> Result<T, sqlx::Error> {
        self.try_get(position)
    }

    fn at_known<T: Value>(&self, position: usize) -> Result<T, sqlx::Error> {
        self.try_get_unchecked(position)
    }
}

impl EngineRow for SqliteRow {
    fn position(&self, name: &str, guess: usize) -> Result<usize, sqlx::Error> {
        position_in(self, name, guess)
    }

    fn at<T: Value>(&self, position: usize) -> Result<T, sqlx::Error> {
        // Any column may hold a value of any type; SQLite converts it.
        self.try_get_unchecked(position)
    }

    fn at_known<T: Value>(&self, position: usize) -> Result<T, sqlx::Error> {
        self.at(position)
    }
}

/// A look-up of the name takes longer than a comparison.
fn position_in<R: sqlx::Row>(row: &R, name: &str, guess: usize) -> Result<usize, sqlx::Error>
where
    for<'n> &'n str: ColumnIndex<R>,
{
    match row.columns().get(guess) {
        Some(column) if column.name() == name => Ok(guess),
        _ => name.index(row),
    }
}

/// One row of either engine.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of the column `name`.
    pub fn get<T: Value>(&self, name: &str) -> Result<T, sqlx::Error> {
        self.get_at(name, &mut Vec::new())
    }

    /// The same for each row of a result, which have the position in common; see [`Columns`].
    pub fn get_at<T: Value>(
        &self,
        name: &str,
        position: &mut Vec<usize>,
    ) -> Result<T, sqlx::Error> {
        match self {
            Self::Postgres(row) => Columns::new(row, position).get(name),
            Self::Sqlite(row) => Columns::new(row, position).get(name),
        }
    }
}

/// Reads the columns of a row by their names.
///
/// The driver looks a name up in a hash map, and compares types, which takes longer than decoding
/// most values. So both is done for the first row, and the positions are used again for the rows
/// after it, whose columns are read in the same order.
pub(super) struct Columns<'r, R> {
    row: &'r R,
    positions: &'r mut Vec<usize>,
    read: usize,
}

impl<'r, R: EngineRow> Columns<'r, R> {
    fn new(row: &'r R, positions: &'r mut Vec<usize>) -> Self {
        Self {
            row,
            positions,
            read: 0,
        }
    }

    /// The value of the column `name`.
    pub fn get<T: Value>(&mut self, name: &str) -> Result<T, sqlx::Error> {
        let known = self.positions.get(self.read).copied();
        let value = match known {
            Some(position) => self.row.at_known(position),
            None => self.row.position(name, self.read).and_then(|position| {
                let value = self.row.at(position)?;
                self.positions.push(position);
                Ok(value)
            }),
        };
        self.read += 1;
        value.map_err(|error| named(error, name))
    }
}

/// The driver names the position of a column that cannot be read.
#[cold]
fn named(error: sqlx::Error, name: &str) -> sqlx::Error {
    match error {
        sqlx::Error::ColumnDecode { source, .. } => sqlx::Error::ColumnDecode {
            index: name.to_owned(),
            source,
        },
        other => other,
    }
}

/// A type that a row is read into.
pub(super) trait FromRow: Sized {
    /// The table that the row comes from, for the error about one that cannot be read.
    const TABLE: &'static str;

    /// Reads the same columns in the same order for every row.
    fn from_row<R: EngineRow>(columns: &mut Columns<'_, R>) -> Result<Self, sqlx::Error>;
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

            fn from_row<R: $crate::store::row::EngineRow>(
                columns: &mut $crate::store::row::Columns<'_, R>,
            ) -> Result<Self, sqlx::Error> {
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

/// The result of a statement that has run to its end.
#[derive(Default)]
pub(super) struct QueryResult {
    /// In the order of the statement.
    pub rows: Vec<Row>,
    /// How many rows it inserted, updated or deleted.
    pub affected: u64,
}

impl QueryResult {
    /// Every row. One that cannot be read is logged and left out, so that it does not hide the
    /// others.
    pub fn all<T: FromRow>(&self) -> Result<Vec<T>, StoreError> {
        let mut positions = Vec::new();
        let mut all = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            match read(row, &mut positions) {
                Ok(value) => all.push(value),
                // A statement without the column is a defect of the program.
                Err(error @ StoreError::Corrupt { row: 0, .. }) => return Err(error),
                Err(error) => tracing::error!(%error, "a row is left out"),
            }
        }
        Ok(all)
    }

    /// The first row, if there is one.
    pub fn optional<T: FromRow>(&self) -> Result<Option<T>, StoreError> {
        let read = |row| read(row, &mut Vec::new());
        self.rows.first().map(read).transpose()
    }

    /// The first row.
    pub fn one<T: FromRow>(&self) -> Result<T, StoreError> {
        read(self.first()?, &mut Vec::new())
    }

    /// The column `name` of every row.
    pub fn column<T: Value>(&self, name: &str) -> Result<Vec<T>, sqlx::Error> {
        let mut position = Vec::new();
        let values = self.rows.iter();
        values.map(|row| row.get_at(name, &mut position)).collect()
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
fn read<T: FromRow>(row: &Row, positions: &mut Vec<usize>) -> Result<T, StoreError> {
    match row {
        Row::Postgres(row) => T::from_row(&mut Columns::new(row, positions)),
        Row::Sqlite(row) => T::from_row(&mut Columns::new(row, positions)),
    }
    .map_err(|source| StoreError::corrupt(T::TABLE, row.get("id").unwrap_or(0), source))
}
