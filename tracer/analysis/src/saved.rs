//! Files that outlive the program that wrote them, and documents read back from them: reports and baselines.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::NamedTempFile;

/// A kind of document, and what to say of what is none.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// With its article.
    pub what: &'static str,
    /// Its name and version.
    pub schema: &'static str,
    /// What can be named in its place.
    pub choice: &'static str,
    /// How it is saved again.
    pub again: &'static str,
}

/// The schema of a text that is JSON.
#[must_use]
pub fn schema(text: &str) -> Option<String> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.get("schema")?.as_str().map(ToOwned::to_owned)
}

/// Reads a document; `name` is that of its file.
///
/// # Errors
/// If it is not JSON, not of this kind, of another version, or damaged; with what to do.
pub fn parse<T: DeserializeOwned>(text: &str, name: &str, kind: &Kind) -> anyhow::Result<T> {
    let Kind {
        what,
        schema,
        choice,
        again,
    } = kind;
    let value: Value = serde_json::from_str(text)
        .with_context(|| format!("{name} is not {what}: it is not JSON; {choice}"))?;
    match value.get("schema").and_then(Value::as_str) {
        Some(own) if own == *schema => {}
        Some(other) => {
            bail!("{name} is of the format {other}, and only {schema} can be read; {choice}")
        }
        None => bail!("{name} is not {what}: it has no schema; {choice}"),
    }
    serde_json::from_value(value).with_context(|| {
        format!("{name} is damaged, or was saved by another version of tracer: save it again with {again}")
    })
}

/// Writes a file in a folder whole or not at all, whoever else writes it. One that is there is replaced.
///
/// # Errors
/// If it cannot be written.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    written(folder, name, bytes)
        .and_then(|file| file.persist(folder.join(name)).map_err(|error| error.error))
        .map(drop)
        .with_context(|| format!("cannot write {name} in {}", folder.display()))
}

/// The same, unless there is one already; returns whether it was written.
///
/// # Errors
/// If it cannot be written.
pub fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<bool> {
    let persist = |file: NamedTempFile| match file.persist_noclobber(folder.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    };
    written(folder, name, bytes)
        .and_then(persist)
        .with_context(|| format!("cannot write {name} in {}", folder.display()))
}

/// The bytes, in a file of this writer alone.
fn written(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".new")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}
