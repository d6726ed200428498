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
#[derive(Debug)]
pub(super) struct Records {
    reader: BufReader<File>,
    bytes: u64,
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

    /// What was wrong with the file, once its end was reached.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while !self.ended {
            if let Some((record, length)) = Record::decode(&self.buffer[self.used..]) {
                self.used += length;
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
