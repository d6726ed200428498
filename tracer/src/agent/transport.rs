//! Ways to an agent: a stream each way.

use std::{
    fs::{File, TryLockError},
    io,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, bail};
use nix::sys::termios::{self, SetArg};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
};

use crate::{agent::complaints::Errors, platform::guest::Guest};
use tracer_analysis::scenario::address::Address;

/// The agent's output.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// The agent's input.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A way to an agent.
pub struct Transport {
    /// What it says.
    pub input: Input,
    /// What it hears.
    pub output: Output,
    /// The process on this side, if there is one; it ends with its input.
    pub child: Option<Child>,
    /// What that process complains of, if it is not this program itself.
    pub errors: Option<Errors>,
    /// Whether the stream ends when one side closes it: a console channel does not.
    pub has_end: bool,
}

/// Opens a way to an agent; `exe` is this program, `guest` the domain as Xen knows it.
///
/// # Errors
/// If there is no way; the message says what to do.
pub async fn connect(
    address: &Address,
    exe: &Path,
    guest: Option<&Guest>,
) -> anyhow::Result<Transport> {
    match address {
        Address::Local => spawn(Command::new(exe).args(["agent", "--stdio"]))
            .with_context(|| format!("cannot start {}", exe.display())),
        Address::Ssh(host) => spawn(
            Command::new("ssh")
                .args([
                    "-o",
                    "BatchMode=yes",
                    "-o",
                    "ConnectTimeout=20",
                    "-o",
                    "ServerAliveInterval=10",
                    "--",
                    host,
                    "tracer",
                    "agent",
                    "--stdio",
                ])
                .stderr(Stdio::piped()),
        )
        .map(|way| listen(way, address))
        .context("cannot run ssh; on Debian: apt-get install openssh-client"),
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.with_context(|| {
                format!("cannot connect to {}: {}", path.display(), address.advice())
            })?;
            let (input, output) = stream.into_split();
            Ok(Transport {
                input: Box::new(input),
                output: Box::new(output),
                child: None,
                errors: None,
                has_end: true,
            })
        }
        Address::Terminal(path) => terminal(path),
        Address::Console(name) => {
            let guest = guest.context("only a guest has a console channel")?;
            terminal(&guest.channel(name)?)
        }
    }
}

fn spawn(command: &mut Command) -> io::Result<Transport> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is the loader's: it tells the agent itself, by closing its input.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let missing = || io::Error::other("a process without a pipe");
    Ok(Transport {
        input: Box::new(child.stdout.take().ok_or_else(missing)?),
        output: Box::new(child.stdin.take().ok_or_else(missing)?),
        child: Some(child),
        errors: None,
        has_end: true,
    })
}

/// Has the process's complaints heard.
fn listen(mut way: Transport, address: &Address) -> Transport {
    let stderr = way.child.as_mut().and_then(|child| child.stderr.take());
    way.errors = stderr.map(|stderr| Errors::listen(stderr, address));
    way
}

fn terminal(path: &Path) -> anyhow::Result<Transport> {
    let file = open_terminal(path)?;
    // Until it is closed. Two that speak at once would end each other's sessions.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!(
            "another `tracer run` uses {}: one at a time can trace a guest",
            path.display()
        );
    }
    let open = || -> io::Result<(pipe::Receiver, pipe::Sender)> {
        // A terminal can be waited for as a pipe can.
        let input = pipe::Receiver::from_file_unchecked(file.try_clone()?)?;
        Ok((input, pipe::Sender::from_file_unchecked(file)?))
    };
    let (input, output) =
        open().with_context(|| format!("cannot wait for the terminal {}", path.display()))?;
    Ok(Transport {
        input: Box::new(input),
        output: Box::new(output),
        child: None,
        errors: None,
        has_end: false,
    })
}

/// Opens a terminal that passes bytes as they are and never makes a reader or writer wait.
///
/// # Errors
/// If it cannot be opened, or is no device of characters.
pub fn open_terminal(path: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot open the terminal {}", path.display());
    let file = File::options()
        .read(true)
        .write(true)
        // It must not become this process's own terminal, whose end would kill it.
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)
        .with_context(context)?;
    if !file
        .metadata()
        .with_context(context)?
        .file_type()
        .is_char_device()
    {
        bail!("{} is no terminal", path.display());
    }
    make_raw(&file).with_context(context)?;
    Ok(file)
}

/// Makes a terminal pass bytes as they are.
///
/// # Errors
/// If it cannot be asked.
fn make_raw(terminal: &impl AsFd) -> anyhow::Result<()> {
    let mut settings = match termios::tcgetattr(terminal) {
        Ok(settings) => settings,
        // A virtio port, for one, passes bytes as they are.
        Err(nix::Error::ENOTTY | nix::Error::EINVAL) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    termios::cfmakeraw(&mut settings);
    Ok(termios::tcsetattr(terminal, SetArg::TCSANOW, &settings)?)
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    #[tokio::test]
    async fn a_terminal_is_one_loader_s_at_a_time() {
        let pair = openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pair.slave).unwrap();
        let first = terminal(&path).unwrap();
        let refused = terminal(&path).err().unwrap().to_string();
        assert!(refused.contains("another `tracer run` uses"), "{refused}");
        drop(first);
        terminal(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_told_with_what_to_do() {
        let address = Address::Unix("/nowhere/agent.sock".into());
        let refused = connect(&address, Path::new("/"), None).await.err().unwrap();
        let refused = format!("{refused:#}");
        assert!(
            refused.contains("tracer agent --socket /nowhere/agent.sock"),
            "{refused}"
        );
    }
}
