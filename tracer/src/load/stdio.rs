//! `tracer load`: the child process's side of [`super::spawn`].

use std::io::{self, Write as _};

use serde::Deserialize as _;

use super::{Control, LoadError, LoadSpec, Result, control, run_with};

/// Reads one [`LoadSpec`] as JSON on stdin, runs it, and writes one [`super::LoadResult`] as a
/// line of JSON on stdout (a server before that its `ready` line). SIGTERM and SIGINT end the
/// load with its result.
///
/// Returns the exit status of the process: 0, or 3 with the error on stderr.
#[must_use]
pub fn run_stdio() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            // Without a stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error}");
            3
        }
    }
}

fn serve() -> Result<()> {
    control::catch_signals()?;
    // One value and no more: for a background load stdin stays open.
    let mut input = serde_json::Deserializer::from_reader(io::stdin());
    let spec = LoadSpec::deserialize(&mut input)
        .map_err(|error| LoadError::invalid("stdin", format!("is no load: {error}")))?;
    let result = run_with(&spec, &Control::stdout())?;
    let mut line = serde_json::to_vec(&result)
        .map_err(|error| LoadError::Failed(format!("cannot write the result: {error}")))?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(|source| LoadError::io("writing the result to stdout", source))
}
