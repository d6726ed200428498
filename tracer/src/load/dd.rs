//! Sequential reads or writes of a file or block device, as dd does them.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fs::{File, OpenOptions},
    io::{self, Seek as _, SeekFrom},
    ops::{Deref, DerefMut},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, FileTypeExt, OpenOptionsExt as _},
    },
    ptr::NonNull,
};

use super::{
    Context, DdLoad, LoadError, Operation, Outcome, Result, measure::Latencies, monotonic_ns,
    per_second, place, think::Waits,
};

/// `O_DIRECT` buffers are aligned to at least this many bytes.
const ALIGNMENT: usize = 4096;

pub(crate) fn run(load: &DdLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin_worker(context.cpus, 0)?;
    let target = Target::open(load)?;
    let mut buffer = Buffer::new(load.block_size, target.logical_block)?;
    fill(&mut buffer);
    let mut outcome = Outcome {
        tids: vec![place::tid()],
        ..Outcome::default()
    };
    let mut latencies = Latencies::new()?;
    let mut waits = load.think.map(Waits::new);
    let mut at = load.offset;
    outcome.start_ns = monotonic_ns();
    while (load.count == 0 || outcome.operations < load.count) && !context.stop.is_requested() {
        if target.end.is_some_and(|end| at + load.block_size > end) {
            at = load.offset;
        }
        let before = match load.operation {
            Operation::Read => {
                let before = monotonic_ns();
                target.read(&mut buffer, at)?;
                before
            }
            Operation::Write => {
                number(&mut buffer, outcome.operations);
                let before = monotonic_ns();
                target.write(&buffer, at)?;
                before
            }
        };
        latencies.record(monotonic_ns().saturating_sub(before));
        outcome.operations += 1;
        at += load.block_size;
        if outcome.operations != load.count
            && let Some(waits) = &mut waits
        {
            waits.wait(context.stop, u64::MAX);
        }
    }
    if load.operation == Operation::Write {
        let before = monotonic_ns();
        target
            .file
            .sync_all()
            .map_err(|e| target.error("fsync", e))?;
        outcome.extra("fsync_ns", monotonic_ns().saturating_sub(before));
    }
    outcome.end_ns = monotonic_ns();
    outcome.bytes = outcome.operations * load.block_size;
    outcome.latency = Some(latencies);
    let rate = per_second(outcome.bytes, outcome.end_ns - outcome.start_ns);
    outcome.extra("bytes_per_second", rate);
    Ok(outcome)
}

/// Fills a buffer with bytes that neither compress nor repeat.
fn fill(buffer: &mut [u8]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for bytes in buffer.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.copy_from_slice(&state.to_le_bytes()[..bytes.len()]);
    }
}

/// Writes a block's number at its beginning, so that no two blocks are the same.
fn number(buffer: &mut [u8], block: u64) {
    let length = buffer.len().min(8);
    buffer[..length].copy_from_slice(&block.to_le_bytes()[..length]);
}

/// The open file or device.
struct Target<'a> {
    load: &'a DdLoad,
    file: File,
    /// Where to start again; None if the target grows or has no end.
    end: Option<u64>,
    /// Bytes; 1 for what is no block device.
    logical_block: u64,
}

impl<'a> Target<'a> {
    fn open(load: &'a DdLoad) -> Result<Self> {
        let write = load.operation == Operation::Write;
        let kind = std::fs::metadata(&load.target).map(|m| m.file_type());
        let is_device = kind.as_ref().is_ok_and(FileTypeExt::is_block_device);
        let is_endless = kind.as_ref().is_ok_and(FileTypeExt::is_char_device);
        if kind.is_ok_and(|k| !(k.is_file() || k.is_block_device() || k.is_char_device())) {
            let problem = format!("{} is no file or block device", load.target.display());
            return Err(LoadError::invalid("target", problem));
        }
        if write && is_device && !load.allow_device_write {
            return Err(LoadError::Refused(format!(
                "writing to the block device {} destroys its content; set `allow_device_write` if \
                 that is wanted",
                load.target.display()
            )));
        }
        // O_EXCL without O_CREAT makes the kernel refuse a device that is mounted or otherwise held.
        let exclusive = if write && is_device { libc::O_EXCL } else { 0 };
        let direct = if load.direct { libc::O_DIRECT } else { 0 };
        let file = OpenOptions::new()
            .read(!write)
            .write(write)
            .create(write && !is_device && !is_endless)
            .truncate(write && load.truncate && !is_device)
            .custom_flags(direct | exclusive)
            .open(&load.target)
            .map_err(|error| describe(load, "open", error))?;
        let mut target = Self {
            load,
            file,
            end: None,
            logical_block: 1,
        };
        target.measure(is_device, is_endless)?;
        Ok(target)
    }

    /// Finds out size and block size, and whether the parameters fit to them.
    fn measure(&mut self, is_device: bool, is_endless: bool) -> Result<()> {
        let load = self.load;
        let meta = self.file.metadata().map_err(|e| self.error("stat", e))?;
        if meta.file_type().is_block_device() != is_device {
            let name = load.target.display();
            return Err(LoadError::Failed(format!(
                "{name} was replaced while being opened"
            )));
        }
        if is_device {
            self.logical_block = logical_block_size(&self.file)
                .map_err(|e| self.error("ask for the block size of", e))?;
        }
        if load.direct && !(load.block_size | load.offset).is_multiple_of(self.logical_block) {
            let problem = format!(
                "direct I/O needs block_size and offset to be multiples of the device's logical \
                 block of {} bytes",
                self.logical_block
            );
            return Err(LoadError::invalid("block_size", problem));
        }
        let grows = load.operation == Operation::Write && !is_device;
        if grows || is_endless {
            return Ok(());
        }
        let size = (&self.file)
            .seek(SeekFrom::End(0))
            .map_err(|e| self.error("find the end of", e))?;
        if size < load.offset.saturating_add(load.block_size) {
            return Err(LoadError::Failed(format!(
                "{} has {size} bytes: not one block of {} bytes from offset {} on",
                load.target.display(),
                load.block_size,
                load.offset
            )));
        }
        self.end = Some(size);
        Ok(())
    }

    fn read(&self, buffer: &mut [u8], at: u64) -> Result<()> {
        loop {
            match self.file.read_at(buffer, at) {
                Ok(got) if got == buffer.len() => return Ok(()),
                Ok(got) => {
                    return Err(LoadError::Failed(format!(
                        "short read: {got} of {} bytes at offset {at} of {}; did something truncate \
                         it meanwhile?",
                        buffer.len(),
                        self.load.target.display()
                    )));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(&format!("read at offset {at} of"), error)),
            }
        }
    }

    fn write(&self, buffer: &[u8], at: u64) -> Result<()> {
        let mut done = 0;
        // A short write is followed by one that says why (usually that the disk is full).
        while done < buffer.len() {
            match self.file.write_at(&buffer[done..], at + done as u64) {
                Ok(0) => return Err(self.error("write", io::ErrorKind::WriteZero.into())),
                Ok(sent) => done += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(&format!("write at offset {at} of"), error)),
            }
        }
        Ok(())
    }

    fn error(&self, action: &str, error: io::Error) -> LoadError {
        describe(self.load, action, error)
    }
}

/// What failed, with what can be done about it.
fn describe(load: &DdLoad, action: &str, error: io::Error) -> LoadError {
    let advice = match error.raw_os_error() {
        Some(libc::EINVAL) if load.direct => {
            "the file system may not know direct I/O (tmpfs on older kernels), or block_size and \
             offset are no multiples of its block: set `direct` to false, or use another target"
        }
        Some(libc::ENOSPC) => "the disk is full: a smaller count, or another target",
        Some(libc::EBUSY) => "the device is in use (mounted, or part of another device)",
        Some(libc::EACCES | libc::EPERM) => "this needs the rights to the target (root?)",
        Some(libc::EROFS) => "the file system or device is read-only",
        Some(libc::ENOENT) => "make the file, or write it first with operation `write`",
        _ => "",
    };
    LoadError::io_advice(format!("{action} {}", load.target.display()), error, advice)
}

/// The smallest unit that the device can be asked for, in bytes.
fn logical_block_size(device: &File) -> io::Result<u64> {
    let mut size: libc::c_int = 0;
    // SAFETY: BLKSSZGET stores one int through the pointer, which is valid for the call.
    let failed = unsafe { libc::ioctl(device.as_raw_fd(), libc::BLKSSZGET, &raw mut size) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    u64::try_from(size.max(1)).map_err(io::Error::other)
}

/// Zeroed memory, aligned for `O_DIRECT`.
struct Buffer {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Buffer {
    fn new(bytes: u64, logical_block: u64) -> Result<Self> {
        let too_much = || LoadError::invalid("block_size", "does not fit in memory");
        let bytes = usize::try_from(bytes).map_err(|_| too_much())?;
        let align = usize::try_from(logical_block).map_or(ALIGNMENT, |b| b.max(ALIGNMENT));
        let layout = Layout::from_size_align(bytes.max(1), align).map_err(|_| too_much())?;
        // SAFETY: the layout's size is at least 1.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => Ok(Self { memory, layout }),
            None => handle_alloc_error(layout),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `memory` is valid and initialised for `layout.size()` bytes as long as self.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout in `new`, and freed only here.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests;
