//! A daemon at work, recorded.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::http_client;
use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};

const CLIENTS: usize = 6;

/// The requests of a client in each of the daemon's two runs.
const ROUNDS: usize = 5;

/// What the daemon did to a file of the database, or sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Write {
        inode: u64,
        path: String,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        inode: u64,
        path: String,
        size: usize,
    },
    Unlink {
        path: String,
    },
    SyncBegins {
        thread: u64,
        inode: u64,
        path: String,
    },
    SyncEnds {
        thread: u64,
        inode: u64,
        path: String,
        is_directory: bool,
    },
    /// The answer to a client's request of this number.
    Answer {
        client: usize,
        number: usize,
    },
}

/// A client's tasks: title and whether it is completed, in the order in which they were created.
pub type Tasks = Vec<(String, bool)>;

pub struct Recording {
    pub events: Vec<Event>,
    /// Of each client, its tasks before its first request and after each one.
    pub states: Vec<Vec<Tasks>>,
}

/// The requests of a client, whose answers are known before, and its tasks.
struct Client {
    name: String,
    base: String,
    http: reqwest::Client,
    tasks: Vec<(i64, String, bool)>,
    states: Vec<Tasks>,
}

impl Client {
    /// Sends a request and checks the status; the body of the answer.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
        status: u16,
    ) -> Value {
        let number = self.states.len() - 1;
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(SERVICE_TOKEN)
            .header("X-User-ID", &self.name)
            .header("X-Request-ID", format!("power-{}-{number}", self.name))
            .json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{} {number}", self.name);
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    fn done(&mut self) {
        let tasks = self
            .tasks
            .iter()
            .map(|(_, title, completed)| (title.clone(), *completed));
        self.states.push(tasks.collect());
    }

    async fn create(&mut self, title: &str, key: &[(&str, &str)]) {
        let body = json!({ "title": title, "description": "text of some length ".repeat(40) });
        let task = self.send(Method::POST, "/tasks/", key, body, 201).await;
        let id = task["id"].as_i64().unwrap();
        if self.tasks.iter().all(|(known, ..)| *known != id) {
            self.tasks.push((id, title.to_owned(), false));
        }
        self.done();
    }

    async fn refused(&mut self, method: Method, path: &str, headers: &[(&str, &str)], status: u16) {
        let body = json!({ "title": if status == 422 { " " } else { "refused" } });
        self.send(method, path, headers, body, status).await;
        self.done();
    }

    async fn run(mut self, run: usize) -> Self {
        for round in 0..ROUNDS {
            let title = format!("{} {run} {round}", self.name);
            self.create(&title, &[]).await;
            let key = title.replace(' ', "-");
            let key = [("Idempotency-Key", key.as_str())];
            self.create(&format!("{title} once"), &key).await;
            self.create(&format!("{title} once"), &key).await;
            self.refused(Method::POST, "/tasks/", &[], 422).await;
            let last = self.tasks.len() - 1;
            let path = format!("/tasks/{}", self.tasks[last].0);
            self.refused(Method::PUT, &path, &[("If-Match", "\"other\"")], 412)
                .await;
            self.refused(Method::PUT, "/tasks/999999999", &[], 404)
                .await;
            let renamed = format!("{title} renamed");
            self.send(Method::PUT, &path, &[], json!({ "title": renamed }), 200)
                .await;
            self.tasks[last].1 = renamed;
            self.done();
            self.send(Method::PATCH, &path, &[], json!({ "completed": true }), 200)
                .await;
            self.tasks[last].2 = true;
            self.done();
            if round % 2 == 1 {
                let first = self.tasks.remove(0).0;
                self.send(
                    Method::DELETE,
                    &format!("/tasks/{first}"),
                    &[],
                    json!({}),
                    204,
                )
                .await;
                self.done();
            }
        }
        self
    }
}

/// Records a daemon that creates its database, is stopped, and is started again. Several clients
/// write at the same time.
pub async fn record() -> Recording {
    let directory = crate::support::sqlite_dir();
    let folder = std::fs::canonicalize(directory.path()).unwrap();
    let library = build_recorder(&folder);
    let log = folder.join("recording");
    let files = folder.join("database");
    std::fs::create_dir(&files).unwrap();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| Client {
            name: number.to_string(),
            base: String::new(),
            http: http_client().build().unwrap(),
            tasks: Vec::new(),
            states: vec![Vec::new()],
        })
        .collect();
    for run in 0..2 {
        let mut command = serve(&folder);
        with_secrets(&mut command)
            .env(
                "DATABASE_URL",
                format!("sqlite://{}/todo.db", files.display()),
            )
            .env("LD_PRELOAD", &library)
            .env("RECORDER_DIRECTORY", &files)
            .env("RECORDER_LOG", &log);
        let mut daemon = Process::start(&mut command);
        let base = daemon.base();
        for client in &mut clients {
            client.base.clone_from(&base);
        }
        clients = join_all(clients.into_iter().map(|client| client.run(run))).await;
        if run == 0 {
            daemon.stop();
        } else {
            daemon.kill();
        }
    }
    let events = parse(&std::fs::read(&log).unwrap(), &files);
    let states: Vec<_> = clients.into_iter().map(|client| client.states).collect();
    let answered = events
        .iter()
        .filter(|event| matches!(event, Event::Answer { .. }))
        .count();
    let sent: usize = states.iter().map(|states| states.len() - 1).sum();
    assert_eq!(answered, sent, "every answer is recorded");
    Recording { events, states }
}

fn build_recorder(folder: &Path) -> PathBuf {
    let library = folder.join("recorder.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/recorder.c");
    let status = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o",
        ])
        .args([&library, &source])
        .status();
    assert!(status.unwrap().success(), "the recorder compiles");
    library
}

/// Reads the recorder's file; the shared memory of SQLite needs no durability.
fn parse(mut rest: &[u8], files: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((kind, behind)) = rest.split_first() {
        let mut behind = behind;
        let mut take = |length: usize| {
            let (part, after) = behind.split_at(length);
            behind = after;
            part
        };
        let mut number = || u64::from_ne_bytes(take(8).try_into().unwrap());
        let (thread, inode) = (number(), number());
        let size = |number: u64| usize::try_from(number).unwrap();
        let (offset, path, data) = (size(number()), size(number()), size(number()));
        let path = String::from_utf8(take(path).to_vec()).unwrap();
        let data = take(data);
        rest = behind;
        if path.ends_with("-shm") {
            continue;
        }
        let is_directory = Path::new(&path) == files;
        events.push(match kind {
            b'W' => Event::Write {
                inode,
                path,
                offset,
                data: data.to_vec(),
            },
            b'T' => Event::Truncate {
                inode,
                path,
                size: offset,
            },
            b'U' => Event::Unlink { path },
            b'S' => Event::SyncBegins {
                thread,
                inode,
                path,
            },
            b'E' => Event::SyncEnds {
                thread,
                inode,
                path,
                is_directory,
            },
            b'A' => match answer(data) {
                Some((client, number)) => Event::Answer { client, number },
                None => continue,
            },
            other => panic!("a record of the kind {other}"),
        });
    }
    events
}

/// Client and number of the request that an answer names.
fn answer(head: &[u8]) -> Option<(usize, usize)> {
    let head = String::from_utf8_lossy(head);
    let (_, id) = head.split_once("x-request-id: power-")?;
    let (client, number) = id.lines().next()?.split_once('-')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}
