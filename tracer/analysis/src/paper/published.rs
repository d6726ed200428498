//! The paper's own values, from a file: `docs/paper.md` has its keys.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{
    paper::{
        case::{Case, Load, Setup},
        figure_key::FigureKey,
    },
    toml_file::{self, Problem, TomlError},
};

/// The version of the file's format.
const SCHEMA: u32 = 1;

/// Values of the paper, each in its figure's unit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Version of the format.
    schema: u32,
    /// Where they were read.
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    value: BTreeMap<FigureKey, BTreeMap<Setup, BTreeMap<Load, f64>>>,
}

impl Published {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has keys or values that it must not have.
    pub fn load(path: &Path) -> Result<Self, TomlError> {
        let (file, text) = toml_file::read(path, "published values")?;
        Self::parse(&text, &file)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// As [`Published::load`], but for reading the file.
    pub fn parse(text: &str, file: &str) -> Result<Self, TomlError> {
        toml_file::parse(text, file, Self::problem)
    }

    /// The value of a case, if it was given.
    #[must_use]
    pub fn value(&self, figure: FigureKey, case: Case) -> Option<f64> {
        let setups = self.value.get(&figure)?;
        setups.get(&case.setup)?.get(&case.load).copied()
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    fn values(&self) -> impl Iterator<Item = (FigureKey, Setup, Load, f64)> {
        self.value.iter().flat_map(|(figure, setups)| {
            setups.iter().flat_map(move |(setup, loads)| {
                let values = loads.iter();
                values.map(move |(load, value)| (*figure, *setup, *load, *value))
            })
        })
    }

    fn problem(&self) -> Option<Problem> {
        if self.schema != SCHEMA {
            return Some(Problem {
                field: "schema".into(),
                message: format!("is {}, and this tracer reads {SCHEMA}", self.schema),
            });
        }
        self.values().find_map(|(figure, setup, load, value)| {
            let message = wrong(figure, setup, load, value)?;
            let (figure, setup, load) = (figure.key(), setup.key(), load.key());
            Some(Problem {
                field: format!("value.{figure}.{setup}.{load}"),
                message,
            })
        })
    }
}

/// What is wrong with a value.
fn wrong(figure: FigureKey, setup: Setup, load: Load, value: f64) -> Option<String> {
    if !figure.is_in_paper() {
        return Some("the paper does not have it".into());
    }
    let mut cases = figure.cases();
    if !cases.any(|case| (case.setup, case.load) == (setup, load)) {
        let known: Vec<String> = figure
            .cases()
            .map(|case| format!("{}.{}", case.setup.key(), case.load.key()))
            .collect();
        return Some(format!(
            "there is no such case; it has: {}",
            known.join(", ")
        ));
    }
    let is_good = value.is_finite() && value >= 0.0;
    (!is_good).then(|| {
        format!(
            "is {value}, and must be a number of {} from 0 on",
            figure.unit()
        )
    })
}
