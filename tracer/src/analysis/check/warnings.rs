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
        for run in runs {
            let own = run.report.warnings.iter();
            warnings.extend(own.map(|warning| format!("{side}, {}: {warning}", run.source)));
        }
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
