//! Tasks as JSON: the text that `serde_json` makes of them, which took a quarter of the time of a page.

use std::fmt::Display;
use std::io::Write as _;

use crate::domain::{Task, write_json_text};

/// About the length of a task with a description.
const TASK_BYTES: usize = 384;

/// The most memory that a text holds and does not need.
const SPARE_BYTES: usize = 16 * 1024;

/// An answer that is written as JSON without serde.
pub(super) trait ToJson {
    /// About the length of the text.
    fn length(&self) -> usize;

    /// Appends the text.
    fn write(&self, out: &mut Vec<u8>);

    fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        self.write(&mut out);
        // It may wait for its client, and growing a buffer doubles it.
        if out.capacity() - out.len() > SPARE_BYTES {
            out.shrink_to_fit();
        }
        out
    }
}

impl ToJson for Task {
    fn length(&self) -> usize {
        TASK_BYTES
    }

    fn write(&self, out: &mut Vec<u8>) {
        // A field that is missing here does not compile.
        let Self {
            id,
            user_id,
            title,
            description,
            completed,
            priority,
            due_date,
            created_at,
            updated_at,
        } = self;
        write_member("{\"id\":", id, out);
        out.extend_from_slice(b",\"user_id\":");
        write_json_text(user_id, out);
        out.extend_from_slice(b",\"title\":");
        write_json_text(title, out);
        out.extend_from_slice(b",\"description\":");
        match description {
            Some(description) => write_json_text(description, out),
            None => out.extend_from_slice(b"null"),
        }
        write_member(",\"completed\":", completed, out);
        out.extend_from_slice(b",\"priority\":");
        write_json_text(priority.as_str(), out);
        out.extend_from_slice(b",\"due_date\":");
        match due_date {
            Some(due_date) => due_date.write_json(out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"created_at\":");
        created_at.write_json(out);
        out.extend_from_slice(b",\"updated_at\":");
        updated_at.write_json(out);
        out.push(b'}');
    }
}

impl ToJson for [Task] {
    fn length(&self) -> usize {
        self.len() * TASK_BYTES
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (position, task) in self.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            task.write(out);
        }
        out.push(b']');
    }
}

/// Writes a number or a truth value behind its name.
pub(super) fn write_member(name: &str, value: impl Display, out: &mut Vec<u8>) {
    // A Vec takes everything.
    let _ = write!(out, "{name}{value}");
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use crate::domain::{Priority, Timestamp};

    use super::*;

    fn time() -> impl Strategy<Value = Timestamp> {
        let range = Timestamp::MIN.micros()..=Timestamp::MAX.micros();
        let whole = range
            .clone()
            .prop_map(|micros| micros / 1_000_000 * 1_000_000);
        prop_oneof![range, whole].prop_map(Timestamp::from_micros_clamped)
    }

    prop_compose! {
        fn task()(
            id in any::<i64>(),
            (user_id, title) in (".{0,20}", "[ -~]{0,60}"),
            description in option::of(".{0,60}"),
            completed in any::<bool>(),
            priority in prop::sample::select(&Priority::ALL[..]),
            due_date in option::of(time()),
            (created_at, updated_at) in (time(), time()),
        ) -> Task {
            Task {
                id, user_id, title, description, completed, priority, due_date, created_at,
                updated_at,
            }
        }
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_serde_json(tasks in prop::collection::vec(task(), 0..4)) {
            let text = String::from_utf8(tasks.to_json()).unwrap();
            prop_assert_eq!(text, serde_json::to_string(&tasks).unwrap());
        }
    }

    #[test]
    fn a_long_text_holds_little_more_memory_than_it_needs() {
        let task = Task {
            id: 1,
            user_id: "alice".to_owned(),
            title: "t".repeat(200),
            description: Some("d".repeat(1000)),
            completed: false,
            priority: Priority::Medium,
            due_date: None,
            created_at: Timestamp::MIN,
            updated_at: Timestamp::MIN,
        };
        let text = vec![task; 1000].to_json();
        assert!(text.len() > 1_000_000);
        assert!(
            text.capacity() - text.len() <= SPARE_BYTES,
            "{}",
            text.capacity()
        );
    }
}
