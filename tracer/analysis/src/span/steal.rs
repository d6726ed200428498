//! Time that the hypervisor gave to others, and time in which another task of Dom0's had the CPU that
//! blkback's thread worked on: taken out of the stages in which it passed, and shown as stages of their own,
//! so that a stage's time is that of its own work.

use std::collections::HashMap;

use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::{
    clock::Mapping,
    datapath::crosses,
    span::{Span, taken::Taken, worker},
};

/// A domain's times that are kept at most; what comes later stays in the stages.
const KEPT: usize = 1 << 20;
/// The program that stamps the arrival of an interrupt looks a moment before it, on its CPU.
const SLACK_NS: u64 = 50_000;

/// Whose times they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// A virtual CPU's.
    Cpu(u16),
    /// A thread's.
    Thread(u32),
}

/// Who works up to the point at which a stage ends.
#[derive(Clone, Copy, Debug)]
pub struct Worker<'t> {
    /// Its domain's.
    pub thefts: &'t Thefts,
    /// The virtual CPU.
    pub cpu: u16,
    /// The thread, if it is one of blkback's.
    pub thread: Option<u32>,
}

/// When a domain's virtual CPUs, or blkback's threads in it, wanted to run and did not.
#[derive(Clone, Debug, Default)]
pub struct Thefts {
    /// From, to, on the run's timeline; in order and apart from each other.
    times: HashMap<Whose, Vec<(u64, u64)>>,
    kept: usize,
    /// Times beyond those that are kept.
    pub forgotten: u64,
}

/// Of a record that tells of such a time.
fn told(record: &Record) -> Option<(Whose, u64, u64)> {
    let whose = match Kind::from_u8(record.kind)? {
        Kind::Steal => Whose::Cpu(record.cpu),
        Kind::Preempt => Whose::Thread(record.tid),
        _ => return None,
    };
    Some((whose, record.at[0], record.at[1]))
}

impl Thefts {
    /// Those among a domain's records, on the run's timeline.
    #[must_use]
    pub fn new(records: impl Iterator<Item = Record>, mapping: &Mapping) -> Self {
        let mut thefts = Self::default();
        for (whose, from, to) in records.filter_map(|record| told(&record)) {
            if thefts.kept == KEPT {
                thefts.forgotten += 1;
                continue;
            }
            thefts.kept += 1;
            let time = (mapping.map(from), mapping.map(to));
            thefts.times.entry(whose).or_default().push(time);
        }
        for times in thefts.times.values_mut() {
            times.sort_unstable();
            let mut until = 0;
            for (from, to) in times.iter_mut() {
                *from = (*from).max(until);
                *to = (*to).max(*from);
                until = *to;
            }
        }
        thefts
    }

    /// Whether there is nothing to take out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// How much of the time between two moments was taken. With `at_the_end` only what lasted up to the
    /// second moment: what was waited for had not come before.
    fn between(&self, whose: Whose, from: u64, to: u64, at_the_end: bool) -> u64 {
        let Some(times) = self.times.get(&whose) else {
            return 0;
        };
        let first = times.partition_point(|time| time.1 <= from);
        let inside = times[first..].iter().take_while(|time| time.0 < to);
        let counted = inside.filter(|time| !at_the_end || time.1.saturating_add(SLACK_NS) >= to);
        counted.map(|time| time.1.min(to) - time.0.max(from)).sum()
    }
}

/// Whether a stage is waiting for an interrupt: no CPU works for the request meanwhile. What the other domain
/// sends is there at once: only the virtual CPU keeps it from arriving.
fn waits(from: Point, to: Point) -> bool {
    use Point::*;
    match to {
        _ if crosses(from, to) => false,
        EvtchnUpcall | Dom0Upcall => true,
        IrqEntry | Dom0Irq | BlkbackInterrupt => !matches!(from, EvtchnUpcall | Dom0Upcall),
        _ => false,
    }
}

/// Whether as much is taken of a stage when a point amid it is not stamped: the same worker comes to that point and to the
/// stage's end, nobody looks there for what was taken, and none of the stages is waiting, of which only what was taken at its
/// end counts. By the points' names.
#[must_use]
pub fn is_taken_alike(from: &str, amid: &str, to: &str) -> bool {
    let named = |name: &str| Point::ALL.into_iter().find(|point| point.name() == name);
    let (Some(from), Some(amid), Some(to)) = (named(from), named(amid), named(to)) else {
        return false;
    };
    let stages = [(from, to), (from, amid), (amid, to)];
    !amid.looks_for_taken()
        && worker::is_same(amid, to)
        && !stages.into_iter().any(|(from, to)| waits(from, to))
}

impl Span {
    /// Notes for each stage what was taken from it. `of` says, by the point at which a stage ends, who had
    /// to end it.
    #[must_use]
    pub fn taken_by<'t>(mut self, of: impl Fn(Point) -> Worker<'t>) -> Self {
        let mut taken = Taken::default();
        for (index, pair) in self.points.windows(2).enumerate() {
            let ((from, begin), (to, end)) = (pair[0], pair[1]);
            let worker = of(to);
            let between = |whose, at_the_end| worker.thefts.between(whose, begin, end, at_the_end);
            let stolen = between(Whose::Cpu(worker.cpu), waits(from, to));
            if stolen != 0 {
                taken.stolen.push((index, stolen));
            }
            // A thread that waits for a virtual CPU which itself has no physical one waits for both.
            let left = (end - begin).saturating_sub(stolen);
            let thread = worker.thread.map(Whose::Thread);
            let preempted = thread.map_or(0, |thread| between(thread, false)).min(left);
            if preempted != 0 {
                taken.preempted.push((index, preempted));
            }
        }
        self.taken = taken;
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steals(times: &[(u64, u64)]) -> impl Iterator<Item = Record> {
        times.iter().map(|(from, to)| {
            let mut record = Record {
                kind: Kind::Steal as u8,
                cpu: 3,
                ..Record::EMPTY
            };
            (record.at[0], record.at[1]) = (*from, *to);
            record
        })
    }

    fn thefts(times: &[(u64, u64)]) -> Thefts {
        Thefts::new(steals(times), &Mapping::default())
    }

    fn on_cpu<'t>(thefts: &'t Thefts, cpu: u16) -> impl Fn(Point) -> Worker<'t> {
        move |_| Worker {
            thefts,
            cpu,
            thread: Some(77),
        }
    }

    fn span(points: Vec<(Point, u64)>) -> Span {
        Span {
            points,
            ..Span::default()
        }
    }

    #[test]
    fn work_that_was_interrupted_is_shorter_by_that() {
        let thefts = thefts(&[(1_000_000, 3_000_000), (10_000_000, 11_000_000)]);
        let points = vec![
            (Point::BlkQueue, 500_000),
            (Point::BlkGetrq, 2_000_000),
            (Point::BlkIssue, 4_000_000),
            (Point::BlkComplete, 5_000_000),
        ];
        let span = span(points).taken_by(on_cpu(&thefts, 3));
        assert_eq!(span.taken.stolen, [(0, 1_000_000), (1, 1_000_000)]);
        let stages: Vec<_> = span.stages().collect();
        assert_eq!(
            stages,
            [
                (Point::BlkQueue, Point::BlkGetrq, 500_000),
                (Point::BlkGetrq, Point::BlkIssue, 1_000_000),
                (Point::BlkIssue, Point::BlkComplete, 1_000_000),
                (Point::VcpuOff, Point::VcpuOn, 2_000_000),
            ]
        );
        let other = span.taken_by(on_cpu(&thefts, 2));
        assert!(other.taken.stolen.is_empty(), "another CPU's");
    }

    #[test]
    fn what_was_waited_for_came_later_than_a_theft_that_ended_before() {
        let early = thefts(&[(1_000_000, 2_000_000)]);
        let points = vec![
            (Point::BlkfrontPush, 900_000),
            (Point::EvtchnUpcall, 5_000_000),
        ];
        assert!(
            span(points.clone())
                .taken_by(on_cpu(&early, 3))
                .taken
                .stolen
                .is_empty()
        );
        let late = thefts(&[(2_000_000, 5_000_000)]);
        let span = span(points).taken_by(on_cpu(&late, 3));
        assert_eq!(span.taken.stolen, [(0, 3_000_000)]);
    }

    /// The virtual CPU may serve another interrupt first, such as a timer's.
    #[test]
    fn a_notification_waits_for_a_virtual_cpu_from_the_beginning() {
        let thefts = thefts(&[(1_000_000, 4_000_000)]);
        let points = vec![
            (Point::BlkbackResponse, 900_000),
            (Point::EvtchnUpcall, 5_000_000),
        ];
        let span = span(points).taken_by(on_cpu(&thefts, 3));
        assert_eq!(span.taken.stolen, [(0, 3_000_000)]);
    }

    #[test]
    fn a_thread_that_lost_its_cpu_amid_its_work_waited_for_it() {
        let record = Record {
            kind: Kind::Preempt as u8,
            tid: 77,
            ..Record::EMPTY
        };
        let at = |from, to| {
            let mut record = record;
            (record.at[0], record.at[1]) = (from, to);
            record
        };
        let stolen = Record {
            kind: Kind::Steal as u8,
            cpu: 3,
            ..at(2_000_000, 2_600_000)
        };
        let records = [at(1_500_000, 2_500_000), stolen].into_iter();
        let thefts = Thefts::new(records, &Mapping::default());
        let points = vec![
            (Point::BlkbackConsume, 1_000_000),
            (Point::BlkbackSubmit, 3_000_000),
            (Point::Dom0Issue, 3_100_000),
        ];
        let span = span(points).taken_by(on_cpu(&thefts, 3));
        assert_eq!(span.taken.preempted, [(0, 1_000_000)]);
        let stages: Vec<_> = span.stages().collect();
        assert_eq!(
            stages,
            [
                (Point::BlkbackConsume, Point::BlkbackSubmit, 400_000),
                (Point::BlkbackSubmit, Point::Dom0Issue, 100_000),
                (Point::VcpuOff, Point::VcpuOn, 600_000),
                (Point::BlkbackPreempted, Point::BlkbackResumed, 1_000_000),
            ]
        );
    }

    proptest! {
        #[test]
        fn a_point_that_is_not_stamped_moves_no_taken_time_where_it_is_taken_alike(
            kind in prop::sample::select(&[Kind::Disk, Kind::NetTx, Kind::NetRx, Kind::Blkback, Kind::NetForward][..]),
            times in prop::collection::vec((1..90_000_000u64, 1..90_000_000u64, 0..2u16), 0..20),
            at in prop::collection::vec(1..90_000_000u64, 20),
            lost in any::<prop::sample::Index>(),
        ) {
            let record = Record { kind: kind as u8, cpu: 0, cpu_end: 1, tid: 77, ..Record::EMPTY };
            let mut at = at;
            at.sort_unstable();
            let points: Vec<(Point, u64)> = kind.points().iter().copied().zip(at).collect();
            let lost = 1 + lost.index(points.len() - 2);
            let [(from, _), (amid, _), (to, _)] = points[lost - 1..=lost + 1] else {
                unreachable!("three")
            };
            let thefts = times.iter().map(|(begin, end, cpu)| {
                let mut record = Record { kind: Kind::Steal as u8, cpu: *cpu, ..Record::EMPTY };
                (record.at[0], record.at[1]) = (*begin, *end);
                record
            });
            let thefts = Thefts::new(thefts, &Mapping::default());
            let taken = |points: &[(Point, u64)]| -> u64 {
                let of = |point| Worker {
                    thefts: &thefts,
                    cpu: worker::cpu_at(&record, point),
                    thread: worker::thread_at(&record, point),
                };
                let span = span(points.to_vec()).taken_by(of);
                span.taken.stolen.iter().map(|taken| taken.1).sum()
            };
            let mut without = points.clone();
            without.remove(lost);
            if is_taken_alike(from.name(), amid.name(), to.name()) {
                prop_assert_eq!(taken(&points), taken(&without));
            }
        }

        #[test]
        fn stages_add_up_with_any_thefts(
            threads in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            times in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            mut at in prop::collection::vec(1u64..1 << 60, 2..12),
        ) {
            at.sort_unstable();
            let points = Kind::Disk.points().iter().copied().zip(at).collect();
            let of_threads = threads.iter().map(|(from, to)| {
                let mut record = Record { kind: Kind::Preempt as u8, tid: 77, ..Record::EMPTY };
                (record.at[0], record.at[1]) = (*from, *to);
                record
            });
            let records = steals(&times).chain(of_threads);
            let thefts = Thefts::new(records, &Mapping::default());
            let span = span(points).taken_by(on_cpu(&thefts, 3));
            let sum: u64 = span.stages().map(|(_, _, time)| time).sum();
            prop_assert_eq!(sum, span.total_ns());
        }
    }
}
