//! A loop device over a file in memory, so that the tracers' cost is not hidden behind a slow disk.
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell;

/// The device's size.
const FILE_BYTES: u64 = 256 << 20;

/// The file, blktrace's output and the tracer's runs.
const TMPFS_OPTIONS: &str = "size=3g,mode=0700";

/// A tmpfs of its own; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(super) fn mount() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
        fs::create_dir(&folder)
            .with_context(|| format!("{} could not be created", folder.display()))?;
        let mut mount = shell::command("mount");
        mount
            .args(["-t", "tmpfs", "-o", TMPFS_OPTIONS, "tracer-bench"])
            .arg(&folder);
        let mounted = shell::output(&mut mount).context("no tmpfs could be mounted");
        if mounted.is_err() {
            // The error that is returned says what matters.
            let _ = fs::remove_dir(&folder);
        }
        mounted.map(|_| Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// An empty folder in it; one of that name is emptied first.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        // It may or may not exist; creating it says what is wrong.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder)
            .with_context(|| format!("{} could not be created", folder.display()))?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        put_back(shell::command("umount").arg(&self.folder));
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("warning: {} is left behind: {error}", self.folder.display());
        }
    }
}

/// A loop device; detached when dropped.
#[derive(Debug)]
pub(super) struct LoopDevice {
    path: PathBuf,
    direct: bool,
}

impl LoopDevice {
    /// Makes one over a new file in `folder`, with direct I/O to it where the kernel can.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let image = folder.join("disk.img");
        let mut file = File::create(&image)
            .with_context(|| format!("{} could not be created", image.display()))?;
        io::copy(&mut io::repeat(0xa5).take(FILE_BYTES), &mut file)
            .with_context(|| format!("{} could not be filled", image.display()))?;
        let attach = |direct: &str| {
            let mut losetup = shell::command("losetup");
            losetup.args(["--find", "--show", direct]).arg(&image);
            shell::output(&mut losetup)
        };
        let (path, direct) = match attach("--direct-io=on") {
            Ok(path) => (path, true),
            Err(_) => (
                attach("--direct-io=off").context("no loop device could be made")?,
                false,
            ),
        };
        Ok(Self {
            path: PathBuf::from(path.trim_end()),
            direct,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the device itself reads its file with direct I/O.
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        put_back(shell::command("losetup").arg("--detach").arg(&self.path));
    }
}

/// debugfs, which blktrace needs; unmounted again when it was not mounted before.
#[derive(Debug)]
pub(super) struct DebugFs {
    mounted: bool,
}

impl DebugFs {
    pub(super) const FOLDER: &str = "/sys/kernel/debug";

    pub(super) fn ensure() -> Result<Self> {
        if Path::new(Self::FOLDER).join("block").is_dir() {
            return Ok(Self { mounted: false });
        }
        let mut mount = shell::command("mount");
        shell::output(mount.args(["-t", "debugfs", "debugfs", Self::FOLDER]))
            .context("debugfs, which blktrace needs, could not be mounted")?;
        Ok(Self { mounted: true })
    }
}

impl Drop for DebugFs {
    fn drop(&mut self) {
        if self.mounted {
            put_back(shell::command("umount").arg(Self::FOLDER));
        }
    }
}

/// Undoes something; says so when it cannot.
fn put_back(command: &mut std::process::Command) {
    if let Err(error) = shell::output(command) {
        eprintln!("warning: not put back: {error:#}");
    }
}
