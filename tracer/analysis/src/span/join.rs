//! Records into spans. In one domain a record is a whole span already.

use tracer_common::{
    point::{Kind, Point},
    record::{MAX_POINTS, Record, flag},
};

use crate::{
    datapath::DATAPATHS,
    span::{Span, taken::Taken},
};

const INTERRUPT: usize = Kind::Blkback.index_of(Point::BlkbackInterrupt);

/// Why a record is no span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unjoined {
    /// Its stamps are not in the order of its datapath.
    Disordered,
    /// It has fewer than two stamps, or lacks the end of its way.
    Incomplete,
    /// The other domain has no record of it.
    Unseen,
    /// The other domain has more than one record that could be its.
    Ambiguous,
    /// The other domain's record of it has another size: it was cut into pieces, or joined to others.
    Resized,
    /// Nothing ties the domains' clocks: that an answer came after its question cannot be told.
    NoClock,
}

impl Unjoined {
    /// Why, in words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Disordered => "stamps out of order",
            Self::Incomplete => "stamps missing",
            Self::Unseen => "not seen by the backend",
            Self::Ambiguous => "more than one request of the backend fits",
            Self::Resized => "cut into pieces, or joined to others, on the way",
            Self::NoClock => "the domains' clocks could not be tied",
        }
    }
}

/// The datapaths of a domain's kinds of records, among those that were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Datapaths([Option<&'static str>; Kind::ALL.len()]);

impl Datapaths {
    /// Of the names in a request.
    #[must_use]
    pub fn among(requested: &[String]) -> Self {
        Self(Kind::ALL.map(|kind| {
            DATAPATHS
                .iter()
                .filter(|path| path.kind == Some(kind))
                .map(|path| path.name)
                .find(|name| requested.iter().any(|r| r == name))
        }))
    }

    /// That of a kind; `None`: not asked for.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&'static str> {
        Kind::ALL
            .iter()
            .zip(self.0)
            .find_map(|(other, name)| (*other == kind).then_some(name)?)
    }
}

/// The points that a record has passed.
pub(super) fn stamps(kind: Kind, at: &[u64; MAX_POINTS]) -> impl Iterator<Item = (Point, u64)> {
    let all = kind.points().iter().copied().zip(*at);
    all.filter(|(_, at)| *at != 0)
}

/// Makes a span of one domain's record; `None` if its datapath was not asked for, or another packet took it along.
///
/// # Errors
/// If the record does not hold a whole, ordered way.
pub fn local(
    record: &Record,
    iteration: u32,
    datapaths: &Datapaths,
) -> Result<Option<Span>, Unjoined> {
    let kind = Kind::from_u8(record.kind).ok_or(Unjoined::Incomplete)?;
    let Some(datapath) = datapaths.of(kind) else {
        return Ok(None);
    };
    if record.flags & flag::SOCKET_MERGED != 0 {
        return Ok(None);
    }
    // When blkback's thread ran says nothing alone: it may have run for long.
    let uncalled = kind == Kind::Blkback && record.at[INTERRUPT] == 0;
    let points: Vec<(Point, u64)> = stamps(kind, &record.at)
        .filter(|(point, _)| !(uncalled && *point == Point::BlkbackRun))
        .collect();
    if points.windows(2).any(|pair| pair[1].1 < pair[0].1) {
        return Err(Unjoined::Disordered);
    }
    let dropped = record.flags & flag::DROPPED != 0;
    if points.len() < 2 || (!dropped && !ends(kind, &points)) {
        return Err(Unjoined::Incomplete);
    }
    Ok(Some(Span {
        datapath,
        iteration,
        device: record.dev,
        operation: record.op,
        flags: record.flags,
        bytes: record.bytes,
        tid: record.tid,
        irq: record.irq,
        position: record.position,
        points,
        taken: Taken::default(),
    }))
}

/// Whether the way came to an end: a disk request completed, a packet left the driver or reached its
/// socket.
fn ends(kind: Kind, points: &[(Point, u64)]) -> bool {
    let passed = |wanted: Point| points.iter().any(|(point, _)| *point == wanted);
    match kind {
        Kind::Disk => passed(Point::BlkComplete),
        Kind::NetTx => passed(Point::NetXmitDone) || passed(Point::NetTxComplete),
        Kind::NetRx => passed(Point::SockReady),
        Kind::NetForward => passed(Point::Dom0XmitDone) || passed(Point::Dom0TxComplete),
        Kind::Blkback => passed(Point::BlkbackResponse) || passed(Point::BlkbackComplete),
        Kind::Steal | Kind::Preempt => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Datapaths {
        Datapaths::among(
            &[
                "disk/native",
                "net-tx/native",
                "net-rx/native",
                "disk/vbd-backend",
            ]
            .map(str::to_owned),
        )
    }

    proptest! {
        #[test]
        fn stages_add_up_to_the_nanosecond(
            kind in prop::sample::select(&Kind::ALL[..]),
            at in prop::array::uniform16(prop_oneof![Just(0u64), 1u64..1 << 50]),
        ) {
            let mut record = Record { kind: kind as u8, ..Record::EMPTY };
            record.at[..MAX_POINTS].copy_from_slice(&at);
            if let Ok(Some(span)) = local(&record, 0, &all()) {
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
        assert_eq!(local(&record, 0, &all()), Err(Unjoined::Incomplete));
        record.at[Kind::Disk.index_of(Point::BlkComplete)] = 15;
        assert_eq!(local(&record, 0, &all()), Err(Unjoined::Disordered));
        record.at[Kind::Disk.index_of(Point::BlkComplete)] = 30;
        assert_eq!(total(&record, &all()), Ok(Some(20)));
        let passthrough = Datapaths::among(&["disk/passthrough".to_owned()]);
        let span = local(&record, 0, &passthrough).unwrap().unwrap();
        assert_eq!(span.datapath, "disk/passthrough");
        let network = Datapaths::among(&["net-rx/native".to_owned()]);
        assert_eq!(total(&record, &network), Ok(None));
    }

    #[test]
    fn a_record_of_any_kind_with_every_stamp_is_whole() {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_request()) {
            let points = kind.points();
            let mut record = Record {
                kind: kind as u8,
                ..Record::EMPTY
            };
            for (stamp, at) in record.at.iter_mut().zip(1..=points.len() as u64) {
                *stamp = at;
            }
            let paths = DATAPATHS.iter().map(|path| path.name.to_owned());
            let span = local(&record, 0, &Datapaths::among(&paths.collect::<Vec<_>>()));
            assert!(span.unwrap().is_some(), "{kind:?}");
        }
    }

    #[test]
    fn a_packet_that_tcp_joined_to_another_is_no_span_and_not_lost() {
        let mut record = Record {
            kind: Kind::NetRx as u8,
            flags: flag::SOCKET_MERGED,
            ..Record::EMPTY
        };
        record.at[Kind::NetRx.index_of(Point::NapiGroReceive)] = 10;
        record.at[Kind::NetRx.index_of(Point::NetifReceive)] = 20;
        assert_eq!(total(&record, &all()), Ok(None));
        record.flags = 0;
        assert_eq!(total(&record, &all()), Err(Unjoined::Incomplete));
    }

    fn total(record: &Record, datapaths: &Datapaths) -> Result<Option<u64>, Unjoined> {
        local(record, 0, datapaths).map(|span| span.map(|span| span.total_ns()))
    }
}
