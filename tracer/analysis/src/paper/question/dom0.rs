//! Why was a disk read faster in Dom0 than without Xen?

use crate::paper::{
    case::{Case, Setup, Workload},
    figure_key::FigureKey,
    question::{
        Outcome, Question, both, compared, in_figure, request_time, stretches, time_and_interval,
    },
    runs::Runs,
};

const NATIVE: Case = Case::idle(Workload::Disk, Setup::Native);
const DOM0: Case = Case::idle(Workload::Disk, Setup::Dom0);

pub(super) fn question(runs: &Runs) -> Question {
    let question = Question::new(
        "Dom0 faster than native",
        "The paper's disk reads were faster in Dom0 than without Xen.",
    );
    match answer(question.clone(), runs) {
        Ok(answered) => answered,
        Err(why) => question.cannot_tell(why),
    }
}

fn answer(mut question: Question, runs: &Runs) -> Result<Question, String> {
    let (native, dom0) = both(runs, NATIVE, DOM0)?;
    let (of_native, of_dom0) = (request_time(native, NATIVE)?, request_time(dom0, DOM0)?);
    question.evidence.push(format!(
        "A request takes {} without Xen and {} in Dom0, by the means of {} and {} iterations.",
        time_and_interval(&of_native),
        time_and_interval(&of_dom0),
        of_native.count,
        of_dom0.count
    ));
    question.evidence.push(format!(
        "A run takes {} without Xen and {} in Dom0.",
        in_figure(FigureKey::DiskTime, NATIVE, runs),
        in_figure(FigureKey::DiskTime, DOM0, runs)
    ));
    question.outcome = match of_dom0.is_below(&of_native) {
        Some(true) => Outcome::Reproduced,
        Some(false) => Outcome::NotReproduced,
        None => Outcome::CannotTell("one iteration has no confidence interval".into()),
    };
    if question.outcome == Outcome::Reproduced {
        let (comparison, pair) = compared(native, dom0, NATIVE)?;
        question
            .evidence
            .push("With A without Xen, and B in Dom0:".into());
        question.evidence.extend(pair.findings.iter().cloned());
        question.tables.push(stretches(&pair, "native", "Dom0"));
        question.warn(&comparison);
    } else if of_native.is_below(&of_dom0) == Some(true) {
        let words = "It is the other way round: requests take longer in Dom0.";
        question.evidence.push(words.into());
    } else if question.outcome == Outcome::NotReproduced {
        let words = "The intervals overlap: the runs do not tell the two apart.";
        question.evidence.push(words.into());
    }
    Ok(question)
}
