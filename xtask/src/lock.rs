//! Work that only one process at a time may do.
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::signal;

const POLL: Duration = Duration::from_millis(50);

/// Waits for the lock of this file, and says so; it is held until dropped.
///
/// # Errors
/// Also when a signal comes while another process has it.
pub(crate) fn take(file: &Path) -> Result<File> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("{} could not be created", folder.display()))?;
    }
    // Root's file, after a sudo, can be read but not written.
    let lock = File::open(file)
        .or_else(|_| File::create(file))
        .with_context(|| format!("{} could not be created", file.display()))?;
    let mut told = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error)
                    .with_context(|| format!("{} could not be locked", file.display()));
            }
        }
        if !told {
            eprintln!("another command holds {}; waiting", file.display());
            told = true;
        }
        signal::check()?;
        thread::sleep(POLL);
    }
}
