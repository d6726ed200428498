//! The points that the kernels of a side's runs could not be traced at, and why; and on how many CPUs they ran.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    datapath::{is_backends_own, traced_as},
    document::Report,
    span::taken::is_aside,
};

/// A domain, and a point by the name that it has there.
type Place = (String, String);

/// What runs of a side say that they could not trace.
#[derive(Debug, Default)]
pub(crate) struct Untraced {
    /// Of any of the runs, with the reason of the first that has one.
    some: BTreeMap<Place, String>,
    /// Of all of them.
    all: BTreeSet<Place>,
    /// The domains that have several CPUs in any of the runs.
    several_cpus: BTreeSet<String>,
}

impl Untraced {
    /// What the runs of these reports say.
    pub(crate) fn of<'r>(reports: impl IntoIterator<Item = &'r Report>) -> Self {
        let mut untraced = Self::default();
        for (at, report) in reports.into_iter().enumerate() {
            let mut own = BTreeSet::new();
            for domain in &report.domains {
                if domain.host.cpus > 1 {
                    untraced.several_cpus.insert(domain.name.clone());
                }
                for (point, missing) in domain.untraced() {
                    let place = (domain.name.clone(), point.to_owned());
                    let why = || missing.why.join("; ");
                    untraced.some.entry(place.clone()).or_insert_with(why);
                    own.insert(place);
                }
            }
            untraced.all = if at == 0 {
                own
            } else {
                untraced.all.intersection(&own).cloned().collect()
            };
        }
        untraced
    }

    /// Why a point of a breakdown of this domain could not be traced; None: nothing is said of it. A backend's points
    /// are those of another domain, unless the breakdown is the backend's own.
    pub(super) fn why(&self, domain: &str, point: &str) -> Option<&str> {
        let name = traced_as(point);
        let found = |other: bool| {
            let mut places = self.some.iter();
            let is_it = |place: &Place| place.1 == name && (place.0 != domain) == other;
            places.find(|(place, _)| is_it(place))
        };
        let found = if is_backends_own(point) {
            found(true).or_else(|| found(false))
        } else {
            found(false)
        };
        found.map(|(_, why)| why.as_str())
    }

    /// Whether a domain has several CPUs.
    pub(super) fn has_several_cpus(&self, domain: &str) -> bool {
        self.several_cpus.contains(domain)
    }

    /// Whether both sides know alike what time others took of stages: all of their runs, or none.
    pub(super) fn know_asides_alike(&self, other: &Self) -> bool {
        let places = self.some.keys().chain(other.some.keys());
        let mut of_asides = places.filter(|(_, point)| is_aside(point));
        of_asides.all(|place| self.all.contains(place) && other.all.contains(place))
    }
}
