//! The contents of the lab's disks.
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::place;
use crate::lock;

/// Bytes of each disk that a scenario reads: the paper's 128 KiB x 8000, and a little more.
const DISK_BYTES: u64 = 1 << 30;

/// The contents of a disk: each block of 512 bytes tells the disk and its own place, so that a block
/// read from the wrong place shows in any checksum.
pub(super) fn disk(number: u64) -> Result<PathBuf> {
    let cache = place::cache()?;
    let _lock = lock::take(&cache.join("lock"))?;
    let file = cache.join(format!("disk{number}-{}.img", DISK_BYTES >> 20));
    if file.is_file() {
        return Ok(file);
    }
    place::require_space(&cache, DISK_BYTES + (256 << 20))?;
    eprintln!("lab: filling disk {number} ({} MiB)", DISK_BYTES >> 20);
    let partial = file.with_extension("partial");
    write_disk(&partial, number).with_context(|| {
        // Half a disk is of no use.
        let _ = fs::remove_file(&partial);
        format!("{} could not be written", partial.display())
    })?;
    fs::rename(&partial, &file)
        .with_context(|| format!("{} could not be created", file.display()))?;
    Ok(file)
}

fn write_disk(file: &Path, number: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    // Marsaglia's xorshift64 (Journal of Statistical Software, 2003): cheap, and does not compress.
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ number;
    for sector in 0..DISK_BYTES / 512 {
        let mut block = [0u8; 512];
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[8..16].copy_from_slice(&sector.to_le_bytes());
        for word in block[16..].chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        out.write_all(&block)?;
    }
    out.flush()
}
