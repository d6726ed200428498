//! What a lab's guests send to the peer host, and the CPU time that the emulator takes meanwhile.
//!
//! A stream's throughput is as uneven as the CPU time that this machine has for its emulator. Bytes for each
//! second of that time are not.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

/// How often the counters are read.
const INTERVAL: Duration = Duration::from_millis(100);
/// Intervals in which less arrives than this share of the busiest one's bytes are not the stream's.
const LEAST_SHARE: f64 = 0.1;

/// Counters since their process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// Bytes that have arrived at the peer host.
    bytes: u64,
    /// CPU time of the emulator, in clock ticks.
    ticks: u64,
}

/// Reads the counters in a thread of its own, until asked for them.
pub(crate) struct Meter {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Reading>>>>,
}

impl Meter {
    /// Of the emulator with this process id, and the peer host's end of a wire.
    pub(super) fn start(qemu: u32, interface: &'static str) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&done);
        let process = PathBuf::from(format!("/proc/{qemu}"));
        let thread = thread::spawn(move || {
            let mut readings = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                readings.push(read(&process, interface)?);
                thread::sleep(INTERVAL);
            }
            Ok(readings)
        });
        Self {
            done,
            thread: Some(thread),
        }
    }

    /// Bits that arrived for each second of the emulator's CPU time while a stream was on.
    ///
    /// # Errors
    /// When the counters could not be read, or nothing arrived.
    pub(crate) fn bits_per_cpu_second(mut self) -> Result<f64> {
        let readings = self.stop().context("the meter was read before")??;
        // SAFETY: sysconf takes a plain number and touches no memory of this process.
        let ticks_a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let bits = bits_per_tick(&readings).context("nothing arrived at the peer host")?;
        Ok(bits * ticks_a_second as f64)
    }

    fn stop(&mut self) -> Option<Result<Vec<Reading>>> {
        self.done.store(true, Ordering::Relaxed);
        let ended = self.thread.take()?.join();
        Some(ended.unwrap_or_else(|_| Err(anyhow!("the meter's thread failed"))))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // What it has read is of no use any more.
        let _ = self.stop();
    }
}

fn bits_per_tick(readings: &[Reading]) -> Option<f64> {
    let moved = readings.windows(2).map(|pair| Reading {
        bytes: pair[1].bytes.saturating_sub(pair[0].bytes),
        ticks: pair[1].ticks.saturating_sub(pair[0].ticks),
    });
    let busiest = moved.clone().map(|interval| interval.bytes).max()?;
    let least = busiest as f64 * LEAST_SHARE;
    let streams = moved.filter(|interval| interval.bytes as f64 >= least);
    let (bytes, ticks) = streams.fold((0, 0), |(bytes, ticks), interval| {
        (bytes + interval.bytes, ticks + interval.ticks)
    });
    (bytes > 0 && ticks > 0).then(|| 8.0 * bytes as f64 / ticks as f64)
}

fn read(process: &Path, interface: &str) -> Result<Reading> {
    let text = |name: &str| {
        let file = process.join(name);
        fs::read_to_string(&file).with_context(|| format!("{} could not be read", file.display()))
    };
    Ok(Reading {
        bytes: received(&text("net/dev")?, interface)
            .with_context(|| format!("the emulator's network has no {interface}"))?,
        ticks: cpu_ticks(&text("stat")?).context("the emulator's /proc/PID/stat is odd")?,
    })
}

/// The bytes of a line of /proc/net/dev; what a tap receives, the emulator has sent.
fn received(table: &str, interface: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.split_once(':'));
    let (_, counters) = lines.find(|(name, _)| name.trim() == interface)?;
    counters.split_whitespace().next()?.parse().ok()
}

/// utime and stime of proc_pid_stat(5); the program's name may have spaces in it.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_intervals_with_a_stream_count() {
        let readings = [(0, 0), (10, 90), (1010, 110), (2010, 140), (2020, 200)];
        let readings = readings.map(|(bytes, ticks)| Reading { bytes, ticks });
        assert_eq!(bits_per_tick(&readings), Some(8.0 * 2000.0 / 50.0));
        assert_eq!(bits_per_tick(&readings[..1]), None);
        assert_eq!(bits_per_tick(&[readings[0], readings[0]]), None);
    }

    #[test]
    fn counters_are_found_in_their_files() {
        let table = "Inter-|   Receive    |  Transmit\n face |bytes packets|bytes packets\n\
            \x20   lo:       0       0    0  0\n  tap0: 108975956    2810    0  156654\n";
        assert_eq!(received(table, "tap0"), Some(108_975_956));
        assert_eq!(received(table, "tap1"), None);
        let stat = "42 (a qemu) x) S 1 42 42 0 -1 4194560 1 2 3 4 500 70 0 0 20 0 9 0 12";
        assert_eq!(cpu_ticks(stat), Some(570));
        assert_eq!(cpu_ticks("42"), None);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_of_the_meter() {
        let meter = Meter::start(u32::MAX, "tap0");
        assert!(meter.bits_per_cpu_second().is_err());
    }
}
