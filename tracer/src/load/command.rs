//! An external program as a load: fio, dd, netperf.

use std::{
    io::{ErrorKind, Read},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use super::{
    CommandLoad, Context, LoadError, Outcome, Result, Stop, child::die_with_parent,
    control::STOP_LATENCY, monotonic_ns, place,
};

/// Most that is kept of each of stdout and stderr.
pub(crate) const MOST_OUTPUT: usize = 1 << 20;
/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How long a program's output may stay open after it ended (it may have left a daemon behind).
const LINGER: Duration = Duration::from_millis(500);

pub(crate) fn run(load: &CommandLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin(context.cpus)?;
    let mut command = Command::new(&load.program);
    command
        .args(&load.args)
        .envs(&load.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts in turn can be stopped with it.
        .process_group(0);
    if let Some(cwd) = &load.cwd {
        if !cwd.is_dir() {
            let problem = format!("{} is no directory", cwd.display());
            return Err(LoadError::invalid("cwd", problem));
        }
        command.current_dir(cwd);
    }
    die_with_parent(&mut command, Signal::SIGKILL);
    let start_ns = monotonic_ns();
    let mut child = command.spawn().map_err(|error| missing(load, error))?;
    let stdout = Capture::start(child.stdout.take());
    let stderr = Capture::start(child.stderr.take());
    let (status, end_ns, stopped) = wait(load, &mut child, context.stop)?;
    let (stdout, stdout_cut) = stdout.finish();
    let (stderr, stderr_cut) = stderr.finish();
    if !status.success() && !stopped {
        return Err(LoadError::Failed(format!(
            "`{}` ended with {status}: {}",
            load.program,
            last_words(&stderr, &stdout)
        )));
    }
    let mut outcome = Outcome {
        start_ns,
        end_ns,
        operations: 1,
        tids: vec![child.id()],
        ..Outcome::default()
    };
    outcome.extra("stdout", stdout);
    outcome.extra("stderr", stderr);
    outcome.extra("output_cut", stdout_cut || stderr_cut);
    outcome.extra("stopped", stopped);
    outcome.extra("exit_code", status.code());
    outcome.extra("exit_signal", status.signal());
    Ok(outcome)
}

/// Waits for the program's end, or ends it when a stop is requested.
fn wait(load: &CommandLoad, child: &mut Child, stop: &Stop) -> Result<(ExitStatus, u64, bool)> {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let (ended, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
    let end_ns = thread::scope(|scope| {
        scope.spawn(|| {
            let mut asked_at: Option<Instant> = None;
            while !ended.load(Ordering::Acquire) {
                if stop.is_requested() {
                    let late = asked_at.is_some_and(|at| at.elapsed() > GRACE);
                    let signal = if late {
                        Signal::SIGKILL
                    } else {
                        Signal::SIGTERM
                    };
                    if asked_at.is_none() || late {
                        stopped.store(true, Ordering::Release);
                        // The process is not reaped before this thread ends: it is still this one.
                        let _ = killpg(pid, signal);
                    }
                    asked_at.get_or_insert_with(Instant::now);
                }
                thread::park_timeout(STOP_LATENCY);
            }
        });
        // Leaves the process a zombie, so that its id cannot become another's.
        let waited = loop {
            match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other,
            }
        };
        let end_ns = monotonic_ns();
        ended.store(true, Ordering::Release);
        waited.map(|_| end_ns)
    });
    let action = || format!("waiting for `{}`", load.program);
    let end_ns = end_ns.map_err(|errno| LoadError::io(action(), errno))?;
    let status = child.wait().map_err(|e| LoadError::io(action(), e))?;
    Ok((status, end_ns, stopped.into_inner()))
}

/// The error of a program that could not be started.
fn missing(load: &CommandLoad, error: std::io::Error) -> LoadError {
    let program = load.program.rsplit('/').next().unwrap_or_default();
    let package = match program {
        "fio" | "iperf3" | "netperf" | "stress-ng" | "ioping" | "hdparm" => Some(program),
        "netserver" => Some("netperf"),
        "stress" => Some("stress"),
        "dd" | "sync" | "cat" => Some("coreutils"),
        "ping" => Some("iputils-ping"),
        _ => None,
    };
    let advice = match (error.kind(), package) {
        (ErrorKind::NotFound, Some(package)) => format!(
            "`{}` is not installed in this domain: apt-get install {package} (or what your \
             distribution calls it), or use a built-in load",
            load.program
        ),
        (ErrorKind::NotFound, None) => {
            format!("`{}` is not in the PATH of this domain", load.program)
        }
        (ErrorKind::PermissionDenied, _) => "is it executable?".to_owned(),
        _ => String::new(),
    };
    LoadError::io_advice(format!("starting `{}`", load.program), error, advice)
}

/// The end of what a failed program said.
fn last_words(stderr: &str, stdout: &str) -> String {
    let text = if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    };
    let lines: Vec<_> = text.trim().lines().rev().take(5).collect();
    if lines.is_empty() {
        return "it said nothing".to_owned();
    }
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

/// Reads a pipe to its end in a thread of its own and keeps the first [`MOST_OUTPUT`] bytes.
pub(crate) struct Capture {
    kept: Arc<Mutex<(Vec<u8>, bool)>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new((Vec::new(), false)));
        let shared = Arc::clone(&kept);
        let thread = pipe.and_then(|mut pipe| {
            let body = move || {
                let mut buffer = [0; 8192];
                // Also what is not kept must be read, or the writer would block.
                loop {
                    let got = match pipe.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(got) => got,
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(_) => return,
                    };
                    let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = MOST_OUTPUT - kept.0.len();
                    kept.0.extend_from_slice(&buffer[..got.min(room)]);
                    kept.1 |= got > room;
                }
            };
            thread::Builder::new()
                .name("load-output".into())
                .spawn(body)
                .ok()
        });
        Self { kept, thread }
    }

    /// What was captured, and whether something was cut off.
    pub(crate) fn finish(self) -> (String, bool) {
        let deadline = Instant::now() + LINGER;
        if let Some(thread) = self.thread {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (String::from_utf8_lossy(&kept.0).into_owned(), kept.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Control, LoadKind, LoadSpec, run, run_with};
    use tracer_analysis::recording::load::LoadResult;

    fn spec(program: &str, args: &[&str]) -> LoadSpec {
        LoadSpec::new(LoadKind::Command(CommandLoad {
            program: program.into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            cwd: Some("/".into()),
            env: [("TRACER_WORD".to_owned(), "hello".to_owned())].into(),
        }))
    }

    fn shell(script: &str) -> Result<LoadResult> {
        run(&spec("sh", &["-c", script]))
    }

    #[test]
    fn output_is_captured_and_bounded() {
        let result = shell("pwd; echo $TRACER_WORD >&2").unwrap();
        assert_eq!(result.extra["stdout"], "/\n");
        assert_eq!(result.extra["stderr"], "hello\n");
        assert_eq!(result.extra["exit_code"], 0);
        let result = shell("head -c 2000000 /dev/zero").unwrap();
        assert_eq!(result.extra["stdout"].as_str().unwrap().len(), MOST_OUTPUT);
        assert_eq!(result.extra["output_cut"], true);
    }

    #[test]
    fn failures_are_told_in_its_own_words() {
        let error = shell("echo no such luck >&2; exit 7")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no such luck") && error.contains('7'),
            "{error}"
        );
        let error = run(&spec("/none/such/fio", &[])).unwrap_err().to_string();
        assert!(error.contains("apt-get install fio"), "{error}");
        let error = run(&spec("tracer-none-such", &[])).unwrap_err().to_string();
        assert!(error.contains("not in the PATH"), "{error}");
    }

    #[test]
    fn a_stop_ends_the_program_and_what_it_started() {
        let control = Control::stdout();
        let stop = control.stop.clone();
        let spec = spec("sh", &["-c", "sleep 60 & echo $!; wait"]);
        let load = thread::spawn(move || run_with(&spec, &control));
        thread::sleep(Duration::from_millis(200));
        stop.request();
        let result = load.join().unwrap().unwrap();
        assert_eq!(result.extra["stopped"], true);
        let sleeper = result.extra["stdout"].as_str().unwrap().trim();
        let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat"));
        assert!(stat.is_err() || stat.unwrap().contains(") Z"));
    }
}
