//! A load in a child process: starting, waiting, stopping, and never leaving one behind.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    LoadError, LoadKind, LoadResult, LoadSpec, Result, child::die_with_parent, command::Capture,
    control::stop_signal,
};

/// How long a load may take to report its result after it was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a dropped load may take to end in good order before it is killed.
const DROP_GRACE: Duration = Duration::from_millis(250);

/// Starts `exe load` and hands it `spec`. The child ends with this process, whatever ends it.
///
/// # Errors
/// [`LoadError::Invalid`] or [`LoadError::Refused`] for the parameters; [`LoadError::Io`] if the
/// process cannot be started.
pub fn spawn(exe: &Path, spec: &LoadSpec) -> Result<RunningLoad> {
    let mut command = Command::new(exe);
    command.arg("load");
    spawn_command(command, spec)
}

/// As [`spawn`], for a command line other than `exe load` that behaves the same.
///
/// # Errors
/// As [`spawn`].
pub fn spawn_command(mut command: Command, spec: &LoadSpec) -> Result<RunningLoad> {
    spec.validate()?;
    let name = command.get_program().to_string_lossy().into_owned();
    let json = serde_json::to_vec(spec)
        .map_err(|error| LoadError::Failed(format!("cannot write the load as JSON: {error}")))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C is for the loader, which then stops its loads in good order.
        .process_group(0);
    // A load that has a program of its own to end needs the chance to do so.
    let signal = match spec.kind {
        LoadKind::Command(_) => Signal::SIGTERM,
        _ => Signal::SIGKILL,
    };
    die_with_parent(&mut command, signal);
    // SAFETY: between fork and exec this only makes a system call, and allocates nothing.
    unsafe { command.pre_exec(|| stop_signal().thread_block().map_err(io::Error::from)) };
    let starting = |source| LoadError::io(format!("starting the load process `{name}`"), source);
    let mut child = start(command).map_err(starting)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let stderr = Capture::start(child.stderr.take());
    let (tell, lines) = mpsc::channel();
    if let Some(stdout) = stdout {
        thread::Builder::new()
            .name("load-result".into())
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                    if tell.send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(starting)?;
    }
    let mut running = RunningLoad {
        child,
        stdin,
        stderr: Some(stderr),
        lines,
        last_line: None,
        port: None,
        ended: false,
    };
    running.hand_over(&json)?;
    Ok(running)
}

/// A load in its child process. Dropping it ends the process.
pub struct RunningLoad {
    child: Child,
    /// Open as long as the load shall run, see [`LoadSpec::stop_when_stdin_closes`].
    stdin: Option<ChildStdin>,
    stderr: Option<Capture>,
    lines: Receiver<String>,
    last_line: Option<String>,
    port: Option<u16>,
    ended: bool,
}

impl RunningLoad {
    /// Process id of the load: what a probe that shall see only this load selects.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The port of a server, once it listens.
    ///
    /// # Errors
    /// [`LoadError::Timeout`] if it does not within `timeout`; [`LoadError::Child`] with its
    /// message if it failed.
    pub fn ready(&mut self, timeout: Duration) -> Result<u16> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(port) = self.port {
                return Ok(port);
            }
            if !self.next_line(deadline, timeout, "the server load's start")? {
                return Err(self.failure());
            }
        }
    }

    /// Waits for the load to end by itself and returns its result. After a
    /// [`LoadError::Timeout`] it still runs, and can be waited for again.
    ///
    /// # Errors
    /// [`LoadError::Timeout`]; [`LoadError::Child`] with what the load said if it failed.
    pub fn wait(&mut self, timeout: Duration) -> Result<LoadResult> {
        let deadline = Instant::now() + timeout;
        while self.next_line(deadline, timeout, "the load")? {}
        self.result()
    }

    /// Asks the load to stop, waits for it and returns its result. A load that has already ended
    /// returns its result as well. One that does not stop within 15 s is killed.
    ///
    /// # Errors
    /// As [`RunningLoad::wait`].
    pub fn stop(&mut self) -> Result<LoadResult> {
        self.ask_to_stop();
        let result = self.wait(STOP_TIMEOUT);
        if matches!(result, Err(LoadError::Timeout { .. })) {
            self.kill();
        }
        result
    }

    /// Gives the load its specification.
    fn hand_over(&mut self, json: &[u8]) -> Result<()> {
        let written = match &mut self.stdin {
            Some(stdin) => stdin.write_all(json).and_then(|()| stdin.write_all(b"\n")),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        // A program that ends before it reads has said why.
        written.map_err(|_| self.failure())
    }

    /// Takes the next line of output; false at its end.
    fn next_line(&mut self, deadline: Instant, timeout: Duration, what: &str) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                match ready_port(&line) {
                    Some(port) => self.port = Some(port),
                    None => self.last_line = Some(line),
                }
                Ok(true)
            }
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => Err(LoadError::Timeout {
                what: format!("{what} (pid {})", self.pid()),
                after: timeout,
            }),
        }
    }

    /// The result of a load whose output has ended.
    fn result(&mut self) -> Result<LoadResult> {
        let parsed = self.last_line.as_deref().map(serde_json::from_str);
        match parsed {
            Some(Ok(result)) => {
                self.reap();
                Ok(result)
            }
            Some(Err(error)) => {
                let pid = self.pid();
                self.reap();
                Err(LoadError::Failed(format!(
                    "the load process (pid {pid}) wrote something that is no result: {error}"
                )))
            }
            None => Err(self.failure()),
        }
    }

    /// Why the load ended without a result, in its own words.
    fn failure(&mut self) -> LoadError {
        let pid = self.pid();
        let status = match self.reap() {
            Some(status) => match status.signal().map(Signal::try_from) {
                Some(Ok(signal)) => format!("signal {signal}"),
                _ => status.to_string(),
            },
            None => "an unknown status".to_owned(),
        };
        let words = self.stderr.take().map(|stderr| stderr.finish().0);
        let message = match words.as_deref().map(str::trim) {
            None | Some("") => "it said nothing".to_owned(),
            Some(words) => words.to_owned(),
        };
        LoadError::Child {
            pid,
            status,
            message,
        }
    }

    fn ask_to_stop(&mut self) {
        self.stdin = None;
        if !self.ended {
            self.signal(Signal::SIGTERM);
        }
    }

    /// Sends a signal to the child, which this value has not reaped yet.
    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may already be a zombie; that is as good.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Takes the exit status; kills a child that has closed its output but goes on.
    fn reap(&mut self) -> Option<std::process::ExitStatus> {
        self.stdin = None;
        let status = wait_until(&mut self.child, Instant::now() + Duration::from_secs(1));
        if status.is_none() {
            self.kill();
        }
        self.ended = true;
        status
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.ask_to_stop();
        if wait_until(&mut self.child, Instant::now() + DROP_GRACE).is_none() {
            self.kill();
        }
    }
}

/// The port in a server's `{"ready":PORT}`.
fn ready_port(line: &str) -> Option<u16> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ready {
        ready: u16,
    }
    serde_json::from_str::<Ready>(line)
        .ok()
        .map(|line| line.ready)
}

fn wait_until(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            _ => return None,
        }
    }
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a command from a thread that lives as long as this process: the kernel's notion of a
/// dying parent is the *thread* that started the child, and callers come and go.
fn start(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (jobs, todo) = mpsc::channel::<Job>();
        let body = move || {
            for (mut command, answer) in todo {
                if let Err(mpsc::SendError(Ok(mut orphan))) = answer.send(command.spawn()) {
                    let _ = orphan.kill().and_then(|()| orphan.wait());
                }
            }
        };
        let thread = thread::Builder::new().name("load-starter".into());
        thread.spawn(body).ok().map(|_| jobs)
    });
    let gone = || io::Error::other("the thread that starts loads is gone");
    let (answer, started) = mpsc::channel();
    let jobs = starter.as_ref().ok_or_else(gone)?;
    jobs.send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests;
