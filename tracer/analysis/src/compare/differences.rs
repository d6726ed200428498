//! What else differs between two runs than their figures, and what a reader must know first.

use std::collections::BTreeSet;

use crate::{
    breakdown::Breakdown,
    compare::{
        Input,
        document::{Difference, RunFacts},
        side::Side,
    },
    document::Report,
    recording::host::HostFacts,
    units::percent,
};

/// What a run is.
pub(super) fn facts_of(input: &Input) -> RunFacts {
    facts(&input.source, &input.report, input.max_lost_share)
}

/// What a run is that may lose this share of its requests.
pub(crate) fn facts(source: &str, report: &Report, max_lost_share: f64) -> RunFacts {
    let lost_share = report.lost_share();
    RunFacts {
        source: source.into(),
        scenario: report.scenario.clone(),
        question: report.question.clone(),
        started: report.started.clone(),
        version: report.version.clone(),
        partial: report.partial.clone(),
        lost_share,
        lost_too_many: lost_share > max_lost_share,
        host: report.host.clone(),
    }
}

/// Partial runs, losses, and whatever the reports warn of.
pub(super) fn warnings(a: &Input, b: &Input) -> Vec<String> {
    let mut warnings = Vec::new();
    for (side, input) in [(Side::A, a), (Side::B, b)] {
        let (name, facts) = (side.name(), facts_of(input));
        if let Some(reason) = &facts.partial {
            warnings.push(format!("{name} is a partial run: {reason}"));
        }
        if facts.lost_too_many && !input.warns_of_losses {
            warnings.push(format!(
                "{name}: {} of the requests were lost: the figures are of the rest",
                percent(facts.lost_share)
            ));
        }
        let own = input.report.warnings.iter();
        warnings.extend(own.map(|warning| format!("{name}: {warning}")));
    }
    warnings
}

/// Scenario, tracer, hosts of the domains that are compared, settings of the machine.
pub(crate) fn differences(
    a: &Report,
    b: &Report,
    pairs: &[(&Breakdown, &Breakdown)],
) -> Vec<Difference> {
    let mut differences = Vec::new();
    note(&mut differences, "scenario", &a.scenario, &b.scenario);
    note(&mut differences, "tracer", &a.version, &b.version);
    hosts(&mut differences, &a.host, &b.host);
    for (of_a, of_b) in pairs {
        hosts(&mut differences, host(a, of_a), host(b, of_b));
    }
    let (settings_a, settings_b) = (&a.environment, &b.environment);
    for finding in settings_a {
        let other = settings_b.iter().find(|other| other.what == finding.what);
        if let Some(other) = other {
            let what = &finding.what;
            note(&mut differences, what, &finding.actual, &other.actual);
        }
    }
    differences
}

/// The host of a breakdown's domain.
fn host<'r>(report: &'r Report, breakdown: &Breakdown) -> &'r HostFacts {
    let mut domains = report.domains.iter();
    let domain = domains.find(|domain| domain.name == breakdown.domain);
    domain.map_or(&report.host, |domain| &domain.host)
}

fn hosts(differences: &mut Vec<Difference>, a: &HostFacts, b: &HostFacts) {
    let (cpus_a, cpus_b) = (a.cpus.to_string(), b.cpus.to_string());
    let (words_a, words_b) = apart(&a.command_line, &b.command_line);
    for (what, a, b) in [
        ("kernel", &a.kernel, &b.kernel),
        ("Xen role", &a.xen_role, &b.xen_role),
        ("CPU", &a.cpu_model, &b.cpu_model),
        ("CPUs", &cpus_a, &cpus_b),
        ("clock source", &a.clocksource, &b.clocksource),
        ("kernel command line", &words_a, &words_b),
    ] {
        note(differences, what, a, b);
    }
}

/// Adds what is not the same, once.
fn note(differences: &mut Vec<Difference>, what: &str, a: &str, b: &str) {
    let difference = Difference {
        what: what.into(),
        a: a.into(),
        b: b.into(),
    };
    if a != b && !differences.contains(&difference) {
        differences.push(difference);
    }
}

/// The words that only one of two command lines has.
fn apart(a: &str, b: &str) -> (String, String) {
    let words = |text: &'_ str| -> BTreeSet<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    };
    let (of_a, of_b) = (words(a), words(b));
    let own = |text: &str, others: &BTreeSet<String>| {
        let own = text
            .split_whitespace()
            .filter(|word| !others.contains(*word));
        own.collect::<Vec<_>>().join(" ")
    };
    (own(a, &of_b), own(b, &of_a))
}
