//! A terminal that does not wait for ever: it knows no end, and a loader that was killed says nothing
//! more and takes nothing more.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::agent::transport::open_terminal;

/// One end of a terminal, read or written.
#[derive(Clone, Debug)]
pub struct Patient {
    file: Arc<File>,
    /// Longest wait for the other side; `None`: for ever.
    limit: Option<Duration>,
}

impl Patient {
    /// Opens a terminal, and has it pass bytes as they are.
    ///
    /// # Errors
    /// If it cannot be opened, or is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            file: Arc::new(open_terminal(path)?),
            limit: None,
        })
    }

    /// The same terminal with a limit to waiting.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            file: Arc::clone(&self.file),
            limit: Some(limit),
        }
    }

    fn wait(&self, for_what: PollFlags) -> io::Result<()> {
        let timeout = self.limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(self.file.as_fd(), for_what)], timeout) {
            Ok(0) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nobody was there for {:?}", self.limit.unwrap_or_default()),
            )),
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn again<T>(
        &self,
        for_what: PollFlags,
        mut act: impl FnMut(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(&self.file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(for_what)?,
                done => return done,
            }
        }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.again(PollFlags::POLLIN, |mut file| file.read(buffer))
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.again(PollFlags::POLLOUT, |mut file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::pty::openpty;

    use super::*;

    #[test]
    fn a_silent_other_side_is_not_waited_for_in_either_direction() {
        let pair = openpty(None, None).unwrap();
        let path = nix::unistd::ttyname(&pair.slave).unwrap();
        let short = Duration::from_millis(20);
        let mut end = Patient::open(&path).unwrap().within(short);
        let read = end.read(&mut [0; 8]).unwrap_err();
        assert_eq!(read.kind(), io::ErrorKind::TimedOut, "{read}");
        let error = (0..1000).find_map(|_| end.write(&[0; 4096]).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }
}
