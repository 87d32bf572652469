//! The type of the priorities: its labels, and what stands in its place.

use crate::domain::Priority;
use crate::store::inspect::Dependent;
use crate::store::migrate::drift::Difference;

use super::dependents;
use super::home::Home;
use super::issue::{Issue, Step, block, guarded, literal};
use super::set_aside::set_aside;

/// The type, as the migrations name it.
pub(super) const TYPE: &str = "prioritylevel";

/// The table and the column that have it.
const COLUMN: (&str, &str) = ("tasks", "priority");

/// The name of priorities that become another, where they are kept.
const PRIORITIES: &str = "priorities";

/// What is known about the priorities.
#[derive(Clone, Copy)]
pub(super) struct Priorities<'a> {
    pub(super) home: Home<'a>,
    /// What depends on columns.
    pub(super) dependents: &'a [Dependent],
    /// Priorities of tasks that are none of todoctl's.
    pub(super) unknown: &'a [String],
}

impl Priorities<'_> {
    /// The type is not there, or has other labels.
    pub(super) fn of_type(self, one: &Difference) -> Option<Issue> {
        let Some(found) = one.found.as_deref() else {
            // Listed as a whole only where it is no enum.
            return one.part.is_none().then(|| self.replaced());
        };
        let found: Vec<&str> = found.split(", ").collect();
        let expected: Vec<&str> = one.expected.as_deref()?.split(", ").collect();
        let added: Vec<&str> = without(&found, &expected);
        let missing: Vec<&str> = without(&expected, &found);
        Some(match (missing.as_slice(), added.as_slice()) {
            ([wanted], [other]) => self.renamed_label(other, wanted),
            ([], [_, ..]) => {
                let users = if self.unknown.is_empty() {
                    "no task has one"
                } else {
                    "tasks that have one are shown as Medium"
                };
                Issue::warn(
                    format!(
                        "{TYPE} has labels that todoctl does not know ({}): {users}",
                        added.join(", ")
                    ),
                    self.corrected(),
                )
            }
            ([], []) => Issue::fail(
                format!(
                    "the labels of {TYPE} are in another order, so tasks sort wrongly by priority"
                ),
                self.corrected(),
            ),
            _ => Issue::fail(
                format!("{TYPE} lacks the labels {}", missing.join(", ")),
                self.corrected(),
            ),
        })
    }

    /// Something else has the name of the type, or nothing has.
    pub(super) fn replaced(self) -> Issue {
        let is_there = self
            .home
            .relations
            .created_within(self.home.schema, TYPE)
            .is_some();
        let text = if is_there {
            "is another type than the migrations create, such as a domain"
        } else {
            "is missing"
        };
        Issue::fail(format!("the type {TYPE} {text}"), self.corrected())
    }

    fn renamed_label(self, other: &str, wanted: &str) -> Issue {
        let kind = self.home.qualified(TYPE);
        let is_named = format!(
            "EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype({}) AND enumlabel = {})",
            literal(&kind),
            literal(other)
        );
        let rename = format!(
            "ALTER TYPE {kind} RENAME VALUE {} TO {}",
            literal(other),
            literal(wanted)
        );
        Issue::fail(
            format!("{TYPE} has the label {other} in place of {wanted}"),
            self.home
                .alter_created(TYPE, COLUMN.0, guarded(&is_named, &rename)),
        )
    }

    /// Steps after which the type has its labels, and the priorities have the type.
    pub(super) fn corrected(self) -> Vec<Step> {
        let Self {
            home, dependents, ..
        } = self;
        let note = (!self.unknown.is_empty()).then(|| {
            Step::note(format!(
                "tasks with the priority {} become Medium; what they had is kept in the table {}",
                self.unknown.join(", "),
                set_aside(PRIORITIES)
            ))
        });
        let change = dependents::change(home, dependents, COLUMN, &correction(home));
        let given = home.give_created(TYPE, COLUMN.0);
        note.into_iter().chain(given).chain([change]).collect()
    }
}

/// Replaces the type by one with the right labels, unless it has them and the column has the type.
fn correction(home: Home<'_>) -> String {
    let list: Vec<String> = Priority::ALL
        .iter()
        .map(|one| literal(one.as_str()))
        .collect();
    let list = list.join(", ");
    let (kind, tasks) = (home.qualified(TYPE), home.qualified(COLUMN.0));
    let (aside, replaced) = (
        home.qualified(&set_aside(PRIORITIES)),
        format!("{TYPE}_replaced"),
    );
    let named = |name: &str| format!("to_regtype({})", literal(name));
    let (own, old) = (named(&kind), named(&home.qualified(&replaced)));
    let is_another = format!(
        "(SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = {own}) IS DISTINCT FROM ARRAY[{list}]"
    );
    let is_used = format!(
        "(SELECT atttypid FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = {}) = {own}::oid",
        literal(&tasks),
        literal(COLUMN.1)
    );
    let default = literal(Priority::default().as_str());
    block(
        "",
        &format!("{is_another} OR ({is_used}) IS NOT TRUE"),
        &format!(
            "IF {own} IS NOT NULL AND {is_another} THEN ALTER TYPE {kind} RENAME TO {replaced}; END IF; \
             IF {own} IS NULL THEN CREATE TYPE {kind} AS ENUM ({list}); END IF; \
             IF EXISTS (SELECT FROM {tasks} WHERE initcap(priority::text) NOT IN ({list})) THEN \
             CREATE TABLE IF NOT EXISTS {aside} (task_id bigint, priority text); \
             INSERT INTO {aside} SELECT id, priority::text FROM {tasks} WHERE initcap(priority::text) NOT IN ({list}); END IF; \
             ALTER TABLE {tasks} ALTER COLUMN priority DROP DEFAULT, ALTER COLUMN priority TYPE {kind} \
             USING (CASE WHEN initcap(priority::text) IN ({list}) THEN initcap(priority::text) ELSE {default} END)::{kind}, \
             ALTER COLUMN priority SET DEFAULT {default}; \
             IF {old} IS NOT NULL THEN BEGIN DROP TYPE {}; EXCEPTION WHEN dependent_objects_still_exist THEN \
             RAISE NOTICE {}; END; END IF",
            home.qualified(&replaced),
            literal(&format!("{replaced} stays: something else uses it"))
        ),
    )
}

fn without<'a>(labels: &[&'a str], others: &[&str]) -> Vec<&'a str> {
    let mut labels = labels.to_vec();
    labels.retain(|label| !others.contains(label));
    labels
}
