//! Child tables, whose rows are served as those of the parent.

use crate::store::inspect::Heir;

use super::home::Home;
use super::issue::{Issue, Step, guarded, literal};

pub(super) fn issue(home: Home<'_>, heir: &Heir) -> Issue {
    let Heir { table, child, .. } = heir;
    let parent = home.qualified(table);
    let statement = format!("ALTER TABLE {child} NO INHERIT {parent}");
    if heir.has_rows && !heir.has_copies {
        return Issue::warn(
            format!(
                "{child} inherits from {table}, so its rows are served too, and no key covers both tables"
            ),
            [Step::note(format!(
                "move the rows that are to be served from {child} into {table}, then: {statement}"
            ))],
        );
    }
    let inherits = format!(
        "EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass({}) AND inhparent = to_regclass({}))",
        literal(child),
        literal(&parent)
    );
    let once = guarded(&inherits, &statement);
    let step = if heir.is_owned {
        Step::Run(once)
    } else {
        Step::RunBy(None, once)
    };
    if heir.has_copies {
        return Issue::fail(
            format!(
                "{child} inherits from {table} and has copies of its rows: they are served twice"
            ),
            [Step::note(format!("{child} keeps all its rows:")), step],
        );
    }
    Issue::warn(
        format!("{child} inherits from {table}: whatever is stored in it is served too"),
        [step],
    )
}
