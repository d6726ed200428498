//! What of two sides is held against what: breakdowns of one datapath, domain and operation; in these the
//! total, every stage that both have, and the way between points that both have, where their stages differ.

use std::ptr;

use super::{
    document::StageChecked,
    policy::Policy,
    run::CheckedRun,
    sample::{Metric, Sample},
};
use crate::{
    analysis::{
        breakdown::{Breakdown, IterationFigures, StageFigures},
        compare::{Pair, Stretch, merge, pair, pair_breakdowns},
    },
    datapath::Component,
};

/// The name of the total among the stages.
pub(super) const TOTAL: &str = "total";

/// The breakdowns of both sides that are of one kind, one a run.
#[derive(Debug)]
pub(super) struct Group<'r> {
    pub(super) base: Vec<&'r Breakdown>,
    pub(super) new: Vec<&'r Breakdown>,
}

impl<'r> Group<'r> {
    pub(super) fn first(&self) -> Option<&'r Breakdown> {
        self.base.first().or(self.new.first()).copied()
    }

    /// Whether both sides have it, and so that they can be held against each other.
    pub(super) fn is_whole(&self) -> bool {
        self.lacks().is_none()
    }

    /// Which side does not have it, if one does not.
    fn lacks(&self) -> Option<&'static str> {
        match (self.base.is_empty(), self.new.is_empty()) {
            (true, _) => Some("the baseline does not have it"),
            (_, true) => Some("the new runs do not have it"),
            _ => None,
        }
    }

    /// Whether it is tested by the iterations of one run a side: by how much runs differ is not known then.
    pub(super) fn is_of_one_run(&self) -> bool {
        self.base.len() == 1 && self.new.len() == 1
    }
}

/// For every breakdown of a run those of all other runs.
pub(super) fn groups<'r>(
    base: &[&'r CheckedRun],
    new: &[&'r CheckedRun],
    policy: &Policy,
) -> Vec<Group<'r>> {
    let mut groups: Vec<Group<'r>> = Vec::new();
    for run in base.iter().chain(new) {
        for breakdown in &run.report.breakdowns {
            let is_member = |member: &&Breakdown| ptr::eq(*member, breakdown);
            let known = groups
                .iter()
                .any(|group| group.base.iter().chain(&group.new).any(is_member));
            if known || policy.ignore_datapaths.contains(&breakdown.datapath) {
                continue;
            }
            let members = |side: &[&'r CheckedRun]| -> Vec<&'r Breakdown> {
                let members = side
                    .iter()
                    .filter_map(|other| counterpart(run, breakdown, other));
                members
                    .filter(|member| !member.iterations.is_empty())
                    .collect()
            };
            let group = Group {
                base: members(base),
                new: members(new),
            };
            // One without iterations, of which the other runs' may be known.
            let is_own = group.base.iter().chain(&group.new).any(is_member);
            if is_own {
                groups.push(group);
            }
        }
    }
    groups
}

/// What another run has of a run's breakdown: of the same datapath, domain and operation. A device may have
/// another name: loop devices do, from run to run.
fn counterpart<'r>(
    run: &'r CheckedRun,
    own: &'r Breakdown,
    other: &'r CheckedRun,
) -> Option<&'r Breakdown> {
    if ptr::eq(run, other) {
        return Some(own);
    }
    let pairs = pair_breakdowns(&run.report.breakdowns, &other.report.breakdowns);
    let found = pairs.into_iter().find(|(first, _)| ptr::eq(*first, own))?.1;
    (found.datapath == own.datapath && found.domain == own.domain).then_some(found)
}

/// The runs' breakdowns as one: all their stages, and how many requests had each.
fn pooled(members: &[&Breakdown]) -> Option<Breakdown> {
    let (first, others) = members.split_first()?;
    let mut pooled = (*first).clone();
    for other in others {
        pooled.total.count = pooled.total.count.saturating_add(other.total.count);
        let names = |side: &Breakdown| -> Vec<String> {
            side.stages.iter().map(StageFigures::name).collect()
        };
        let order = merge(&names(&pooled), &names(other), |_, _| true);
        pooled.stages = order
            .iter()
            .filter_map(|name| {
                let (own, others) = (find(&pooled, name), find(other, name));
                let mut stage = own.or(others)?.clone();
                if let (Some(_), Some(more)) = (own, others) {
                    let figures = &mut stage.figures;
                    figures.count = figures.count.saturating_add(more.figures.count);
                }
                Some(stage)
            })
            .collect();
    }
    Some(pooled)
}

fn find<'b>(breakdown: &'b Breakdown, name: &str) -> Option<&'b StageFigures> {
    breakdown.stages.iter().find(|stage| stage.name() == name)
}

/// The total, a stage, or the stages of both sides between two points.
#[derive(Debug)]
pub(super) struct Subject {
    /// What is said of it; without tests yet.
    pub(super) checked: StageChecked,
    /// The base's stages; of the total none.
    base: Vec<String>,
    new: Vec<String>,
    /// New mean less base, over all requests, in nanoseconds: these of the stages add up to the total's.
    pub(super) added_ns: f64,
    /// The share of requests that have it, on the side where more do.
    pub(super) presence: f64,
}

impl Subject {
    fn new(name: String, component: Option<Component>) -> Self {
        Self {
            checked: StageChecked {
                name,
                component,
                base_share: 0.0,
                new_share: 0.0,
                left_out: None,
                tests: Vec::new(),
            },
            base: Vec::new(),
            new: Vec::new(),
            added_ns: 0.0,
            presence: 1.0,
        }
    }

    /// Both sides' means in nanoseconds, as they are tested: of several stages, and over all runs, these add up.
    fn levels(&self, group: &Group<'_>) -> Option<(f64, f64)> {
        let (base, new) = self.samples(group, Metric::Mean)?;
        Some((base.level_ns(), new.level_ns()))
    }

    /// Sets its shares of the totals' means, and what it adds to the total's.
    fn weigh(&mut self, group: &Group<'_>, totals: (f64, f64)) {
        let Some((base, new)) = self.levels(group) else {
            return;
        };
        let share = |part: f64, whole: f64| {
            let share = part / whole;
            if share.is_finite() { share } else { 0.0 }
        };
        self.checked.base_share = share(base, totals.0);
        self.checked.new_share = share(new, totals.1);
        self.added_ns = new - base;
    }

    pub(super) fn is_total(&self) -> bool {
        self.checked.name == TOTAL
    }

    /// Both sides' figures; `None`: this figure is not to be had of both.
    pub(super) fn samples(&self, group: &Group<'_>, metric: Metric) -> Option<(Sample, Sample)> {
        let one_stage = |stages: &[String]| stages.len() < 2;
        // Of several stages only means make sense together: they add up.
        if metric != Metric::Mean && !(one_stage(&self.base) && one_stage(&self.new)) {
            return None;
        }
        let sample = |members: &[&Breakdown], stages: &[String]| {
            let runs = members.iter().map(|run| self.figures(run, stages, metric));
            Sample::new(metric.scale(), runs)
        };
        let (base, new) = sample(&group.base, &self.base).zip(sample(&group.new, &self.new))?;
        // What one of several runs has alone says nothing of how runs differ.
        let is_rare = !group.is_of_one_run() && base.runs().len() + new.runs().len() == 2;
        (!is_rare).then_some((base, new))
    }

    /// A figure of every iteration of a run.
    fn figures(&self, run: &Breakdown, stages: &[String], metric: Metric) -> Vec<f64> {
        let in_order = |iterations: &[IterationFigures]| -> Vec<IterationFigures> {
            let mut iterations = iterations.to_vec();
            iterations.sort_by_key(|figures| figures.iteration);
            iterations
        };
        let of = |iterations: &[IterationFigures]| -> Vec<f64> {
            let iterations = in_order(iterations);
            iterations
                .iter()
                .filter_map(|figures| metric.of(figures))
                .collect()
        };
        if self.is_total() {
            return of(&run.iterations);
        }
        let found: Vec<&StageFigures> = stages.iter().filter_map(|name| find(run, name)).collect();
        match (metric, &found[..]) {
            (Metric::Mean, found) => {
                let mut sums = vec![0.0; run.iterations.len()];
                for stage in found {
                    for (sum, own) in sums.iter_mut().zip(in_order(&stage.iterations)) {
                        *sum += own.mean_ns;
                    }
                }
                sums
            }
            (_, [stage]) => of(&stage.iterations),
            _ => Vec::new(),
        }
    }
}

/// The total, then the stages; the total alone, left out, of what cannot be tested. `None`: a side has nothing.
pub(super) fn subjects(group: &Group<'_>, policy: &Policy) -> Option<Vec<Subject>> {
    if let Some(why) = group.lacks() {
        let mut whole = Subject::new(TOTAL.into(), None);
        whole.checked.left_out = Some(why.into());
        return Some(vec![whole]);
    }
    let (base, new) = (pooled(&group.base)?, pooled(&group.new)?);
    let pair = pair(&base, &new);
    let whole = Subject::new(TOTAL.into(), None);
    let stages = pair.stretches.iter().map(|stretch| {
        let mut subject = stage(stretch, &pair);
        let name = &subject.checked.name;
        subject.presence = presence(&base, name).max(presence(&new, name));
        subject
    });
    let mut subjects: Vec<Subject> = std::iter::once(whole).chain(stages).collect();
    let totals = subjects.first()?.levels(group)?;
    for subject in &mut subjects {
        subject.weigh(group, totals);
        subject.checked.left_out = left_out(subject, policy);
    }
    Some(subjects)
}

/// The share of requests that have a stage; none has one that is there by another name.
fn presence(side: &Breakdown, stage: &str) -> f64 {
    let with = find(side, stage).map_or(0, |stage| stage.figures.count);
    (with as f64 / side.total.count.max(1) as f64).min(1.0)
}

fn stage(stretch: &Stretch, pair: &Pair) -> Subject {
    let name = format!("{}..{}", stretch.from, stretch.to);
    let known = pair.stages.iter().find(|stage| stage.name() == name);
    let component = known.map(|stage| stage.component);
    Subject {
        base: stretch.stages_a.clone(),
        new: stretch.stages_b.clone(),
        ..Subject::new(name, component)
    }
}

/// Why a subject is not tested, if it is not.
fn left_out(subject: &Subject, policy: &Policy) -> Option<String> {
    let checked = &subject.checked;
    let least = policy.min_share_percent / 100.0;
    let is_small = checked.base_share < least && checked.new_share < least;
    ignored(subject, policy).or_else(|| {
        let words = || format!("less than {}% of the total", policy.min_share_percent);
        (is_small && !subject.is_total()).then(words)
    })
}

/// Whether the policy ignores it, or a stage of one side in it: that cannot be taken out of the way between two points.
fn ignored(subject: &Subject, policy: &Policy) -> Option<String> {
    let is_ignored = |name: &String| policy.ignore_stages.contains(name);
    if is_ignored(&subject.checked.name) {
        return Some("ignored by the policy".into());
    }
    let mut parts = subject.base.iter().chain(&subject.new);
    let part = parts.find(|name| is_ignored(name))?;
    Some(format!("the policy ignores {part}, which is a part of it"))
}
