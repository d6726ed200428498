//! Which points are passed in the domain of a backend.

use tracer_common::point::{Kind, Point};

/// Whether a point is passed in the domain of a backend.
#[must_use]
pub fn is_backends(point: Point) -> bool {
    let mut kinds = [Kind::Blkback, Kind::NetForward].into_iter();
    kinds.any(|kind| kind.points().contains(&point))
}

/// Points of Dom0's part of a request's way, and those that its domain traces for them.
const OF_DOM0: [(Point, Point); 12] = [
    (Point::Dom0Upcall, Point::EvtchnUpcall),
    (Point::Dom0Issue, Point::BlkIssue),
    (Point::Dom0Irq, Point::IrqEntry),
    (Point::Dom0Softirq, Point::SoftirqEntry),
    (Point::Dom0Complete, Point::BlkComplete),
    (Point::Dom0Poll, Point::NapiPoll),
    (Point::Dom0Gro, Point::NapiGroReceive),
    (Point::Dom0Receive, Point::NetifReceive),
    (Point::Dom0Queue, Point::NetQueue),
    (Point::Dom0Dequeue, Point::QdiscDequeue),
    (Point::Dom0Xmit, Point::NetXmit),
    (Point::Dom0XmitDone, Point::NetXmitDone),
];

/// By which name a domain traces the point of this name: Dom0's own `blk.issue` is a guest's `dom0.issue`.
#[must_use]
pub fn traced_as(point: &str) -> &str {
    let own = OF_DOM0.iter().find(|(there, _)| there.name() == point);
    own.map_or(point, |(_, own)| own.name())
}

/// Whether a point of this name is passed in the domain of a backend.
#[must_use]
pub fn is_backends_own(point: &str) -> bool {
    let kinds = [Kind::Blkback, Kind::NetForward].into_iter();
    kinds.flat_map(Kind::points).any(|own| own.name() == point)
}

/// Whether a stage begins in one domain and ends in another.
#[must_use]
pub fn crosses(from: Point, to: Point) -> bool {
    is_backends(from) != is_backends(to)
}
