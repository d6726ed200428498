//! The record: what a domain's eBPF programs emit for one request, once.

use crate::point::Kind;

/// Room for stamps in a record.
pub const MAX_POINTS: usize = 16;

/// One request in one domain: its key and its local timestamps.
///
/// Only the first [`Record::len`] bytes are emitted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// A [`Kind`].
    pub kind: u8,
    /// Disk: the kernel's `REQ_OP_*`. Network: the IP protocol.
    pub op: u8,
    /// A set of [`flag`]s.
    pub flags: u16,
    /// Disk: the kernel's internal `dev_t` (major << 20 | minor). Network: the interface index; of a
    /// packet that is passed on, that of the device it came in by.
    /// Blkback: the virtual disk (see [`vbd`]).
    pub dev: u32,
    /// Disk: what identifies the request while it is in flight; unique among the requests in flight only.
    /// Blkback, and disk with [`flag::RING_ID`]: where it is on the ring (see [`ring_id`]).
    /// Network: between which hosts it goes (see [`addresses`]).
    pub key: u64,
    /// Disk: the first sector, in units of 512 bytes. Network: the flow (see [`flow`]).
    pub position: u64,
    /// Bytes that the request carries.
    pub bytes: u32,
    /// The thread that made the request, or reads what it brings; 0 if not known.
    pub tid: u32,
    /// The interrupt that answered the request; 0 if not known.
    pub irq: u32,
    /// The CPU on which the request was made.
    pub cpu: u16,
    /// The CPU on which it ended.
    pub cpu_end: u16,
    /// `CLOCK_MONOTONIC` nanoseconds at each of the kind's points; 0 where the point was not passed.
    pub at: [u64; MAX_POINTS],
}

/// Bytes of a record before its stamps.
pub const HEADER_BYTES: usize = core::mem::size_of::<Record>() - MAX_POINTS * 8;

const _: () = assert!(HEADER_BYTES == 40);
const _: () = assert!(core::mem::align_of::<Record>() == 8);

impl Record {
    /// A record with nothing in it.
    pub const EMPTY: Self = Self {
        kind: 0,
        op: 0,
        flags: 0,
        dev: 0,
        key: 0,
        position: 0,
        bytes: 0,
        tid: 0,
        irq: 0,
        cpu: 0,
        cpu_end: 0,
        at: [0; MAX_POINTS],
    };

    /// Whether it is of a request: others tell of times in which nothing was done for any.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        match Kind::from_u8(self.kind) {
            Some(kind) => kind.is_request(),
            None => false,
        }
    }

    /// Bytes that a record of `kind` takes on the wire.
    #[must_use]
    pub const fn len(kind: Kind) -> usize {
        HEADER_BYTES + kind.points().len() * 8
    }

    /// Decodes one record from the start of `bytes`; also says how many bytes it took. `None` if
    /// the kind is unknown or `bytes` is too short.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let kind = Kind::from_u8(*bytes.first()?)?;
        let len = Self::len(kind);
        let bytes = bytes.get(..len)?;
        let u16_at = |o: usize| u16::from_ne_bytes([bytes[o], bytes[o + 1]]);
        let u32_at =
            |o: usize| u32::from_ne_bytes([bytes[o], bytes[o + 1], bytes[o + 2], bytes[o + 3]]);
        let u64_at = |o: usize| (u64::from(u32_at(o + 4)) << 32) | u64::from(u32_at(o));
        let mut record = Self {
            kind: kind as u8,
            op: bytes[1],
            flags: u16_at(2),
            dev: u32_at(4),
            key: u64_at(8),
            position: u64_at(16),
            bytes: u32_at(24),
            tid: u32_at(28),
            irq: u32_at(32),
            cpu: u16_at(36),
            cpu_end: u16_at(38),
            at: [0; MAX_POINTS],
        };
        for (index, stamp) in record.at.iter_mut().take(kind.points().len()).enumerate() {
            *stamp = u64_at(HEADER_BYTES + index * 8);
        }
        Some((record, len))
    }

    /// Appends the wire form to `out` through `push`. The twin of [`Record::decode`], for tests and
    /// for synthetic recordings.
    pub fn encode(&self, mut push: impl FnMut(&[u8])) {
        let Some(kind) = Kind::from_u8(self.kind) else {
            return;
        };
        push(&[self.kind, self.op]);
        push(&self.flags.to_ne_bytes());
        push(&self.dev.to_ne_bytes());
        push(&self.key.to_ne_bytes());
        push(&self.position.to_ne_bytes());
        push(&self.bytes.to_ne_bytes());
        push(&self.tid.to_ne_bytes());
        push(&self.irq.to_ne_bytes());
        push(&self.cpu.to_ne_bytes());
        push(&self.cpu_end.to_ne_bytes());
        for stamp in &self.at[..kind.points().len()] {
            push(&stamp.to_ne_bytes());
        }
    }
}

/// A request in flight: an entry of the kernel side's table. It fills cache lines of its own, since a
/// request often ends on another CPU than it began; up to the first stamp it is one line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// What identifies the bio or packet; 0: the slot is free.
    pub key: u64,
    /// One of [`state`].
    pub state: u32,
    /// Bytes of the first bio; of a received packet, those of its headers.
    pub first_bytes: u32,
    /// What is known so far.
    pub record: Record,
    /// Whose it is, as a number: of a disk's request the address of the task that made it, of a flush its queue, of
    /// blkback's its ring; 0: not known.
    pub owner: u64,
}

const _: () = assert!(core::mem::offset_of!(Slot, record) + HEADER_BYTES + 8 == 64);

/// Values of [`Slot::state`].
pub mod state {
    /// On its way.
    pub const FLIGHT: u32 = 1;
    /// At its end; its waiting task may be woken in this same context.
    pub const ENDING: u32 = 2;
    /// Its waiting task was woken and has not yet run.
    pub const WOKEN: u32 = 3;
    /// A packet that a software device handed to its peer: no completion will come.
    pub const HANDED: u32 = 4;
    /// A packet whose memory was given back once it was cut into pieces, which go on.
    pub const CUT: u32 = 5;
}

// SAFETY: repr(C), only integers, no padding (the assertion below), any bit pattern is valid.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for Slot {}

const _: () = assert!(core::mem::size_of::<Slot>() == 192);

/// What can be true of a request besides its stamps.
pub mod flag {
    /// Other bios were merged into the request.
    pub const MERGED: u16 = 1 << 0;
    /// The request is part of a bio that was split.
    pub const SPLIT: u16 = 1 << 1;
    /// The driver gave the request back at least once.
    pub const REQUEUED: u16 = 1 << 2;
    /// A later bio was merged in front of the one that began the request.
    pub const FRONT_MERGED: u16 = 1 << 3;
    /// More than one interrupt could have answered the request: none is named.
    pub const IRQ_AMBIGUOUS: u16 = 1 << 4;
    /// The request failed.
    pub const ERROR: u16 = 1 << 5;
    /// The task that would have waited did not sleep: it was woken before it had left its CPU, and has no
    /// `sched.switch`, or was awake when the request was complete, and has no `sched.waking` either.
    pub const READER_AWAKE: u16 = 1 << 6;
    /// The device completed the request in parts; the last part counts.
    pub const PARTIAL: u16 = 1 << 7;
    /// The packet is several segments that the stack or the device cuts (GSO) or joined (GRO).
    pub const SEGMENTED: u16 = 1 << 8;
    /// The packet was dropped.
    pub const DROPPED: u16 = 1 << 9;
    /// Transmit: the packet went to the socket outside of a system call (ACK-clocked, or sent again).
    pub const DEFERRED: u16 = 1 << 10;
    /// The record's key is the request's id on a ring.
    pub const RING_ID: u16 = 1 << 12;
    /// TCP has joined the received packet to another: no reader was told of it, and it is no span.
    pub const SOCKET_MERGED: u16 = 1 << 13;

    /// Names, for reports.
    pub const NAMES: [(u16, &str); 11] = [
        (MERGED, "merged"),
        (SPLIT, "split"),
        (REQUEUED, "requeued"),
        (FRONT_MERGED, "front_merged"),
        (IRQ_AMBIGUOUS, "irq_ambiguous"),
        (ERROR, "error"),
        (READER_AWAKE, "reader_awake"),
        (PARTIAL, "partial"),
        (SEGMENTED, "segmented"),
        (DROPPED, "dropped"),
        (DEFERRED, "deferred"),
    ];
}

/// A guest's virtual disk in [`Record::dev`]: its domain, and its number as blkback keeps it, which is
/// the lower 16 bits of that in xenstore.
pub mod vbd {
    /// Packs domain and number.
    #[inline(always)]
    #[must_use]
    pub const fn pack(domid: u16, number: u16) -> u32 {
        ((domid as u32) << 16) | number as u32
    }

    /// The twin of [`pack`]: `(domid, number)`.
    #[must_use]
    pub const fn unpack(dev: u32) -> (u16, u16) {
        ((dev >> 16) as u16, dev as u16)
    }
}

/// A request on one of a virtual disk's rings, in [`Record::key`].
pub mod ring_id {
    /// Packs the ring's number and the request's id, which frontends take from 0 on: of a larger one
    /// 48 bits are kept.
    #[inline(always)]
    #[must_use]
    pub const fn pack(ring: u16, id: u64) -> u64 {
        ((ring as u64) << 48) | (id & 0xffff_ffff_ffff)
    }
}

/// The hosts of a packet, in [`Record::key`].
pub mod addresses {
    /// Packs source and destination: IPv4 addresses; of IPv6 addresses their four words, folded by
    /// exclusive or.
    #[inline(always)]
    #[must_use]
    pub const fn pack(source: u32, destination: u32) -> u64 {
        ((source as u64) << 32) | destination as u64
    }
}

/// The flow of a packet in [`Record::position`]: source port, destination port, and 32 bits that
/// tell packets of one flow apart (TCP: the sequence number; UDP: the IP id).
pub mod flow {
    /// Packs ports and sequence.
    #[inline(always)]
    #[must_use]
    pub const fn pack(source_port: u16, destination_port: u16, sequence: u32) -> u64 {
        ((source_port as u64) << 48) | ((destination_port as u64) << 32) | sequence as u64
    }

    /// The twin of [`pack`]: `(source_port, destination_port, sequence)`.
    #[must_use]
    pub const fn unpack(position: u64) -> (u16, u16, u32) {
        (
            (position >> 48) as u16,
            (position >> 32) as u16,
            position as u32,
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn any_record() -> impl Strategy<Value = Record> {
        (
            prop::sample::select(&Kind::ALL[..]),
            any::<(u8, u16, u32, u64, u64, u32, u32, u32, u16, u16)>(),
            any::<[u64; MAX_POINTS]>(),
        )
            .prop_map(|(kind, f, mut at)| {
                at[kind.points().len()..].fill(0);
                Record {
                    kind: kind as u8,
                    op: f.0,
                    flags: f.1,
                    dev: f.2,
                    key: f.3,
                    position: f.4,
                    bytes: f.5,
                    tid: f.6,
                    irq: f.7,
                    cpu: f.8,
                    cpu_end: f.9,
                    at,
                }
            })
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(record in any_record()) {
            let mut wire = Vec::new();
            record.encode(|bytes| wire.extend_from_slice(bytes));
            prop_assert_eq!(Record::decode(&wire), Some((record, wire.len())));
        }

        #[test]
        fn decode_takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            if let Some((_, len)) = Record::decode(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }

        #[test]
        fn vbd_round_trips(domid in any::<u16>(), number in any::<u16>()) {
            prop_assert_eq!(vbd::unpack(vbd::pack(domid, number)), (domid, number));
        }

        #[test]
        fn flow_round_trips(s in any::<u16>(), d in any::<u16>(), q in any::<u32>()) {
            prop_assert_eq!(flow::unpack(flow::pack(s, d, q)), (s, d, q));
        }
    }
}
