//! The points of two breakdowns in one order.

use crate::{breakdown::Breakdown, compare::merge::merge, span::taken::is_aside};

/// The points that either or both sides pass, in an order that is that of both.
#[derive(Debug)]
pub(super) struct Points {
    order: Vec<String>,
    a: Vec<String>,
    b: Vec<String>,
}

impl Points {
    pub(super) fn new(a: &Breakdown, b: &Breakdown) -> Self {
        let (a, b) = (passed(a), passed(b));
        Self {
            order: merge(&a, &b, |_, _| true),
            a,
            b,
        }
    }

    /// All of them.
    pub(super) fn in_order(&self) -> &[String] {
        &self.order
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    /// Place in the order; after all others, if it is none of them.
    pub(super) fn place(&self, point: &str) -> usize {
        let place = self.order.iter().position(|other| other == point);
        place.unwrap_or(self.order.len())
    }

    /// The point at a place.
    pub(super) fn at(&self, place: usize) -> &str {
        self.order.get(place).map_or("", String::as_str)
    }

    /// Places of the points that both sides pass.
    pub(super) fn common(&self) -> impl Iterator<Item = usize> {
        let both = |point: &String| self.a.contains(point) && self.b.contains(point);
        (0..self.order.len()).filter(move |place| both(&self.order[*place]))
    }
}

/// The points of one breakdown, in the order of its stages: where these begin, then where only ends
/// are; then those that are aside.
pub(super) fn passed(breakdown: &Breakdown) -> Vec<String> {
    let mut points: Vec<String> = Vec::new();
    let (aside, on_the_way): (Vec<_>, Vec<_>) = breakdown
        .stages
        .iter()
        .partition(|stage| is_aside(&stage.from));
    let froms = on_the_way.iter().map(|stage| &stage.from);
    let tos = on_the_way.iter().map(|stage| &stage.to);
    let aside = aside.iter().flat_map(|stage| [&stage.from, &stage.to]);
    for point in froms.chain(tos).chain(aside) {
        if !points.contains(point) {
            points.push(point.clone());
        }
    }
    points
}
