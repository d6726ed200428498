//! A TOML file of the user's - scenario, policy, published values -: what is wrong with it, and where.

use std::{fmt, ops::Range, path::Path};

use serde::de::DeserializeOwned;
use toml_edit::{Document, Item, Key};

/// A problem with a field, before it is known where that stands.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    /// The field, dotted; a number is an index.
    pub(crate) field: String,
    /// What is wrong, and what is allowed.
    pub(crate) message: String,
}

/// What is wrong with a TOML file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TomlError {
    file: String,
    /// Line and column, from 1.
    position: Option<(usize, usize)>,
    field: Option<String>,
    message: String,
}

/// A file's name and text; `what` says what it should be.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path, what: &str) -> Result<(String, String), TomlError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(TomlError::unreadable(&file, what, &error)),
    }
}

/// What a file's text says; `problem` finds what is wrong with it though its form is right.
///
/// # Errors
/// If it is no TOML, its form is wrong, or there is a problem.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    file: &str,
    problem: impl Fn(&T) -> Option<Problem>,
) -> Result<T, TomlError> {
    let read: T = toml::from_str(text).map_err(|error| TomlError::from_toml(file, text, &error))?;
    match problem(&read) {
        Some(problem) => Err(TomlError::locate(file, text, problem)),
        None => Ok(read),
    }
}

impl fmt::Display for TomlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for TomlError {}

impl TomlError {
    fn unreadable(file: &str, what: &str, error: &std::io::Error) -> Self {
        Self {
            file: file.into(),
            position: None,
            field: None,
            message: format!("cannot read the {what}: {error}"),
        }
    }

    pub(super) fn plain(file: &str, message: String) -> Self {
        Self {
            file: file.into(),
            position: None,
            field: None,
            message,
        }
    }

    pub(super) fn without_position(self) -> Self {
        Self {
            position: None,
            ..self
        }
    }

    /// Whether two errors are about the same field and say the same of it.
    pub(super) fn is_the_same_as(&self, other: &Self) -> bool {
        (&self.field, &self.message) == (&other.field, &other.message)
    }

    /// A syntax error, or a field that is unknown, missing or of the wrong type.
    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span();
        Self {
            file: file.into(),
            position: span.clone().map(|span| position(text, span.start)),
            field: span.and_then(|span| field_at(text, &span)),
            message: error.message().trim().replace('\n', "; "),
        }
    }

    /// Finds where a problem's field stands.
    pub(crate) fn locate(file: &str, text: &str, problem: Problem) -> Self {
        let span = Document::parse(text)
            .ok()
            .and_then(|document| find(document.as_item(), &problem.field));
        Self {
            file: file.into(),
            position: span.map(|span| position(text, span.start)),
            field: Some(problem.field),
            message: problem.message,
        }
    }
}

/// Line and column of a byte, from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// Where the value of a dotted field stands; where it is missing, the table that should have it.
fn find(root: &Item, field: &str) -> Option<Range<usize>> {
    let mut item = root;
    let mut found = None;
    for key in field.split('.') {
        let inner = match key.parse::<usize>() {
            Ok(index) => item.get(index),
            Err(_) => item.get(key),
        };
        let Some(inner) = inner else { break };
        item = inner;
        found = item.span().or(found);
    }
    found
}

/// The dotted field whose key or value covers a place in the text, for errors that come without a name.
fn field_at(text: &str, span: &Range<usize>) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let mut path = Vec::new();
    descend(document.as_item(), span, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

fn descend(item: &Item, span: &Range<usize>, path: &mut Vec<String>) {
    let covers = |outer: Option<Range<usize>>| {
        outer.is_some_and(|outer| outer.start <= span.start && span.end <= outer.end)
    };
    if let Some(table) = item.as_table_like() {
        for (key, inner) in table.iter() {
            // A table's own span is its head alone, so one without a match may still hold it.
            path.push(key.to_owned());
            let depth = path.len();
            descend(inner, span, path);
            let key = table.key(key).and_then(Key::span);
            if path.len() > depth || covers(inner.span()) || covers(key) {
                return;
            }
            path.pop();
        }
    } else if let Some(tables) = item.as_array_of_tables() {
        for (index, table) in tables.iter().enumerate() {
            path.push(index.to_string());
            let depth = path.len();
            descend(&Item::Table(table.clone()), span, path);
            if path.len() > depth || covers(table.span()) {
                return;
            }
            path.pop();
        }
    }
}
