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
    pub fn pgbench(self) -> Option<(&'static str, &'static [&'static str])> {
        const FAR: &str = "timestamptz '2100-01-01'";
        const TASK: &str =
            "\\set n random(0, :tasks - 1)\n\\set id :n + 1\n\\set owner 1000 + mod(:n, :users)\n";
        const USER: &str = "\\set owner random(1000, 1000 + :users - 1)\n";
        match self {
            Self::Point => Some((TASK, &[":id", ":owner"])),
            Self::List20 => Some((USER, &[":owner", "20", "0"])),
            Self::List200 => Some((USER, &[":owner", "200", "0"])),
            Self::Create => Some((
                USER,
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
                "\\set n random(0, :tasks - 1)\n\\set id :n + 1\n\\set owner 1000 + mod(:n, :users)\n\\set completed random(0, 1)\n",
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
            // Each task is deleted once: a client's variables live as long as it does.
            Self::Delete => Some((
                "\\set turn :turn + 1\n\\set n :turn * :clients + :client_id\n\\set id :n + 1\n\\set owner 1000 + mod(:n, :users)\n",
                &[":id", ":owner", FAR],
            )),
            Self::Search | Self::Mixed | Self::Auth | Self::Live => None,
        }
    }
}

/// The requests of one workload.
pub struct Stream<'a> {
    pub workload: Workload,
    pub tasks: u64,
    pub users: u64,
    pub credentials: &'a Credentials,
    deleted: AtomicU64,
}

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
        let owner = n % self.users;
        let id = n + 1;
        match workload {
            Workload::Point => self.request(into, "GET", format_args!("/tasks/{id}"), owner, ""),
            Workload::List20 => {
                self.request(into, "GET", format_args!("/tasks/?limit=20"), owner, "");
            }
            Workload::List200 => {
                self.request(into, "GET", format_args!("/tasks/?limit=200"), owner, "");
            }
            Workload::Search => self.request(
                into,
                "GET",
                format_args!("/tasks/?search=task+{n}&limit=20"),
                owner,
                "",
            ),
            Workload::Create => {
                self.request(into, "POST", format_args!("/tasks/"), owner, NEW_TASK);
                return Some(201);
            }
            Workload::Complete => {
                let body = if fastrand::bool() {
                    r#"{"completed": true}"#
                } else {
                    r#"{"completed": false}"#
                };
                self.request(into, "PATCH", format_args!("/tasks/{id}"), owner, body);
            }
            Workload::Delete => {
                self.request(into, "DELETE", format_args!("/tasks/{id}"), owner, "");
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
                self.request(into, "GET", format_args!("/tasks/0"), owner, "");
                return Some(404);
            }
            Workload::Live => {
                into.extend_from_slice(b"GET /health/live HTTP/1.1\r\nHost: bench\r\n\r\n");
            }
        }
        Some(200)
    }

    fn request(
        &self,
        into: &mut Vec<u8>,
        method: &str,
        target: std::fmt::Arguments<'_>,
        owner: u64,
        body: &str,
    ) {
        let credentials = self.credentials.headers(owner);
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
}

impl Requests for Stream<'_> {
    fn next(&self, into: &mut Vec<u8>) -> Option<u16> {
        self.write(self.workload, into)
    }
}
