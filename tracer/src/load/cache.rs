//! Emptying the page cache between iterations.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use super::{LoadError, Result};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const CHUNK: usize = 1 << 20;

/// Writes back what is dirty, then drops the page cache, dentries and inodes of this domain.
///
/// # Errors
/// [`LoadError::Io`] without root, or where `/proc/sys` is read-only.
pub fn drop_caches() -> Result<()> {
    // Only clean pages can be dropped.
    nix::unistd::sync();
    fs::write(DROP_CACHES, "3\n").map_err(|source| {
        LoadError::io_advice(
            format!("dropping the page cache through {DROP_CACHES}"),
            source,
            "this needs root and a writable /proc/sys; read unrelated data instead",
        )
    })
}

/// Reads up to `bytes` bytes of `path` (a file or block device that the workload does not use)
/// through the page cache, which pushes out what was there: what the paper did with 4 GB.
///
/// Returns how many bytes were read; fewer than `bytes` means that the file was too small to do
/// its work, which the caller should report.
///
/// # Errors
/// [`LoadError::Io`] if `path` cannot be opened or read.
pub fn read_unrelated(path: &Path, bytes: u64) -> Result<u64> {
    let action = || format!("reading the unrelated data {}", path.display());
    let mut file = File::open(path).map_err(|source| LoadError::io(action(), source))?;
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    while done < bytes {
        let want = usize::try_from(bytes - done).map_or(CHUNK, |left| left.min(CHUNK));
        match file.read(&mut buffer[..want]) {
            Ok(0) => break,
            Ok(got) => done += got as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(LoadError::io(action(), source)),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_asked_or_what_there_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![1; 3 * CHUNK / 2]).unwrap();
        let size = 3 * CHUNK as u64 / 2;
        assert_eq!(read_unrelated(file.path(), size - 7).unwrap(), size - 7);
        assert_eq!(read_unrelated(file.path(), size * 2).unwrap(), size);
        let error = read_unrelated(Path::new("/none/such"), 1).unwrap_err();
        assert!(error.to_string().contains("/none/such"));
    }
}
