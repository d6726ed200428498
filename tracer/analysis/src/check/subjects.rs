//! What of two breakdowns is held against what: the total, or where that is not of the same way the way that both
//! sides are timed on; every stage that both have, and the way between points that both have, where their stages
//! differ. What one side lacks is incomparable.

use super::{
    document::{Incomparable, MissingPoint, Side, StageChecked},
    group::Group,
    policy::Policy,
    sample::{Metric, Sample},
};
use crate::{
    breakdown::{Breakdown, IterationFigures, StageFigures},
    compare::{
        Elsewhere, NotCompared, Pair, Runs, StageCompared, Stretch, Untraced, find, pair,
        sum_of_means,
    },
};

/// The name of the total among the stages.
pub(super) const TOTAL: &str = "total";

/// What a subject is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The total, or the way that stands for it: its stages add up to it.
    Whole,
    /// The total where it is not of the same way on both sides.
    OtherTotal,
    /// A stage, or the stages of both sides between two points.
    Stage,
}

/// The total, a stage, or the stages of both sides between two points.
#[derive(Debug)]
pub(super) struct Subject {
    /// What is said of it; without tests yet.
    pub(super) checked: StageChecked,
    pub(super) role: Role,
    /// The base's stages; of the total none.
    base: Vec<String>,
    new: Vec<String>,
    /// Why it is not compared, if it is not.
    not_compared: Option<NotCompared>,
    /// Stages of the few requests that pass one of its ends by, on a longer way that this is a part of.
    over: Vec<String>,
    /// New mean less base, over all requests, in nanoseconds: these of the stages add up to the whole's.
    pub(super) added_ns: f64,
    /// The share of requests that have it, on the side where more do.
    pub(super) presence: f64,
}

impl Subject {
    fn new(name: String, role: Role) -> Self {
        Self {
            checked: StageChecked {
                name,
                component: None,
                base_share: 0.0,
                new_share: 0.0,
                left_out: None,
                incomparable: None,
                tests: Vec::new(),
            },
            role,
            base: Vec::new(),
            new: Vec::new(),
            not_compared: None,
            over: Vec::new(),
            added_ns: 0.0,
            presence: 1.0,
        }
    }

    /// Both sides' means in nanoseconds, as they are tested: of several stages, and over all runs, these add up.
    fn levels(&self, group: &Group<'_>) -> Option<(f64, f64)> {
        let (base, new) = self.pair_of_samples(group, Metric::Mean)?;
        Some((base.level_ns(), new.level_ns()))
    }

    /// Sets its shares of the totals' means, and what it adds to the whole's.
    fn weigh(&mut self, levels: Option<(f64, f64)>, totals: (f64, f64)) {
        let Some((base, new)) = levels else {
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

    /// Sets why its means cannot be held against each other. What they would add to the whole is not known then.
    fn set_apart(&mut self, levels: Option<(f64, f64)>, why: String) {
        let (base, new) = levels.unzip();
        let is_there = |stages: &[String]| self.is_total() || !stages.is_empty();
        self.checked.incomparable = Some(Incomparable {
            base_ns: base.filter(|_| is_there(&self.base)),
            new_ns: new.filter(|_| is_there(&self.new)),
            why,
        });
        self.added_ns = 0.0;
    }

    /// Both sides' figures; `None`: this figure is not to be had of both, or not to be compared.
    pub(super) fn samples(&self, group: &Group<'_>, metric: Metric) -> Option<(Sample, Sample)> {
        if self.checked.incomparable.is_some() {
            return None;
        }
        self.pair_of_samples(group, metric)
    }

    fn pair_of_samples(&self, group: &Group<'_>, metric: Metric) -> Option<(Sample, Sample)> {
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

    /// What the requests that pass one of its ends by take there, on both sides: means over all requests, in
    /// nanoseconds.
    pub(super) fn passed_by(&self, group: &Group<'_>) -> (f64, f64) {
        let over = Self {
            base: self.over.clone(),
            new: self.over.clone(),
            ..Self::new(String::new(), Role::Stage)
        };
        over.levels(group).unwrap_or_default()
    }

    /// A figure of every iteration of a run.
    fn figures(&self, run: &Breakdown, stages: &[String], metric: Metric) -> Vec<f64> {
        let of = |iterations: &[IterationFigures]| -> Vec<f64> {
            let mut iterations: Vec<&IterationFigures> = iterations.iter().collect();
            iterations.sort_by_key(|figures| figures.iteration);
            let figures = iterations.into_iter();
            figures.filter_map(|figures| metric.of(figures)).collect()
        };
        if self.is_total() {
            return of(&run.iterations);
        }
        let found: Vec<&StageFigures> = stages.iter().filter_map(|name| find(run, name)).collect();
        match (metric, &found[..]) {
            (Metric::Mean, found) => sum_of_means(&run.iterations, found.iter().copied()),
            (_, [stage]) => of(&stage.iterations),
            _ => Vec::new(),
        }
    }
}

/// What the runs of both sides could not trace.
#[derive(Debug)]
pub(super) struct BothUntraced {
    pub(super) base: Untraced,
    pub(super) new: Untraced,
}

/// A group's subjects: the total, the way that stands for it, then the stages; the total alone, left out, of what cannot
/// be tested; and the points that a side lacks. `None`: a side has nothing.
pub(super) fn subjects(
    group: &Group<'_>,
    policy: &Policy,
    untraced: &BothUntraced,
) -> Option<(Vec<Subject>, Vec<MissingPoint>)> {
    let mut total = Subject::new(TOTAL.into(), Role::Whole);
    if let Some(side) = group.lacks() {
        total.checked.left_out = Some(side.lacks_it().into());
        return Some((vec![total], Vec::new()));
    }
    let runs = |breakdowns, untraced| Runs {
        breakdowns,
        untraced,
    };
    let (pair, elsewhere) = pair(
        &runs(&group.base, &untraced.base),
        &runs(&group.new, &untraced.new),
    )?;
    let totals = total.levels(group)?;
    let mut subjects = wholes(total, &pair);
    for stretch in &pair.stretches {
        let mut stage = stage(stretch, &pair);
        let name = &stage.checked.name;
        // Where the way is one stage, that stage stands for the total.
        if subjects.iter().all(|whole| whole.checked.name != *name) {
            stage.presence = presence(&group.base, name).max(presence(&group.new, name));
            subjects.push(stage);
        }
    }
    for subject in &mut subjects {
        let levels = subject.levels(group);
        subject.weigh(levels, totals);
        subject.checked.left_out = left_out(subject, policy);
        if subject.checked.left_out.is_none()
            && let Some(why) = apart(subject, elsewhere.as_ref())
        {
            subject.set_apart(levels, why);
        }
    }
    Some((
        subjects,
        pair.lacking.iter().map(MissingPoint::from).collect(),
    ))
}

/// The total, and where that is not of the same way the way that both sides are timed on.
fn wholes(mut total: Subject, pair: &Pair) -> Vec<Subject> {
    match &pair.way {
        Some(way) if way.is_total => vec![total],
        None => {
            total.role = Role::OtherTotal;
            vec![total]
        }
        Some(way) => {
            total.role = Role::OtherTotal;
            let on_way = |stretch: &&Stretch| stretch.not_compared.is_none();
            let parts = || pair.stretches.iter().filter(on_way);
            let way = Subject {
                base: parts().flat_map(|part| part.stages_a.clone()).collect(),
                new: parts().flat_map(|part| part.stages_b.clone()).collect(),
                ..Subject::new(format!("{}..{}", way.from, way.to), Role::Whole)
            };
            vec![total, way]
        }
    }
}

/// Why a subject's figures cannot be held against each other, if they cannot.
fn apart(subject: &Subject, elsewhere: Option<&Elsewhere>) -> Option<String> {
    if subject.role == Role::OtherTotal {
        let names = ["the baseline's", "the new runs'"];
        let differs = elsewhere.map_or_else(String::new, |own| own.words(names));
        return Some(format!("it is not of the same way: {differs}"));
    }
    let why = match subject.not_compared? {
        NotCompared::OnlyInA => Side::New.lacks_it(),
        NotCompared::OnlyInB => Side::Base.lacks_it(),
        NotCompared::OffTheWay => "it is off the way that both sides are timed on",
        NotCompared::TakenApart => "what others took of it is not known alike of both sides",
        NotCompared::OverALostPoint => "it leaps over a point that one side lacks",
    };
    Some(why.into())
}

/// The share of requests that have a stage; none has one that is there by another name.
fn presence(side: &[&Breakdown], stage: &str) -> f64 {
    let sum =
        |count: &dyn Fn(&Breakdown) -> u64| side.iter().map(|run| count(run) as f64).sum::<f64>();
    let with = sum(&|run| find(run, stage).map_or(0, |stage| stage.figures.count));
    (with / sum(&|run| run.total.count).max(1.0)).min(1.0)
}

fn stage(stretch: &Stretch, pair: &Pair) -> Subject {
    let name = format!("{}..{}", stretch.from, stretch.to);
    let known = pair.stages.iter().find(|stage| stage.name() == name);
    let mut subject = Subject {
        base: stretch.stages_a.clone(),
        new: stretch.stages_b.clone(),
        not_compared: stretch.not_compared,
        over: pair.over(stretch).map(StageCompared::name).collect(),
        ..Subject::new(name, Role::Stage)
    };
    subject.checked.component = known.map(|stage| stage.component);
    subject
}

/// Why a subject is not tested, if it is not.
fn left_out(subject: &Subject, policy: &Policy) -> Option<String> {
    let checked = &subject.checked;
    let least = policy.min_share_percent / 100.0;
    let is_small = checked.base_share < least && checked.new_share < least;
    ignored(subject, policy).or_else(|| {
        let words = || format!("less than {}% of the total", policy.min_share_percent);
        (is_small && subject.role == Role::Stage).then(words)
    })
}

/// Whether the policy ignores it, or a stage of one side in it: that cannot be taken out of the way between two points.
fn ignored(subject: &Subject, policy: &Policy) -> Option<String> {
    let is_ignored = |name: &String| policy.ignore_stages.contains(name);
    if is_ignored(&subject.checked.name) {
        return Some("ignored by the policy".into());
    }
    if subject.role != Role::Stage {
        return None;
    }
    let mut parts = subject.base.iter().chain(&subject.new);
    let part = parts.find(|name| is_ignored(name))?;
    Some(format!("the policy ignores {part}, which is a part of it"))
}
