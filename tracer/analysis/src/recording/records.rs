//! Reads a domain's records back.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Read as _},
};

use anyhow::Context as _;
use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The records of a file, in the order in which they were written, without upcalls that brought another interrupt.
/// A last one that was cut is left out. A complete run has none.
#[derive(Debug)]
pub(crate) struct Records {
    reader: BufReader<File>,
    /// Interrupts that no event channel brings.
    native_irqs: BTreeSet<u32>,
    bytes: u64,
    buffer: Vec<u8>,
    used: usize,
    ended: bool,
    failed: Option<anyhow::Error>,
}

impl Records {
    pub(crate) fn new(file: File, native_irqs: BTreeSet<u32>) -> anyhow::Result<Self> {
        let bytes = file.metadata().context("cannot read the records")?.len();
        Ok(Self {
            bytes,
            native_irqs,
            reader: BufReader::with_capacity(CHUNK, file),
            buffer: Vec::with_capacity(2 * CHUNK),
            used: 0,
            ended: false,
            failed: None,
        })
    }

    /// Length of the file, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills the buffer; says whether there is more in it than before.
    fn fill(&mut self) -> anyhow::Result<bool> {
        // No record is as long: what is left is not one.
        anyhow::ensure!(
            self.buffer.len() - self.used < size_of::<Record>(),
            "what stands there is not a record"
        );
        self.buffer.drain(..self.used);
        self.used = 0;
        let read = self
            .reader
            .by_ref()
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer);
        Ok(read.context("cannot read the records")? != 0)
    }

    /// Whether the file ended within a record, once its end was reached.
    ///
    /// # Errors
    /// If it could not be read, or what stands there is no record.
    pub(crate) fn ends_cut(self) -> anyhow::Result<bool> {
        let is_cut = self.used < self.buffer.len();
        self.failed.map_or(Ok(is_cut), Err)
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while !self.ended {
            if let Some((mut record, length)) = Record::decode(&self.buffer[self.used..]) {
                self.used += length;
                if self.native_irqs.contains(&record.irq) {
                    forget_upcall(&mut record);
                }
                return Some(record);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    self.failed = Some(error);
                }
            }
        }
        None
    }
}

/// The kernel side stamps the CPU's last upcall before an interrupt. Where no event channel brings the interrupt, that
/// upcall brought another one. A backend's record names its disk's interrupt, and has the upcall of its ring's.
fn forget_upcall(record: &mut Record) {
    let kind = Kind::from_u8(record.kind).filter(|kind| *kind != Kind::Blkback);
    let points = kind.map_or(&[][..], Kind::points);
    let is_upcall = |point: &Point| matches!(point, Point::EvtchnUpcall | Point::Dom0Upcall);
    if let Some(place) = points.iter().position(is_upcall) {
        record.at[place] = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn record(kind: Kind, irq: u32) -> Record {
        let mut record = Record::EMPTY;
        record.kind = kind as u8;
        record.irq = irq;
        let places = 0..kind.points().len();
        places.for_each(|place| record.at[place] = place as u64 + 1);
        record
    }

    /// These records, as they are read from a file.
    fn read(written: &[Record], native_irqs: BTreeSet<u32>) -> Vec<Record> {
        let mut file = tempfile::tempfile().unwrap();
        for record in written {
            record.encode(|bytes| file.write_all(bytes).unwrap());
        }
        file.rewind().unwrap();
        Records::new(file, native_irqs).unwrap().collect()
    }

    #[test]
    fn an_interrupt_that_no_event_channel_brings_has_no_upcall() {
        let (pirq, msi) = (58, 36);
        let kinds = [
            (Kind::Disk, Point::EvtchnUpcall),
            (Kind::NetTx, Point::EvtchnUpcall),
            (Kind::NetRx, Point::EvtchnUpcall),
            (Kind::NetForward, Point::Dom0Upcall),
        ];
        let written = kinds.map(|(kind, _)| [record(kind, pirq), record(kind, msi)]);
        let read = read(written.as_flattened(), [msi].into());
        for ((kind, upcall), read) in kinds.into_iter().zip(read.chunks(2)) {
            for (place, point) in kind.points().iter().enumerate() {
                let time = place as u64 + 1;
                let without = if *point == upcall { 0 } else { time };
                assert_eq!(
                    [read[0].at[place], read[1].at[place]],
                    [time, without],
                    "{kind:?}"
                );
            }
        }
        assert_eq!(read.len(), written.as_flattened().len());
    }

    #[test]
    fn upcall_of_a_ring_stays_where_its_disk_has_an_interrupt_without() {
        let written = record(Kind::Blkback, 36);
        let read = read(&[written], [36].into());
        assert_eq!(read[0].at, written.at);
    }
}
