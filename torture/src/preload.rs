//! Libraries that daemons are started with: a disk that fails, and a clock that jumps.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The libraries that this machine has.
#[derive(Debug, Clone)]
pub struct Libraries {
    disk_errors: Option<PathBuf>,
    clock: Option<PathBuf>,
}

impl Libraries {
    /// Builds one into `folder`, and looks for the other. Says what is missing.
    pub fn find(folder: &Path) -> Self {
        let clock = clock();
        if clock.is_none() {
            eprintln!(
                "torture: WITHOUT jumps of the clock, for which libfaketime is needed: sudo apt-get install faketime"
            );
        }
        let disk_errors = build(folder)
            .inspect_err(|error| {
                eprintln!(
                    "torture: WITHOUT errors of the disk, for which a C compiler is needed: {error:#}"
                );
            })
            .ok();
        Self { disk_errors, clock }
    }
}

fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let library = folder.join("disk_errors.so");
    // Another run may be using the file.
    let fresh = folder.join(format!("disk_errors-{}.so", std::process::id()));
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&fresh)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/preload/disk_errors.c"
        ))
        .arg("-ldl")
        .status()
        .context("cc does not run")?;
    ensure!(status.success(), "cc failed: {status}");
    std::fs::rename(&fresh, &library)?;
    Ok(library.canonicalize()?)
}

/// Debian's libfaketime for programs with threads.
fn clock() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}

/// What a daemon was started with.
#[derive(Debug, Default)]
pub struct Preloaded {
    /// The file that decides which calls fail.
    disk_errors: Option<PathBuf>,
    /// The file with the difference between the daemon's clock and the machine's.
    clock: Option<PathBuf>,
}

/// `DiskErrors::calls`: fsync and fdatasync.
pub const SYNCS: u32 = 1;

/// Which calls fail.
#[derive(Debug, Clone, Copy)]
pub struct DiskErrors {
    pub errno: i32,
    pub one_of: u32,
    /// [`SYNCS`], 2: writes, 3: both.
    pub calls: u32,
}

impl Preloaded {
    /// Adds to a daemon's settings. `files` is for the control files, `database` the folder whose
    /// files fail.
    pub fn add(
        libraries: &Libraries,
        settings: &mut Vec<(&'static str, String)>,
        files: &Path,
        name: usize,
        database: Option<&Path>,
        has_clock: bool,
    ) -> anyhow::Result<Self> {
        let mut preloaded = Self::default();
        let mut loaded = Vec::new();
        if let (Some(library), Some(database)) = (&libraries.disk_errors, database) {
            let control = files.join(format!("disk-errors-{name}"));
            std::fs::write(&control, [0; 12])?;
            loaded.push(library.display().to_string());
            settings.push(("DISK_ERRORS_DIRECTORY", database.display().to_string()));
            settings.push(("DISK_ERRORS_CONTROL", control.display().to_string()));
            preloaded.disk_errors = Some(control);
        }
        if let (Some(library), true) = (&libraries.clock, has_clock) {
            let control = files.join(format!("clock-{name}"));
            std::fs::write(&control, "+0\n")?;
            loaded.push(library.display().to_string());
            settings.push(("FAKETIME_TIMESTAMP_FILE", control.display().to_string()));
            for (name, value) in [
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ("FAKETIME_CACHE_DURATION", "1"),
                ("NO_FAKE_STAT", "1"),
            ] {
                settings.push((name, value.to_owned()));
            }
            preloaded.clock = Some(control);
        }
        if !loaded.is_empty() {
            settings.push(("LD_PRELOAD", loaded.join(":")));
        }
        Ok(preloaded)
    }

    pub fn can_fail(&self) -> bool {
        self.disk_errors.is_some()
    }

    pub fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Makes calls fail from now on; `None`: no longer.
    pub fn fail(&self, errors: Option<DiskErrors>) -> anyhow::Result<()> {
        use std::os::unix::fs::FileExt as _;

        let Some(file) = &self.disk_errors else {
            return Ok(());
        };
        let numbers = errors.map_or([0; 3], |errors| {
            [errors.errno.unsigned_abs(), errors.one_of, errors.calls]
        });
        let bytes = numbers.map(u32::to_ne_bytes).concat();
        // The daemon maps the file, so it must not be replaced.
        let file = std::fs::File::options().write(true).open(file)?;
        Ok(file.write_all_at(&bytes, 0)?)
    }

    /// Sets the daemon's clock, which notices that within two seconds.
    pub fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        if let Some(file) = &self.clock {
            let fresh = file.with_extension("fresh");
            std::fs::write(&fresh, format!("{seconds:+}\n"))?;
            std::fs::rename(fresh, file)?;
        }
        Ok(())
    }
}
