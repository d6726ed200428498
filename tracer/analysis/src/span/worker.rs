//! Who works on a request up to a point: one of the CPUs that its record names, and a thread.

use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

/// Which of the two CPUs of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cpu {
    /// On which the request began.
    First,
    /// On which it came back from the device or the other domain.
    Last,
}

/// The CPU of the beginning works up to where the request leaves for the device or the other domain.
fn cpu(kind: Kind, point: Point) -> Cpu {
    let points = kind.points();
    let left = points.iter().position(|other| other.leaves());
    let place = points.iter().position(|other| *other == point);
    match (place, left) {
        (Some(place), Some(left)) if place <= left => Cpu::First,
        _ => Cpu::Last,
    }
}

/// Whether it is for blkback's thread to come to a point of a request.
const fn is_threads(kind: Kind, point: Point) -> bool {
    let is_its_work = matches!(point, Point::BlkbackSubmit | Point::Dom0Issue);
    is_its_work && matches!(kind, Kind::Blkback)
}

/// The CPU on which a request passed a point.
pub(crate) fn cpu_at(record: &Record, point: Point) -> u16 {
    match Kind::from_u8(record.kind).map(|kind| cpu(kind, point)) {
        Some(Cpu::First) => record.cpu,
        Some(Cpu::Last) | None => record.cpu_end,
    }
}

/// Blkback's thread, if it is the one that has to come to this point.
pub(crate) fn thread_at(record: &Record, point: Point) -> Option<u32> {
    let kind = Kind::from_u8(record.kind)?;
    is_threads(kind, point).then_some(record.tid)
}

/// Whether the same CPU and thread work up to both points, in every kind of record that has the first.
pub(super) fn is_same(one: Point, other: Point) -> bool {
    let kinds = Kind::ALL.into_iter();
    let mut of_one = kinds.filter(|kind| kind.points().contains(&one));
    of_one.all(|kind| {
        kind.points().contains(&other)
            && cpu(kind, one) == cpu(kind, other)
            && is_threads(kind, one) == is_threads(kind, other)
    })
}
