//! Why the kernel would not have a program or a map, in a line.

use std::{error::Error, io};

use aya::programs::ProgramError;
use nix::{errno::Errno, unistd::geteuid};

/// Why a program is not attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A system call failed.
    Kernel(Errno),
    /// The verifier found fault with the program.
    Verifier {
        /// What the system call ended with.
        errno: Errno,
        /// The verifier's last words.
        said: String,
    },
    /// It did not come to a system call.
    Loader(String),
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        let said = match &error {
            ProgramError::LoadError { verifier_log, .. } => brief(&verifier_log.to_string()),
            _ => String::new(),
        };
        match errno(&error) {
            Some(errno) if said.is_empty() => Self::Kernel(errno),
            Some(errno) => Self::Verifier { errno, said },
            None => Self::Loader(chain(&error)),
        }
    }
}

impl Refusal {
    /// In a line; `kind` is what kind of binding it was.
    pub(super) fn words(&self, kind: &str) -> String {
        match self {
            Self::Kernel(errno) => format!("{}{}", name(*errno), hint(*errno, kind)),
            Self::Verifier { errno, said } => format!("{}, verifier: {said}", name(*errno)),
            Self::Loader(reason) => reason.clone(),
        }
    }
}

/// An error by which the object or one of its maps was refused, with its causes and what to do about it.
pub(super) fn refused(error: &(dyn Error + 'static)) -> String {
    let hint = errno(error).map_or_else(String::new, |errno| hint(errno, "BPF"));
    format!("{}{hint}", chain(error))
}

/// The name in errno(3).
fn name(errno: Errno) -> String {
    match errno {
        // ENOTSUPP is the kernel's own, and has no name outside.
        Errno::UnknownErrno => "not supported".into(),
        known => format!("{known:?}"),
    }
}

/// What is behind it, or what to do.
fn hint(errno: Errno, kind: &str) -> String {
    match errno {
        Errno::EPERM | Errno::EACCES if geteuid().is_root() => {
            format!(" (lockdown, or {kind} disabled)")
        }
        Errno::EPERM | Errno::EACCES => " (run as root, or with CAP_BPF and CAP_PERFMON)".into(),
        Errno::ENOMEM => {
            " (not enough memory: ask for a smaller probes.ring_buffer or probes.in_flight)".into()
        }
        _ => String::new(),
    }
}

/// The system's error among an error and its causes.
fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut causes = causes(error);
    let code = causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())?;
    Some(Errno::from_raw(code))
}

/// An error, its cause, the cause of that.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
        (*error).source()
    })
}

/// An error with its causes; one that only passes its cause's words on is left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in causes(error).map(ToString::to_string) {
        if !words.last().is_some_and(|last| last.ends_with(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// What the kernel's verifier said last: the line that tells why, without the hundreds before it.
fn brief(log: &str) -> String {
    let noise = ["verification time", "stack depth", "processed ", ":"];
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !noise.iter().any(|start| line.starts_with(start)))
        .collect();
    tracing::debug!("verifier output: {log}");
    lines[lines.len().saturating_sub(2)..].join("; ")
}

#[cfg(test)]
mod tests {
    use aya::sys::SyscallError;

    use super::*;

    fn refused_with(io_error: io::Error) -> Refusal {
        let call = "bpf_prog_load";
        ProgramError::from(SyscallError { call, io_error }).into()
    }

    fn refused_by(errno: Errno) -> Refusal {
        refused_with(errno.into())
    }

    #[test]
    fn a_refusal_is_the_errors_name_and_what_is_behind_it() {
        assert_eq!(refused_by(Errno::EPERM), Refusal::Kernel(Errno::EPERM));
        let hint = match geteuid().is_root() {
            true => "EPERM (lockdown, or fentry disabled)",
            false => "EPERM (run as root, or with CAP_BPF and CAP_PERFMON)",
        };
        assert_eq!(refused_by(Errno::EPERM).words("fentry"), hint);
        assert_eq!(refused_by(Errno::EINVAL).words("fentry"), "EINVAL");
        let own = refused_with(io::Error::from_raw_os_error(524));
        assert_eq!(own.words("fentry"), "not supported");
        let loader = Refusal::from(ProgramError::NotLoaded);
        assert_eq!(loader.words("fentry"), "the program is not loaded");
    }

    #[test]
    fn of_the_verifiers_log_the_last_lines_are_kept() {
        let log = "0: R1=ctx()\n1: r2 = r1\naccess beyond the end of member on_cpu (mend:52) in struct task_struct with off 48 size 4\nverification time 3 usec\nstack depth 8\nprocessed 2 insns\n";
        assert!(brief(log).ends_with("with off 48 size 4"));
        assert_eq!(brief(":  \n"), "");
    }
}
