//! From a run directory to a report. Needs neither root nor the machine of the run, so that every bug
//! report is a directory.

use anyhow::{Context as _, ensure};

use crate::{
    Report,
    document::{DomainReport, Iteration, IterationSummary, SCHEMA},
    recording::{
        bindings::Unavailable,
        directory::{IterationRecord, RunDirectory, State},
    },
    replay::{
        clocks,
        domain::Domain,
        fold::{Fold, Recorded},
        interrupts,
    },
    scenario::Scenario,
    threshold,
};

/// Analyses a run.
///
/// # Errors
/// If the directory cannot be read.
pub fn analyse(directory: &RunDirectory) -> anyhow::Result<Report> {
    let manifest = directory.manifest()?;
    let scenario = directory.scenario()?;
    let iterations = directory.iterations()?;
    let is_complete = manifest.state == State::Complete;
    ensure!(
        !is_complete || iterations.len() >= scenario.run.iterations as usize,
        "{} is cut: it has {} of {} iterations; copy the run again",
        directory.path().join("iterations.jsonl").display(),
        iterations.len(),
        scenario.run.iterations
    );
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
        changes: manifest.changes,
        iterations: iterations.iter().map(describe).collect(),
        ..Report::default()
    };
    report.summary = summarise(&report.iterations);
    let mut domains = Vec::new();
    for domain in &scenario.domain {
        if let Some(start) = directory.start(&domain.name)? {
            domains.push(Domain::new(start, &iterations));
        }
    }
    if let Some(first) = domains.first() {
        report.host = first.start.hello.host.clone();
        report.environment.clone_from(&first.start.environment);
    }
    let recorded = Recorded {
        scenario: &scenario,
        directory,
        is_complete,
        iterations: &iterations,
    };
    add_domains(&mut report, &recorded, domains)?;
    report.thresholds = threshold::check(&scenario.threshold, &report.breakdowns);
    report.warnings = warnings(&report, &scenario);
    Ok(report)
}

/// Brings all domains onto one timeline, then folds what each has seen into the report.
fn add_domains(
    report: &mut Report,
    recorded: &Recorded<'_>,
    mut domains: Vec<Domain>,
) -> anyhow::Result<()> {
    let directory = recorded.directory;
    let backend = domains.iter().position(Domain::is_backend);
    for index in 0..domains.len() {
        let (mapping, clock) = match backend {
            Some(backend) if domains[index].is_joined_with(&domains[backend]) => {
                clocks::clocks(directory, &domains[index], &domains[backend])?
            }
            _ => domains[index].own_clock(),
        };
        domains[index].mapping = mapping;
        domains[index].clock = clock;
        domains[index].thefts = domains[index].thefts(directory)?;
        domains[index].is_tied = backend.is_some_and(|backend| {
            index == backend || domains[index].is_joined_with(&domains[backend])
        });
    }
    let fold = Fold::new(recorded, &domains);
    for domain in &domains {
        let backend = backend.map(|index| &domains[index]);
        let (domain_report, breakdowns) = match backend {
            Some(backend) if domain.is_joined_with(backend) => fold.joined(domain, backend),
            _ => fold.local(domain),
        }
        .with_context(|| {
            format!(
                "the recording of domain {} cannot be used",
                domain.start.name
            )
        })?;
        report.domains.push(domain_report);
        report.breakdowns.extend(breakdowns);
        let name = &domain.start.name;
        report
            .interrupts
            .extend(interrupts::figures(name, &domain.windows));
    }
    Ok(())
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

/// Points that a datapath wants and no probe of the domain stamps, each once, with the reasons: what stages are missing,
/// and why.
fn lost_points(domain: &DomainReport) -> Vec<String> {
    let mut lost: Vec<(&str, Vec<&Unavailable>)> = Vec::new();
    for (point, missing) in domain.untraced() {
        match lost.iter_mut().find(|known| known.0 == point) {
            Some(known) => known.1.push(missing),
            None => lost.push((point, vec![missing])),
        }
    }
    let words = lost.into_iter().map(|(point, all)| {
        let roles: Vec<&str> = all.iter().map(|missing| missing.role.as_str()).collect();
        let why: Vec<&str> = all
            .iter()
            .flat_map(|missing| missing.why.iter().map(String::as_str))
            .collect();
        let (name, roles, why) = (&domain.name, roles.join(", "), why.join("; "));
        format!("{name}: {point} is not traced ({roles}): {why}")
    });
    words.collect()
}

/// What a reader must know first.
fn warnings(report: &Report, scenario: &Scenario) -> Vec<String> {
    let mut warnings: Vec<String> = report.domains.iter().flat_map(lost_points).collect();
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
        if domain.clock.violations > 0 {
            warnings.push(format!(
                "{}: {} of {} requests break causality beyond the clocks' error bound: its times cannot be held against the other domain's",
                domain.name, domain.clock.violations, domain.clock.checked
            ));
        }
        if domain.spans == 0 && !domain.bindings.is_empty() {
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
