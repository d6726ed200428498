//! The way of an agent's records: out of the ring buffer, to where the loader wants them.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tracer_common::record::Record;

use crate::{
    agent::{
        frame::FrameType,
        output::{Output, lock, say, send},
        protocol::Message,
    },
    clock,
    probe::drain::Drain,
};
use tracer_analysis::clock::Pair;

/// How long the ring buffer fills between two looks: each costs a wake-up, which interrupts the load.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(40);
/// When the load sets in, the ring buffer must hold what comes until the next look: this is room for
/// 1.6 million disk records a second.
const BYTES_A_MS: usize = 200_000;
/// A look may find this share of the ring buffer filled.
const SHARE: usize = 8;
/// Records that are held for a loader elsewhere, at most.
const HELD_BYTES: usize = 32 << 20;
/// Records are written, or sent, about this many bytes at a time.
const BATCH_BYTES: usize = 256 << 10;

/// Where records go.
#[derive(Debug)]
pub enum Destination<W> {
    /// Into a file of this machine. A pipe to the loader and its own write of the same bytes would
    /// cost more than all the rest of the way.
    File(PathBuf, File),
    /// To a loader elsewhere, in frames: held until an iteration has ended, since sending them costs
    /// both sides what is being measured.
    Frames {
        /// The way there.
        output: Output<W>,
        /// What is held.
        held: Vec<u8>,
    },
}

impl<W: Write> Destination<W> {
    /// A file to add to.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn file(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(path.to_owned(), file))
    }

    /// Frames to a loader.
    pub fn frames(output: Output<W>) -> Self {
        Self::Frames {
            output,
            // Memory is taken as it is filled.
            held: Vec::with_capacity(HELD_BYTES),
        }
    }

    fn take(&mut self, records: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::File(path, file) => file
                .write_all(records)
                .with_context(|| format!("cannot write records into {}", path.display())),
            Self::Frames { held, .. } => {
                if held.len() + records.len() > HELD_BYTES {
                    self.release()?;
                }
                if let Self::Frames { held, .. } = self {
                    held.extend_from_slice(records);
                }
                Ok(())
            }
        }
    }

    /// Sends what is held.
    fn release(&mut self) -> anyhow::Result<()> {
        if let Self::Frames { output, held } = self {
            for piece in held.chunks(BATCH_BYTES) {
                send(output, FrameType::Records, piece)?;
            }
            held.clear();
        }
        Ok(())
    }
}

/// Brings records from the ring buffer to their destination.
#[derive(Debug)]
pub struct Collector<W> {
    drain: Drain,
    batch: Vec<u8>,
    /// `None` once it has failed: what came after a record that was cut could not be read.
    destination: Option<Destination<W>>,
    /// The clock, looked at in passing.
    log: clock::Log,
}

impl<W: Write> Collector<W> {
    /// Nothing is collected yet.
    pub fn new(drain: Drain, destination: Destination<W>) -> Self {
        Self {
            drain,
            batch: Vec::with_capacity(BATCH_BYTES + size_of::<Record>()),
            destination: Some(destination),
            log: clock::Log::default(),
        }
    }

    /// The clock since the last time.
    pub fn clocks(&mut self) -> Vec<Pair> {
        self.log.take()
    }

    /// Empties the ring buffer; says how many bytes were in it.
    ///
    /// # Errors
    /// If the destination takes no more.
    pub fn collect(&mut self) -> anyhow::Result<usize> {
        self.log.pass();
        let mut bytes = 0;
        loop {
            let is_empty = self.drain.fill(&mut self.batch, BATCH_BYTES);
            bytes += self.batch.len();
            self.flush()?;
            if is_empty {
                return Ok(bytes);
            }
        }
    }

    /// Sends what is held for a loader elsewhere.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn release(&mut self) -> anyhow::Result<()> {
        self.destination
            .as_mut()
            .context("records can no longer be written")?
            .release()
    }

    /// Adds records that did not come through the ring buffer.
    ///
    /// # Errors
    /// If the destination takes no more.
    pub fn add(&mut self, records: &[Record]) -> anyhow::Result<()> {
        for some in records.chunks(BATCH_BYTES / size_of::<Record>()) {
            for record in some {
                record.encode(|piece| self.batch.extend_from_slice(piece));
            }
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut destination = self
            .destination
            .take()
            .context("records can no longer be written")?;
        let taken = destination.take(&self.batch);
        self.batch.clear();
        taken?;
        self.destination = Some(destination);
        Ok(())
    }
}

/// Collects again and again until it is told to stop, or cannot; then it says so to the loader.
pub fn collect_until<W: Write>(
    stop: &AtomicBool,
    collector: &Mutex<Collector<W>>,
    ring_bytes: usize,
    output: &Output<W>,
) {
    let mut pause = SHORTEST;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(pause);
        match lock(collector).collect() {
            Ok(bytes) => pause = next_pause(pause, bytes, ring_bytes),
            Err(error) => {
                // If the loader is gone, the thread that reads its commands sees the same and ends.
                let _ = say(output, &Message::Failed(format!("{error:#}")));
                return;
            }
        }
    }
}

/// The pause after one that brought so many bytes: twice as long while that leaves room enough.
fn next_pause(pause: Duration, bytes: usize, ring_bytes: usize) -> Duration {
    let allowed = ring_bytes / SHARE;
    if bytes > allowed {
        SHORTEST
    } else if bytes > allowed / 2 {
        pause
    } else {
        let bearable = Duration::from_millis((ring_bytes / BYTES_A_MS) as u64);
        (pause * 2).min(bearable.clamp(SHORTEST, LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::agent::frame::Decoder;

    #[test]
    fn pauses_follow_how_full_the_ring_buffer_gets() {
        let ring = 8 << 20;
        let ms = Duration::from_millis;
        assert_eq!(next_pause(ms(5), 0, ring), ms(10));
        assert_eq!(next_pause(ms(40), 0, ring), ms(40));
        assert_eq!(next_pause(ms(20), ring / 10, ring), ms(20));
        assert_eq!(next_pause(ms(40), ring / 4, ring), ms(5));
        assert_eq!(next_pause(ms(5), 0, 1 << 20), ms(5));
        assert_eq!(next_pause(ms(10), 0, 2 << 20), ms(10));
    }

    #[test]
    fn a_file_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.bin");
        for records in [b"first", b"after"] {
            Destination::<Vec<u8>>::file(&path)
                .unwrap()
                .take(records)
                .unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"firstafter");
    }

    #[test]
    fn without_a_file_records_go_in_frames_when_they_are_asked_for() {
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut destination = Destination::frames(Arc::clone(&output));
        destination.take(b"rec").unwrap();
        destination.take(b"ords").unwrap();
        assert!(lock(&output).is_empty());
        destination.release().unwrap();
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&lock(&output));
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(
            (frame.frame_type, &frame.payload[..]),
            (FrameType::Records, &b"records"[..])
        );
    }
}
