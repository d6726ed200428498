//! Records of agents elsewhere, looked at before they are kept. A guest is not trusted: what it sends must
//! be records, of no more devices than there can be, and must not fill the disk.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::statvfs::fstatvfs;
use tracer_common::record::Record;

use crate::recording::directory::{RunDirectory, records_name};

/// Kinds, devices and operations of one domain, each of which gets a table in the report. A guest with 64
/// disks that are read and written has half of it.
const MOST_GROUPS: usize = 256;
/// Bytes that stay free on the disk of the run directory.
const LEFT_FREE: u64 = 128 << 20;
/// Every so many bytes it is asked how many are free.
const ASK_EVERY: u64 = 8 << 20;

/// A file of records.
#[derive(Debug)]
pub struct Received {
    folder: PathBuf,
    file: File,
    /// The beginning of a record whose rest is on its way.
    cut: Vec<u8>,
    groups: BTreeSet<(u8, u32, u8)>,
    /// Bytes since it was asked how many are free.
    unasked: u64,
}

impl Received {
    /// For a domain's records.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn new(directory: &RunDirectory, domain: &str) -> anyhow::Result<Self> {
        Ok(Self {
            folder: directory.path().to_owned(),
            file: directory.append(&records_name(domain))?,
            cut: Vec::new(),
            groups: BTreeSet::new(),
            unasked: ASK_EVERY,
        })
    }

    /// Keeps the records that are whole by now; the last one may be cut anywhere.
    ///
    /// # Errors
    /// If they are no records, or there is no more room for them. What came before is kept.
    pub fn keep(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut all = std::mem::take(&mut self.cut);
        all.extend_from_slice(bytes);
        let mut used = 0;
        let mut outcome = Ok(());
        while let Some((record, length)) = Record::decode(&all[used..]) {
            outcome = self.look_at(&record);
            if outcome.is_err() {
                break;
            }
            used += length;
        }
        self.write(&all[..used])?;
        outcome?;
        let rest = all.split_off(used);
        // No record is as long.
        ensure!(
            rest.len() < size_of::<Record>(),
            "its agent has sent what is not a record"
        );
        self.cut = rest;
        Ok(())
    }

    fn look_at(&mut self, record: &Record) -> anyhow::Result<()> {
        self.groups.insert((record.kind, record.dev, record.op));
        ensure!(
            self.groups.len() <= MOST_GROUPS,
            "its agent has sent records of more than {MOST_GROUPS} devices and operations"
        );
        Ok(())
    }

    fn write(&mut self, records: &[u8]) -> anyhow::Result<()> {
        self.unasked += records.len() as u64;
        if self.unasked >= ASK_EVERY {
            self.unasked = 0;
            self.require_room()?;
        }
        let written = self.file.write_all(records);
        written.with_context(|| format!("cannot write records into {}", self.folder.display()))
    }

    fn require_room(&self) -> anyhow::Result<()> {
        let free = free_bytes(&self.file, &self.folder)?;
        if free < LEFT_FREE {
            bail!(
                "{} has {} MiB free, and {} MiB are left so: free some, or name another folder with --out",
                self.folder.display(),
                free >> 20,
                LEFT_FREE >> 20
            );
        }
        Ok(())
    }
}

fn free_bytes(file: &File, folder: &Path) -> anyhow::Result<u64> {
    let found = fstatvfs(file)
        .with_context(|| format!("cannot ask for the free space of {}", folder.display()))?;
    Ok(found.blocks_available() * found.fragment_size())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracer_common::point::Kind;

    use super::*;
    use crate::scenario::RunChanges;

    fn received() -> (tempfile::TempDir, Received) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let changes = RunChanges::default();
        let directory = RunDirectory::create(&path, "", &changes, String::new()).unwrap();
        let received = Received::new(&directory, "B").unwrap();
        (folder, received)
    }

    fn kept(folder: &tempfile::TempDir) -> Vec<u8> {
        std::fs::read(folder.path().join("run/B-records.bin")).unwrap()
    }

    fn wire(devices: u32) -> Vec<u8> {
        let mut wire = Vec::new();
        for dev in 0..devices {
            let record = Record {
                kind: Kind::Disk as u8,
                dev,
                ..Record::EMPTY
            };
            record.encode(|piece| wire.extend_from_slice(piece));
        }
        wire
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn whole_records_are_kept_however_they_are_cut(piece in 1usize..400, keep in any::<prop::sample::Index>()) {
            let (folder, mut received) = received();
            let wire = wire(30);
            let keep = keep.index(wire.len() + 1);
            for piece in wire[..keep].chunks(piece) {
                received.keep(piece).unwrap();
            }
            let length = wire.len() / 30;
            prop_assert_eq!(kept(&folder), &wire[..keep / length * length]);
        }

        #[test]
        fn what_is_kept_are_records_whatever_comes(bytes in prop::collection::vec(any::<u8>(), 0..4000), piece in 1usize..900) {
            let (folder, mut received) = received();
            for piece in bytes.chunks(piece) {
                if received.keep(piece).is_err() {
                    break;
                }
            }
            let kept = kept(&folder);
            let mut at = 0;
            while let Some((_, length)) = Record::decode(&kept[at..]) {
                at += length;
            }
            prop_assert_eq!(at, kept.len());
            prop_assert!(received.cut.len() < size_of::<Record>());
        }
    }

    #[test]
    fn what_is_no_record_is_refused_and_what_was_before_is_kept() {
        let (folder, mut received) = received();
        let wire = wire(3);
        received.keep(&wire).unwrap();
        let error = received.keep(&[0xff; 300]).unwrap_err().to_string();
        assert!(error.contains("not a record"), "{error}");
        assert_eq!(kept(&folder), wire);
    }

    #[test]
    fn a_guest_cannot_have_a_report_of_any_length() {
        let (_folder, mut received) = received();
        let most = u32::try_from(MOST_GROUPS).unwrap();
        received.keep(&wire(most)).unwrap();
        let error = received.keep(&wire(most + 1)).unwrap_err().to_string();
        assert!(error.contains("devices and operations"), "{error}");
    }
}
