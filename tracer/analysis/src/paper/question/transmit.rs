//! Why did a card of a guest's own send more slowly under load?

use crate::paper::{
    case::{Case, Load, Setup, Workload},
    figure,
    figure_key::FigureKey,
    question::{
        Outcome, Question, Table, both, compared, digits, in_figure, stretches, value_and_interval,
    },
    runs::{Run, Runs},
    samples::{self, Sample},
    statistics,
};

pub(super) fn question(runs: &Runs) -> Question {
    let question = Question::new(
        "Passthrough transmit under load",
        "The paper's passed-through card sent more slowly under a UDP load to another guest, and lost more \
         than the virtual card; it suspects TCP's retransmissions.",
    );
    match answer(question.clone(), runs) {
        Ok(answered) => answered,
        Err(why) => question.cannot_tell(why),
    }
}

const fn cases(setup: Setup) -> (Case, Case) {
    let idle = Case::idle(Workload::Transmit, setup);
    let loaded = Case {
        load: Load::Io,
        ..idle
    };
    (idle, loaded)
}

fn answer(mut question: Question, runs: &Runs) -> Result<Question, String> {
    let key = FigureKey::Transmit;
    let (idle, loaded) = cases(Setup::Passthrough);
    let (run_idle, run_loaded) = both(runs, idle, loaded)?;
    let of_idle = figure::estimate(key, idle, runs)?;
    let of_loaded = figure::estimate(key, loaded, runs)?;
    question.evidence.push(format!(
        "passthrough sends {} idle and {} under the UDP load: {} {}.",
        value_and_interval(key, &of_idle),
        value_and_interval(key, &of_loaded),
        digits(of_loaded.value - of_idle.value),
        key.unit()
    ));
    let (vif_idle, vif_loaded) = cases(Setup::Vif);
    question.evidence.push(format!(
        "vif beside it: idle {}; under the load {}.",
        in_figure(key, vif_idle, runs),
        in_figure(key, vif_loaded, runs)
    ));
    question.outcome = match of_loaded.is_below(&of_idle) {
        Some(true) => Outcome::Reproduced,
        Some(false) => Outcome::NotReproduced,
        None => Outcome::CannotTell("one iteration has no confidence interval".into()),
    };
    question
        .tables
        .push(counts(&[(idle, run_idle), (loaded, run_loaded)]));
    if question.outcome == Outcome::Reproduced {
        question
            .evidence
            .extend(retransmits((idle, run_idle), (loaded, run_loaded)));
        let (comparison, pair) = compared(run_idle, run_loaded, idle)?;
        question
            .evidence
            .push("With A idle, and B under the UDP load:".into());
        question.evidence.extend(pair.findings.iter().cloned());
        question.tables.push(stretches(&pair, "idle", "UDP load"));
        question.warn(&comparison);
    }
    Ok(question)
}

/// A mean over the iterations with its interval, in words.
fn mean(case: Case, run: &Run, sample: Sample) -> String {
    let samples = samples::samples(&run.input.report, case, sample);
    let estimate = samples.map(|samples| statistics::mean(&samples));
    match estimate {
        Ok(Some(estimate)) => match estimate.interval {
            Some((low, high)) => format!(
                "{} ({} to {})",
                digits(estimate.value),
                digits(low),
                digits(high)
            ),
            None => digits(estimate.value),
        },
        Ok(None) | Err(_) => "not known".into(),
    }
}

/// Retransmissions and interrupts of each run.
fn counts(runs: &[(Case, &Run)]) -> Table {
    let rows = runs.iter().map(|(case, run)| {
        vec![
            case.load.name().into(),
            mean(*case, run, Sample::Retransmits),
            mean(*case, run, Sample::Interrupts),
            mean(*case, run, Sample::InterruptMicroseconds),
        ]
    });
    Table {
        title: "passthrough, transmit, a run (95%)".into(),
        head: [
            "load",
            "TCP segments sent again",
            "interrupts",
            "us an interrupt",
        ]
        .map(Into::into)
        .into(),
        texts: 1,
        rows: rows.collect(),
    }
}

/// Whether the paper's suspicion holds.
fn retransmits(idle: (Case, &Run), loaded: (Case, &Run)) -> Option<String> {
    let of = |(case, run): (Case, &Run)| {
        let samples = samples::samples(&run.input.report, case, Sample::Retransmits).ok()?;
        statistics::mean(&samples)
    };
    let (idle, loaded) = (of(idle)?, of(loaded)?);
    let words = match idle.is_below(&loaded) {
        Some(true) => "TCP sent more segments again under the load, as the paper suspects",
        _ if loaded.value == 0.0 => {
            "TCP sent no segment again under the load: the cause is another"
        }
        Some(false) => "Whether TCP sent more segments again under the load, the runs do not tell",
        None => return None,
    };
    Some(format!(
        "{words} ({} a run idle, {} under the load).",
        digits(idle.value),
        digits(loaded.value)
    ))
}
