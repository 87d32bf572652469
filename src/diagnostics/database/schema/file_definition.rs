//! How the statement differs that has created a table of a SQLite file.

use crate::store::migrate::drift::Drift;

use super::issue::{Issue, Step};
use super::rebuild::created_again;

/// What the statement that creates a table says elsewhere than in the types of its columns, such as
/// collations.
pub(super) fn changed_definition(drift: &Drift, table: &str, expected: &str, found: &str) -> Issue {
    let (expected, found) = (pieces(expected), pieces(found));
    let without = |all: &[String], others: &[String]| -> Vec<String> {
        let only = all
            .iter()
            .filter(|piece| !others.iter().any(|other| is_same(piece, other)));
        only.cloned().collect()
    };
    let (lacks, has) = (without(&expected, &found), without(&found, &expected));
    let mut text = format!("{table} has another definition than the migrations create");
    if !has.is_empty() {
        text += &format!(": {}", has.join(", "));
    }
    if !lacks.is_empty() {
        text += &format!("; it should have {}", lacks.join(", "));
    }
    let lower = |pieces: &[String]| pieces.join(", ").to_lowercase();
    let merges_users = has.iter().any(|piece| {
        let piece = piece.to_lowercase();
        piece.starts_with("user_id ") && piece.contains(" collate ")
    });
    if lower(&lacks).contains("autoincrement") && !lower(&has).contains("autoincrement") {
        text += ": the ids of deleted rows are given again";
    }
    if merges_users {
        text += ": users whose ids are the same to that collation, such as u1 and U1, see each other's rows";
        return Issue::fail(text, [right_again(drift, table)]);
    }
    Issue::warn(text, [right_again(drift, table)])
}

pub(super) fn right_again(drift: &Drift, table: &str) -> Step {
    created_again(drift, table, || {
        format!("compare it (todoctl migrate check), and create {table} again with the right one")
    })
}

/// Whether two statements that create a table say the same in another order, or with quotes.
pub(super) fn has_same_pieces(one: &str, other: &str) -> bool {
    let (one, other) = (pieces(one), pieces(other));
    let mut pairs = one.iter().zip(&other);
    one.len() == other.len() && pairs.all(|(one, other)| is_same(one, other))
}

/// SQLite does not tell the cases of names and types apart, but those of texts.
fn is_same(one: &str, other: &str) -> bool {
    one == other || !one.contains('\'') && one.eq_ignore_ascii_case(other)
}

/// The parts of a statement that creates a table, without quotes and whatever their order.
fn pieces(definition: &str) -> Vec<String> {
    let plain = definition.replace('"', "");
    let columns = plain.split_once('(').map_or("", |(_, columns)| columns);
    let plain = columns.replace(['(', ')'], " ");
    let mut pieces: Vec<String> = plain
        .split(',')
        .map(|piece| piece.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    pieces.sort_by_key(|piece| piece.to_lowercase());
    pieces
}
