//! What becomes of a child when its parent ends.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use nix::sys::signal::Signal;

/// Has the kernel send `signal` to the command when the thread that starts it ends.
pub(crate) fn die_with_parent(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    let prepare = move || {
        // SAFETY: prctl with these arguments only sets a number of the calling process.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_int) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before that.
        if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec `prepare` only makes system calls, and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}
