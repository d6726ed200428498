//! blktrace's stand-in where the kernel is locked down and blktrace cannot open its buffers.
//!
//! The kernel's `blk` tracer has the same probes as blktrace; its binary events are read through tracefs
//! and written to a file, as blktrace would.
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::shell;

const TRACEFS: &str = "/sys/kernel/tracing";

/// How long a reader sleeps when its CPU's buffer is empty.
const POLL: Duration = Duration::from_millis(5);

/// Whether blktrace itself works: a locked-down kernel lets it start, but not read.
pub(super) fn blktrace_works(device: &Path, folder: &Path) -> bool {
    let mut blktrace = shell::command("blktrace");
    blktrace
        .arg("-d")
        .arg(device)
        .arg("-D")
        .arg(folder)
        .args(["-o", "trial", "-w", "1"]);
    shell::output(&mut blktrace).is_ok_and(|printed| printed.contains("Total:"))
}

/// A file of the kernel whose old content is written back when dropped.
#[derive(Debug)]
struct Setting {
    path: PathBuf,
    before: String,
}

impl Setting {
    fn change(path: PathBuf, value: &str) -> Result<Self> {
        let before = fs::read_to_string(&path)
            .with_context(|| format!("{} could not be read", path.display()))?;
        write(&path, value)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = write(&self.path, self.before.trim_end()) {
            eprintln!("warning: not put back: {error:#}");
        }
    }
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value)
        .with_context(|| format!("{value:?} could not be written to {}", path.display()))
}

/// The running tracer; everything is put back when dropped, the device first.
#[derive(Debug)]
pub(super) struct BlkTracer {
    readers: Readers,
    device: Setting,
    _tracing: Setting,
    _tracer: Setting,
    /// From the first change until events come.
    pub(super) attach_ms: f64,
}

impl BlkTracer {
    /// Traces the device into files in `folder`.
    pub(super) fn start(device: &Path, folder: &Path) -> Result<Self> {
        let start = Instant::now();
        let tracefs = Path::new(TRACEFS);
        let in_use = fs::read_to_string(tracefs.join("current_tracer"))
            .context("tracefs is not mounted at /sys/kernel/tracing")?;
        if in_use.trim_end() != "nop" {
            bail!(
                "somebody uses the tracer {}; run the benchmark later",
                in_use.trim_end()
            );
        }
        let name = device.file_name().context("the loop device has no name")?;
        let enable = Path::new("/sys/block").join(name).join("trace/enable");
        let tracer = Setting::change(tracefs.join("current_tracer"), "blk")?;
        // Writing to `trace` empties the buffers.
        write(&tracefs.join("trace"), "")?;
        let tracing = Setting::change(tracefs.join("tracing_on"), "1")?;
        let readers = Readers::start(tracefs, folder)?;
        let device = Setting::change(enable, "1")?;
        let attach_ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Self {
            readers,
            device,
            _tracing: tracing,
            _tracer: tracer,
            attach_ms,
        })
    }

    /// Stops, and returns how many events were lost.
    pub(super) fn stop(mut self) -> Result<u64> {
        write(&self.device.path, "0")?;
        let bytes = self.readers.stop()?;
        if bytes == 0 {
            bail!("the blk tracer wrote no event");
        }
        let mut lost = 0;
        for cpu in cpus(Path::new(TRACEFS))? {
            let stats = fs::read_to_string(cpu.join("stats"))
                .with_context(|| format!("{}/stats could not be read", cpu.display()))?;
            lost += lost_events(&stats);
        }
        Ok(lost)
    }
}

/// One thread a CPU.
#[derive(Debug)]
struct Readers {
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64>>>,
}

impl Readers {
    fn start(tracefs: &Path, folder: &Path) -> Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let mut readers = Self {
            done,
            threads: Vec::new(),
        };
        for (index, cpu) in cpus(tracefs)?.into_iter().enumerate() {
            let (pipe, file) = (
                cpu.join("trace_pipe_raw"),
                folder.join(format!("blk.{index}")),
            );
            let source = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&pipe)
                .with_context(|| format!("{} could not be opened", pipe.display()))?;
            let target = File::create(&file)
                .with_context(|| format!("{} could not be created", file.display()))?;
            let done = Arc::clone(&readers.done);
            readers
                .threads
                .push(thread::spawn(move || copy(source, target, &done)));
        }
        Ok(readers)
    }

    /// Reads what is left and returns how many bytes came in all.
    fn stop(&mut self) -> Result<u64> {
        self.done.store(true, Ordering::SeqCst);
        let mut bytes = 0;
        for thread in self.threads.drain(..) {
            bytes += thread
                .join()
                .map_err(|_| anyhow!("a reader of the blk tracer failed"))??;
        }
        Ok(bytes)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // After `stop` no thread is left; otherwise another error is on its way already.
        let _ = self.stop();
    }
}

fn copy(mut source: File, mut target: File, done: &AtomicBool) -> Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let ending = done.load(Ordering::SeqCst);
        match source.read(&mut buffer) {
            Ok(0) => {}
            Ok(count) => {
                target
                    .write_all(&buffer[..count])
                    .context("trace events could not be written")?;
                bytes += count as u64;
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("trace events could not be read"),
        }
        if ending {
            return Ok(bytes);
        }
        thread::sleep(POLL);
    }
}

fn cpus(tracefs: &Path) -> Result<Vec<PathBuf>> {
    let folder = tracefs.join("per_cpu");
    let entries = folder
        .read_dir()
        .with_context(|| format!("{} is unreadable", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Overwritten and dropped events of one CPU's `stats`.
fn lost_events(stats: &str) -> u64 {
    let lost = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let counts = ["overrun", "commit overrun", "dropped events"].contains(&name);
        counts.then(|| value.trim().parse::<u64>().ok())?
    };
    stats.lines().filter_map(lost).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwritten_and_dropped_events_are_lost() {
        let stats = "entries: 127016\noverrun: 40\ncommit overrun: 1\nbytes: 99\n\
            oldest event ts:  8404.993773\ndropped events: 2\nread events: 17314\n";
        assert_eq!(lost_events(stats), 43);
    }
}
