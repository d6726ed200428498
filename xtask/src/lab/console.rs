//! A terminal on a domain. Dom0 and the native kernel have a shell on a virtio console, which QEMU joins
//! with a socket; a guest's is `xl console`, started in Dom0's shell.
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail};

/// Ctrl-], as for `xl console` and telnet.
const LEAVE: u8 = 0x1D;

/// The terminal as it was, put back when dropped.
struct Raw {
    before: libc::termios,
}

impl Raw {
    fn enter() -> Result<Self> {
        let input = std::io::stdin().as_raw_fd();
        // SAFETY: an all-zero `termios` is a valid value for the call to fill.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is valid for the call.
        if unsafe { libc::tcgetattr(input, &raw mut before) } != 0 {
            bail!("the standard input is no terminal: use `lab exec` in scripts");
        }
        let mut raw = before;
        // SAFETY: the pointers are valid for the calls.
        unsafe {
            libc::cfmakeraw(&raw mut raw);
            libc::tcsetattr(input, libc::TCSANOW, &raw const raw);
        }
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let input = std::io::stdin().as_raw_fd();
        // SAFETY: the pointer is valid for the call.
        unsafe { libc::tcsetattr(input, libc::TCSANOW, &raw const self.before) };
    }
}

/// Joins this terminal with the domain's, until Ctrl-] or the lab's end.
pub(super) fn console(folder: &Path, domain: &str) -> Result<()> {
    let socket = folder.join("console.sock");
    let mut port = UnixStream::connect(&socket)
        .with_context(|| format!("{}: the lab does not run", socket.display()))?;
    let is_guest = super::guests::find(domain).is_some();
    let raw = Raw::enter()?;
    eprint!("lab: {domain}; Ctrl-] leaves\r\n");
    let first = if is_guest {
        format!("xl console {domain}\r")
    } else {
        "\r".into()
    };
    port.write_all(first.as_bytes())
        .context("the console takes no input")?;
    let mut from = port.try_clone().context("the console's handle")?;
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let mut out = std::io::stdout();
            if out
                .write_all(&bytes[..count])
                .and_then(|()| out.flush())
                .is_err()
            {
                break;
            }
        }
    });
    pass_input(&mut port)?;
    if is_guest {
        // Leaves `xl console`, too; Dom0's shell is there for the next.
        port.write_all(&[LEAVE, b'\r'])
            .context("the console takes no input")?;
    }
    drop(raw);
    eprintln!("\nlab: left the console");
    Ok(())
}

fn pass_input(port: &mut UnixStream) -> Result<()> {
    let mut bytes = [0; 1024];
    loop {
        let count = std::io::stdin()
            .read(&mut bytes)
            .context("the terminal cannot be read")?;
        let typed = &bytes[..count];
        let leave = typed.iter().position(|byte| *byte == LEAVE);
        let typed = &typed[..leave.unwrap_or(count)];
        if port.write_all(typed).is_err() || leave.is_some() || count == 0 {
            return Ok(());
        }
    }
}
