//! Reads or writes one block after the other, as dd does.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, FileTypeExt as _, OpenOptionsExt as _},
    time::Instant,
};

use anyhow::{Context as _, bail};

use crate::load::{Dd, LoadResult, Operation, Stopwatch, now_ns, process};

/// Fits every device's logical block.
const ALIGNMENT: usize = 4096;

/// A buffer aligned as `O_DIRECT` wants it.
struct Buffer {
    start: *mut u8,
    layout: Layout,
}

impl Buffer {
    fn new(bytes: usize) -> anyhow::Result<Self> {
        let layout = Layout::from_size_align(bytes.max(1), ALIGNMENT)?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            bail!("cannot allocate a buffer of {bytes} bytes; use a smaller block_size");
        }
        Ok(Self { start, layout })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `start` is an allocation of this size, initialised to zero and borrowed with self.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `alloc_zeroed` with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

pub(super) fn run(dd: &Dd) -> anyhow::Result<LoadResult> {
    let (file, length) = open(dd)?;
    let block = usize::try_from(dd.block_size)?;
    let mut buffer = Buffer::new(block)?;
    if dd.operation == Operation::Write {
        buffer.bytes().fill(0xA5);
    }
    let blocks = length.saturating_sub(dd.offset) / dd.block_size;
    if blocks == 0 {
        bail!(
            "{} has {length} bytes: no block of {} bytes fits from offset {}",
            dd.target,
            dd.block_size,
            dd.offset
        );
    }
    let mut latency = Stopwatch::new()?;
    process::say_ready()?;
    let start_ns = now_ns();
    let mut done = 0;
    while done < dd.count && !process::stopped() {
        let position = dd.offset + (done % blocks) * dd.block_size;
        let begin = Instant::now();
        transfer(dd, &file, buffer.bytes(), position)
            .map_err(|error| explain(dd, position, error))?;
        latency.record(begin.elapsed());
        done += 1;
    }
    if dd.operation == Operation::Write {
        file.sync_all()
            .with_context(|| format!("cannot write {} back", dd.target))?;
    }
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations: done,
        bytes: done * dd.block_size,
        latency: latency.summary(),
        ..LoadResult::default()
    })
}

fn transfer(dd: &Dd, file: &File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    match dd.operation {
        Operation::Read => file.read_exact_at(buffer, position),
        Operation::Write => file.write_all_at(buffer, position),
    }
}

/// The target and its length in bytes.
fn open(dd: &Dd) -> anyhow::Result<(File, u64)> {
    let write = dd.operation == Operation::Write;
    let is_device =
        std::fs::metadata(&dd.target).is_ok_and(|metadata| metadata.file_type().is_block_device());
    if write && is_device && !dd.allow_device_write {
        bail!(
            "{} is a block device and writing destroys what is on it: set workload.allow_device_write = true if you mean it",
            dd.target
        );
    }
    let mut file = OpenOptions::new()
        .read(!write)
        .write(write)
        .custom_flags(if dd.direct { libc::O_DIRECT } else { 0 })
        .open(&dd.target)
        .map_err(|error| explain(dd, dd.offset, error))?;
    let length = file
        .seek(SeekFrom::End(0))
        .with_context(|| format!("cannot tell the size of {}", dd.target))?;
    Ok((file, length))
}

fn explain(dd: &Dd, position: u64, error: io::Error) -> anyhow::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EINVAL) if dd.direct => {
            "; direct I/O needs a file system that has it (tmpfs of older kernels has not) and block_size and offset in multiples of the logical block"
        }
        Some(libc::ENOENT) => "; is workload.target right?",
        Some(libc::ENOSPC) => "; the device or file system is full",
        Some(libc::EACCES | libc::EPERM) => "; run as root",
        _ => "",
    };
    let what = match dd.operation {
        Operation::Read => "read",
        Operation::Write => "write",
    };
    anyhow::Error::new(error).context(format!(
        "cannot {what} {} at byte {position}{advice}",
        dd.target
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dd(target: &std::path::Path) -> Dd {
        Dd {
            target: target.display().to_string(),
            operation: Operation::Read,
            block_size: 4096,
            count: 10,
            offset: 0,
            direct: false,
            allow_device_write: false,
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let missing = run(&dd(&folder.path().join("nothing"))).unwrap_err();
        assert!(
            format!("{missing:#}").contains("is workload.target right?"),
            "{missing:#}"
        );
        let short = folder.path().join("short");
        std::fs::write(&short, [0; 100]).unwrap();
        let error = format!("{:#}", run(&dd(&short)).unwrap_err());
        assert!(error.contains("no block of 4096 bytes fits"), "{error}");
    }
}
