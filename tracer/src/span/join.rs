//! Records into spans. In one domain a record is a whole span already.

use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag},
};

use crate::span::Span;

/// Why a record is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjoined {
    /// Its stamps are not in the order of its datapath.
    Disordered,
    /// It has fewer than two stamps, or lacks the end of its way.
    Incomplete,
}

/// The datapath of a kind of record in a domain that is alone.
#[must_use]
pub const fn datapath(kind: Kind) -> &'static str {
    match kind {
        Kind::Disk => "disk/native",
        Kind::NetTx => "net-tx/native",
        Kind::NetRx => "net-rx/native",
    }
}

/// Makes a span of one domain's record.
///
/// # Errors
/// If the record does not hold a whole, ordered way.
pub fn local(record: &Record, iteration: u32) -> Result<Span, Unjoined> {
    let kind = Kind::from_u8(record.kind).ok_or(Unjoined::Incomplete)?;
    let stamps = kind.points().iter().copied().zip(record.at);
    let points: Vec<(Point, u64)> = stamps.filter(|(_, at)| *at != 0).collect();
    if points.windows(2).any(|pair| pair[1].1 < pair[0].1) {
        return Err(Unjoined::Disordered);
    }
    let dropped = record.flags & flag::DROPPED != 0;
    if points.len() < 2 || (!dropped && !ends(kind, &points)) {
        return Err(Unjoined::Incomplete);
    }
    Ok(Span {
        datapath: datapath(kind),
        iteration,
        device: record.dev,
        operation: record.op,
        flags: record.flags,
        bytes: record.bytes,
        tid: record.tid,
        irq: record.irq,
        position: record.position,
        points,
    })
}

/// Whether the way came to an end: a disk request completed, a packet left the driver or reached its
/// socket.
fn ends(kind: Kind, points: &[(Point, u64)]) -> bool {
    let passed = |wanted: Point| points.iter().any(|(point, _)| *point == wanted);
    match kind {
        Kind::Disk => passed(Point::BlkComplete),
        Kind::NetTx => passed(Point::NetXmitDone) || passed(Point::NetTxComplete),
        Kind::NetRx => passed(Point::SockReady),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tracer_common::record::MAX_POINTS;

    proptest! {
        #[test]
        fn stages_add_up_to_the_nanosecond(
            kind in prop::sample::select(&Kind::ALL[..]),
            at in prop::array::uniform16(prop_oneof![Just(0u64), 1u64..1 << 50]),
        ) {
            let mut record = Record { kind: kind as u8, ..Record::EMPTY };
            record.at[..MAX_POINTS].copy_from_slice(&at);
            if let Ok(span) = local(&record, 0) {
                prop_assert_eq!(span.stages().map(|(_, _, time)| time).sum::<u64>(), span.total_ns());
            }
        }
    }

    #[test]
    fn a_request_without_its_completion_is_incomplete() {
        let mut record = Record {
            kind: Kind::Disk as u8,
            ..Record::EMPTY
        };
        record.at[0] = 10;
        record.at[Kind::Disk.index_of(Point::BlkIssue)] = 20;
        assert_eq!(local(&record, 0), Err(Unjoined::Incomplete));
        record.at[Kind::Disk.index_of(Point::BlkComplete)] = 15;
        assert_eq!(local(&record, 0), Err(Unjoined::Disordered));
        record.at[Kind::Disk.index_of(Point::BlkComplete)] = 30;
        assert_eq!(local(&record, 0).map(|span| span.total_ns()), Ok(20));
    }
}
