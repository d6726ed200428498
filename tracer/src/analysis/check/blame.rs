//! Which stage made a total slower.

use super::{
    document::{Blamed, Status, Test},
    sample::Metric,
    subjects::Subject,
};

/// What contributes most to the total's regression: of the mean the stage that adds most, as these add up; of
/// another figure the stage whose own has regressed, and risen most, else the one that adds most to the mean.
pub(super) fn blame(subjects: &[Subject]) -> Option<Blamed> {
    let (total, stages) = subjects.split_first()?;
    let regressed = |test: &&Test| test.status == Status::Regressed;
    let metric = total.checked.tests.iter().find(regressed)?.metric;
    let own = |stage: &Subject| {
        let mut tests = stage.checked.tests.iter().filter(regressed);
        let test = tests.find(|test| test.metric == metric)?;
        Some((test.new_ns - test.base_ns) * weight(metric, stage.presence))
    };
    let most = stages
        .iter()
        .filter_map(|stage| Some((stage, own(stage)?)))
        .filter(|_| metric != Metric::Mean)
        .max_by(by_time);
    let most = most.or_else(|| {
        let means = stages.iter().map(|stage| (stage, stage.added_ns));
        means
            .filter(|(_, added_ns)| *added_ns > 0.0)
            .max_by(by_time)
    })?;
    Some(Blamed {
        metric,
        stage: most.0.checked.name.clone(),
        added_ns: most.1,
        share: (metric == Metric::Mean).then(|| most.1 / total.added_ns),
    })
}

/// How much of a rise of a stage's own figure the total's can have from it. A stage that few requests pass moves
/// the median of all by little, however much its own has risen; of the longest requests all may have passed it.
fn weight(metric: Metric, presence: f64) -> f64 {
    match metric {
        Metric::P50 => presence,
        _ => 1.0,
    }
}

fn by_time(x: &(&Subject, f64), y: &(&Subject, f64)) -> std::cmp::Ordering {
    x.1.total_cmp(&y.1)
}
