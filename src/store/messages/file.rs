//! Messages of SQLite and of the system about its file.

use crate::config::Remedy;

use super::entry::{ConnectFault, KnownMessage, Retry};

pub(super) static FILE: &[KnownMessage] = &[
    KnownMessage {
        id: "sqlite.not-a-database",
        fault: ConnectFault::NotADatabase,
        patterns: &["file is not a database", "file is not a sqlite database"],
        codes: &[],
        meaning: "The file is not a SQLite database, or it is encrypted",
        retry: Retry::No,
        remedy: |at| at.not_a_database(),
    },
    KnownMessage {
        id: "sqlite.cannot-open",
        fault: ConnectFault::CannotOpen,
        patterns: &["unable to open database file"],
        codes: &[],
        meaning: "The file or its directory is missing, or this user may not open it",
        retry: Retry::No,
        remedy: |at| at.writable_directory(),
    },
    KnownMessage {
        id: "sqlite.read-only",
        fault: ConnectFault::ReadOnly,
        patterns: &[
            "attempt to write a readonly database",
            "readonly database",
            "permission denied (os error",
            "read-only file system",
        ],
        codes: &[],
        meaning: "This user may not write the file or its directory",
        retry: Retry::No,
        remedy: |at| at.writable_directory(),
    },
    KnownMessage {
        id: "sqlite.busy",
        fault: ConnectFault::Busy,
        patterns: &["database is locked", "database table is locked"],
        codes: &[],
        meaning: "Another process holds the lock on the file",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(
                "this shows the process that holds it; wait until it has finished, or stop it:",
            )
            .then(at.file().map(|file| Remedy::command("fuser -v").arg(file)))
        },
    },
    KnownMessage {
        id: "sqlite.disk-full",
        fault: ConnectFault::DiskFull,
        patterns: &[
            "database or disk is full",
            "no space left on device",
            "disk quota exceeded",
        ],
        codes: &[],
        meaning: "The disk is full",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note(format!(
                "free some space on the disk that holds {}",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "sqlite.io",
        fault: ConnectFault::Other,
        patterns: &["disk i/o error"],
        codes: &[],
        meaning: "The system refused to read or write the file: its disk is failing or was removed, a quota is used up, or a network file system does not answer",
        retry: Retry::Later,
        remedy: |at| {
            Remedy::note("the kernel's log (dmesg) tells of errors of the disk, quota -u of a quota; this tells whether the disk is still there:")
                .then(at.file().map(|file| Remedy::command("df -h").arg(file)))
        },
    },
    KnownMessage {
        id: "sqlite.locking-protocol",
        fault: ConnectFault::Other,
        patterns: &["locking protocol"],
        codes: &[],
        meaning: "The file system does not lock files as SQLite needs it, as network file systems and shared folders do not",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "stop the daemon, move {} and the files beside it to a local disk, and let DATABASE_URL name it there",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "sqlite.malformed",
        fault: ConnectFault::Corrupt,
        patterns: &["database disk image is malformed"],
        codes: &[],
        meaning: "The file is damaged: by a crash on a network file system, or because it was copied while it was written",
        retry: Retry::No,
        remedy: |at| at.rescue(),
    },
    KnownMessage {
        id: "sqlite.malformed-schema",
        fault: ConnectFault::Corrupt,
        patterns: &["malformed database schema"],
        codes: &[],
        meaning: "An entry of the schema cannot be read, so that the whole file cannot",
        retry: Retry::No,
        remedy: |at| at.rescue(),
    },
    KnownMessage {
        id: "sqlite.lost",
        fault: ConnectFault::Lost,
        patterns: &[
            "the database file is missing, but files of a database are there",
            "the database file is missing, but * has a database of this name",
            "the database file is a link to * which does not exist",
            "the database file is missing: * is a link to * which does not exist",
            "the database file is missing: * is a mount point in",
            "the database file is empty, but its write-ahead log",
            "the database file is empty, but * says that it had tables",
        ],
        codes: &[],
        meaning: "The database file is gone, and other files show that there was one",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "move {} back to where it was, or restore a backup of it",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "sqlite.other-journal",
        fault: ConnectFault::OtherJournal,
        patterns: &["the rollback journal * is of another state of"],
        codes: &[],
        meaning: "A rollback journal that was left by another copy of the file is beside it; SQLite would damage the file with it",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note(format!(
                "stop the daemon, and move the file beside {} whose name ends with -journal to another name",
                at.name()
            ))
        },
    },
    KnownMessage {
        id: "sqlite.created-empty",
        fault: ConnectFault::Other,
        patterns: &["created a new, empty database"],
        codes: &[],
        meaning: "The daemon has found no database where DATABASE_URL leads, and has made one; if the service had tasks, they are elsewhere, as on a volume that was not mounted",
        retry: Retry::No,
        remedy: |at| {
            Remedy::note("if the service had tasks, stop the daemon, and look for them before it is used: findmnt and /etc/fstab show whether a mount is missing; this shows what else is known:")
                .then(Remedy::command("todoctl doctor --only database"))
                .then(at.file().map(|file| Remedy::command("findmnt -T").arg(file)))
        },
    },
    KnownMessage {
        id: "system.no-threads",
        fault: ConnectFault::NoThreads,
        patterns: &["resource temporarily unavailable (os error 11)"],
        codes: &[],
        meaning: "The daemon's user, unit or container may not start more threads",
        retry: Retry::No,
        remedy: |_| {
            Remedy::note("raise the limit where the daemon is started: TasksMax=512 and LimitNPROC=4096 in the unit file, docker run --pids-limit 512 --ulimit nproc=4096, or ulimit -u in its script; a user's limit counts its other programs, too, and this shows how many threads each has:")
                .then(Remedy::command("ps -eo user,nlwp,pid,comm --sort=-nlwp"))
        },
    },
    KnownMessage {
        id: "sqlite.replaced",
        fault: ConnectFault::Other,
        patterns: &["was deleted or replaced while the daemon had it open"],
        codes: &[],
        meaning: "The database file was deleted or replaced while the daemon had it open; what it wrote would be lost",
        retry: Retry::No,
        remedy: |at| at.copy_open_file(),
    },
];
