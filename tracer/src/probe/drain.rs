//! Empties the ring buffer by polling: the programs write without waking anyone, which is what makes
//! a record cheap.

use aya::maps::{MapData, RingBuf};

/// The ring buffer's reading end.
pub struct Drain {
    ring: RingBuf<MapData>,
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}

impl Drain {
    /// Takes the ring buffer out of a loaded object; `None` if it was taken before.
    pub fn new(ebpf: &mut aya::Ebpf) -> Option<Self> {
        let ring = RingBuf::try_from(ebpf.take_map("RECORDS")?).ok()?;
        Some(Self { ring })
    }

    /// Appends waiting records to `out` until there are none, or `out` holds `limit` bytes. Returns
    /// whether it emptied the ring. Allocates nothing while `out` has room.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        while out.len() < limit {
            match self.ring.next() {
                Some(record) => out.extend_from_slice(&record),
                None => return true,
            }
        }
        false
    }
}
