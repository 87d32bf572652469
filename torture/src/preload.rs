//! Libraries that daemons are started with: a disk that fails, and a clock that jumps.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The libraries, if this machine can compile them.
#[derive(Debug, Clone)]
pub struct Libraries(Option<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    disk_errors: PathBuf,
    clock: PathBuf,
}

impl Libraries {
    /// Compiles them into `folder`. Says what is left out if that fails.
    pub fn compile(folder: &Path) -> Self {
        let compiled = compile(folder, "disk_errors").and_then(|disk_errors| {
            let clock = compile(folder, "clock")?;
            Ok(Compiled { disk_errors, clock })
        });
        let compiled = compiled.inspect_err(|error| {
            eprintln!(
                "torture: WITHOUT errors of the disk and jumps of the clock, for which a C compiler is needed: {error:#}"
            );
        });
        Self(compiled.ok())
    }
}

fn compile(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let library = folder.join(name).with_extension("so");
    // Another run may be using the file.
    let fresh = folder.join(format!("{name}-{}.so", std::process::id()));
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/preload"));
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&fresh)
        .arg(sources.join(name).with_extension("c"))
        .arg("-ldl")
        .status()
        .context("cc does not run")?;
    ensure!(status.success(), "cc failed: {status}");
    std::fs::rename(&fresh, &library)?;
    Ok(library.canonicalize()?)
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
        let Libraries(Some(libraries)) = libraries else {
            return Ok(preloaded);
        };
        if let Some(database) = database {
            let control = files.join(format!("disk-errors-{name}"));
            std::fs::write(&control, [0; 12])?;
            loaded.push(libraries.disk_errors.display().to_string());
            settings.push(("DISK_ERRORS_DIRECTORY", database.display().to_string()));
            settings.push(("DISK_ERRORS_CONTROL", control.display().to_string()));
            preloaded.disk_errors = Some(control);
        }
        if has_clock {
            let control = files.join(format!("clock-{name}"));
            std::fs::write(&control, 0_i64.to_ne_bytes())?;
            loaded.push(libraries.clock.display().to_string());
            settings.push(("CLOCK_CONTROL", control.display().to_string()));
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
        let numbers = errors.map_or([0; 3], |errors| {
            [errors.errno.unsigned_abs(), errors.one_of, errors.calls]
        });
        let bytes = numbers.map(u32::to_ne_bytes).concat();
        overwrite(self.disk_errors.as_deref(), &bytes)
    }

    /// Sets the daemon's clock, in seconds ahead of the machine's.
    pub fn set_clock(&self, ahead: i64) -> anyhow::Result<()> {
        overwrite(self.clock.as_deref(), &ahead.to_ne_bytes())
    }
}

/// The daemon maps the file, so it must not be replaced.
fn overwrite(file: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::FileExt as _;

    let Some(file) = file else {
        return Ok(());
    };
    let file = std::fs::File::options().write(true).open(file)?;
    Ok(file.write_all_at(bytes, 0)?)
}
