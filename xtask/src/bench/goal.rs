//! What a benchmark's figures should reach, and figures as cells of its table.
use std::fmt;

use serde_json::{Value, json};

/// A goal and the two figures that decide it.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub(super) text: String,
    pub(super) value: Option<f64>,
    pub(super) limit: Option<f64>,
    /// How exactly both are printed.
    pub(super) decimals: usize,
}

impl Goal {
    /// Whether it is met; a figure that could not be had is a miss.
    pub(super) fn is_met(&self) -> bool {
        matches!((self.value, self.limit), (Some(value), Some(limit)) if value <= limit)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"goal": self.text, "value": self.value, "limit": self.limit, "met": self.is_met()})
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_met() { "PASS" } else { "FAIL" };
        let [value, limit] = [self.value, self.limit].map(|figure| cell(figure, self.decimals));
        write!(f, "{verdict}  {}: {value} of {limit}", self.text)
    }
}

/// A figure with so many decimals, or a dash.
pub(super) fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// A ratio's median, smallest and largest value, or a dash.
pub(super) fn ratio_cell(ratio: Option<[f64; 3]>) -> String {
    ratio.map_or_else(
        || "-".into(),
        |[middle, min, max]| format!("{middle:.3} ({min:.3}..{max:.3})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(value: Option<f64>) -> Goal {
        Goal {
            text: "a fall in percent".into(),
            value,
            limit: Some(5.0),
            decimals: 1,
        }
    }

    #[test]
    fn a_figure_up_to_the_limit_meets_the_goal_and_none_misses_it() {
        assert_eq!(
            goal(Some(5.0)).to_string(),
            "PASS  a fall in percent: 5.0 of 5.0"
        );
        assert_eq!(
            goal(Some(5.04)).to_string(),
            "FAIL  a fall in percent: 5.0 of 5.0"
        );
        assert_eq!(goal(None).to_string(), "FAIL  a fall in percent: - of 5.0");
        assert_eq!(goal(None).to_json()["met"], false);
    }
}
