//! Where the lab keeps things: images that all labs share, and one folder for each lab that is up.
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

pub(super) const DEFAULT: &str = "/var/cache/tracer-lab";
/// Characters of a lab's name, at most.
pub(super) const LONGEST_NAME: usize = 32;
/// Bytes of the longest path of a socket (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// The folder of all labs: `TRACER_LAB_DIR`, made if it is not there, else the default. The same folder has the
/// same path however it is spelt: a lab's processes and namespace are found by it.
pub(super) fn folder() -> Result<PathBuf> {
    let Some(folder) = env::var_os("TRACER_LAB_DIR") else {
        return Ok(DEFAULT.into());
    };
    let folder = PathBuf::from(folder);
    create(&folder)?;
    let folder = fs::canonicalize(folder).context("TRACER_LAB_DIR is not a usable path")?;
    if folder.to_str().is_none() {
        bail!("TRACER_LAB_DIR is {}, no UTF-8", folder.display());
    }
    Ok(folder)
}

/// What labs share: downloads, root file systems, disks' contents.
pub(super) fn cache() -> Result<PathBuf> {
    let cache = folder()?.join("cache");
    create(&cache)?;
    Ok(cache)
}

/// The folder of one lab.
pub(super) fn of_lab(name: &str) -> Result<PathBuf> {
    let good = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !good {
        bail!("a lab's name is of up to {LONGEST_NAME} letters, digits and hyphens, not `{name}`");
    }
    Ok(folder()?.join("labs").join(name))
}

/// The folder of all labs that this lab's folder is in.
pub(super) fn of_all(lab: &Path) -> &Path {
    lab.ancestors().nth(2).unwrap_or(lab)
}

/// The names of labs that have a folder.
pub(super) fn labs() -> Result<Vec<String>> {
    let folder = folder()?.join("labs");
    let Ok(entries) = folder.read_dir() else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// A lab's folder has sockets, which need short paths.
pub(super) fn require_short(socket: &Path) -> Result<()> {
    if socket.as_os_str().len() > LONGEST_SOCKET {
        bail!(
            "{} is longer than the {LONGEST_SOCKET} bytes that a socket's path may have: set TRACER_LAB_DIR to a \
             shorter one, or give a shorter --name",
            socket.display()
        );
    }
    Ok(())
}

pub(super) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} could not be created", folder.display()))
}

pub(super) fn write(file: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{} could not be written", file.display()))
}

/// Fails when fewer bytes are free than are needed.
pub(super) fn require_space(folder: &Path, bytes: u64) -> Result<()> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes())
        .context("a path with a zero byte")?;
    // SAFETY: an all-zero `statvfs` is a valid value for the call to fill.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("{} cannot be asked for its free space", folder.display()));
    }
    let free = stat.f_bavail * stat.f_frsize;
    if free < bytes {
        bail!(
            "{} has {} MiB free, and {} MiB are needed; free some, or set TRACER_LAB_DIR",
            folder.display(),
            free >> 20,
            bytes >> 20
        );
    }
    Ok(())
}
