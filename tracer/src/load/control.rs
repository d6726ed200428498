//! How a running load is told to stop, and how it says that it is ready.

use std::{
    io::Write as _,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

use super::{LoadError, Result, monotonic_ns};

/// How long a load may take to see that it shall stop. Also the socket timeout of the loads.
pub(crate) const STOP_LATENCY: Duration = Duration::from_millis(50);

/// Set by SIGTERM and SIGINT once [`catch_signals`] was called; ends every load of the process.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// Asks a load to stop. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the load to stop; it does so within about 50 ms.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the load was asked to stop, by [`Stop::request`] or by a signal.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) || TERMINATED.load(Ordering::Relaxed)
    }

    /// Sleeps until `deadline_ns` (`CLOCK_MONOTONIC`) or until asked to stop.
    pub(crate) fn sleep_until(&self, deadline_ns: Option<u64>) {
        while !self.is_requested() {
            let left = deadline_ns.map_or(u64::MAX, |end| end.saturating_sub(monotonic_ns()));
            if left == 0 {
                return;
            }
            std::thread::sleep(Duration::from_nanos(left).min(STOP_LATENCY));
        }
    }
}

/// A load's connection to whoever runs it in process.
pub struct Control {
    /// Ends the load.
    pub stop: Stop,
    /// Called by a server, once, with the port it listens on.
    pub on_ready: Box<dyn Fn(u16) + Send + Sync>,
}

impl Control {
    /// Readiness as a line of JSON on stdout: `{"ready":PORT}`.
    #[must_use]
    pub fn stdout() -> Self {
        Self {
            stop: Stop::default(),
            on_ready: Box::new(|port| {
                let mut out = std::io::stdout().lock();
                // If nobody reads, the result will fail to be written, and that is reported.
                let _ = writeln!(out, "{{\"ready\":{port}}}").and_then(|()| out.flush());
            }),
        }
    }

    /// Requests a stop when stdin reaches its end. The watcher ends when it is dropped.
    pub(crate) fn watch_stdin(&self) -> StdinWatch {
        let done = Arc::new(AtomicBool::new(false));
        let (stop, finished) = (self.stop.clone(), Arc::clone(&done));
        let thread = std::thread::Builder::new()
            .name("load-stdin".into())
            .spawn(move || {
                while !finished.load(Ordering::Relaxed) {
                    if stdin_ended() {
                        return stop.request();
                    }
                }
            })
            .ok();
        if thread.is_none() {
            // Without a watcher nothing would ever end the load.
            self.stop.request();
        }
        StdinWatch { done, thread }
    }
}

/// Joins the watcher of stdin when dropped.
pub(crate) struct StdinWatch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for StdinWatch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits a moment for stdin; true if it has ended. What is left on it is thrown away.
fn stdin_ended() -> bool {
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(50u8)) {
        Ok(0) | Err(nix::errno::Errno::EINTR) => return false,
        Err(_) => return true,
        Ok(_) => {}
    }
    let mut rest = [0u8; 256];
    // SAFETY: `rest` is writable for its whole length; descriptor 0 is only read from.
    let got = unsafe { libc::read(stdin.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
    match got {
        0 => true,
        1.. => false,
        _ => std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted,
    }
}

extern "C" fn on_signal(_signal: libc::c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
}

/// Makes SIGTERM and SIGINT end the load with a result, instead of the process without one.
pub(crate) fn catch_signals() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }
            .map_err(|errno| LoadError::io(format!("catching {signal}"), errno))?;
    }
    stop_signal()
        .thread_unblock()
        .map_err(|errno| LoadError::io("unblocking SIGTERM", errno))
}

/// The signal that asks a load to stop. It is blocked when the process of a load starts and
/// unblocked by [`catch_signals`], so that a stop that comes early waits instead of killing it.
pub(crate) fn stop_signal() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set
}
