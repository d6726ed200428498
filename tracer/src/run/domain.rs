//! A domain of a recorded run: its clock, its records, its figures.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::{MAX_POINTS, Record},
};

use crate::{
    analysis::{
        Breakdown, BreakdownBuilder, Names,
        document::{ClockReport, Cost, DomainReport, ProgramFigures},
    },
    clock::{Mapping, Timeline},
    datapath::datapath,
    run::{
        directory::{DomainStart, IterationRecord, RunDirectory, Window, records_name},
        growth::{grow, kernel_groups},
        recording::Records,
    },
    scenario::Scenario,
    span::{
        Span,
        join::{self, Datapaths, Unjoined},
        steal::Thefts,
    },
};

/// A domain of a recorded run.
#[derive(Debug)]
pub(super) struct Domain<'a> {
    pub(super) start: DomainStart,
    /// Its counters around the iterations.
    pub(super) windows: Vec<&'a Window>,
    /// Its clock against the TSC.
    pub(super) timeline: Option<Timeline>,
    /// From its clock to the run's timeline.
    pub(super) mapping: Mapping,
    pub(super) clock: ClockReport,
    /// When its virtual CPUs wanted to run and did not; set when its mapping is.
    pub(super) thefts: Thefts,
}

impl<'a> Domain<'a> {
    pub(super) fn new(start: DomainStart, iterations: &'a [IterationRecord]) -> Self {
        let windows: Vec<&Window> = iterations
            .iter()
            .filter_map(|iteration| iteration.windows.get(&start.name))
            .collect();
        let pairs = windows
            .iter()
            .flat_map(|window| [&window.before, &window.after])
            .flat_map(|snapshot| snapshot.clocks.iter().chain(&snapshot.clock));
        let pairs = start.hello.clock.iter().chain(pairs);
        Self {
            timeline: Timeline::new(pairs.copied()),
            start,
            windows,
            mapping: Mapping::default(),
            clock: ClockReport::default(),
            thefts: Thefts::default(),
        }
    }

    /// Whether it traces the backend of other domains' devices.
    pub(super) fn is_backend(&self) -> bool {
        let mut traced = self.start.request.datapaths.iter();
        traced.any(|name| datapath(name).is_some_and(|path| path.kind == Some(Kind::Blkback)))
    }

    /// Whether its requests go on in this backend.
    pub(super) fn is_joined_with(&self, backend: &Self) -> bool {
        let theirs = &backend.start.request.datapaths;
        let goes_on = |name: &String| {
            let other = datapath(name).and_then(|path| path.backend);
            other.is_some_and(|other| theirs.iter().any(|name| name == other.datapath))
        };
        self.start.domid.is_some() && self.start.request.datapaths.iter().any(goes_on)
    }

    /// One of its own spans, with what was stolen of it.
    fn without_stolen(&self, span: Span, record: &Record) -> Span {
        if self.thefts.is_empty() {
            return span;
        }
        span.stolen_by(|point| (&self.thefts, cpu_at(record, point)))
    }

    /// The clock of a domain that is joined with no other.
    pub(super) fn own_clock(&self) -> (Mapping, ClockReport) {
        let report = ClockReport {
            method: "its own".into(),
            ticks_per_ns: self.timeline.as_ref().map(Timeline::ticks_per_ns),
            error_ns: self.timeline.as_ref().map(Timeline::error_ns),
            ..ClockReport::default()
        };
        (Mapping::default(), report)
    }

    /// What Xen gave to others, by the mapping that is set; without Xen there is nothing to look for.
    pub(super) fn thefts(&self, directory: &RunDirectory) -> anyhow::Result<Thefts> {
        if self.start.hello.host.xen_role == "none" {
            return Ok(Thefts::default());
        }
        let records = self.records(directory)?.into_iter().flatten();
        Ok(Thefts::new(records, &self.mapping))
    }

    /// Its records, if it has any.
    pub(super) fn records(&self, directory: &RunDirectory) -> anyhow::Result<Option<Records>> {
        let file = directory.records(&self.start.name)?;
        file.map(Records::new).transpose()
    }
}

/// What is the same for all domains of a run.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) directory: &'a RunDirectory,
    /// Beginning and end of each measured load on the run's timeline, and its iteration.
    iterations: Vec<(u64, u64, u32)>,
}

impl<'a> Fold<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        directory: &'a RunDirectory,
        iterations: &[IterationRecord],
        domains: &[Domain<'_>],
    ) -> Self {
        let here = Mapping::default();
        let iterations = iterations.iter().map(|iteration| {
            let domain = domains
                .iter()
                .find(|domain| domain.start.name == iteration.domain);
            let mapping = domain.map_or(&here, |domain| &domain.mapping);
            let load = &iteration.load;
            (
                mapping.map(load.start_monotonic_ns),
                mapping.map(load.end_monotonic_ns),
                iteration.index,
            )
        });
        Self {
            scenario,
            directory,
            iterations: iterations.collect(),
        }
    }

    /// The iteration in which something that began at this time belongs.
    pub(super) fn iteration(&self, time: u64) -> Option<u32> {
        let after = self.iterations.partition_point(|window| window.0 <= time);
        let (_, end, index) = self.iterations.get(after.checked_sub(1)?)?;
        (time <= *end).then_some(*index)
    }

    /// What is known of a domain before its records are read.
    pub(super) fn begin(&self, domain: &Domain<'_>) -> (DomainReport, BreakdownBuilder) {
        let start = &domain.start;
        let mut counters = counters(&domain.windows);
        if domain.thefts.forgotten != 0 {
            counters.insert("stolen_not_kept".into(), domain.thefts.forgotten);
        }
        let report = DomainReport {
            name: start.name.clone(),
            host: start.hello.host.clone(),
            bindings: start.bindings.planned.clone(),
            unavailable: start.bindings.unavailable.clone(),
            in_flight: self.directory.end(&start.name).in_flight,
            counters,
            clock: domain.clock.clone(),
            ..DomainReport::default()
        };
        (report, BreakdownBuilder::new(self.scenario.probes.slowest))
    }

    /// The datapaths of a domain that the report shows: a backend's own only if it was asked for.
    fn shown(&self, domain: &Domain<'_>) -> Vec<String> {
        let own = self
            .scenario
            .domain
            .iter()
            .find(|d| d.name == domain.start.name);
        if let Some(own) = own.and_then(|own| own.datapaths.clone()) {
            return own;
        }
        let traced = domain.start.request.datapaths.iter();
        let asked = &self.scenario.probes.datapaths;
        traced
            .filter(|name| asked.contains(name))
            .cloned()
            .collect()
    }

    /// A domain whose records are whole spans.
    pub(super) fn local(&self, domain: &Domain<'_>) -> anyhow::Result<Folded> {
        let (mut report, mut builder) = self.begin(domain);
        let start = &domain.start;
        let traced = Datapaths::among(&start.request.datapaths);
        let shown = Datapaths::among(&self.shown(domain));
        if let Some(mut records) = domain.records(self.directory)? {
            report.cost.record_bytes = records.bytes();
            for mut record in records.by_ref() {
                if record.kind == Kind::Steal as u8 {
                    continue;
                }
                domain.mapping.map_all(&mut record.at);
                let Some(iteration) = self.iteration(first(&record)) else {
                    report.outside += 1;
                    continue;
                };
                match join::local(&record, iteration, &traced) {
                    Ok(None) => {}
                    // Outliers of aggregate mode are in the kernel's histograms already.
                    Ok(Some(_)) if start.request.aggregate && record.op <= 1 => {}
                    Ok(Some(span)) => {
                        let span = domain.without_stolen(span, &record);
                        report.spans += 1;
                        let kind = Kind::from_u8(record.kind);
                        if kind.is_some_and(|kind| shown.of(kind).is_some()) {
                            builder.add(&span);
                        }
                    }
                    Err(Unjoined::Disordered) => report.disordered += 1,
                    Err(_) => report.incomplete += 1,
                }
            }
            self.read_whole(records, domain)?;
        }
        if start.request.aggregate {
            let datapath = traced.of(Kind::Disk).unwrap_or("disk/native");
            let counted = add_kernel_groups(&mut builder, datapath, domain);
            report.spans = report.spans.saturating_add(counted);
        }
        Ok(finish(report, builder, domain))
    }

    /// Whether the end of the records was their end.
    pub(super) fn read_whole(&self, records: Records, domain: &Domain<'_>) -> anyhow::Result<()> {
        records.finish().with_context(|| {
            let name = records_name(&domain.start.name);
            format!("{} is damaged", self.directory.path().join(name).display())
        })
    }
}

/// A domain in the report.
pub(super) type Folded = (DomainReport, Vec<Breakdown>);

/// The CPU on which a request passed a point: of the two that its record names, that of its beginning up to
/// where it left for the device or the other domain.
pub(super) fn cpu_at(record: &Record, point: Point) -> u16 {
    let points = Kind::from_u8(record.kind).map_or(&[][..], Kind::points);
    let left = points.iter().position(|other| other.leaves());
    let place = points.iter().position(|other| *other == point);
    match (place, left) {
        (Some(place), Some(left)) if place <= left => record.cpu,
        _ => record.cpu_end,
    }
}

/// The first stamp of a record.
pub(super) fn first(record: &Record) -> u64 {
    let stamps = record.at[..MAX_POINTS].iter().copied();
    stamps.filter(|at| *at != 0).min().unwrap_or(0)
}

/// The kernel's own histograms, of aggregate mode; returns how many requests they hold.
fn add_kernel_groups(
    builder: &mut BreakdownBuilder,
    datapath: &'static str,
    domain: &Domain<'_>,
) -> u64 {
    let devices = &domain.start.request.devices;
    kernel_groups(&domain.windows)
        .into_iter()
        .fold(0, |spans: u64, (key, group)| {
            let device = devices.get(key.0 as usize).copied().unwrap_or(0);
            builder.add_kernel_group(datapath, device, &group);
            spans.saturating_add(group.count)
        })
}

/// The kernel side's counters over the measured windows.
fn counters(windows: &[&Window]) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for window in windows {
        for (name, after) in &window.after.counters {
            let before = window.before.counters.get(name).copied().unwrap_or(0);
            grow(sums.entry(name.clone()).or_default(), *after, before);
        }
    }
    sums
}

/// Adds losses and costs, and names what has numbers.
pub(super) fn finish(
    mut report: DomainReport,
    builder: BreakdownBuilder,
    domain: &Domain<'_>,
) -> Folded {
    let start = &domain.start;
    let counted = |counter: &Counter| report.counters.get(counter.name()).copied().unwrap_or(0);
    let lost_in_kernel: u64 = Counter::ALL
        .iter()
        .filter(|counter| counter.is_loss())
        .map(counted)
        .fold(0, u64::saturating_add);
    let unjoined: u64 = report
        .join
        .iter()
        .flat_map(|join| join.unjoined.values())
        .sum();
    report.lost = lost_in_kernel.saturating_add(report.disordered + report.incomplete + unjoined);
    report.lost_share = report.lost as f64 / report.spans.saturating_add(report.lost).max(1) as f64;
    let programs = costs(&domain.windows);
    let (bpf_runs, bpf_run_ns) = programs.iter().fold((0u64, 0u64), |sum, program| {
        (
            sum.0.saturating_add(program.runs),
            sum.1.saturating_add(program.run_ns),
        )
    });
    report.cost = Cost {
        measured: start.request.measure_cost,
        bpf_run_ns,
        bpf_runs,
        bpf_ns_per_request: bpf_run_ns as f64 / report.spans.max(1) as f64,
        attach_ns: start.bindings.attach_ns,
        programs,
        record_bytes: report.cost.record_bytes,
    };
    let names = Names {
        domain: start.name.clone(),
        devices: start
            .devices
            .iter()
            .map(|device| (device.dev, device.name.clone()))
            .collect(),
        interfaces: start.interfaces.iter().cloned().collect(),
        clock_error_ns: report.join.as_ref().and(report.clock.error_ns),
    };
    (report, builder.finish(&names))
}

fn costs(windows: &[&Window]) -> Vec<ProgramFigures> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for window in windows {
        for after in &window.after.costs {
            let before = window
                .before
                .costs
                .iter()
                .find(|before| before.name == after.name);
            let (runs, run_ns) = before.map_or((0, 0), |before| (before.runs, before.run_ns));
            let sum = sums.entry(&after.name).or_default();
            grow(&mut sum.0, after.runs, runs);
            grow(&mut sum.1, after.run_ns, run_ns);
        }
    }
    sums.into_iter()
        .filter(|(_, (runs, _))| *runs != 0)
        .map(|(name, (runs, run_ns))| ProgramFigures {
            name: name.into(),
            runs,
            run_ns,
        })
        .collect()
}
