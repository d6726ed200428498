//! Spans: one request's whole journey on one timeline.

pub mod across;
pub mod join;
mod kept;
pub mod packets;
pub mod steal;
pub mod taken;
pub(crate) mod worker;

use tracer_common::point::Point;

use crate::span::taken::Taken;

/// The intervals between the points that a request passed, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The datapath's name, as in [`crate::datapath`].
    pub datapath: &'static str,
    /// The measured iteration in which the request ended, from 0.
    pub iteration: u32,
    /// Disk: the kernel's internal `dev_t`. Network: the interface index.
    pub device: u32,
    /// Disk: `REQ_OP_*`. Network: the IP protocol.
    pub operation: u8,
    /// A set of [`tracer_common::record::flag`]s.
    pub flags: u16,
    /// Bytes that the request carries.
    pub bytes: u32,
    /// The thread that made the request or waits for it; 0 if not known.
    pub tid: u32,
    /// The interrupt that answered it; 0 if not known.
    pub irq: u32,
    /// Disk: first sector (512 bytes). Network: [`tracer_common::record::flow`].
    pub position: u64,
    /// The points passed, in order of time, with the time in nanoseconds on the run's timeline. At
    /// least two.
    pub points: Vec<(Point, u64)>,
    /// What was taken from stages meanwhile.
    pub taken: Taken,
}

impl Span {
    /// Time from the first point to the last, in nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        match (self.points.first(), self.points.last()) {
            (Some((_, first)), Some((_, last))) => last - first,
            _ => 0,
        }
    }

    /// The stages: from point, to point, nanoseconds. They add up to [`Span::total_ns`]. What was taken
    /// from them makes stages of its own, after all others.
    pub fn stages(&self) -> impl Iterator<Item = (Point, Point, u64)> + '_ {
        let own = own_times(&self.points, &self.taken);
        own.map(|(from, to, time)| (*from, *to, time))
            .chain(self.taken.asides())
    }
}

/// The stages between points, each less what was taken from it.
pub(crate) fn own_times<'s, P>(
    points: &'s [(P, u64)],
    taken: &'s Taken,
) -> impl Iterator<Item = (&'s P, &'s P, u64)> {
    points.windows(2).enumerate().map(move |(index, pair)| {
        let time = pair[1].1.saturating_sub(pair[0].1);
        let time = time.saturating_sub(taken.from_stage(index));
        (&pair[0].0, &pair[1].0, time)
    })
}
