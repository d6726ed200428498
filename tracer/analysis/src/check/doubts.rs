//! Why a check in which nothing regressed may be none that passed: what would show a regression could not be
//! tested. A kernel that refuses a probe takes points, and the time between them, out of the figures.

use super::{
    document::{BreakdownChecked, Check, Side, StageChecked, Status, Test, Unit},
    group::Group,
    subjects::TOTAL,
};

/// Something that was not tested.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// What.
    pub(super) words: String,
    /// Whether a check with it is no pass unless the policy says so.
    pub(super) is_grave: bool,
}

/// Everything that was not tested, the gravest first: `groups` are those of the check's breakdowns, of so many runs of the base and of the new side.
pub(super) fn doubts(check: &Check, groups: &[&Group<'_>], runs: [usize; 2]) -> Vec<Doubt> {
    let mut doubts: Vec<Doubt> = check
        .breakdowns
        .iter()
        .zip(groups)
        .flat_map(|(breakdown, group)| {
            let mut doubts: Vec<Doubt> = gone(breakdown, group, runs).into_iter().collect();
            doubts.extend([Side::New, Side::Base].into_iter().filter_map(|side| {
                let words = lacking(breakdown, side)?;
                let is_grave = side == Side::New || total_apart(breakdown).is_some();
                Some(Doubt { words, is_grave })
            }));
            if doubts.is_empty() {
                doubts.extend(total_apart(breakdown).map(|why| Doubt {
                    words: format!("{}: the total was not tested, as {why}", breakdown.title),
                    is_grave: true,
                }));
            }
            for doubt in &mut doubts {
                doubt.is_grave &= group.is_material;
            }
            doubts
        })
        .collect();
    doubts.extend(nothing_firm(check, groups));
    doubts.sort_by_key(|doubt| !doubt.is_grave);
    doubts
}

/// A breakdown that fewer of the new runs have.
fn gone(breakdown: &BreakdownChecked, group: &Group<'_>, [base, new]: [usize; 2]) -> Option<Doubt> {
    let (title, with) = (&breakdown.title, group.new.len());
    if with * base >= group.base.len() * new {
        return None;
    }
    let words = if with == 0 {
        format!(
            "{title}: {}, so that nothing of it was tested",
            Side::New.lacks_it()
        )
    } else {
        format!("{title}: {} of {new} new runs do not have it", new - with)
    };
    Some(Doubt {
        words,
        is_grave: true,
    })
}

/// Why a breakdown's total could not be tested.
fn total_apart(breakdown: &BreakdownChecked) -> Option<&str> {
    let apart = breakdown.stages.first()?.incomparable.as_ref()?;
    Some(&apart.why)
}

/// The points of a breakdown that a side lacks, in words.
fn lacking(breakdown: &BreakdownChecked, side: Side) -> Option<String> {
    let own = breakdown.lacking.iter().filter(|own| own.side == side);
    let points: Vec<String> = own.map(|own| own.lack.words()).collect();
    (!points.is_empty()).then(|| {
        format!(
            "{}: {} lack{} {}; only ways between points that both sides have were tested{}",
            breakdown.title,
            side.name(),
            if side == Side::Base { "s" } else { "" },
            points.join(", "),
            total_apart(breakdown).map_or("", |_| ", and the total was not"),
        )
    })
}

/// That whether a datapath is slower at all is undecided by every figure of it, and what a firm one would take.
fn nothing_firm(check: &Check, groups: &[&Group<'_>]) -> Option<Doubt> {
    let is_firm = |stage: &&StageChecked| {
        let mut tests = stage.tests.iter();
        tests.any(|test| test.status != Status::Undecided)
    };
    let breakdowns = check.breakdowns.iter().zip(groups);
    let undecided = breakdowns
        .filter(|(breakdown, group)| {
            let asked = asked(breakdown);
            group.is_material && !asked.is_empty() && !asked.iter().any(is_firm)
        })
        .count();
    let figures = check.figures();
    let of = check.count(Status::Undecided);
    let is_all = of == figures;
    (is_all || undecided > 0).then(|| Doubt {
        words: if is_all {
            format!("none of {figures} figures could be tested firmly: {}", needed(check))
        } else {
            format!(
                "no figure of a total could be tested firmly ({of} of {figures} figures are undecided): {}",
                needed(check)
            )
        },
        is_grave: true,
    })
}

/// By what a breakdown tells whether it is slower at all: its total; where that was not tested, the ways of several stages,
/// else any stage.
fn asked(breakdown: &BreakdownChecked) -> Vec<&StageChecked> {
    let tested = || {
        breakdown
            .stages
            .iter()
            .filter(|stage| !stage.tests.is_empty())
    };
    let total: Vec<&StageChecked> = tested().filter(|stage| stage.name == TOTAL).collect();
    let ways: Vec<&StageChecked> = tested().filter(|stage| stage.component.is_none()).collect();
    [total, ways, tested().collect()]
        .into_iter()
        .find(|asked| !asked.is_empty())
        .unwrap_or_default()
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
