//! Ctrl-C and SIGTERM end the work in order: what was changed is put back by the guards' `Drop`.
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// From here on, SIGINT, SIGTERM and SIGHUP only set a flag that [`check`] reads.
pub(crate) fn catch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether a signal asked to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// An error once a signal asked to stop.
pub(crate) fn check() -> Result<()> {
    if interrupted() {
        bail!("interrupted; everything that was changed has been put back");
    }
    Ok(())
}

/// Does something to its end, although a signal may have asked to stop: to bring home what there is, or to put back what
/// was changed. What comes next does not begin then.
pub(crate) fn despite<T>(work: impl FnOnce() -> T) -> T {
    let was_interrupted = INTERRUPTED.swap(false, Ordering::SeqCst);
    let done = work();
    INTERRUPTED.fetch_or(was_interrupted, Ordering::SeqCst);
    done
}

/// Sends `signal` to a process that this program started.
pub(crate) fn send(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill takes plain numbers and touches no memory of this process.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Sends `signal` to a process that this program started as the leader of a group, and to all of that group.
pub(crate) fn send_group(leader: u32, signal: libc::c_int) {
    if let Ok(group) = libc::pid_t::try_from(leader) {
        // SAFETY: kill takes plain numbers and touches no memory of this process.
        unsafe { libc::kill(-group, signal) };
    }
}

/// Lets go of a process that has ended, if this program started it: a command that boots many labs would keep all of
/// theirs.
pub(crate) fn reap(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: waitpid takes plain numbers, and no place for a status.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}
