//! A domain's records folded into figures, and its losses and costs.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use tracer_common::{counter::Counter, point::Kind, record::Record};

use crate::{
    Breakdown, BreakdownBuilder, Names,
    clock::Mapping,
    document::{Cost, DomainReport, ProgramFigures},
    recording::{
        directory::{IterationRecord, RunDirectory, Window, records_name},
        records::Records,
    },
    replay::{
        domain::{Domain, first},
        growth::{grow, kernel_groups},
    },
    scenario::Scenario,
    span::join::{self, Datapaths, Unjoined},
};

/// What a run left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) directory: &'a RunDirectory,
    /// Whether it ended well, so that its files must be whole.
    pub(super) is_complete: bool,
    pub(super) iterations: &'a [IterationRecord],
}

/// What is the same for all domains of a run.
#[derive(Debug)]
pub(super) struct Fold<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) directory: &'a RunDirectory,
    is_complete: bool,
    /// By domain.
    iterations: BTreeMap<String, Vec<Measured>>,
}

/// Beginning and end of an iteration's measured load on a domain's timeline, and its number.
type Measured = (u64, u64, u32);

impl<'a> Fold<'a> {
    pub(super) fn new(recorded: &Recorded<'a>, domains: &[Domain<'_>]) -> Self {
        let measured = domains.iter().map(|domain| {
            let own = recorded.iterations.iter();
            let own = own.map(|iteration| measured(iteration, domain, domains));
            (domain.start.name.clone(), own.collect())
        });
        Self {
            scenario: recorded.scenario,
            directory: recorded.directory,
            is_complete: recorded.is_complete,
            iterations: measured.collect(),
        }
    }

    /// The iteration in which something of a domain that began at this time belongs.
    pub(super) fn iteration(&self, domain: &Domain<'_>, time: u64) -> Option<u32> {
        let iterations = self.iterations.get(&domain.start.name)?;
        let after = iterations.partition_point(|window| window.0 <= time);
        let (_, end, index) = iterations.get(after.checked_sub(1)?)?;
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
            sample: start.request.sample,
            clock: domain.clock.clone(),
            ..DomainReport::default()
        };
        (report, BreakdownBuilder::new(self.scenario.probes.slowest))
    }

    /// The datapaths of a domain that the report shows: a backend's own only if it was asked for.
    pub(super) fn shown(&self, domain: &Domain<'_>) -> Vec<String> {
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
        let mut records = domain.records(self.directory)?;
        if let Some(records) = &mut records {
            report.cost.record_bytes = records.bytes();
            let whole = Whole::new(self, domain);
            for mut record in records {
                if !record.is_request() {
                    continue;
                }
                domain.mapping.map_all(&mut record.at);
                whole.fold(&record, &mut report, &mut builder);
            }
        }
        self.require_whole(records, domain)?;
        if start.request.aggregate {
            let traced = Datapaths::among(&start.request.datapaths);
            let datapath = traced.of(Kind::Disk).unwrap_or("disk/native");
            let counted = add_kernel_groups(&mut builder, datapath, domain);
            report.spans = report.spans.saturating_add(counted);
        }
        Ok(finish(report, builder, domain))
    }

    /// Whether a complete run's records are all there. Their length is the loader's word: a guest may say that it has
    /// made as many as it likes. A run that was killed may have lost some.
    pub(super) fn require_whole(
        &self,
        records: Option<Records>,
        domain: &Domain<'_>,
    ) -> anyhow::Result<()> {
        let name = &domain.start.name;
        let file = self.directory.path().join(records_name(name));
        let bytes = records.as_ref().map_or(0, Records::bytes);
        let is_cut = records
            .map_or(Ok(false), Records::ends_cut)
            .with_context(|| format!("{} is damaged", file.display()))?;
        let written = self.directory.end(name).record_bytes.unwrap_or(0);
        ensure!(
            !self.is_complete || (!is_cut && bytes >= written),
            "{} is cut after {bytes} bytes: copy the run again",
            file.display()
        );
        Ok(())
    }
}

/// Records that are whole spans.
pub(super) struct Whole<'a> {
    fold: &'a Fold<'a>,
    domain: &'a Domain<'a>,
    traced: Datapaths,
    shown: Datapaths,
}

impl<'a> Whole<'a> {
    pub(super) fn new(fold: &'a Fold<'_>, domain: &'a Domain<'_>) -> Self {
        Self {
            fold,
            domain,
            traced: Datapaths::among(&domain.start.request.datapaths),
            shown: Datapaths::among(&fold.shown(domain)),
        }
    }

    /// Adds a record whose stamps are on the domain's timeline.
    pub(super) fn fold(
        &self,
        record: &Record,
        report: &mut DomainReport,
        builder: &mut BreakdownBuilder,
    ) {
        let Some(iteration) = self.fold.iteration(self.domain, first(record)) else {
            report.outside += 1;
            return;
        };
        let is_aggregate = self.domain.start.request.aggregate;
        match join::local(record, iteration, &self.traced) {
            Ok(None) => {}
            // Outliers of aggregate mode are in the kernel's histograms already.
            Ok(Some(_)) if is_aggregate && record.op <= 1 => {}
            Ok(Some(span)) => {
                let span = self.domain.without_taken(span, record, None);
                report.spans += 1;
                let kind = Kind::from_u8(record.kind);
                if kind.is_some_and(|kind| self.shown.of(kind).is_some()) {
                    builder.add(&span);
                }
            }
            Err(Unjoined::Disordered) => report.disordered += 1,
            Err(_) => report.incomplete += 1,
        }
    }
}

/// When an iteration was, on a domain's timeline. Where the load ran in a domain whose clock is tied to that
/// in no way, it was between the domain's own looks at its counters, which enclose it.
fn measured(iteration: &IterationRecord, domain: &Domain<'_>, domains: &[Domain<'_>]) -> Measured {
    let load = &iteration.load;
    let of_load = |mapping: &Mapping| {
        let (start, end) = (load.start_monotonic_ns, load.end_monotonic_ns);
        (mapping.map(start), mapping.map(end), iteration.index)
    };
    let ran_in = domains
        .iter()
        .find(|other| other.start.name == iteration.domain);
    let Some(ran_in) = ran_in.filter(|other| !domain.shares_timeline(other)) else {
        return of_load(ran_in.map_or(&Mapping::default(), |other| &other.mapping));
    };
    let window = iteration.windows.get(&domain.start.name);
    let looks = window.and_then(|window| window.before.clock.zip(window.after.clock));
    let Some((before, after)) = looks else {
        return of_load(&ran_in.mapping);
    };
    let map = |ns| domain.mapping.map(ns);
    (
        map(before.monotonic_ns),
        map(after.monotonic_ns),
        iteration.index,
    )
}

/// A domain in the report.
pub(super) type Folded = (DomainReport, Vec<Breakdown>);

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
