//! A small file system that fills up.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Its size. The database of a round is much smaller.
const MEGABYTES: usize = 64;

#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one. That takes root.
    pub fn mount() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("todoctl-torture-disk-")
            .tempdir()?
            .keep();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={MEGABYTES}m,mode=0755"))
            .arg("todoctl-torture")
            .arg(&folder)
            .status()
            .context("mount does not run")?;
        ensure!(status.success(), "mount failed: {status}");
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
