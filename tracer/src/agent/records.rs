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
        protocol::Message,
        serve::{Output, lock, say, send},
    },
    probe::drain::Drain,
};

/// How long the ring buffer fills between two looks.
const POLL: Duration = Duration::from_millis(10);
/// Records are written, or sent, about this many bytes at a time.
const BATCH_BYTES: usize = 256 << 10;

/// Where records go.
#[derive(Debug)]
pub enum Destination<W> {
    /// Into a file of this machine. A pipe to the loader and its own write of the same bytes would
    /// cost more than all the rest of the way.
    File(PathBuf, File),
    /// To a loader on another machine, in frames.
    Frames(Output<W>),
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

    fn take(&mut self, records: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::File(path, file) => file
                .write_all(records)
                .with_context(|| format!("cannot write records into {}", path.display())),
            Self::Frames(output) => send(output, FrameType::Records, records),
        }
    }
}

/// Brings records from the ring buffer to their destination.
#[derive(Debug)]
pub struct Collector<W> {
    drain: Drain,
    batch: Vec<u8>,
    /// `None` once it has failed: what came after a record that was cut could not be read.
    destination: Option<Destination<W>>,
}

impl<W: Write> Collector<W> {
    /// Nothing is collected yet.
    pub fn new(drain: Drain, destination: Destination<W>) -> Self {
        Self {
            drain,
            batch: Vec::with_capacity(BATCH_BYTES + size_of::<Record>()),
            destination: Some(destination),
        }
    }

    /// Empties the ring buffer.
    ///
    /// # Errors
    /// If the destination takes no more.
    pub fn collect(&mut self) -> anyhow::Result<()> {
        loop {
            let is_empty = self.drain.fill(&mut self.batch, BATCH_BYTES);
            self.flush()?;
            if is_empty {
                return Ok(());
            }
        }
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
    output: &Output<W>,
) {
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(POLL);
        if let Err(error) = lock(collector).collect() {
            // If the loader is gone, the thread that reads its commands sees the same and ends.
            let _ = say(output, &Message::Failed(format!("{error:#}")));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::agent::frame::Decoder;

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
    fn without_a_file_records_go_in_frames() {
        let output = Arc::new(Mutex::new(Vec::new()));
        Destination::Frames(Arc::clone(&output))
            .take(b"records")
            .unwrap();
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&lock(&output));
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(
            (frame.frame_type, &frame.payload[..]),
            (FrameType::Records, &b"records"[..])
        );
    }
}
