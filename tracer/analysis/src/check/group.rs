//! Breakdowns that are held against each other: those of one datapath, domain and operation, one a run.

use std::ptr;

use super::{document::Side, policy::Policy, run::CheckedRun};
use crate::{breakdown::Breakdown, compare::pair_breakdowns};

/// The breakdowns of both sides that are of one kind, one a run.
#[derive(Debug)]
pub(super) struct Group<'r> {
    pub(super) base: Vec<&'r Breakdown>,
    pub(super) new: Vec<&'r Breakdown>,
    /// Whether its requests take a part of their domain's time that matters, on either side.
    pub(super) is_material: bool,
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
    pub(super) fn lacks(&self) -> Option<Side> {
        match (self.base.is_empty(), self.new.is_empty()) {
            (true, _) => Some(Side::Base),
            (_, true) => Some(Side::New),
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
            let (of_base, of_new) = (members(base), members(new));
            let share = share_of_time(&of_base, base).max(share_of_time(&of_new, new));
            let group = Group {
                base: of_base,
                new: of_new,
                is_material: share * 100.0 >= policy.min_share_percent,
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

/// What breakdowns of one kind have of the time of all requests of their domain.
fn share_of_time(members: &[&Breakdown], runs: &[&CheckedRun]) -> f64 {
    let Some(first) = members.first() else {
        return 0.0;
    };
    let all = runs.iter().flat_map(|run| &run.report.breakdowns);
    let of_domain = all.filter(|own| own.domain == first.domain);
    let sum = |ns: f64, own: &Breakdown| ns + own.total.sum_ns as f64;
    let whole = of_domain.fold(0.0, sum);
    let part = members.iter().copied().fold(0.0, sum);
    if whole > 0.0 { part / whole } else { 1.0 }
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
