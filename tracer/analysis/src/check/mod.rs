//! Whether a new kernel is slower than the last: runs of it against a baseline's.
//!
//! Requests are not independent of each other, iterations nearly are, and runs (boots) are: what is dealt
//! and drawn at random are iterations where there is one run a side, else runs. `docs/check.md` explains the
//! method and names its sources.

mod blame;
mod bootstrap;
mod comparable;
mod document;
mod doubts;
mod group;
mod holm;
pub mod policy;
mod rank;
mod run;
mod sample;
mod student;
mod subjects;
#[cfg(test)]
mod tests;
mod verdict;
mod warnings;

pub use document::{
    Blamed, BreakdownChecked, Check, Incomparable, Method, MissingPoint, More, Procedure, SCHEMA,
    Side, StageChecked, Status, Test, Unit, Verdict, Why,
};
pub use policy::{CannotTell, OneRun, Policy, Undecided};
pub use run::CheckedRun;
pub use sample::{Kind, Metric};

use blame::blame;
use doubts::{Doubt, doubts};
use group::{Group, groups};
use holm::{Weighted, holm};
use subjects::{BothUntraced, Role, Subject, subjects};
use verdict::Tested;

use crate::compare::{Untraced, differences};

/// Why these runs are not of a kind: a baseline of them would be no baseline.
#[must_use]
pub fn not_of_a_kind(runs: &[CheckedRun], policy: &Policy) -> Vec<String> {
    let all: Vec<&CheckedRun> = runs.iter().collect();
    let mut reasons = comparable::reasons(&all, policy.max_lost_percent);
    reasons.extend(comparable::named_twice(&all));
    let mut breakdowns = runs.iter().flat_map(|run| &run.report.breakdowns);
    if reasons.is_empty() && breakdowns.all(|breakdown| breakdown.iterations.is_empty()) {
        reasons.push(format!(
            "they have no requests that are known by iteration ({NO_ITERATIONS})"
        ));
    }
    reasons
}

/// Why a run may have nothing to check.
const NO_ITERATIONS: &str =
    "`tracer report` says why; probes.mode = \"aggregate\" keeps no iterations";
/// What a check of one run a side needs.
const NO_TOTAL: &str = "the policy ignores the total, and with one run a side a stage is believed to be slower only where the total is: make several runs, let the policy have the total, or set one_run = \"stages\" where runs repeat, as in virtual time";

/// A check that tests nothing has found nothing.
const NOTHING_TESTED: &str = "the policy leaves no figure to test that both sides have (of a stage that one side has in parts only the mean is tested): allow more metrics, stages or a smaller min_share_percent";

/// Holds new runs against a baseline's. The order of either does not matter.
#[must_use]
pub fn check(base: &[CheckedRun], new: &[CheckedRun], policy: &Policy) -> Check {
    let (base, new) = (in_order(base), in_order(new));
    let groups = groups(&base, &new, policy);
    let mut check = Check {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        verdict: Verdict::NotComparable,
        reasons: reasons(&base, &new, &groups, policy),
        warnings: warnings::warnings(&base, &new, &groups, policy),
        base: base
            .iter()
            .map(|run| run.facts(policy.max_lost_percent))
            .collect(),
        new: new
            .iter()
            .map(|run| run.facts(policy.max_lost_percent))
            .collect(),
        differences: match (base.first(), new.first()) {
            (Some(base), Some(new)) => differences(&base.report, &new.report, &[]),
            _ => Vec::new(),
        },
        method: Method {
            alpha: policy.alpha(one_run(&base, &new)),
            confidence: policy.confidence,
            seed: bootstrap::SEED,
            resamples: bootstrap::RESAMPLES as u64,
            tests: 0,
        },
        breakdowns: Vec::new(),
    };
    if check.reasons.is_empty() {
        let doubts = check_groups(&mut check, &groups, (&base, &new), policy);
        if check.figures() == 0 {
            check.reasons.push(NOTHING_TESTED.into());
        } else {
            conclude(&mut check, doubts, policy);
        }
    }
    let all = [base, new].concat();
    let in_vain = warnings::ignored_in_vain(&check, &all, policy);
    check.warnings.extend(in_vain);
    check
}

fn in_order(runs: &[CheckedRun]) -> Vec<&CheckedRun> {
    let mut runs: Vec<&CheckedRun> = runs.iter().collect();
    runs.sort_by_key(|run| (&run.report.started, &run.source));
    runs
}

/// Sets the verdict. What was not tested is its reason, or the first that a reader must know beside it.
fn conclude(check: &mut Check, doubts: Vec<Doubt>, policy: &Policy) {
    let is_grave = doubts.iter().any(|doubt| doubt.is_grave);
    check.verdict = overall(check, is_grave, policy);
    let (reasons, notes): (Vec<Doubt>, Vec<Doubt>) = doubts
        .into_iter()
        .partition(|doubt| doubt.is_grave && check.verdict == Verdict::CannotTell);
    check.reasons = reasons.into_iter().map(|doubt| doubt.words).collect();
    let notes = notes.into_iter().map(|doubt| doubt.words);
    check.warnings.splice(0..0, notes);
}

fn overall(check: &Check, has_grave_doubts: bool, policy: &Policy) -> Verdict {
    let is_undecided = || check.count(Status::Undecided) > 0 || check.gone() > 0;
    if check.count(Status::Regressed) > 0 {
        Verdict::Regressed
    } else if policy.undecided == Undecided::Fail && is_undecided() {
        Verdict::Undecided
    } else if policy.cannot_tell == CannotTell::Fail && has_grave_doubts {
        Verdict::CannotTell
    } else {
        Verdict::Passed
    }
}

fn reasons(
    base: &[&CheckedRun],
    new: &[&CheckedRun],
    groups: &[Group<'_>],
    policy: &Policy,
) -> Vec<String> {
    let all = [base, new].concat();
    let mut reasons = comparable::reasons(&all, policy.max_lost_percent);
    reasons.extend([base, new].into_iter().flat_map(comparable::named_twice));
    reasons.extend(comparable::in_baseline(base, new));
    let has_no_total = policy
        .ignore_stages
        .iter()
        .any(|name| name == subjects::TOTAL);
    if has_no_total && one_run(base, new) && policy.one_run == OneRun::Total {
        reasons.push(NO_TOTAL.into());
    }
    if !reasons.is_empty() || groups.iter().any(Group::is_whole) {
        return reasons;
    }
    let titles = |side: &[&CheckedRun]| -> String {
        let mut titles: Vec<String> = side
            .iter()
            .flat_map(|run| run.report.breakdowns.iter().map(|b| b.title()))
            .collect();
        titles.dedup();
        let words = titles.join(", ");
        if words.is_empty() {
            "no requests".into()
        } else {
            words
        }
    };
    reasons.push(format!(
        "the runs have no datapath in common whose requests are known by iteration (the baseline has {}; the new runs {}): {NO_ITERATIONS}",
        titles(base),
        titles(new)
    ));
    reasons
}

/// A test to be made: of which group and subject.
struct Planned {
    group: usize,
    subject: usize,
    metric: Metric,
    weight: f64,
}

/// Tests all that can be tested, and returns what cannot.
fn check_groups(
    check: &mut Check,
    groups: &[Group<'_>],
    (base, new): (&[&CheckedRun], &[&CheckedRun]),
    policy: &Policy,
) -> Vec<Doubt> {
    let of = |runs: &[&CheckedRun]| Untraced::of(runs.iter().map(|run| &run.report));
    let untraced = BothUntraced {
        base: of(base),
        new: of(new),
    };
    let (mut subjects, lacking): (Vec<Vec<Subject>>, Vec<Vec<MissingPoint>>) = groups
        .iter()
        .map(|group| subjects(group, policy, &untraced).unwrap_or_default())
        .unzip();
    let planned = plan(groups, &subjects, policy);
    // A group of one run a side has the lower alpha of such a check, and the others have theirs.
    let alpha = |test: &Planned| policy.alpha(groups[test.group].is_of_one_run());
    let tested: Vec<(&Planned, Tested)> = planned
        .iter()
        .filter_map(|test| {
            let subject = &subjects[test.group][test.subject];
            let (base, new) = subject.samples(&groups[test.group], test.metric)?;
            let bound = alpha(test) * test.weight;
            Some((test, Tested::new(test.metric, base, new, bound)))
        })
        .collect();
    let corrected = |of: fn(&Tested) -> f64| {
        let weighted = tested.iter().map(|(test, tested)| Weighted {
            p: of(tested),
            weight: test.weight,
        });
        holm(&weighted.collect::<Vec<_>>())
    };
    let (worse, better) = (corrected(|t| t.p_worse), corrected(|t| t.p_better));
    check.method.tests = tested.len() as u64;
    for (at, (test, tested)) in tested.iter().enumerate() {
        let decided = tested.decide(worse[at], better[at], alpha(test), policy);
        subjects[test.group][test.subject]
            .checked
            .tests
            .push(decided);
    }
    for (group, subjects) in groups.iter().zip(&mut subjects) {
        for stage in subjects.iter_mut().filter(|own| own.role == Role::Stage) {
            doubt_passed_by(stage, group);
        }
        if group.is_of_one_run() && policy.one_run == OneRun::Total {
            doubt_stages(subjects);
        }
    }
    let of_groups = groups.iter().zip(subjects).zip(lacking);
    let checked = of_groups.filter_map(|((group, subjects), lacking)| {
        Some((breakdown(group, subjects, lacking)?, group))
    });
    let (breakdowns, groups): (Vec<_>, Vec<_>) = checked.unzip();
    check.breakdowns = breakdowns;
    doubts(check, &groups, [base.len(), new.len()])
}

/// Whether there is one run a side.
fn one_run(base: &[&CheckedRun], new: &[&CheckedRun]) -> bool {
    base.len() == 1 && new.len() == 1
}

/// A stage may be slower for a whole run, and the next one another: of one run a side only a slower (or faster) total
/// is believed, and then the stages that made it so.
fn doubt_stages(subjects: &mut [Subject]) {
    let (wholes, stages): (Vec<&mut Subject>, Vec<_>) = subjects
        .iter_mut()
        .partition(|subject| subject.role == Role::Whole);
    let [slower, faster] = [Status::Regressed, Status::Improved].map(|status| {
        let mut tests = wholes.iter().flat_map(|whole| &whole.checked.tests);
        tests.any(|test| test.status == status)
    });
    let is_doubtful = |test: &Test| match test.status {
        Status::Regressed => !slower,
        Status::Improved => !faster,
        _ => false,
    };
    let tests = stages
        .into_iter()
        .flat_map(|stage| &mut stage.checked.tests);
    for test in tests.filter(|test| test.unit == Unit::Iterations && is_doubtful(test)) {
        test.status = Status::Undecided;
        test.why = Some(Why::OneRun);
        test.more = Some(verdict::MORE_RUNS);
    }
}

/// What a few requests take on a longer way may be a stage's own on one side and not on the other, where a point is
/// lost now and then: only what holds with and without it is believed.
fn doubt_passed_by(stage: &mut Subject, group: &Group<'_>) {
    let (base, new) = stage.passed_by(group);
    for test in &mut stage.checked.tests {
        let with = (test.new_ns + new) / (test.base_ns + base).max(1.0);
        let holds = match (test.metric, test.status) {
            (_, Status::Undecided) => true,
            (Metric::Mean, Status::Regressed) => with >= test.matters,
            (Metric::Mean, Status::Improved) => 1.0 / with >= test.matters,
            (Metric::Mean, Status::NotWorse) => with < test.matters,
            // The slowest may be among those that pass it by.
            (_, Status::Improved) => new <= base,
            (_, Status::Regressed | Status::NotWorse) => true,
        };
        if !holds {
            test.status = Status::Undecided;
            test.why = Some(Why::PassedBy);
            test.more = Some(verdict::MORE_RUNS);
        }
    }
}

/// All tests, and how alpha is divided among them: half of it for the totals' means, which say whether the
/// kernel has become slower at all, so that few iterations can tell; the rest is for where and how.
fn plan(groups: &[Group<'_>], subjects: &[Vec<Subject>], policy: &Policy) -> Vec<Planned> {
    let mut planned = Vec::new();
    for (group, subjects) in subjects.iter().enumerate() {
        for (subject, of) in subjects.iter().enumerate() {
            let tested = policy.metrics.iter().filter(|metric| {
                of.checked.left_out.is_none() && of.samples(&groups[group], **metric).is_some()
            });
            planned.extend(tested.map(|metric| Planned {
                group,
                subject,
                metric: *metric,
                weight: if of.role == Role::Whole && *metric == Metric::Mean {
                    1.0
                } else {
                    0.0
                },
            }));
        }
    }
    let first = planned.iter().filter(|test| test.weight > 0.0).count();
    let others = planned.len() - first;
    let whole = if first > 0 && others > 0 { 0.5 } else { 1.0 };
    for test in &mut planned {
        let among = if test.weight > 0.0 { first } else { others };
        test.weight = whole / among as f64;
    }
    planned
}

fn breakdown(
    group: &Group<'_>,
    subjects: Vec<Subject>,
    lacking: Vec<MissingPoint>,
) -> Option<BreakdownChecked> {
    let first = group.first()?;
    let count = |members: &[&crate::Breakdown]| {
        members
            .iter()
            .fold(0u64, |sum, member| sum.saturating_add(member.total.count))
    };
    Some(BreakdownChecked {
        title: first.title(),
        datapath: first.datapath.clone(),
        domain: first.domain.clone(),
        operation: first.operation.clone(),
        base_count: count(&group.base),
        new_count: count(&group.new),
        lacking,
        blamed: blame(&subjects),
        stages: subjects
            .into_iter()
            .map(|subject| subject.checked)
            .collect(),
    })
}
