//! Folds spans into breakdowns, one at a time: memory is bounded by groups and stages, not by spans.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
};

use tracer_common::{
    aggregate::PAIRS,
    point::{Kind, Point},
    record::{flag, flow},
};

use crate::{
    breakdown::{
        Breakdown, ComponentFigures, Figures, IterationFigures, SlowSpan, StageFigures, buckets,
    },
    datapath::{self, Component, vbd_name},
    iteration::IterationSums,
    jitter,
    recording::snapshot::{GroupCount, StageCount},
    span::{Span, taken::Taken},
    sums::Sums,
};

/// Names for numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The domain.
    pub domain: String,
    /// Block devices by `dev_t`.
    pub devices: BTreeMap<u32, String>,
    /// Interfaces by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Where spans go through two domains: the bound of their clocks' error, in nanoseconds.
    pub clock_error_ns: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    datapath: &'static str,
    device: u32,
    operation: u8,
}

/// A span in the heap of the slowest. Ties are broken by content, so that order does not matter.
type Slow = Reverse<(u64, Vec<(Point, u64)>, u32, SpanHead)>;
type SpanHead = (u32, u32, u64, u16, Taken);

/// Interrupts, told apart by their moments. What one brought comes close together, so that a few of them are
/// all that must be kept.
#[derive(Debug, Default)]
struct Interrupts {
    recent: VecDeque<u64>,
    count: u64,
}

impl Interrupts {
    const KEPT: usize = 64;

    fn add(&mut self, at: u64) {
        if self.recent.contains(&at) {
            return;
        }
        self.count += 1;
        self.recent.push_front(at);
        self.recent.truncate(Self::KEPT);
    }
}

#[derive(Debug)]
struct Stage {
    from: Point,
    to: Point,
    sums: Sums,
    iterations: BTreeMap<u32, IterationSums>,
}

impl Stage {
    const fn new(from: Point, to: Point, sums: Sums) -> Self {
        Self {
            from,
            to,
            sums,
            iterations: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    total: Sums,
    stages: BTreeMap<(usize, usize), Stage>,
    iterations: BTreeMap<u32, IterationSums>,
    flags: BTreeMap<&'static str, u64>,
    bytes: u64,
    interrupts: Interrupts,
    by_irq: BTreeMap<u32, u64>,
    slowest: BinaryHeap<Slow>,
    approximate: bool,
}

/// Collects spans.
#[derive(Debug)]
pub struct BreakdownBuilder {
    groups: BTreeMap<Key, Group>,
    slowest: usize,
}

impl BreakdownBuilder {
    /// Keeps the `slowest` slowest spans of each group.
    #[must_use]
    pub const fn new(slowest: usize) -> Self {
        Self {
            groups: BTreeMap::new(),
            slowest,
        }
    }

    /// Adds a span.
    pub fn add(&mut self, span: &Span) {
        let key = Key {
            datapath: span.datapath,
            device: span.device,
            operation: span.operation,
        };
        let group = self.groups.entry(key).or_default();
        let total = span.total_ns();
        group.total.add(total, total);
        group.bytes += u64::from(span.bytes);
        if span.irq != 0 {
            *group.by_irq.entry(span.irq).or_default() += 1;
        }
        let mut points = span.points.iter().filter(|_| span.irq != 0);
        if let Some((_, at)) = points.find(|(point, _)| *point == Point::IrqEntry) {
            group.interrupts.add(*at);
        }
        let order = points_of(span.datapath);
        for (from, to, time) in span.stages() {
            let stage = group.stages.entry((place(order, from), place(order, to)));
            let stage = stage.or_insert_with(|| Stage::new(from, to, Sums::default()));
            stage.sums.add(time, total);
            let iteration = stage.iterations.entry(span.iteration);
            iteration.or_default().add(time);
        }
        let iteration = group.iterations.entry(span.iteration);
        iteration.or_default().add(total);
        for (bit, name) in flag::NAMES {
            if span.flags & bit != 0 {
                *group.flags.entry(name).or_default() += 1;
            }
        }
        keep_slow(&mut group.slowest, self.slowest, span, total);
    }

    /// Adds what the kernel has summed in aggregate mode.
    pub fn add_kernel_group(&mut self, datapath: &'static str, device: u32, counts: &GroupCount) {
        let key = Key {
            datapath,
            device,
            operation: counts.operation,
        };
        let group = self.groups.entry(key).or_default();
        group.approximate = true;
        group.total = Sums::from_kernel(&StageCount {
            pair: 0,
            count: counts.count,
            sum: counts.total_sum,
            max: counts.total_max,
            square: counts.total_square,
            product: counts.total_square,
            hist: counts.total_hist.clone(),
        });
        for stage in &counts.stages {
            let pair = PAIRS[stage.pair.min(PAIRS.len() - 1)];
            let points = Kind::Disk.points();
            let ends = (points[pair.0], points[pair.1]);
            let order = points_of(datapath);
            let key = (place(order, ends.0), place(order, ends.1));
            group
                .stages
                .insert(key, Stage::new(ends.0, ends.1, Sums::from_kernel(stage)));
        }
    }

    /// The breakdowns.
    #[must_use]
    pub fn finish(self, names: &Names) -> Vec<Breakdown> {
        self.groups
            .into_iter()
            .map(|(key, group)| group.finish(key, names))
            .collect()
    }
}

/// Where a point comes in a breakdown: those on no way, of what was taken from stages, after all others.
fn place(order: &[Point], point: Point) -> usize {
    let place = order.iter().position(|other| *other == point);
    place.unwrap_or(order.len() + point as usize)
}

fn keep_slow(heap: &mut BinaryHeap<Slow>, keep: usize, span: &Span, total: u64) {
    if keep == 0
        || (heap.len() >= keep && heap.peek().is_some_and(|Reverse(least)| total < least.0))
    {
        return;
    }
    let taken = span.taken.clone();
    let head = (span.bytes, span.tid, span.position, span.flags, taken);
    heap.push(Reverse((total, span.points.clone(), span.iteration, head)));
    if heap.len() > keep {
        heap.pop();
    }
}

fn points_of(datapath: &str) -> &'static [Point] {
    datapath::datapath(datapath).map_or(Kind::Disk.points(), |path| path.points())
}

/// What the number of an operation means (`REQ_OP_*` of include/linux/blk_types.h; IP protocols).
#[must_use]
pub fn operation_name(datapath: &str, operation: u8) -> String {
    let known = if datapath.starts_with("net") {
        match operation {
            6 => Some("tcp"),
            17 => Some("udp"),
            _ => None,
        }
    } else {
        match operation {
            0 => Some("read"),
            1 => Some("write"),
            2 => Some("flush"),
            3 => Some("discard"),
            5 => Some("secure_erase"),
            7 => Some("zone_append"),
            9 => Some("write_zeroes"),
            _ => None,
        }
    };
    known.map_or_else(|| format!("operation {operation}"), Into::into)
}

impl Group {
    fn finish(self, key: Key, names: &Names) -> Breakdown {
        let total = &self.total;
        let stages: Vec<StageFigures> = self
            .stages
            .values()
            .map(|stage| StageFigures {
                error_ns: names
                    .clock_error_ns
                    .filter(|_| datapath::crosses(stage.from, stage.to)),
                iterations: iterations(&stage.iterations, &self.iterations),
                ..StageFigures::new(stage.from, stage.to, &stage.sums, total)
            })
            .collect();
        let is_net = key.datapath.starts_with("net");
        let table = if is_net {
            &names.interfaces
        } else {
            &names.devices
        };
        let is_backend = points_of(key.datapath) == Kind::Blkback.points();
        let named = table.get(&key.device).filter(|_| !is_backend);
        let device = named.cloned().unwrap_or_else(|| {
            if is_net {
                format!("if{}", key.device)
            } else if is_backend {
                vbd_name(key.device)
            } else {
                format!("{}:{}", key.device >> 20, key.device & 0xf_ffff)
            }
        });
        let mut slowest: Vec<_> = self.slowest.into_iter().map(|Reverse(slow)| slow).collect();
        slowest.sort_by(|a, b| b.cmp(a));
        let slowest: Vec<SlowSpan> = slowest
            .into_iter()
            .map(|slow| describe(slow, is_net))
            .collect();
        let jitter = jitter::explain(total, &stages, &slowest);
        Breakdown {
            domain: names.domain.clone(),
            datapath: key.datapath.into(),
            device,
            operation: operation_name(key.datapath, key.operation),
            approximate: self.approximate,
            total: Figures::new(total, total),
            histogram: buckets(total),
            components: components(&stages, total.count),
            stages,
            iterations: iterations(&self.iterations, &self.iterations),
            flags: self
                .flags
                .into_iter()
                .map(|(name, count)| (name.into(), count))
                .collect(),
            bytes: self.bytes,
            by_interrupt: self.by_irq.values().sum(),
            interrupts: self.interrupts.count,
            by_irq: self.by_irq,
            slowest,
            jitter,
        }
    }
}

fn components(stages: &[StageFigures], requests: u64) -> Vec<ComponentFigures> {
    let mut sums: BTreeMap<Component, ComponentFigures> = BTreeMap::new();
    for stage in stages {
        let entry = sums.entry(stage.component).or_insert(ComponentFigures {
            component: stage.component,
            sum_ns: 0,
            mean_ns: 0.0,
            share_of_mean: 0.0,
            share_of_variance: 0.0,
        });
        entry.sum_ns = entry.sum_ns.saturating_add(stage.figures.sum_ns);
        entry.mean_ns = entry.sum_ns as f64 / requests.max(1) as f64;
        entry.share_of_mean += stage.figures.share_of_mean;
        entry.share_of_variance += stage.figures.share_of_variance;
    }
    let mut components: Vec<ComponentFigures> = sums.into_values().collect();
    components.sort_by_key(|component| Reverse(component.sum_ns));
    components
}

/// Figures of every iteration of the totals, of those or of a stage.
fn iterations(
    own: &BTreeMap<u32, IterationSums>,
    totals: &BTreeMap<u32, IterationSums>,
) -> Vec<IterationFigures> {
    let none = IterationSums::default();
    totals
        .iter()
        .map(|(iteration, total)| {
            let sums = own.get(iteration).unwrap_or(&none);
            IterationFigures::new(*iteration, sums, total.count)
        })
        .collect()
}

fn describe(slow: (u64, Vec<(Point, u64)>, u32, SpanHead), is_net: bool) -> SlowSpan {
    let (total_ns, points, iteration, (bytes, tid, position, flags, taken)) = slow;
    let position = if is_net {
        let (source, destination, sequence) = flow::unpack(position);
        format!("{source} -> {destination}, {sequence}")
    } else {
        format!("sector {position}")
    };
    SlowSpan {
        iteration,
        total_ns,
        bytes,
        tid,
        position,
        flags: flag::NAMES
            .iter()
            .filter(|(bit, _)| flags & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
        points: points
            .into_iter()
            .map(|(point, at)| (point.name().to_owned(), at))
            .collect(),
        taken,
    }
}
