//! Requests that read tasks: by id, and in lists of all kinds.

use std::fmt::Write as _;

use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::fold::respell;
use crate::ledger::{Action, Filter, Outcome, Position, Seen, Start};
use crate::round::{Known, text_of};
use crate::workload::Worker;

/// The most pages that a client follows a cursor.
const PAGES: usize = 6;

impl Worker {
    /// Reads a task, now and then only if it is another one than the client knows.
    pub(crate) async fn read(&mut self, task: &Known) {
        self.sent += 1;
        let id = task.seen.id;
        let mut request = self.request("GET", &format!("/tasks/{id}"), None);
        let etag = task.etag.clone().filter(|_| self.rng.u8(..3) == 0);
        let known = etag.clone().map(|etag| {
            request.headers.push(("If-None-Match", etag));
            task.seen.clone()
        });
        let (_, head, body) = self
            .perform_and_show(Action::Read { id, known }, &request)
            .await;
        if etag.is_some() && head.etag == etag && !body.is_null() {
            let text = format!("{body} although the client has {etag:?}");
            self.round.ledger.complain(text);
        }
    }

    /// A list of any kind.
    pub(crate) async fn some_list(&mut self, task: &Known) {
        let any = Filter::default();
        let page = self.rng.i64(1..4);
        match self.rng.u8(..10) {
            0..2 => drop(self.list(any, Start::Page(1), 20).await),
            2 => drop(self.list(any, Start::Page(1), 1000).await),
            3 => drop(self.list(any, Start::Page(page), 5).await),
            4..6 => self.walk(any).await,
            6..8 => {
                let search = Filter {
                    search: Some(task.seen.view.title.clone()),
                    completed: (self.rng.u8(..4) == 0).then_some(task.seen.view.completed),
                    ..any
                };
                self.list(search, Start::Page(1), 50).await;
            }
            _ => {
                let filter = self.filter(task);
                if self.rng.bool() {
                    self.walk(filter).await;
                } else {
                    let limit = self.rng.usize(2..30);
                    self.list(filter, Start::Page(page), limit).await;
                }
            }
        }
    }

    /// Which the task passes, as the client knows it.
    fn filter(&mut self, task: &Known) -> Filter {
        let view = &task.seen.view;
        let priority = ["Low", "Medium", "High", "Urgent"]
            .into_iter()
            .find(|one| *one == view.priority);
        let dues = self.round.dues;
        let due = view.due.filter(|due| *due == dues.past || *due == dues.far);
        match self.rng.u8(..4) {
            0 => Filter {
                completed: Some(view.completed),
                ..Filter::default()
            },
            1 => Filter {
                priority,
                ..Filter::default()
            },
            2 => Filter {
                due,
                ..Filter::default()
            },
            _ => Filter {
                completed: Some(view.completed),
                priority,
                due,
                search: None,
            },
        }
    }

    /// Follows the cursors of a list.
    async fn walk(&mut self, filter: Filter) {
        let limit = self.rng.usize(1..8);
        let mut cursor = String::new();
        let mut after: Option<Position> = None;
        for _ in 0..PAGES {
            let path = format!("{}&cursor={cursor}", self.query(&filter, limit));
            let start = Start::Cursor(after);
            let (outcome, body) = self.list_at(&path, filter.clone(), start, limit).await;
            let (Outcome::Listed { seen, .. }, Some(next)) =
                (outcome, body["next_cursor"].as_str())
            else {
                return;
            };
            after = seen.last().map(Seen::position);
            next.clone_into(&mut cursor);
        }
    }

    pub(crate) async fn list(&mut self, filter: Filter, start: Start, limit: usize) -> Outcome {
        let mut path = self.query(&filter, limit);
        if let Start::Page(page @ 2..) = start {
            let _ = write!(path, "&page={page}");
        }
        self.list_at(&path, filter, start, limit).await.0
    }

    async fn list_at(
        &mut self,
        path: &str,
        filter: Filter,
        start: Start,
        limit: usize,
    ) -> (Outcome, Value) {
        self.sent += 1;
        let request = self.request("GET", path, None);
        let action = Action::List {
            filter,
            start,
            limit,
        };
        let (outcome, _, body) = self.perform_and_show(action, &request).await;
        (outcome, body)
    }

    /// The path of a list; a text to search for is spelled in either way.
    pub(crate) fn query(&mut self, filter: &Filter, limit: usize) -> String {
        let mut path = format!("/tasks/?limit={limit}");
        if let Some(text) = &filter.search {
            let text = if self.rng.bool() {
                respell(text)
            } else {
                text.clone()
            };
            path += "&search=";
            path.extend(byte_serialize(text.as_bytes()));
        }
        if let Some(completed) = filter.completed {
            let _ = write!(path, "&completed={completed}");
        }
        if let Some(priority) = filter.priority {
            let _ = write!(path, "&priority={priority}");
        }
        if let Some(due) = filter.due {
            let day = &text_of(due)[..10];
            let _ = write!(path, "&due_before={day}&due_after={day}");
        }
        path
    }
}
