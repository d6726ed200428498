//! Time that the hypervisor gave to others: taken out of the stages in which it passed, and shown as a
//! stage of its own, so that a stage's time is that of its own work.

use std::collections::HashMap;

use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::{clock::Mapping, span::Span};

/// A domain's times that are kept at most; what comes later stays in the stages.
const KEPT: usize = 1 << 20;
/// The program that stamps the arrival of an interrupt looks a moment before it, on its CPU.
const SLACK_NS: u64 = 50_000;

const OFF: usize = Kind::Steal.index_of(Point::VcpuOff);
const ON: usize = Kind::Steal.index_of(Point::VcpuOn);

/// When a domain's virtual CPUs wanted to run and did not.
#[derive(Clone, Debug, Default)]
pub struct Thefts {
    /// By CPU: from, to, on the run's timeline; in order and apart from each other.
    by_cpu: HashMap<u16, Vec<(u64, u64)>>,
    kept: usize,
    /// Times beyond those that are kept.
    pub forgotten: u64,
}

impl Thefts {
    /// Those among a domain's records, on the run's timeline.
    #[must_use]
    pub fn new(records: impl Iterator<Item = Record>, mapping: &Mapping) -> Self {
        let mut thefts = Self::default();
        for record in records.filter(|record| record.kind == Kind::Steal as u8) {
            if thefts.kept == KEPT {
                thefts.forgotten += 1;
                continue;
            }
            thefts.kept += 1;
            let (from, to) = (mapping.map(record.at[OFF]), mapping.map(record.at[ON]));
            thefts
                .by_cpu
                .entry(record.cpu)
                .or_default()
                .push((from, to));
        }
        for times in thefts.by_cpu.values_mut() {
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

    /// How much of the time between two moments was stolen from a CPU. With `at_the_end` only what lasted
    /// up to the second moment: what was waited for had not come before.
    fn between(&self, cpu: u16, from: u64, to: u64, at_the_end: bool) -> u64 {
        let Some(times) = self.by_cpu.get(&cpu) else {
            return 0;
        };
        let first = times.partition_point(|time| time.1 <= from);
        let inside = times[first..].iter().take_while(|time| time.0 < to);
        let counted = inside.filter(|time| !at_the_end || time.1.saturating_add(SLACK_NS) >= to);
        counted.map(|time| time.1.min(to) - time.0.max(from)).sum()
    }
}

/// Whether a stage is waiting for an interrupt: no CPU works for the request meanwhile.
const fn waits(from: Point, to: Point) -> bool {
    use Point::*;
    match to {
        EvtchnUpcall | Dom0Upcall => true,
        IrqEntry | Dom0Irq | BlkbackInterrupt => !matches!(from, EvtchnUpcall | Dom0Upcall),
        _ => false,
    }
}

impl Span {
    /// Notes for each stage what was stolen of it. `of` says by the point at which a stage ends on which
    /// CPU, of which domain, it had to end.
    #[must_use]
    pub fn stolen_by<'t>(mut self, of: impl Fn(Point) -> (&'t Thefts, u16)) -> Self {
        let stages = self.points.windows(2).enumerate();
        let stolen = stages.filter_map(|(index, pair)| {
            let ((from, begin), (to, end)) = (pair[0], pair[1]);
            let (thefts, cpu) = of(to);
            let stolen = thefts.between(cpu, begin, end, waits(from, to));
            (stolen != 0).then_some((index, stolen))
        });
        self.stolen = stolen.collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thefts(times: &[(u64, u64)]) -> Thefts {
        let records = times.iter().map(|(from, to)| {
            let mut record = Record {
                kind: Kind::Steal as u8,
                cpu: 3,
                ..Record::EMPTY
            };
            (record.at[OFF], record.at[ON]) = (*from, *to);
            record
        });
        Thefts::new(records, &Mapping::default())
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
        let span = span(points).stolen_by(|_| (&thefts, 3));
        assert_eq!(span.stolen, [(0, 1_000_000), (1, 1_000_000)]);
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
        let other = span.stolen_by(|_| (&thefts, 2));
        assert!(other.stolen.is_empty(), "another CPU's");
    }

    #[test]
    fn what_was_waited_for_came_later_than_a_theft_that_ended_before() {
        let early = thefts(&[(1_000_000, 2_000_000)]);
        let points = vec![
            (Point::BlkbackResponse, 900_000),
            (Point::EvtchnUpcall, 5_000_000),
        ];
        assert!(
            span(points.clone())
                .stolen_by(|_| (&early, 3))
                .stolen
                .is_empty()
        );
        let late = thefts(&[(2_000_000, 5_000_000)]);
        let span = span(points).stolen_by(|_| (&late, 3));
        assert_eq!(span.stolen, [(0, 3_000_000)]);
    }

    proptest! {
        #[test]
        fn stages_add_up_with_any_thefts(
            times in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
            mut at in prop::collection::vec(1u64..1 << 60, 2..12),
        ) {
            at.sort_unstable();
            let points = Kind::Disk.points().iter().copied().zip(at).collect();
            let thefts = thefts(&times);
            let span = span(points).stolen_by(|_| (&thefts, 3));
            let sum: u64 = span.stages().map(|(_, _, time)| time).sum();
            prop_assert_eq!(sum, span.total_ns());
        }
    }
}
