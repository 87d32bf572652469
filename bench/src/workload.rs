//! What is measured: requests, and what pgbench runs instead.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use serde::Serialize;

use crate::credentials::Credentials;
use crate::load::Requests;

/// The n-th task belongs to the user `FIRST_USER + n % users` and has the id `n + 1`.
pub const FIRST_USER: u64 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// GET of one task.
    Point,
    /// A page of 20 tasks and their number.
    List20,
    /// A page of 200 tasks and their number.
    List200,
    /// A page of the tasks with a text.
    Search,
    /// POST of a task.
    Create,
    /// PATCH of a task.
    Complete,
    /// DELETE of a task.
    Delete,
    /// 60 % point reads, 20 % pages of 20, 10 % creates, 10 % completes.
    Mixed,
    /// A request that ends with 404 after authentication.
    Auth,
    /// GET of /health/live: what HTTP alone costs.
    Live,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "point read",
            Self::List20 => "list 20",
            Self::List200 => "list 200",
            Self::Search => "search",
            Self::Create => "create",
            Self::Complete => "complete",
            Self::Delete => "delete",
            Self::Mixed => "mixed 80/20",
            Self::Auth => "authentication",
            Self::Live => "/health/live",
        }
    }

    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Complete | Self::Delete | Self::Mixed
        )
    }

    /// What pgbench sets before each statement, and what it has for the statement's parameters:
    /// those that vary as variables, the others as constants. `None`: pgbench does not run it.
    pub fn pgbench(self) -> Option<(&'static [&'static str], &'static [&'static str])> {
        const FAR: &str = "timestamptz '2100-01-01'";
        const RANDOM: &str = r"\set n random(0, :tasks - 1)";
        // Each task once: a client's variables live as long as it does.
        const NEXT: &str = "\\set turn :turn + 1\n\\set n :turn * :clients + :client_id";
        const TASK: &str = "\\set id :n + 1\n\\set owner 1000 + mod(:n, :users)";
        const USER: &str = r"\set owner random(1000, 1000 + :users - 1)";
        const COMPLETED: &str = r"\set completed random(0, 1)";
        match self {
            Self::Point => Some((&[RANDOM, TASK], &[":id", ":owner"])),
            Self::List20 => Some((&[USER], &[":owner", "20", "0"])),
            Self::List200 => Some((&[USER], &[":owner", "200", "0"])),
            Self::Create => Some((
                &[USER],
                &[
                    ":owner",
                    "'Water the plants'",
                    "'The ferns too'",
                    "'High'",
                    "NULL",
                    "now()",
                    "'water the plants'",
                    "'the ferns too'",
                    FAR,
                ],
            )),
            Self::Complete => Some((
                &[RANDOM, TASK, COMPLETED],
                &[
                    ":id",
                    ":owner",
                    "NULL::text",
                    "FALSE",
                    "NULL::text",
                    ":completed::text::boolean",
                    "NULL",
                    "FALSE",
                    "NULL::timestamptz",
                    "now()",
                    "NULL::text",
                    "NULL::text",
                    FAR,
                ],
            )),
            Self::Delete => Some((&[NEXT, TASK], &[":id", ":owner", FAR])),
            Self::Search | Self::Mixed | Self::Auth | Self::Live => None,
        }
    }
}

/// The requests of one workload.
pub struct Stream<'a> {
    workload: Workload,
    tasks: u64,
    users: u64,
    credentials: &'a Credentials,
    deleted: AtomicU64,
}

const COMPLETED: [&str; 2] = [r#"{"completed": false}"#, r#"{"completed": true}"#];

const NEW_TASK: &str =
    r#"{"title": "Water the plants", "description": "The ferns too", "priority": "High"}"#;

impl<'a> Stream<'a> {
    pub fn new(workload: Workload, tasks: u64, users: u64, credentials: &'a Credentials) -> Self {
        Self {
            workload,
            tasks,
            users,
            credentials,
            deleted: AtomicU64::new(0),
        }
    }

    fn write(&self, workload: Workload, into: &mut Vec<u8>) -> Option<u16> {
        let n = match workload {
            Workload::Delete => self.deleted.fetch_add(1, Ordering::Relaxed),
            _ => fastrand::u64(0..self.tasks),
        };
        if n >= self.tasks {
            return None;
        }
        let id = n + 1;
        let credentials = self.credentials.headers(n % self.users);
        let mut send = |method, target: std::fmt::Arguments<'_>, body| {
            request(into, method, target, credentials, body);
        };
        match workload {
            Workload::Point => send("GET", format_args!("/tasks/{id}"), ""),
            Workload::List20 => send("GET", format_args!("/tasks/?limit=20"), ""),
            Workload::List200 => send("GET", format_args!("/tasks/?limit=200"), ""),
            Workload::Search => {
                send("GET", format_args!("/tasks/?search=task+{n}&limit=20"), "");
            }
            Workload::Create => {
                send("POST", format_args!("/tasks/"), NEW_TASK);
                return Some(201);
            }
            Workload::Complete => {
                let completed = fastrand::bool();
                let body = COMPLETED[usize::from(completed)];
                send("PATCH", format_args!("/tasks/{id}"), body);
            }
            Workload::Delete => {
                send("DELETE", format_args!("/tasks/{id}"), "");
                return Some(204);
            }
            Workload::Mixed => {
                let part = match fastrand::u8(0..10) {
                    0..6 => Workload::Point,
                    6..8 => Workload::List20,
                    8 => Workload::Create,
                    _ => Workload::Complete,
                };
                return self.write(part, into);
            }
            Workload::Auth => {
                send("GET", format_args!("/tasks/0"), "");
                return Some(404);
            }
            Workload::Live => request(into, "GET", format_args!("/health/live"), "", ""),
        }
        Some(200)
    }
}

impl Requests for Stream<'_> {
    fn next(&self, into: &mut Vec<u8>) -> Option<u16> {
        self.write(self.workload, into)
    }
}

/// Creates the tasks of a database of SQLite. With one client, the n-th gets the id n + 1.
pub struct Seed<'a> {
    tasks: u64,
    users: u64,
    credentials: &'a Credentials,
    created: AtomicU64,
}

impl<'a> Seed<'a> {
    pub fn new(tasks: u64, users: u64, credentials: &'a Credentials) -> Self {
        Self {
            tasks,
            users,
            credentials,
            created: AtomicU64::new(0),
        }
    }
}

impl Requests for Seed<'_> {
    fn next(&self, into: &mut Vec<u8>) -> Option<u16> {
        let n = self.created.fetch_add(1, Ordering::Relaxed);
        if n >= self.tasks {
            return None;
        }
        let credentials = self.credentials.headers(n % self.users);
        let body = format!(
            r#"{{"title": "Task {n}", "description": "What there is to say about task {n}"}}"#
        );
        request(into, "POST", format_args!("/tasks/"), credentials, &body);
        Some(201)
    }
}

fn request(
    into: &mut Vec<u8>,
    method: &str,
    target: std::fmt::Arguments<'_>,
    credentials: &str,
    body: &str,
) {
    // Writing to a Vec does not fail.
    let _ = write!(
        into,
        "{method} {target} HTTP/1.1\r\nHost: bench\r\n{credentials}"
    );
    if !body.is_empty() {
        let length = body.len();
        let _ = write!(
            into,
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        );
    }
    let _ = write!(into, "\r\n{body}");
}
