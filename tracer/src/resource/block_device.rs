//! Which block devices serve a path: the device itself, and what it stands on.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tracer_analysis::recording::device::BlockDevice;

/// Which block devices are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockQuery {
    /// None.
    Nothing,
    /// Every one.
    All,
    /// Those that serve each of these paths.
    Named(Vec<PathBuf>),
    /// Those that serve these paths; every one if there are none.
    Used(Vec<PathBuf>),
}

/// The devices that a query means.
///
/// # Errors
/// If a path does not exist, or one of [`BlockQuery::Named`] is served by no block device.
pub fn find(query: &BlockQuery, root: &Path) -> anyhow::Result<Vec<BlockDevice>> {
    let mut found = Vec::new();
    match query {
        BlockQuery::Nothing => return Ok(found),
        BlockQuery::All => found = all(root),
        BlockQuery::Named(paths) => {
            for path in paths {
                let serving = serving(path, root).context("probes.devices")?;
                if serving.is_empty() {
                    bail!("probes.devices: no block device serves {}", path.display());
                }
                found.extend(serving);
            }
        }
        BlockQuery::Used(paths) => {
            for path in paths {
                found.extend(serving(path, root).context("workload.target")?);
            }
            if found.is_empty() {
                found = all(root);
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The device of a path (its own if it is a device node, else its file system's) and all those
/// below it: a partition's disk, what a loop device, device mapper or md stands on. Empty if no block device serves the
/// path (tmpfs, network file systems).
///
/// # Errors
/// If the path does not exist, or names no block device where one is meant.
pub fn serving(path: &Path, root: &Path) -> anyhow::Result<Vec<BlockDevice>> {
    let metadata = fs::metadata(path).with_context(|| format!("there is no {}", path.display()))?;
    let kind = metadata.file_type();
    if kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
        bail!("{} is neither a block device nor a file", path.display());
    }
    let dev = if kind.is_block_device() {
        metadata.rdev()
    } else {
        metadata.dev()
    };
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    add(
        &format!("{}:{}", libc::major(dev), libc::minor(dev)),
        root,
        &mut seen,
        &mut found,
    );
    Ok(found)
}

/// Every block device of the machine that has a size.
#[must_use]
pub fn all(root: &Path) -> Vec<BlockDevice> {
    let Ok(folder) = fs::read_dir(root.join("sys/class/block")) else {
        return Vec::new();
    };
    let mut devices: Vec<BlockDevice> = folder
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("size")).is_ok_and(|size| size.trim() != "0")
        })
        .filter_map(|entry| {
            let number = fs::read_to_string(entry.path().join("dev")).ok()?;
            describe(number.trim(), root)
        })
        .collect();
    devices.sort();
    devices
}

fn describe(number: &str, root: &Path) -> Option<BlockDevice> {
    let folder = fs::canonicalize(root.join("sys/dev/block").join(number)).ok()?;
    let (major, minor) = number.split_once(':')?;
    let dev = (major.parse::<u32>().ok()? << 20) | minor.parse::<u32>().ok()?;
    // A partition's requests are its disk's.
    let disk = if folder.join("partition").exists() {
        folder.parent()?
    } else {
        folder.as_path()
    };
    Some(BlockDevice {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        dev,
        bio_based: !disk.join("mq").exists(),
        vbd: fs::read_to_string(disk.join("device/nodename"))
            .ok()
            .and_then(|node| node.trim().strip_prefix("device/vbd/")?.parse().ok()),
    })
}

fn add(number: &str, root: &Path, seen: &mut BTreeSet<String>, found: &mut Vec<BlockDevice>) {
    if !seen.insert(number.to_owned()) {
        return;
    }
    let Some(device) = describe(number, root) else {
        return;
    };
    found.push(device);
    let Ok(folder) = fs::canonicalize(root.join("sys/dev/block").join(number)) else {
        return;
    };
    // Below a partition is its disk: what flushes the disk's cache for it is the disk's request.
    if folder.join("partition").exists()
        && let Some(disk) = folder.parent()
        && let Ok(number) = fs::read_to_string(disk.join("dev"))
    {
        add(number.trim(), root, seen, found);
        return;
    }
    let disk = folder;
    for slave in fs::read_dir(disk.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(number) = fs::read_to_string(slave.path().join("dev")) {
            add(number.trim(), root, seen, found);
        }
    }
    if let Ok(backing) = fs::read_to_string(disk.join("loop/backing_file")) {
        // The file may have been unlinked; its folder is on the same file system.
        let path = backing.trim().trim_end_matches(" (deleted)");
        let folder = Path::new(path).parent().unwrap_or_else(|| Path::new("/"));
        if let Ok(metadata) = fs::metadata(folder) {
            let dev = metadata.dev();
            add(
                &format!("{}:{}", libc::major(dev), libc::minor(dev)),
                root,
                seen,
                found,
            );
        }
    }
}
