//! From a run directory to a report. Needs neither root nor the machine of the run, so that every bug
//! report is a directory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read as _},
};

use anyhow::Context as _;
use tracer_common::{
    counter::Counter,
    point::Kind,
    record::{MAX_POINTS, Record},
};

use crate::{
    analysis::{
        BreakdownBuilder, Names, Report,
        document::{
            ClockReport, Cost, DomainReport, Iteration, IterationSummary, ProgramFigures, SCHEMA,
        },
        threshold,
    },
    clock,
    probe::snapshot::Snapshot,
    run::{
        directory::{DomainStart, IterationRecord, RunDirectory, State, records_name},
        growth::{grow, kernel_groups},
        interrupts,
    },
    scenario::Scenario,
    span::join::{self, Datapaths, Unjoined},
};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Analyses a run.
///
/// # Errors
/// If the directory cannot be read.
pub fn analyse(directory: &RunDirectory) -> anyhow::Result<Report> {
    let manifest = directory.manifest()?;
    let scenario = directory.scenario()?;
    let iterations = directory.iterations()?;
    let domain = scenario
        .domain
        .first()
        .context("the scenario has no domain")?
        .name
        .clone();
    let start = directory.start(&domain)?;
    let mut report = Report {
        schema: SCHEMA.into(),
        version: manifest.version,
        scenario: scenario.name.clone(),
        question: scenario.question.clone(),
        started: manifest.started,
        partial: match manifest.state {
            State::Complete => None,
            State::Running => {
                Some("the run ended without a word (killed, or the disk was full)".into())
            }
            State::Partial(reason) => Some(reason),
        },
        iterations: iterations.iter().map(describe).collect(),
        interrupts: interrupts::figures(&iterations),
        ..Report::default()
    };
    report.summary = summarise(&report.iterations);
    if let Some(start) = start {
        report.host = start.hello.host.clone();
        report.environment.clone_from(&start.environment);
        add_domain(&mut report, &scenario, directory, &start, &iterations)?;
    }
    report.thresholds = threshold::check(&scenario.threshold, &report.breakdowns);
    report.warnings = warnings(&report, &scenario);
    Ok(report)
}

fn describe(iteration: &IterationRecord) -> Iteration {
    let load = &iteration.load;
    Iteration {
        index: iteration.index,
        duration_ns: load.duration_ns,
        operations: load.operations,
        bytes: load.bytes,
        latency: load.latency,
        extra: load.extra.clone(),
    }
}

fn summarise(iterations: &[Iteration]) -> Option<IterationSummary> {
    let times: Vec<u64> = iterations
        .iter()
        .map(|iteration| iteration.duration_ns)
        .collect();
    let (min_ns, max_ns) = (*times.iter().min()?, *times.iter().max()?);
    let count = times.len() as f64;
    let mean_ns = times.iter().map(|time| *time as f64).sum::<f64>() / count;
    let squares: f64 = times
        .iter()
        .map(|time| (*time as f64 - mean_ns).powi(2))
        .sum();
    Some(IterationSummary {
        count: times.len() as u64,
        mean_ns,
        variance_ns2: if times.len() > 1 {
            squares / (count - 1.0)
        } else {
            0.0
        },
        min_ns,
        max_ns,
        range_ns: max_ns - min_ns,
    })
}

/// Joins a domain's records and folds them into the report.
fn add_domain(
    report: &mut Report,
    scenario: &Scenario,
    directory: &RunDirectory,
    start: &DomainStart,
    iterations: &[IterationRecord],
) -> anyhow::Result<()> {
    let mut builder = BreakdownBuilder::new(scenario.probes.slowest);
    let datapaths = Datapaths::among(&start.request.datapaths);
    let mut domain = DomainReport {
        name: start.name.clone(),
        host: start.hello.host.clone(),
        bindings: start.bindings.planned.clone(),
        unavailable: start.bindings.unavailable.clone(),
        in_flight: directory.end(&start.name).in_flight,
        counters: counters(iterations),
        ..DomainReport::default()
    };
    let windows = windows(iterations);
    if let Some(file) = directory.records(&start.name)? {
        domain.cost.record_bytes = file.metadata()?.len();
        read_records(file, |record| {
            fold(
                record,
                start,
                &datapaths,
                &windows,
                iterations,
                &mut builder,
                &mut domain,
            );
        })
        .with_context(|| {
            let name = records_name(&start.name);
            format!("{} is damaged", directory.path().join(name).display())
        })?;
    }
    if start.request.aggregate {
        let datapath = datapaths.of(Kind::Disk).unwrap_or("disk/native");
        let counted = add_kernel_groups(&mut builder, datapath, start, iterations);
        domain.spans = domain.spans.saturating_add(counted);
    }
    finish_domain(&mut domain, start, iterations);
    let names = Names {
        domain: start.name.clone(),
        devices: start
            .devices
            .iter()
            .map(|device| (device.dev, device.name.clone()))
            .collect(),
        interfaces: start.interfaces.iter().cloned().collect(),
    };
    report.breakdowns.extend(builder.finish(&names));
    report.domains.push(domain);
    Ok(())
}

/// The kernel's own histograms, of aggregate mode; returns how many requests they hold.
fn add_kernel_groups(
    builder: &mut BreakdownBuilder,
    datapath: &'static str,
    start: &DomainStart,
    iterations: &[IterationRecord],
) -> u64 {
    let devices = &start.request.devices;
    kernel_groups(iterations)
        .into_iter()
        .fold(0, |spans: u64, (key, group)| {
            let device = devices.get(key.0 as usize).copied().unwrap_or(0);
            builder.add_kernel_group(datapath, device, &group);
            spans.saturating_add(group.count)
        })
}

/// Beginning and end of each measured load.
fn windows(iterations: &[IterationRecord]) -> Vec<(u64, u64)> {
    let loads = iterations.iter().map(|iteration| &iteration.load);
    loads
        .map(|load| (load.start_monotonic_ns, load.end_monotonic_ns))
        .collect()
}

/// One record: into the breakdown, or counted by why not.
fn fold(
    record: &Record,
    start: &DomainStart,
    datapaths: &Datapaths,
    windows: &[(u64, u64)],
    iterations: &[IterationRecord],
    builder: &mut BreakdownBuilder,
    domain: &mut DomainReport,
) {
    let first = record.at[..MAX_POINTS]
        .iter()
        .copied()
        .find(|at| *at != 0)
        .unwrap_or(0);
    let after = windows.partition_point(|window| window.0 <= first);
    let Some(index) = after
        .checked_sub(1)
        .filter(|index| first <= windows[*index].1)
    else {
        domain.outside += 1;
        return;
    };
    match join::local(record, iterations[index].index, datapaths) {
        Ok(None) => {}
        // Outliers of aggregate mode are in the kernel's histograms already.
        Ok(Some(span)) if start.request.aggregate && record.op <= 1 => drop(span),
        Ok(Some(span)) => {
            domain.spans += 1;
            builder.add(&span);
        }
        Err(Unjoined::Disordered) => domain.disordered += 1,
        Err(Unjoined::Incomplete) => domain.incomplete += 1,
    }
}

/// Hands every whole record of a file on; a last one that was cut is left out.
fn read_records(file: File, mut each: impl FnMut(&Record)) -> anyhow::Result<()> {
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let mut buffer = Vec::with_capacity(2 * CHUNK);
    loop {
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut buffer);
        let count = read.context("cannot read the records")?;
        let mut used = 0;
        while let Some((record, length)) = Record::decode(&buffer[used..]) {
            each(&record);
            used += length;
        }
        buffer.drain(..used);
        if count == 0 {
            return Ok(());
        }
        // No record is as long: what is left is not one.
        anyhow::ensure!(
            buffer.len() < size_of::<Record>(),
            "what stands there is not a record"
        );
    }
}

/// The kernel side's counters over the measured windows.
fn counters(iterations: &[IterationRecord]) -> BTreeMap<String, u64> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for iteration in iterations {
        for (name, after) in &iteration.after.counters {
            let before = iteration.before.counters.get(name).copied().unwrap_or(0);
            grow(sums.entry(name.clone()).or_default(), *after, before);
        }
    }
    sums
}

fn finish_domain(domain: &mut DomainReport, start: &DomainStart, iterations: &[IterationRecord]) {
    let counted = |counter: &Counter| domain.counters.get(counter.name()).copied().unwrap_or(0);
    let lost_in_kernel: u64 = Counter::ALL
        .iter()
        .filter(|counter| counter.is_loss())
        .map(counted)
        .fold(0, u64::saturating_add);
    domain.lost = lost_in_kernel.saturating_add(domain.disordered + domain.incomplete);
    domain.lost_share = domain.lost as f64 / domain.spans.saturating_add(domain.lost).max(1) as f64;
    let programs = costs(iterations);
    let (bpf_runs, bpf_run_ns) = programs.iter().fold((0u64, 0u64), |sum, program| {
        (
            sum.0.saturating_add(program.runs),
            sum.1.saturating_add(program.run_ns),
        )
    });
    domain.cost = Cost {
        measured: start.request.measure_cost,
        bpf_run_ns,
        bpf_runs,
        bpf_ns_per_request: bpf_run_ns as f64 / domain.spans.max(1) as f64,
        attach_ns: start.bindings.attach_ns,
        programs,
        record_bytes: domain.cost.record_bytes,
    };
    let last: Option<&Snapshot> = iterations.last().map(|iteration| &iteration.after);
    let fit = start
        .hello
        .clock
        .zip(last.and_then(|snapshot| snapshot.clock))
        .and_then(|(first, last)| clock::fit(first, last));
    domain.clock = ClockReport {
        ticks_per_ns: fit.map(|fit| fit.ticks_per_ns),
        error_ns: fit.map(|fit| fit.error_ns),
    };
}

fn costs(iterations: &[IterationRecord]) -> Vec<ProgramFigures> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for iteration in iterations {
        for after in &iteration.after.costs {
            let before = iteration
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

/// What a reader must know first.
fn warnings(report: &Report, scenario: &Scenario) -> Vec<String> {
    let mut warnings = Vec::new();
    for domain in &report.domains {
        let limit = scenario.probes.max_lost_percent / 100.0;
        if domain.lost_share > limit {
            warnings.push(format!(
                "{}: {} of {} requests were lost ({:.1}%, more than {}%): the figures below are of the rest. Try a larger probes.ring_buffer or probes.in_flight.",
                domain.name,
                domain.lost,
                domain.spans.saturating_add(domain.lost),
                domain.lost_share * 100.0,
                scenario.probes.max_lost_percent
            ));
        }
        if domain.spans == 0 {
            warnings.push(format!("{}: no request was seen; does the workload use the devices or ports that are followed?", domain.name));
        }
    }
    for irq in report
        .interrupts
        .iter()
        .filter(|irq| !irq.agrees && irq.explanation.is_none())
    {
        warnings.push(format!(
            "interrupt {} ({}): {} calls traced, but /proc/interrupts counted {}",
            irq.irq, irq.name, irq.count, irq.proc_interrupts
        ));
    }
    warnings
}
