//! Whether runs may be held against each other at all: the same question asked of the same machine, and
//! answers that can be trusted.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::run::CheckedRun;
use crate::{breakdown::Breakdown, document::Report, recording::host::HostFacts, units::percent};

/// What of a scenario changes nothing of a single iteration: more of them are only better known.
const OF_NO_EFFECT: [&str; 4] = ["question", "profile", "threshold", "run.iterations"];
/// At most so many keys are named.
const NAMED: usize = 5;

/// Why these runs cannot be compared, each with what to do; none: they can. The first is what the others
/// are held against.
pub(super) fn reasons(runs: &[&CheckedRun], max_lost_percent: Option<f64>) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for run in runs {
        let facts = run.facts(max_lost_percent);
        if let Some(reason) = &facts.partial {
            reasons.push(format!(
                "{} is a partial run ({reason}): make it again",
                run.source
            ));
        }
        if facts.lost_too_many {
            reasons.push(format!(
                "{} lost {} of its requests, more than {}%: make it again with a larger probes.ring_buffer or probes.in_flight, or let the policy allow more (max_lost_percent)",
                run.source,
                percent(facts.lost_share),
                max_lost_percent.unwrap_or(run.max_lost_percent)
            ));
        }
    }
    let Some((first, others)) = runs.split_first() else {
        return reasons;
    };
    // A saved report does not have its scenario, and would hide that the others differ.
    let with_scenario = runs.iter().find(|run| run.scenario.is_some());
    for other in others {
        let asked = scenario(first, other);
        reasons.extend(asked.or_else(|| scenario(with_scenario?, other)));
        let differences = topology(&first.report, &other.report);
        if !differences.is_empty() {
            reasons.push(format!(
                "{} and {} ran on different machines ({}): make a baseline on the machine of the new runs",
                first.source,
                other.source,
                differences.join(", ")
            ));
        }
    }
    reasons
}

/// Runs of one side that are the same: it would count as several that agree.
pub(super) fn named_twice(side: &[&CheckedRun]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (at, run) in side.iter().enumerate() {
        if let Some(same) = side[..at].iter().find(|other| is_same(other, run)) {
            reasons.push(format!(
                "{} and {} are the same run: name each once",
                same.source, run.source
            ));
        }
    }
    reasons
}

/// New runs that are in the baseline: each would be held against itself.
pub(super) fn in_baseline(base: &[&CheckedRun], new: &[&CheckedRun]) -> Vec<String> {
    let mut reasons = Vec::new();
    for run in new {
        if let Some(same) = base.iter().find(|other| is_same(other, run)) {
            reasons.push(format!(
                "{} is itself in the baseline, as {}: check a run that the baseline was not made of",
                run.source, same.source
            ));
        }
    }
    reasons
}

/// Whether two runs are one: begun at the same nanosecond, on one kernel, with the same breakdowns. Figures may differ in
/// the last digit where another tracer has analysed the same recording.
fn is_same(a: &CheckedRun, b: &CheckedRun) -> bool {
    fn titles(run: &CheckedRun) -> impl Iterator<Item = String> {
        run.report.breakdowns.iter().map(Breakdown::title)
    }
    a.report.started == b.report.started
        && a.report.host.kernel == b.report.host.kernel
        && titles(a).eq(titles(b))
}

/// Whether two runs asked the same question.
pub(super) fn scenario(first: &CheckedRun, other: &CheckedRun) -> Option<String> {
    let (a, b) = (&first.report.scenario, &other.report.scenario);
    if a != b {
        return Some(format!(
            "{} is of the scenario {a}, {} of {b}: run the same scenario",
            first.source, other.source
        ));
    }
    let table = |run: &CheckedRun| run.scenario.as_deref().and_then(|text| text.parse().ok());
    let (a, b): (Table, Table) = table(first).zip(table(other))?;
    let mut keys = Vec::new();
    differing(&a, &b, "", &mut keys);
    if keys.is_empty() {
        return None;
    }
    let more = keys.len().saturating_sub(NAMED);
    keys.truncate(NAMED);
    let and_more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Some(format!(
        "{} and {} ran {} with different settings ({}{and_more}): run it with the same --profile and --set, or make a new baseline",
        first.source,
        other.source,
        first.report.scenario,
        keys.join(", ")
    ))
}

/// The dotted keys whose values differ, where that has an effect.
fn differing(a: &Table, b: &Table, prefix: &str, keys: &mut Vec<String>) {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for name in names {
        let key = format!("{prefix}{name}");
        match (a.get(name), b.get(name)) {
            _ if OF_NO_EFFECT.contains(&&*key) => {}
            (Some(Value::Table(a)), Some(Value::Table(b))) => {
                differing(a, b, &format!("{key}."), keys);
            }
            (Some(Value::Table(own)), None) | (None, Some(Value::Table(own))) => {
                differing(own, &Table::new(), &format!("{key}."), keys);
            }
            (a, b) if a != b => keys.push(key),
            _ => {}
        }
    }
}

/// Where two runs' machines differ, other than in what is to be checked: the kernel.
fn topology(a: &Report, b: &Report) -> Vec<String> {
    let names = |report: &Report| -> BTreeSet<String> {
        report
            .domains
            .iter()
            .map(|domain| domain.name.clone())
            .collect()
    };
    let (of_a, of_b) = (names(a), names(b));
    if of_a != of_b {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
        return vec![format!("domains: {} and {}", list(&of_a), list(&of_b))];
    }
    let mut differences = hosts("", &a.host, &b.host);
    for domain in &a.domains {
        let other = b.domains.iter().find(|other| other.name == domain.name);
        let own =
            other.map(|other| hosts(&format!("{}: ", domain.name), &domain.host, &other.host));
        differences.extend(own.into_iter().flatten());
    }
    differences.dedup();
    differences
}

fn hosts(whose: &str, a: &HostFacts, b: &HostFacts) -> Vec<String> {
    let (cpus_a, cpus_b) = (a.cpus.to_string(), b.cpus.to_string());
    [
        ("Xen role", &a.xen_role, &b.xen_role),
        ("CPU", &a.cpu_model, &b.cpu_model),
        ("CPUs", &cpus_a, &cpus_b),
    ]
    .into_iter()
    .filter(|(_, a, b)| a != b)
    .map(|(what, a, b)| format!("{whose}{what}: {a} and {b}"))
    .collect()
}
