//! What do virtual devices cost, against those that are passed through?

use crate::{
    compare::Pair,
    paper::{
        case::{Case, Setup, Workload},
        question::{Outcome, Question, both, compared, stretches},
        runs::Runs,
    },
    units::{step, time},
};

const PAIRS: [(Workload, Setup); 3] = [
    (Workload::Disk, Setup::Vbd),
    (Workload::Transmit, Setup::Vif),
    (Workload::Receive, Setup::Vif),
];

pub(super) fn question(runs: &Runs) -> Question {
    let mut question = Question::new(
        "vbd and vif against passthrough",
        "Which component makes a virtual device slower than one that is passed through?",
    );
    let mut missing = Vec::new();
    for (workload, setup) in PAIRS {
        let (own, shared) = (
            Case::idle(workload, Setup::Passthrough),
            Case::idle(workload, setup),
        );
        let compared = both(runs, own, shared).and_then(|(a, b)| compared(a, b, own));
        match compared {
            Ok((comparison, pair)) => {
                question.evidence.push(sentence(workload, setup, &pair));
                question
                    .tables
                    .push(stretches(&pair, "passthrough", setup.name()));
                question.warn(&comparison);
            }
            Err(why) => missing.push(format!("{}: {why}", workload.name())),
        }
    }
    if question.evidence.is_empty() {
        question.outcome = Outcome::CannotTell(missing.join("; "));
    } else {
        question.evidence.extend(missing);
    }
    question
}

/// The component that adds most.
fn sentence(workload: Workload, setup: Setup, pair: &Pair) -> String {
    let Some(way) = &pair.way else {
        return format!(
            "{}: the two are timed on no way in common.",
            workload.name()
        );
    };
    let total = &way.mean_ns;
    let head = format!(
        "{}: a request takes {} by {} and {} passed through",
        workload.name(),
        time(total.b.unwrap_or(0.0)),
        setup.name(),
        time(total.a.unwrap_or(0.0))
    );
    let costs = pair.components.iter().max_by(|a, b| {
        let (a, b) = (a.part.mean_ns.step(), b.part.mean_ns.step());
        a.total_cmp(&b)
    });
    match costs.filter(|most| most.part.mean_ns.step() > 0.0) {
        Some(most) => format!(
            "{head}; the component that costs most more is {} ({}; in all {}).",
            most.component.name(),
            step(most.part.mean_ns.step()),
            step(total.step())
        ),
        None => format!("{head}; no component costs more."),
    }
}
