//! Why is there jitter when nothing else runs, and more of it than under load?

use crate::{
    StageFigures,
    paper::{
        case::{Case, Load, Setup, Workload},
        figure,
        figure_key::FigureKey,
        question::{Outcome, Question, Table, value_and_interval},
        runs::Runs,
    },
    units::{percent, time},
};

/// Stages that are shown of each case, and what they are of the variance at least.
const STAGES: usize = 4;
const WORTH: f64 = 0.01;

pub(super) fn question(runs: &Runs) -> Question {
    let mut question = Question::new(
        "Jitter of an idle machine",
        "The paper's runs varied more on an idle machine than under load.",
    );
    let mut found = Vec::new();
    for setup in [Setup::Native, Setup::Dom0, Setup::Passthrough, Setup::Vbd] {
        found.extend(against_loads(setup, runs, &mut question.evidence));
    }
    question.outcome = if found.is_empty() {
        let why = "no disk has an idle run and one under load, both with a confidence interval";
        Outcome::CannotTell(why.into())
    } else if found.contains(&true) {
        Outcome::Reproduced
    } else {
        Outcome::NotReproduced
    };
    let idle: Vec<Case> = Case::all()
        .filter(|case| case.load == Load::Idle && case.workload != Workload::RequestResponse)
        .collect();
    question.tables.push(shares(&idle, runs));
    for case in idle {
        let report = runs.get(case).map(|run| &run.input.report);
        let Some(breakdown) = report.and_then(|report| case.breakdown(report)) else {
            continue;
        };
        let nothing = ["Neither a stage nor the slowest requests stand out.".to_owned()];
        let sentences = match &breakdown.jitter[..] {
            [] => &nothing[..],
            sentences => sentences,
        };
        let sentences = sentences.iter();
        question
            .evidence
            .extend(sentences.map(|sentence| format!("{}: {sentence}", case.name())));
    }
    question
}

/// Whether the runs vary more idle than under each load, as far as both have an interval.
fn against_loads(setup: Setup, runs: &Runs, evidence: &mut Vec<String>) -> Vec<bool> {
    let variance = |case| figure::estimate(FigureKey::DiskVariance, case, runs).ok();
    let key = FigureKey::DiskVariance;
    let Some(idle) = variance(Case::idle(Workload::Disk, setup)) else {
        return Vec::new();
    };
    let loads = key
        .cases()
        .filter(|case| case.setup == setup && case.load != Load::Idle);
    let mut found = Vec::new();
    for case in loads {
        let Some((loaded, less)) = variance(case).and_then(|loaded| {
            let less = loaded.is_below(&idle)?;
            Some((loaded, less))
        }) else {
            continue;
        };
        let words = match (less, idle.is_below(&loaded)) {
            (true, _) => "more when idle",
            (_, Some(true)) => "less when idle",
            _ => "intervals overlap",
        };
        evidence.push(format!(
            "{}: the variance of a run's time is {} idle, {} under {}: {words}.",
            setup.name(),
            value_and_interval(key, &idle),
            value_and_interval(key, &loaded),
            case.load.name()
        ));
        found.push(less);
    }
    found
}

/// The stages that most of the variance is, of each idle case.
fn shares(idle: &[Case], runs: &Runs) -> Table {
    let mut rows = Vec::new();
    for case in idle {
        let breakdown = runs
            .get(*case)
            .and_then(|run| case.breakdown(&run.input.report));
        let Some(breakdown) = breakdown else {
            let why = if runs.get(*case).is_some() {
                "no requests"
            } else {
                "not run"
            };
            let mut row = vec![case.name(), why.into()];
            row.resize(6, String::new());
            rows.push(row);
            continue;
        };
        let mut stages: Vec<_> = breakdown.stages.iter().collect();
        let share = |stage: &&StageFigures| stage.figures.share_of_variance;
        stages.sort_by(|a, b| share(b).total_cmp(&share(a)));
        let largest = stages.into_iter().take(STAGES);
        rows.extend(largest.filter(|stage| share(stage) >= WORTH).map(|stage| {
            vec![
                case.name(),
                stage.name(),
                stage.component.name().into(),
                percent(stage.figures.share_of_variance),
                percent(stage.figures.share_of_mean),
                time(stage.figures.p99_ns as f64),
            ]
        }));
    }
    Table {
        title: "Idle: the stages that most of the requests' variance is".into(),
        head: [
            "case",
            "stage",
            "component",
            "of variance",
            "of mean",
            "p99",
        ]
        .map(Into::into)
        .into(),
        texts: 3,
        rows,
    }
}
