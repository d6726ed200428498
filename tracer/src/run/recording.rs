//! Reads a domain's records back.

use std::{
    fs::File,
    io::{BufReader, Read as _},
};

use anyhow::Context as _;
use tracer_common::record::Record;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The records of a file, in the order in which they were written; a last one that was cut is left out.
/// A complete run has none: [`End`] says so.
#[derive(Debug)]
pub(super) struct Records {
    reader: BufReader<File>,
    bytes: u64,
    read: u64,
    buffer: Vec<u8>,
    used: usize,
    ended: bool,
    failed: Option<anyhow::Error>,
}

impl Records {
    pub(super) fn new(file: File) -> anyhow::Result<Self> {
        let bytes = file.metadata().context("cannot read the records")?.len();
        Ok(Self {
            bytes,
            read: 0,
            reader: BufReader::with_capacity(CHUNK, file),
            buffer: Vec::with_capacity(2 * CHUNK),
            used: 0,
            ended: false,
            failed: None,
        })
    }

    /// Length of the file, in bytes.
    pub(super) fn bytes(&self) -> u64 {
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

    /// How the file ended, once its end was reached.
    ///
    /// # Errors
    /// If it could not be read, or what stands there is no record.
    pub(super) fn finish(self) -> anyhow::Result<End> {
        let end = End {
            records: self.read,
            is_cut: self.used < self.buffer.len(),
        };
        self.failed.map_or(Ok(end), Err)
    }
}

/// The end of a file of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Whole records in it.
    pub(super) records: u64,
    /// Whether a part of one follows.
    pub(super) is_cut: bool,
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while !self.ended {
            if let Some((record, length)) = Record::decode(&self.buffer[self.used..]) {
                self.used += length;
                self.read += 1;
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
