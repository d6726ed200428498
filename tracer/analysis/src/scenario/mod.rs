//! Scenarios: TOML in, validated types out. Every error names file, line, field, and what is
//! allowed.

pub mod address;
mod check;
pub mod limits;
mod overrides;
pub mod quantity;
#[cfg(test)]
mod tests;
pub mod types;

use std::path::Path;

pub use overrides::{Changes, RunChanges};
pub use types::Scenario;

use crate::toml_file::{self, TomlError};

impl Scenario {
    /// Reads a scenario file and applies changes.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, has unknown or wrong fields, or contradicts itself.
    pub fn load(path: &Path, changes: Changes<'_>) -> Result<(Self, String), TomlError> {
        let (file, text) = toml_file::read(path, "scenario")?;
        Self::parse(&text, &file, changes)
    }

    /// Parses a scenario; also gives its text with the changes applied, which a run keeps.
    ///
    /// # Errors
    /// As [`Scenario::load`], but for reading the file.
    pub fn parse(
        text: &str,
        file: &str,
        changes: Changes<'_>,
    ) -> Result<(Self, String), TomlError> {
        if changes.is_empty() {
            return Ok((Self::read(text, file)?, text.to_owned()));
        }
        let changed = overrides::apply(text, file, changes)?;
        let how = if changes.profiles.is_empty() {
            "--set"
        } else {
            "--profile"
        };
        match Self::read(&changed, &format!("{file} with {how}")) {
            Ok(scenario) => Ok((scenario, changed)),
            // Changes lay the text out anew: a line of it is no line of the file.
            Err(error) => match Self::read(text, file) {
                Err(own) if own.is_the_same_as(&error) => Err(own),
                _ => Err(error.without_position()),
            },
        }
    }

    fn read(text: &str, file: &str) -> Result<Self, TomlError> {
        let scenario: Self =
            toml::from_str(text).map_err(|error| TomlError::from_toml(file, text, &error))?;
        check::check(&scenario).map_err(|problem| TomlError::locate(file, text, problem))?;
        Ok(scenario)
    }

    /// The JSON schema of scenario files, for editors.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}
