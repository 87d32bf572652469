//! Lists of all kinds while nothing changes: they have exactly the rows.

use std::cmp::Reverse;

use serde_json::Value;

use crate::answers::{is_match, seen};
use crate::database::Row;
use crate::http::Answer;
use crate::ledger::{Filter, Seen};
use crate::round::USERS;
use crate::workload::Worker;

impl Worker {
    /// Compares what a user is shown with the rows.
    pub(crate) async fn compare(&mut self, rows: &[Row]) {
        self.user = self.rng.usize(..USERS);
        let user = self.round.user(self.user);
        let mut tasks: Vec<&Seen> = rows
            .iter()
            .filter(|row| row.user == user)
            .map(|row| &row.seen)
            .collect();
        tasks.sort_by_key(|seen| Reverse(seen.position()));
        let mut filters = vec![Filter::default()];
        for completed in [true, false] {
            filters.push(Filter {
                completed: Some(completed),
                ..Filter::default()
            });
        }
        for due in [self.round.dues.past, self.round.dues.far] {
            filters.push(Filter {
                due: Some(due),
                priority: Some("Medium").filter(|_| self.rng.bool()),
                ..Filter::default()
            });
        }
        for _ in 0..4.min(tasks.len()) {
            let task = tasks[self.rng.usize(..tasks.len())];
            let text = if self.rng.bool() && !task.view.note.is_empty() {
                &task.view.note
            } else {
                &task.view.title
            };
            filters.push(Filter {
                search: Some(text.clone()),
                ..Filter::default()
            });
        }
        for filter in filters {
            let expected: Vec<&Seen> = tasks
                .iter()
                .copied()
                .filter(|task| is_match(&filter, task))
                .collect();
            let limit = expected.len().div_ceil(3).max(3);
            for by_cursor in [true, false] {
                let Some((shown, total)) = self.pages(&filter, limit, by_cursor).await else {
                    continue;
                };
                let is_counted = total.is_none_or(|total| total == expected.len());
                if !is_counted || !shown.iter().eq(expected.iter().copied()) {
                    let text = format!(
                        "{user} is shown {shown:?}, {total:?} in all, for {filter:?}, and the rows are {expected:?}"
                    );
                    self.round.ledger.complain(text);
                }
            }
        }
    }

    /// All pages of a list, and how many tasks they are said to have, if they are; `None` if a page
    /// was not answered.
    async fn pages(
        &mut self,
        filter: &Filter,
        limit: usize,
        by_cursor: bool,
    ) -> Option<(Vec<Seen>, Option<usize>)> {
        let path = self.query(filter, limit);
        let mut shown = Vec::new();
        let mut next = if by_cursor { "&cursor=" } else { "&page=1" }.to_owned();
        loop {
            let request = self.request("GET", &format!("{path}{next}"), None);
            let Answer::Status {
                code: 200, body, ..
            } = self.send(&request).await
            else {
                return None;
            };
            let tasks = body["tasks"].as_array()?;
            shown.extend(tasks.iter().filter_map(|task| seen(task, &request.user)));
            next = match &body["next_cursor"] {
                Value::String(cursor) => format!("&cursor={cursor}"),
                _ if !by_cursor && body["page"].as_u64() < body["pages"].as_u64() => {
                    format!("&page={}", body["page"].as_u64()? + 1)
                }
                _ => {
                    let total = body["total"].as_u64();
                    return Some((shown, total.and_then(|total| total.try_into().ok())));
                }
            };
        }
    }
}
