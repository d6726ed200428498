//! Which stage has become slower.

use super::{
    document::{Blamed, Status, Test},
    sample::Metric,
    subjects::{Role, Subject},
};

/// What contributes most to the regression of the total, or of the way that stands for it: of the mean the stage
/// that adds most, as these add up; of another figure the stage whose own has regressed, and risen most, else the one
/// that adds most to the mean. Where stages have regressed and the total has not, as they are a small part of it: the
/// one of these that has risen most.
pub(super) fn blame(subjects: &[Subject]) -> Option<Blamed> {
    let whole = subjects.iter().find(|own| own.role == Role::Whole);
    let stages = || subjects.iter().filter(|own| own.role == Role::Stage);
    let of_total = whole.and_then(first_regressed);
    let metric = of_total.or_else(|| stages().filter_map(first_regressed).min())?;
    let by_own = stages().filter_map(|stage| Some((stage, own_rise(stage, metric)?)));
    let by_mean = stages()
        .map(|stage| (stage, stage.added_ns))
        .filter(|(_, added_ns)| *added_ns > 0.0);
    let (stage, added_ns) = if of_total == Some(Metric::Mean) {
        by_mean.max_by(by_time)
    } else {
        by_own.max_by(by_time).or_else(|| by_mean.max_by(by_time))
    }?;
    Some(Blamed {
        total: of_total.is_some(),
        metric,
        stage: stage.checked.name.clone(),
        added_ns,
        share: whole
            .filter(|_| of_total == Some(Metric::Mean))
            .map(|whole| added_ns / whole.added_ns),
    })
}

fn regressed(subject: &Subject) -> impl Iterator<Item = &Test> {
    let tests = subject.checked.tests.iter();
    tests.filter(|test| test.status == Status::Regressed)
}

fn first_regressed(subject: &Subject) -> Option<Metric> {
    Some(regressed(subject).next()?.metric)
}

/// By how much a stage's own figure has risen, if it has regressed, as far as the total can have it from there.
fn own_rise(stage: &Subject, metric: Metric) -> Option<f64> {
    let test = regressed(stage).find(|test| test.metric == metric)?;
    Some((test.new_ns - test.base_ns) * weight(metric, stage.presence))
}

/// How much of a rise of a stage's own figure the total's can have from it. A stage that few requests pass moves
/// the median of all by little, however much its own has risen; its mean is one over all requests; of the longest
/// requests all may have passed it.
fn weight(metric: Metric, presence: f64) -> f64 {
    match metric {
        Metric::P50 => presence,
        _ => 1.0,
    }
}

fn by_time(x: &(&Subject, f64), y: &(&Subject, f64)) -> std::cmp::Ordering {
    x.1.total_cmp(&y.1)
}
