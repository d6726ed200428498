//! Why a check in which nothing regressed may be none that passed: what would show a regression could not be
//! tested. A kernel that refuses a probe takes points, and the time between them, out of the figures.

use super::{
    document::{Check, MissingPoint, Side, StageChecked, Status, Test, Unit},
    group::Group,
    run::CheckedRun,
};
use crate::{
    analysis::compare::{self, lacking as points_lacking},
    datapath::traced_as,
};

/// Something that was not tested.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// What, and what to do.
    pub(super) words: String,
    /// Whether a check with it is no pass unless the policy says so.
    pub(super) is_grave: bool,
}

/// The points that runs of either side lack while others have them.
pub(super) fn lacking(
    group: &Group<'_>,
    base: &[&CheckedRun],
    new: &[&CheckedRun],
) -> Vec<MissingPoint> {
    let lacking = points_lacking(&group.base, &group.new).into_iter();
    lacking
        .map(|own| {
            let (side, runs) = match own.side {
                compare::Side::A => (Side::Base, base),
                compare::Side::B => (Side::New, new),
            };
            MissingPoint {
                why: why(&own.point, runs),
                side,
                point: own.point,
                runs: own.runs,
                of: own.of,
            }
        })
        .collect()
}

/// Why a point could not be traced, if one of the runs says so. Dom0's points are its own, there by their own names.
fn why(point: &str, runs: &[&CheckedRun]) -> Option<String> {
    let domains = runs.iter().flat_map(|run| &run.report.domains);
    let mut missing = domains.flat_map(|domain| &domain.unavailable);
    let own = traced_as(point);
    let found = missing.find(|missing| missing.point.as_deref() == Some(own))?;
    Some(found.why.join("; "))
}

/// Everything that was not tested, the gravest first: `groups` are those of the check's breakdowns.
pub(super) fn doubts(check: &Check, groups: &[&Group<'_>]) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    doubts.extend(nothing_firm(check));
    for (breakdown, group) in check.breakdowns.iter().zip(groups) {
        let title = &breakdown.title;
        if group.lacks() == Some(Side::New) {
            doubts.push(Doubt {
                words: format!(
                    "{title}: {}, so that nothing of it was tested",
                    Side::New.lacks_it()
                ),
                is_grave: group.is_material,
            });
        }
        let other_total = breakdown
            .stages
            .first()
            .is_some_and(|own| own.incomparable.is_some());
        for side in [Side::New, Side::Base] {
            let points: Vec<String> = breakdown
                .lacking
                .iter()
                .filter(|own| own.side == side)
                .map(words)
                .collect();
            if !points.is_empty() {
                doubts.push(Doubt {
                    words: format!(
                        "{title}: {} lack{} {}; only ways between points that both sides have were tested{}",
                        side.name(),
                        if side == Side::Base { "s" } else { "" },
                        points.join(", "),
                        if other_total { ", and the total was not" } else { "" },
                    ),
                    is_grave: group.is_material && (side == Side::New || other_total),
                });
            }
        }
    }
    doubts.sort_by_key(|doubt| !doubt.is_grave);
    doubts
}

/// A point, in how many runs it is missing where that is not all, and why.
fn words(lacking: &MissingPoint) -> String {
    let mut words = lacking.point.clone();
    if lacking.runs < lacking.of {
        words += &format!(" in {} of {} runs", lacking.runs, lacking.of);
    }
    if let Some(why) = &lacking.why {
        words += &format!(" ({why})");
    }
    words
}

/// That every figure is undecided, and what a firm one would take.
fn nothing_firm(check: &Check) -> Option<Doubt> {
    let figures = check.figures();
    let is_firm = figures > check.count(Status::Undecided);
    (!is_firm).then(|| Doubt {
        words: format!(
            "none of {figures} figures could be tested firmly: {}",
            needed(check)
        ),
        is_grave: true,
    })
}

/// What it takes until something is firm: of the wholes' figures if they say, else of any.
fn needed(check: &Check) -> String {
    let least = |is_meant: &dyn Fn(&StageChecked, &Test) -> bool| {
        let tests = check
            .tests()
            .filter(|(_, stage, test)| is_meant(stage, test));
        let more = tests.filter_map(|(_, _, test)| test.more);
        more.min_by_key(|more| (more.of == Unit::Runs, more.count))
    };
    let more = least(&|stage, _| stage.component.is_none()).or_else(|| least(&|_, _| true));
    more.map_or_else(
        || "that needs more runs than practical".into(),
        |more| format!("about {} would", more.words()),
    )
}
