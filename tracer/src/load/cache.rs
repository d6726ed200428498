//! The page cache between iterations: dropped, or filled with unrelated data as in the paper.

use std::{fs, fs::File, io::Read as _, path::Path};

use anyhow::Context as _;

/// Writes back what is dirty, then drops page cache, dentries and inodes.
///
/// # Errors
/// If the kernel does not allow it.
pub fn drop_caches() -> anyhow::Result<()> {
    nix::unistd::sync();
    fs::write("/proc/sys/vm/drop_caches", "3")
        .context("cannot drop the page cache through /proc/sys/vm/drop_caches; run as root or set run.drop_caches = false")
}

/// Reads up to `bytes` bytes of a file that has nothing to do with the measurement (the paper read
/// 4 GB before each run). Returns how many there were.
///
/// # Errors
/// If the file cannot be read.
pub fn read_unrelated(path: &Path, bytes: u64) -> anyhow::Result<u64> {
    let context = || format!("cannot read run.read_before_file {}", path.display());
    let mut file = File::open(path).with_context(context)?.take(bytes);
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer).with_context(context)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}
