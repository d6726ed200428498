//! Running other programs: with their output shown or captured, found on PATH, and as root.
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Where root's tools are; a user's PATH on Debian lacks these.
const ROOT_PATHS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// How often a waiting loop looks.
const POLL: Duration = Duration::from_millis(20);

/// The command as a reader would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// A command without the library path that `cargo run` sets, so that programs are found to work, or
/// not, as they would outside of cargo.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// Runs with the output shown; fails when the program does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs and returns the standard output; on failure the error holds what the program said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{}` could not be started", describe(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed: {}\n{}",
            describe(command),
            output.status,
            said.trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the program runs and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// As [`succeeds`], but a program that is not done after `limit` is ended and counts as failed.
pub(crate) fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = quiet.spawn() else {
        return false;
    };
    if let Ok(Some(success)) = wait_within(&mut child, limit) {
        return success;
    }
    // The child may have ended in between: nothing more to do then.
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// Whether the child succeeded, or `None` when it still runs after `limit`.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> io::Result<Option<bool>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// The program's path: PATH first, then the folders of root's tools.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(ROOT_PATHS.iter().map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// PATH with `dir` in front of it.
pub(crate) fn path_with(dir: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).with_context(|| format!("{} cannot be put on PATH", dir.display()))
}

/// Whether this process has root's rights.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// A command with root's rights: as it is for root, else through sudo, which may ask for a password.
///
/// `why` is printed before sudo is used.
pub(crate) fn root_command(program: impl AsRef<OsStr>, why: &str) -> Result<Command> {
    if is_root() {
        return Ok(command(program));
    }
    if find("sudo").is_none() {
        bail!("{why} needs root, and there is no sudo: run this command as root");
    }
    eprintln!("sudo: {why} needs root");
    let mut sudo = command("sudo");
    sudo.arg("-E").arg("--").arg(program);
    Ok(sudo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_output_is_returned_and_failure_says_what_the_program_said() {
        assert_eq!(output(command("echo").arg("hello")).unwrap(), "hello\n");
        let error = output(command("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(format!("{error}").contains("broken"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_counts_as_failed() {
        let limit = Duration::from_millis(50);
        assert!(!succeeds_within(command("sleep").arg("30"), limit));
        assert!(succeeds_within(
            &mut command("true"),
            Duration::from_secs(10)
        ));
    }

    #[test]
    fn programs_of_root_are_found_without_root_s_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-at-all").is_none());
    }
}
