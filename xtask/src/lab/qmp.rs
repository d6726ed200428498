//! QEMU's machine protocol: one command at a time, over a socket in the lab's folder.
//! <https://www.qemu.org/docs/master/interop/qmp-spec.html>
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::boot::Qemu;
use crate::signal;

/// The socket, in the lab's folder.
pub(super) const SOCKET: &str = "qmp.sock";

const POLL: Duration = Duration::from_millis(20);
/// QEMU listens once it has made the machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// An answer takes as long as QEMU's main loop has other work, such as reading a saved state.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// A connection to a lab's QEMU.
#[derive(Debug)]
pub(super) struct Qmp {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Qmp {
    /// Connects to the QEMU of the lab in this folder, which may just have been started.
    pub(super) fn connect(folder: &Path, qemu: &mut Qemu) -> Result<Self> {
        let path = folder.join(SOCKET);
        let start = Instant::now();
        let socket = loop {
            match UnixStream::connect(&path) {
                Ok(socket) => break socket,
                Err(error) if start.elapsed() > CONNECT_LIMIT => {
                    return Err(error)
                        .with_context(|| format!("{}: QEMU does not answer", path.display()));
                }
                Err(_) => {
                    signal::check()?;
                    qemu.require()?;
                    thread::sleep(POLL);
                }
            }
        };
        socket
            .set_read_timeout(Some(ANSWER_LIMIT))
            .context("a limit for QEMU's answers")?;
        let output = socket.try_clone().context("the socket's second handle")?;
        let mut qmp = Self {
            input: BufReader::new(socket),
            output,
        };
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; returns what it answers.
    ///
    /// # Errors
    /// Also those that QEMU answers, and when it has ended.
    pub(super) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({"execute": command, "arguments": arguments}).to_string();
        writeln!(self.output, "{line}").with_context(|| format!("QEMU took no `{command}`"))?;
        loop {
            let mut line = String::new();
            let read = self.input.read_line(&mut line);
            if read.with_context(|| format!("QEMU did not answer `{command}`"))? == 0 {
                bail!("QEMU ended at `{command}`");
            }
            let mut answer: Value = serde_json::from_str(&line).context("QEMU's answer")?;
            if let Some(answered) = answer.get_mut("return") {
                return Ok(answered.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU's `{command}`: {}", error["desc"]);
            }
            // A greeting, or an event.
        }
    }

    /// Asks until the answer to a command is what is waited for.
    pub(super) fn wait_for(
        &mut self,
        command: &str,
        limit: Duration,
        mut is_it: impl FnMut(&Value) -> Result<bool>,
    ) -> Result<()> {
        let start = Instant::now();
        while !is_it(&self.execute(command, &json!({}))?)? {
            signal::check()?;
            if start.elapsed() > limit {
                bail!("QEMU's `{command}` did not come so far within {limit:?}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}
