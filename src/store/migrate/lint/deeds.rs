//! What a statement does, as far as the rules care.

use sqlparser::ast::{
    AlterColumnOperation, AlterTableOperation, ColumnDef, ColumnOption, Expr, FromTable,
    ObjectName, ObjectType, RenameTableNameKind, Statement, TableConstraint, TableFactor,
    TableWithJoins,
};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

/// One thing that a statement does to one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    /// To which table; `None` where that cannot be told.
    pub table: Option<String>,
    pub deed: Deed,
    /// The index that is made.
    pub index: Option<String>,
    pub if_not_exists: bool,
    /// What a table is renamed to.
    pub new_name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Harmless,
    CreateIndex,
    Concurrently,
    AddColumn {
        default: Default,
        not_null: bool,
        /// A reference, a check, a unique or a primary key.
        checked: bool,
    },
    SetNotNull,
    SetType,
    DropColumn,
    DropTable,
    RebuildTable,
    Rename,
    AddCheckedConstraint,
    AddUnique,
    DeleteAll,
    DeleteSome,
    UpdateAll,
    Unread,
}

/// What old rows get in a new column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    None,
    /// The same for every row: only noted, not written.
    Constant,
    /// Asked anew for every row.
    Volatile,
}

impl Act {
    fn on(table: Option<String>, deed: Deed) -> Self {
        Self {
            table,
            deed,
            index: None,
            if_not_exists: false,
            new_name: None,
        }
    }
}

/// What one statement does.
pub(super) fn of(text: &str, postgres: bool) -> Vec<Act> {
    let dialect: &dyn Dialect = if postgres {
        &PostgreSqlDialect {}
    } else {
        &SQLiteDialect {}
    };
    match Parser::parse_sql(dialect, text) {
        Ok(parsed) if !parsed.is_empty() => parsed.into_iter().flat_map(acts).collect(),
        _ if is_setting(text) => Vec::new(),
        _ if code(text).any(|word| word.eq_ignore_ascii_case("CONCURRENTLY")) => {
            vec![Act::on(None, Deed::Concurrently)]
        }
        _ => vec![Act::on(None, Deed::Unread)],
    }
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .flat_map(str::split_whitespace)
}

/// Settings concern nobody's data, and the parser does not know all of them.
fn is_setting(text: &str) -> bool {
    code(text)
        .next()
        .is_some_and(|word| ["SET", "PRAGMA", "COMMENT"].contains(&word.to_uppercase().as_str()))
}

fn acts(statement: Statement) -> Vec<Act> {
    match statement {
        Statement::CreateIndex(index) => {
            let deed = if index.concurrently {
                Deed::Concurrently
            } else {
                Deed::CreateIndex
            };
            vec![Act {
                index: index.name.as_ref().map(name),
                if_not_exists: index.if_not_exists,
                ..Act::on(Some(name(&index.table_name)), deed)
            }]
        }
        Statement::AlterTable(alter) => {
            let table = name(&alter.name);
            let on_table = |operation| altered(&table, operation);
            alter.operations.into_iter().flat_map(on_table).collect()
        }
        Statement::Drop {
            object_type: ObjectType::Table,
            names,
            ..
        } => {
            let dropped = |table| Act::on(Some(name(table)), Deed::DropTable);
            names.iter().map(dropped).collect()
        }
        Statement::Truncate(truncate) => {
            let emptied = truncate.table_names.iter();
            emptied
                .map(|table| Act::on(Some(name(&table.name)), Deed::DeleteAll))
                .collect()
        }
        Statement::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            let deed = if delete.selection.is_some() {
                Deed::DeleteSome
            } else {
                Deed::DeleteAll
            };
            let emptied = from.iter().filter_map(joined);
            emptied
                .map(|table| Act::on(Some(table), deed.clone()))
                .collect()
        }
        Statement::Update(update) if update.selection.is_none() => {
            vec![Act::on(joined(&update.table), Deed::UpdateAll)]
        }
        _ => Vec::new(),
    }
}

fn altered(table: &str, operation: AlterTableOperation) -> Vec<Act> {
    let mut new_name = None;
    let deed = match operation {
        AlterTableOperation::AddColumn { column_def, .. } => added(&column_def),
        AlterTableOperation::AlterColumn { op, .. } => match op {
            AlterColumnOperation::SetNotNull => Deed::SetNotNull,
            AlterColumnOperation::SetDataType { .. } => Deed::SetType,
            _ => Deed::Harmless,
        },
        AlterTableOperation::DropColumn { .. } => Deed::DropColumn,
        AlterTableOperation::RenameColumn { .. } => Deed::Rename,
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::As(to) | RenameTableNameKind::To(to)) = table_name;
            new_name = Some(name(&to));
            Deed::Rename
        }
        AlterTableOperation::AddConstraint {
            constraint,
            not_valid,
        } => match constraint {
            TableConstraint::Check(_) | TableConstraint::ForeignKey(_) if !not_valid => {
                Deed::AddCheckedConstraint
            }
            TableConstraint::Unique(_) | TableConstraint::PrimaryKey(_) => Deed::AddUnique,
            _ => Deed::Harmless,
        },
        _ => Deed::Harmless,
    };
    vec![Act {
        new_name,
        ..Act::on(Some(table.to_owned()), deed)
    }]
}

fn added(column: &ColumnDef) -> Deed {
    let (mut default, mut not_null, mut checked) = (Default::None, false, false);
    if column
        .data_type
        .to_string()
        .to_lowercase()
        .contains("serial")
    {
        default = Default::Volatile;
    }
    for option in &column.options {
        match &option.option {
            ColumnOption::NotNull => not_null = true,
            ColumnOption::Default(value) => {
                default = if is_constant(value) {
                    Default::Constant
                } else {
                    Default::Volatile
                };
            }
            ColumnOption::Generated { .. } => default = Default::Volatile,
            ColumnOption::PrimaryKey(_)
            | ColumnOption::Unique(_)
            | ColumnOption::ForeignKey(_)
            | ColumnOption::Check(_) => checked = true,
            _ => {}
        }
    }
    // A new column that is null everywhere breaks no reference and no check.
    Deed::AddColumn {
        default,
        not_null,
        checked: checked && default != Default::None || is_unique(column),
    }
}

fn is_unique(column: &ColumnDef) -> bool {
    let unique = |option: &ColumnOption| {
        matches!(
            option,
            ColumnOption::Unique(_) | ColumnOption::PrimaryKey(_)
        )
    };
    column.options.iter().any(|option| unique(&option.option))
}

/// Whether PostgreSQL computes a default once for all rows.
fn is_constant(value: &Expr) -> bool {
    /// Constant within one transaction, however they are asked.
    const STABLE: &[&str] = &[
        "now",
        "current_timestamp",
        "transaction_timestamp",
        "statement_timestamp",
        "localtimestamp",
        "current_date",
        "localtime",
        "current_user",
        "session_user",
    ];
    match value {
        Expr::Value(_) | Expr::TypedString { .. } | Expr::Identifier(_) => true,
        Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        Expr::Function(function) => {
            STABLE.contains(&function.name.to_string().to_lowercase().as_str())
        }
        Expr::Array(array) => array.elem.iter().all(is_constant),
        _ => false,
    }
}

/// The last part of a name, as the catalog has it.
fn name(name: &ObjectName) -> String {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.map_or_else(
        || name.to_string(),
        |ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => ident.value.to_lowercase(),
        },
    )
}

fn joined(table: &TableWithJoins) -> Option<String> {
    match &table.relation {
        TableFactor::Table { name: table, .. } => Some(name(table)),
        _ => None,
    }
}
