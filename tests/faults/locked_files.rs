//! SQLite files that another process has locked, or that have grown.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::faults::harness::{After, Fault, Scene, Symptom, faults};

faults! {
    LOCKED_FILE = Fault {
        title: "Another process has the SQLite file locked for writing",
        symptom: Symptom::Answer { method: "POST", path: "/tasks/", status: 503 },
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCKED_FILE_WITHOUT_LOG = Fault {
        title: "Another process has a SQLite file without write-ahead log locked for writing",
        symptom: Symptom::Risk("every change is answered with 503"),
        check: "database.locks",
        outcome: "fail",
        after: After::Typed("pass"),
    };
    LOCKED_MIGRATION = Fault {
        title: "Another process keeps the lock for migrations of a SQLite file",
        symptom: Symptom::Risk("`todoctl serve` does not start"),
        check: "database.locks",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    ENDLESS_READER = Fault {
        title: "A reader keeps the write-ahead log of a SQLite file from being emptied",
        symptom: Symptom::Risk("the log grows, and reads slow down"),
        check: "database.wal",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    EMPTY_PAGES = Fault {
        title: "Most of a large SQLite file is empty",
        symptom: Symptom::Risk("disk space is missing elsewhere"),
        check: "database.size",
        outcome: "warn",
        after: After::Typed("pass"),
    };
    NO_INODES = Fault {
        title: "The file system of the SQLite file has no inodes left",
        symptom: Symptom::Risk("SQLite cannot create its log"),
        check: "database.disk",
        outcome: "fail",
        after: After::Person("files have to be removed, or the file system made larger"),
    };
}

/// Debian's `sqlite3` with a file open.
struct Shell(Child);

impl Shell {
    fn open(file: &Path) -> Self {
        let child = Command::new("sqlite3")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sqlite3 is installed: `sudo apt-get install sqlite3`");
        Self(child)
    }

    /// Types lines and waits until they are done.
    fn run(&mut self, lines: &str) {
        use std::io::{BufRead as _, BufReader};
        let input = self.0.stdin.as_mut().unwrap();
        writeln!(input, "{lines}\nSELECT 'done';").unwrap();
        let output = self.0.stdout.as_mut().unwrap();
        let mut lines = BufReader::new(output).lines();
        let is_done = lines.any(|line| line.unwrap() == "done");
        assert!(is_done, "sqlite3 ended");
    }

    /// As Ctrl-Z does.
    fn suspend(&self) {
        let status = Command::new("kill")
            .args(["-STOP", &self.0.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    fn has_ended(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(200));
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A person's shell, or a script, in a transaction: every change of the daemon fails.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_writes() {
    let mut scene = Scene::sqlite().await;
    scene.start();
    scene
        .doctor("database.locks")
        .says("database.locks", "pass", "");
    let mut shell = Shell::open(&scene.file());
    shell.run("BEGIN IMMEDIATE;");
    scene.proves(&LOCKED_FILE).await;
    assert!(shell.has_ended());
}

/// As a backup holds it: changes wait, and succeed.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_writes_for_three_seconds() {
    let scene = Scene::sqlite().await;
    let mut shell = Shell::open(&scene.file());
    shell.run("BEGIN IMMEDIATE;");
    let ended = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(3));
        shell.run("COMMIT;");
    });
    let report = scene.doctor("database.locks");
    report.says("database.locks", "pass", "");
    let detail = report.detail("database.locks");
    assert!(
        detail.contains("(sqlite3) had locked the database"),
        "{detail}"
    );
    ended.join().unwrap();
}

/// And that is suspended, so that SIGTERM alone does not end it.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_writes_without_a_log() {
    let mut scene = Scene::sqlite().await;
    let mut shell = Shell::open(&scene.file());
    shell.run("PRAGMA journal_mode = DELETE;\nBEGIN IMMEDIATE;");
    shell.suspend();
    scene.proves(&LOCKED_FILE_WITHOUT_LOG).await;
    assert!(shell.has_ended());
}

/// As some editors open a database: nobody else can read it.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_that_keeps_the_file_to_itself() {
    const CHECK: &str = "database.login";
    let scene = Scene::sqlite().await;
    let mut shell = Shell::open(&scene.file());
    shell.run("PRAGMA locking_mode = EXCLUSIVE;\nBEGIN EXCLUSIVE;\nCOMMIT;");
    let report = scene.doctor(CHECK);
    report.says(CHECK, "fail", "&& kill ");
    let remedy = report.check(CHECK)["remedy"].as_str().unwrap();
    assert!(scene.type_in(remedy).status.success(), "{remedy}");
    assert!(shell.has_ended());
    scene.doctor(CHECK).says(CHECK, "pass", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_for_migrations() {
    let mut scene = Scene::sqlite().await;
    let child = Command::new("python3")
        .arg("-c")
        .arg("import fcntl, sys; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); print('done', flush=True); sys.stdin.read()")
        .arg(scene.file().with_extension("db-migrate.lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut holder = Shell(child);
    holder.run("");
    scene.proves(&LOCKED_MIGRATION).await;
    assert!(holder.has_ended());
}

const FILLER: &str =
    "CREATE TABLE filler (x);\nINSERT INTO filler VALUES (zeroblob(70000000));\nDROP TABLE filler;";

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_holds_back_the_log() {
    let mut scene = Scene::sqlite().await;
    let mut reader = Shell::open(&scene.file());
    reader.run("BEGIN;\nSELECT count(*) FROM tasks;");
    reader.suspend();
    let mut writer = Shell::open(&scene.file());
    writer.run(FILLER);
    let report = scene.doctor("database.wal");
    let detail = report.detail("database.wal");
    assert!(
        detail.contains(
            "(sqlite3), which is suspended (Ctrl-Z, SIGSTOP), reads from it all the time"
        ),
        "{detail}"
    );
    scene.proves(&ENDLESS_READER).await;
    assert!(reader.has_ended() && !writer.has_ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_mostly_empty() {
    let mut scene = Scene::sqlite().await;
    scene
        .doctor("database.size")
        .says("database.size", "pass", "");
    let mut shell = Shell::open(&scene.file());
    shell.run(FILLER);
    shell.run("PRAGMA wal_checkpoint(TRUNCATE);");
    drop(shell);
    scene.proves(&EMPTY_PAGES).await;
    assert!(std::fs::metadata(scene.file()).unwrap().len() < 10_000_000);
}

/// A file system in memory, taken away with its value.
pub struct Mounted(std::path::PathBuf);

impl Mounted {
    /// Mounts it where the scene has its database, which it then has too.
    pub fn below(scene: &Scene, options: &str) -> Self {
        let data = scene.path().join("data");
        let copy = scene.path().join("copy");
        std::fs::rename(&data, &copy).unwrap();
        std::fs::create_dir(&data).unwrap();
        let mounted = Self(data.clone());
        mounted.mount(options);
        for entry in std::fs::read_dir(&copy).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
            }
        }
        std::fs::remove_dir_all(copy).unwrap();
        mounted
    }

    fn mount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(
            status.success(),
            "this test mounts a file system and may not"
        );
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_inodes() {
    let mut scene = Scene::sqlite().await;
    let disk = Mounted::below(&scene, "size=600m,nr_inodes=200,mode=700");
    scene
        .doctor("database.disk")
        .says("database.disk", "pass", "");
    for number in 0..190 {
        let _ = std::fs::write(disk.0.join(format!("upload-{number}")), "");
    }
    scene.proves(&NO_INODES).await;
    disk.mount("remount,nr_inodes=2000");
    scene.proves_gone(&NO_INODES);
}

/// As the kernel leaves a disk after errors.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_read_only() {
    let scene = Scene::sqlite().await;
    let disk = Mounted::below(&scene, "size=600m,mode=700");
    let before = std::fs::read(scene.file()).unwrap();
    disk.mount("remount,ro");
    let report = scene.doctor("database.directory");
    report.says("database.directory", "fail", "mount -o remount,rw");
    let detail = report.detail("database.directory");
    assert!(detail.contains("is mounted read-only"), "{detail}");
    let typed = scene.type_in(
        report.check("database.directory")["remedy"]
            .as_str()
            .unwrap(),
    );
    assert!(typed.status.success());
    scene
        .doctor("database.directory")
        .says("database.directory", "pass", "");
    assert!(
        std::fs::read(scene.file()).unwrap() == before,
        "the file changed"
    );
}
