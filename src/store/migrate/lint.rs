//! Reads new migrations for what would hold others up, rewrite a table or lose data.
//!
//! Pure text: nothing is run. Statements are taken apart by `sqlparser` into
//! [`deeds`]; the rules are the table [`RULES`]. Only what touches a table that
//! exists already can hurt anybody, so the rest of a migration passes.
//!
//! A statement that is meant as it is says so in a comment in front of it:
//! `-- lint: allow drop-column`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::DatabaseTarget;

use super::drift::Existing;
use super::files::UpFile;
use super::{Direction, Migration, State, find, migrator, statements};

mod deeds;

use deeds::{Act, Deed, Default};

/// What a statement would do to those who work on the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It keeps others waiting for as long as the table is large.
    Lock,
    /// It writes the whole table anew, and locks it meanwhile.
    Rewrite,
    /// What it takes away is gone.
    Loss,
    /// Programs that still run with the schema before it fail.
    Break,
    /// It cannot be read; somebody should. This alone is no fault.
    Unread,
}

/// Which engine a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Postgres,
    Both,
}

/// What is looked for, and what to do instead.
struct Rule {
    id: &'static str,
    on: On,
    effect: Effect,
    /// What happens.
    what: &'static str,
    /// The safer way.
    instead: &'static str,
    applies: fn(&Deed) -> bool,
}

/// Migrations run in transactions, so no way here is `CONCURRENTLY` within one.
const RULES: &[Rule] = &[
    Rule {
        id: "create-index",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "the table cannot be written while the index is built",
        instead: "by hand first: CREATE INDEX CONCURRENTLY IF NOT EXISTS …; here: CREATE INDEX IF NOT EXISTS …",
        applies: |deed| matches!(deed, Deed::CreateIndex),
    },
    Rule {
        id: "concurrently",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "CONCURRENTLY fails: migrations run in a transaction",
        instead: "run it by hand first; here the same without CONCURRENTLY and with IF NOT EXISTS or IF EXISTS",
        applies: |deed| matches!(deed, Deed::Concurrently),
    },
    Rule {
        id: "change-type",
        on: On::Postgres,
        effect: Effect::Rewrite,
        what: "the table and its indexes are written anew, and cannot be read meanwhile",
        instead: "add a column of the new type, fill it in batches, let the program use it, drop the old one in a later migration",
        applies: |deed| matches!(deed, Deed::SetType),
    },
    Rule {
        id: "set-not-null",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "every row is read while the table cannot be used",
        instead: "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID; in the next migration VALIDATE CONSTRAINT, then SET NOT NULL, which believes it",
        applies: |deed| matches!(deed, Deed::SetNotNull),
    },
    Rule {
        id: "volatile-default",
        on: On::Postgres,
        effect: Effect::Rewrite,
        what: "a default that differs from row to row writes the table anew",
        instead: "ADD COLUMN without it, then ALTER COLUMN … SET DEFAULT …, then fill old rows in batches",
        applies: |deed| {
            matches!(
                deed,
                Deed::AddColumn {
                    default: Default::Volatile,
                    ..
                }
            )
        },
    },
    Rule {
        id: "not-null-without-default",
        on: On::Both,
        effect: Effect::Break,
        what: "it fails where the table has rows, and inserts of programs that run already fail",
        instead: "add it with a constant DEFAULT, or without NOT NULL",
        applies: |deed| {
            matches!(
                deed,
                Deed::AddColumn {
                    default: Default::None,
                    not_null: true,
                    ..
                }
            )
        },
    },
    Rule {
        id: "checked-column",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "every row is checked, or an index is built, while the table cannot be used",
        instead: "ADD COLUMN alone; the constraint follows with NOT VALID, its index by hand with CONCURRENTLY",
        applies: |deed| matches!(deed, Deed::AddColumn { checked: true, .. }),
    },
    Rule {
        id: "add-constraint",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "every row is checked while the table cannot be written",
        instead: "ADD CONSTRAINT … NOT VALID here, VALIDATE CONSTRAINT in the next migration",
        applies: |deed| matches!(deed, Deed::AddCheckedConstraint),
    },
    Rule {
        id: "add-unique",
        on: On::Postgres,
        effect: Effect::Lock,
        what: "an index is built while the table cannot be used",
        instead: "by hand first: CREATE UNIQUE INDEX CONCURRENTLY …; here: ADD CONSTRAINT … UNIQUE USING INDEX …",
        applies: |deed| matches!(deed, Deed::AddUnique),
    },
    Rule {
        id: "drop-table",
        on: On::Both,
        effect: Effect::Loss,
        what: "its rows are gone, and programs that run already fail",
        instead: "release a program that does not use it, keep a backup (pg_dump -t), drop it in a later migration",
        applies: |deed| matches!(deed, Deed::DropTable),
    },
    Rule {
        id: "rebuild-table",
        on: On::Both,
        effect: Effect::Rewrite,
        what: "the whole table is copied while nobody can write",
        instead: "do it while there is little to do; on SQLite there is no other way for most changes",
        applies: |deed| matches!(deed, Deed::RebuildTable),
    },
    Rule {
        id: "drop-column",
        on: On::Both,
        effect: Effect::Loss,
        what: "its values are gone, and programs that run already fail",
        instead: "release a program that does not use it, drop it in a later migration",
        applies: |deed| matches!(deed, Deed::DropColumn),
    },
    Rule {
        id: "rename",
        on: On::Both,
        effect: Effect::Break,
        what: "programs that run already look for the old name",
        instead: "add the new one beside the old, release a program that writes both, drop the old one later",
        applies: |deed| matches!(deed, Deed::Rename),
    },
    Rule {
        id: "truncate",
        on: On::Both,
        effect: Effect::Loss,
        what: "every row is gone",
        instead: "DELETE with a WHERE that says which rows, in batches",
        applies: |deed| matches!(deed, Deed::DeleteAll),
    },
    Rule {
        id: "delete",
        on: On::Both,
        effect: Effect::Loss,
        what: "the rows are gone",
        instead: "count them first, and keep a backup; if that is wanted: -- lint: allow delete",
        applies: |deed| matches!(deed, Deed::DeleteSome),
    },
    Rule {
        id: "update-all",
        on: On::Both,
        effect: Effect::Rewrite,
        what: "every row is written anew in one transaction, which holds up other writers",
        instead: "fill rows in batches, outside of the migration",
        applies: |deed| matches!(deed, Deed::UpdateAll),
    },
    Rule {
        id: "unread",
        on: On::Both,
        effect: Effect::Unread,
        what: "a DO block, or a statement that the check cannot take apart",
        instead: "read it yourself",
        applies: |deed| matches!(deed, Deed::Unread),
    },
];

/// A statement that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The migration's number.
    pub version: i64,
    /// The migration's name.
    pub name: String,
    /// The rule, for `-- lint: allow RULE`.
    pub rule: &'static str,
    /// What kind of harm.
    pub effect: Effect,
    /// The table in question.
    pub table: Option<String>,
    /// The statement's beginning, in one line.
    pub statement: String,
    /// What happens.
    pub what: &'static str,
    /// The safer way.
    pub instead: &'static str,
}

impl Finding {
    /// Whether it is a fault; what could not be read is only a remark.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.effect != Effect::Unread
    }
}

/// Reads the program's pending migrations.
#[must_use]
pub fn pending(
    target: &DatabaseTarget,
    migrations: &[Migration],
    existing: Existing,
) -> Vec<Finding> {
    let pending = migrations.iter().filter(|one| one.state == State::Pending);
    let files = pending.filter_map(|one| {
        let file = find(migrator(target), one.version, Direction::Up)?;
        Some(UpFile {
            version: one.version,
            name: one.description.clone(),
            sql: file.sql.as_str().to_owned(),
        })
    });
    read(target, &files.collect::<Vec<_>>(), existing)
}

/// Reads migrations that are to run one after the other where `existing` is there.
#[must_use]
pub fn read(target: &DatabaseTarget, files: &[UpFile], mut existing: Existing) -> Vec<Finding> {
    let postgres = matches!(target, DatabaseTarget::Postgres(_));
    let mut findings = Vec::new();
    for file in files {
        let parsed: Vec<(&str, Vec<Act>)> = statements(&file.sql)
            .map(|text| (text, deeds::of(text, postgres)))
            .collect();
        let rebuilt = rebuilt(&parsed);
        for (text, acts) in parsed {
            for act in acts {
                let act = act.seen_with(&existing, &rebuilt);
                existing.follow(&act);
                let Some(rule) = broken(&act, postgres, text) else {
                    continue;
                };
                findings.push(Finding {
                    version: file.version,
                    name: file.name.clone(),
                    rule: rule.id,
                    effect: rule.effect,
                    table: act.table,
                    statement: beginning(text),
                    what: rule.what,
                    instead: rule.instead,
                });
            }
        }
    }
    findings
}

/// The rule that an act on an existing table breaks, unless a comment allows it.
fn broken(act: &Act, postgres: bool, text: &str) -> Option<&'static Rule> {
    let rule = RULES
        .iter()
        .find(|rule| (postgres || rule.on == On::Both) && (rule.applies)(&act.deed))?;
    let allowed = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .filter_map(|comment| comment.trim().strip_prefix("lint: allow "))
        .flat_map(|ids| ids.split([' ', ',']))
        .any(|id| id == rule.id);
    (!allowed).then_some(rule)
}

/// Tables that are dropped and then made again by renaming a copy.
fn rebuilt(parsed: &[(&str, Vec<Act>)]) -> BTreeSet<String> {
    parsed
        .iter()
        .flat_map(|(_, acts)| acts)
        .filter_map(|act| act.new_name.clone())
        .collect()
}

impl Existing {
    /// What is there once the act is done: a table made here is nobody's yet.
    fn follow(&mut self, act: &Act) {
        if matches!(act.deed, Deed::DropTable | Deed::RebuildTable)
            && let Some(table) = &act.table
        {
            self.tables.remove(table);
        }
    }
}

impl Act {
    /// The act, without harm where there is nothing that it could harm.
    fn seen_with(mut self, existing: &Existing, rebuilt: &BTreeSet<String>) -> Self {
        let Some(table) = &self.table else {
            return self;
        };
        let there = existing.tables.contains(table);
        let index_there = self
            .index
            .as_ref()
            .is_some_and(|index| existing.indexes.contains(index));
        if !there || (index_there && self.if_not_exists) {
            self.deed = Deed::Harmless;
        } else if self.deed == Deed::DropTable && rebuilt.contains(table) {
            self.deed = Deed::RebuildTable;
        }
        self
    }
}

/// Enough of a statement to find it again.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 100;
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .flat_map(str::split_whitespace)
        .collect();
    let line = code.join(" ");
    if line.chars().count() <= SHOWN {
        return line;
    }
    line.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
