//! Migrations whose effect is in a schema and which the database does not record, as after a
//! restore without `_sqlx_migrations`.

use super::catalog::DEFINITION;
use super::embedded::FIRST;
use super::expected::{History, OF_SERVERS, Schema, created_by};
use super::history::{Migration, State};

/// Parts that a migration creates on some databases only.
const CONDITIONAL: [(&str, &str); 1] = [("table tasks", "index tasks_unfolded_idx")];

/// How much of a migration's effect is in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    /// What is missing, such as `table tasks column title`.
    Part(Vec<String>),
    Whole,
}

/// Looks for everything that `version` creates or changes. What it creates may have been changed
/// since, which the comparison of the schema reports; what it only changes has to be as this or a
/// later migration leaves it, unless the rest shows that the migration was applied.
pub(super) fn presence(history: &History, version: i64, found: &Schema) -> Presence {
    let before = created_by(history.range(..version).map(|(_, changes)| changes));
    let (mut created, mut missing) = (0, Vec::new());
    let (mut changed, mut unchanged) = (0, Vec::new());
    for (object, parts) in history.get(&version).into_iter().flatten() {
        for part in parts.keys() {
            let is_conditional = CONDITIONAL.contains(&(object, part));
            // It differs in blanks and order, and says nothing that the other parts do not.
            if is_conditional || part == DEFINITION {
                continue;
            }
            let definition = found.get(object).and_then(|parts| parts.get(part));
            let wanted: Vec<Option<&str>> = history
                .range(version..)
                .filter_map(|(_, changes)| Some(changes.get(object)?.get(part)?.as_deref()))
                .collect();
            let is_new = !before
                .get(object)
                .is_some_and(|parts| parts.contains_key(part));
            if is_new && wanted.iter().all(Option::is_some) {
                if definition.is_some() {
                    created += 1;
                } else {
                    missing.push(format!("{object} {part}"));
                }
            } else if wanted.contains(&definition.map(String::as_str)) {
                // What is dropped may never have been there.
                changed += usize::from(definition.is_some());
            } else {
                unchanged.push(format!("{object} {part}"));
            }
        }
    }
    if missing.is_empty() && (created > 0 || unchanged.is_empty()) && created + changed > 0 {
        Presence::Whole
    } else if created > 0 {
        Presence::Part(missing)
    } else {
        Presence::Absent
    }
}

/// Marks the migrations that are in `found` and not recorded. The first one takes over the tables
/// of the previous service, so it alone proves nothing where `takes_over`.
pub(super) fn mark_unrecorded(
    migrations: &mut [Migration],
    history: &History,
    found: &Schema,
    takes_over: bool,
) {
    let whole: Vec<i64> = migrations
        .iter()
        .filter(|one| one.state == State::Pending)
        .filter(|one| presence(history, one.version, found) == Presence::Whole)
        .map(|one| one.version)
        .collect();
    let is_ours = !takes_over
        || whole.iter().any(|version| *version != FIRST)
        || migrations.iter().any(|one| one.state != State::Pending);
    if is_ours {
        for one in migrations {
            if whole.contains(&one.version) {
                one.state = State::Unrecorded;
            }
        }
    }
}

/// Whether a PostgreSQL schema has more than what the previous service left, whatever is recorded.
pub(crate) fn is_migrated(found: &Schema) -> bool {
    OF_SERVERS.keys().any(|version| {
        *version != FIRST && presence(&OF_SERVERS, *version, found) != Presence::Absent
    })
}

/// The first migration that is not recorded as applied of which only a part is there, and what is
/// missing of it. The first of all may complete what is there.
pub(super) fn first_in_part(
    migrations: &[Migration],
    history: &History,
    found: &Schema,
) -> Option<(i64, Vec<String>)> {
    let is_open = |one: &&Migration| one.is_open() && one.version != FIRST;
    migrations
        .iter()
        .filter(is_open)
        .find_map(|one| match presence(history, one.version, found) {
            Presence::Part(missing) => Some((one.version, missing)),
            Presence::Absent | Presence::Whole => None,
        })
}

/// The migrations that are recorded, but not as this program has them or not as finished, and of
/// which nothing is there.
pub(super) fn absent(migrations: &[Migration], history: &History, found: &Schema) -> Vec<i64> {
    let misrecorded = migrations.iter().filter(|one| one.is_misrecorded());
    let versions = misrecorded.map(|one| one.version);
    versions
        .filter(|version| presence(history, *version, found) == Presence::Absent)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::expected::tests::schema;
    use super::super::expected::{Changes, changes};
    use super::*;

    /// One creates a table, two alters it and adds another, three alters it again.
    fn steps() -> [Schema; 3] {
        [
            schema(&[("table a", "column x", "int")]),
            schema(&[
                ("table a", "column x", "bigint"),
                ("table b", "column y", "text"),
                ("table b", "column z", "text"),
            ]),
            schema(&[
                ("table a", "column x", "text"),
                ("table b", "column y", "text"),
                ("table b", "column z", "text"),
            ]),
        ]
    }

    fn history() -> History {
        let mut before = Schema::new();
        let step = |(version, after): (i64, Schema)| {
            let changes: Changes = changes(&before, &after);
            before = after;
            (version, changes)
        };
        (1..).zip(steps()).map(step).collect()
    }

    #[test]
    fn what_is_there() {
        let of = |version, found: &Schema| presence(&history(), version, found);
        let [one, two, three] = steps();
        assert_eq!(of(1, &Schema::new()), Presence::Absent);
        assert_eq!(of(1, &one), Presence::Whole);
        assert_eq!(of(2, &one), Presence::Absent);
        for version in 1..=3 {
            assert_eq!(of(version, &three), Presence::Whole, "{version}");
        }
        // The last step only changes a column.
        assert_eq!(of(3, &two), Presence::Absent);
        let mut partly = three.clone();
        partly.get_mut("table b").unwrap().remove("column z");
        assert_eq!(
            of(2, &partly),
            Presence::Part(vec!["table b column z".to_owned()])
        );
        // Changed by hand after it was applied.
        let mut drifted = two;
        drifted.insert(
            "table a".to_owned(),
            [("column x".to_owned(), "uuid".to_owned())].into(),
        );
        assert_eq!(of(2, &drifted), Presence::Whole);
    }
}
