//! What a reader must know before the figures.

use super::{Check, CheckedRun, Policy, group::Group, subjects::TOTAL};

/// Of the runs themselves, of what only some of them have, and of datapaths that the policy names in vain.
pub(super) fn warnings(
    base: &[&CheckedRun],
    new: &[&CheckedRun],
    groups: &[Group<'_>],
    policy: &Policy,
) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for (side, runs) in [("baseline", base), ("new", new)] {
        warnings.extend(of_runs(side, runs));
    }
    for group in groups {
        let Some(first) = group.first() else {
            continue;
        };
        for (side, members, of) in [
            ("baseline", group.base.len(), base.len()),
            ("new", group.new.len(), new.len()),
        ] {
            if members < of {
                warnings.push(format!(
                    "{}: {members} of {of} {side} runs have it",
                    first.title()
                ));
            }
        }
    }
    let breakdowns = || {
        base.iter()
            .chain(new)
            .flat_map(|run| &run.report.breakdowns)
    };
    for name in &policy.ignore_datapaths {
        if !breakdowns().any(|breakdown| breakdown.datapath == *name) {
            warnings.push(format!(
                "the policy ignores the datapath {name}, which no run has"
            ));
        }
    }
    warnings
}

/// The runs' own warnings: of several runs with the same the first is named, and how many others have it.
fn of_runs(side: &str, runs: &[&CheckedRun]) -> Vec<String> {
    let mut known: Vec<(&str, &str, usize)> = Vec::new();
    for run in runs {
        for warning in &run.report.warnings {
            match known.iter_mut().find(|known| known.1 == warning) {
                Some(known) => known.2 += 1,
                None => known.push((&run.source, warning, 0)),
            }
        }
    }
    let words = known
        .into_iter()
        .map(|(run, warning, others)| match others {
            0 => format!("{side}, {run}: {warning}"),
            _ => format!("{side}, {run} and {others} more: {warning}"),
        });
    words.collect()
}

/// Of stages that the policy names in vain: no run has them, and no way between points that both sides have is
/// called so.
pub(super) fn ignored_in_vain(check: &Check, runs: &[&CheckedRun], policy: &Policy) -> Vec<String> {
    let is_known = |name: &str| {
        let mut checked = check.breakdowns.iter().flat_map(|own| &own.stages);
        let mut breakdowns = runs.iter().flat_map(|run| &run.report.breakdowns);
        name == TOTAL
            || checked.any(|stage| stage.name == name)
            || breakdowns.any(|own| own.stages.iter().any(|stage| stage.name() == name))
    };
    let names = policy.ignore_stages.iter();
    names
        .filter(|name| !is_known(name))
        .map(|name| format!("the policy ignores the stage {name}, which no run has"))
        .collect()
}
