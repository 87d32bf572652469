//! A disk that fails: syncs and writes of the database's files return errors.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use crate::support::process::{Process, SERVICE_TOKEN, serve, with_secrets};
use crate::support::{blocking_http_client, sqlite_dir};

const EIO: u32 = 5;
const ENOSPC: u32 = 28;
const SYNCS: u32 = 1;
const WRITES: u32 = 2;

/// Decides what fails (`torture/preload/disk_errors.c`).
struct Disk {
    directory: PathBuf,
    control: PathBuf,
    library: PathBuf,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        let directory = folder.join("files");
        std::fs::create_dir(&directory).unwrap();
        let control = folder.join("control");
        std::fs::write(&control, [0; 12]).unwrap();
        let library = folder.join("disk_errors.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("torture/preload/disk_errors.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(compiled.unwrap().success());
        Self {
            directory,
            control,
            library,
        }
    }

    fn fail(&self, errno: u32, calls: u32) {
        let control = std::fs::File::options().write(true).open(&self.control);
        let bytes = [errno, 1, calls].map(u32::to_ne_bytes).concat();
        control.unwrap().write_all_at(&bytes, 0).unwrap();
    }

    fn daemon(&self) -> Process {
        let file = self.directory.join("todo.db");
        let mut command = serve(&self.directory);
        with_secrets(&mut command)
            .env("DATABASE_URL", format!("sqlite://{}", file.display()))
            .env("LD_PRELOAD", &self.library)
            .env("DISK_ERRORS_DIRECTORY", &self.directory)
            .env("DISK_ERRORS_CONTROL", &self.control);
        Process::start(&mut command)
    }
}

/// Status of a change of `title`, and whether it says when to come back.
fn change(base: &str, method: Method, path: &str, title: &str) -> (u16, bool) {
    let answer = blocking_http_client()
        .request(method, format!("{base}{path}"))
        .bearer_auth(SERVICE_TOKEN)
        .header("X-User-ID", "me")
        .json(&json!({ "title": title }))
        .send()
        .unwrap();
    (
        answer.status().as_u16(),
        answer.headers().contains_key("retry-after"),
    )
}

fn titles(base: &str) -> Vec<String> {
    let answer = blocking_http_client()
        .get(format!("{base}/tasks/"))
        .bearer_auth(SERVICE_TOKEN)
        .header("X-User-ID", "me")
        .send()
        .unwrap();
    let list: serde_json::Value = answer.json().unwrap();
    let tasks = list["tasks"].as_array().unwrap();
    tasks
        .iter()
        .map(|task| task["title"].as_str().unwrap().to_owned())
        .collect()
}

/// 10.36: changes that the disk refuses are 503, and are not there afterwards, also not after a
/// crash.
#[rstest]
fn what_the_disk_refuses(
    #[values(EIO, ENOSPC)] errno: u32,
    #[values(SYNCS, WRITES)] calls: u32,
    #[values(true, false)] crashes: bool,
) {
    let folder = sqlite_dir();
    let disk = Disk::new(folder.path());
    let mut daemon = disk.daemon();
    let mut base = daemon.base();
    assert_eq!(change(&base, Method::POST, "/tasks/", "first").0, 201);

    disk.fail(errno, calls);
    let refused = (503, true);
    assert_eq!(change(&base, Method::POST, "/tasks/", "refused"), refused);
    assert_eq!(change(&base, Method::PUT, "/tasks/1", "renamed"), refused);
    assert_eq!(change(&base, Method::DELETE, "/tasks/1", ""), refused);
    disk.fail(0, calls);

    if crashes {
        daemon.kill();
        daemon = disk.daemon();
        base = daemon.base();
    }
    assert_eq!(titles(&base), ["first"]);
    assert_eq!(change(&base, Method::POST, "/tasks/", "second").0, 201);
    let mut now = titles(&base);
    now.sort();
    assert_eq!(now, ["first", "second"]);
    daemon.stop();
}
