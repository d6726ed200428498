//! The agent's side: obeys commands from one end of a stream, sends replies and records to it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::unix::{fs::FileTypeExt as _, net::UnixListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};

use crate::{
    agent::{
        frame::{Decoder, FrameType},
        greeting,
        output::{Output, say},
        patient::Patient,
        protocol::{Action, Answer, Command, Message, Survey, VERSION},
        tracing::Tracing,
    },
    clock,
    load::{self, LoadError, LoadKind, LoadSpec},
    platform::host,
    probe::snapshot,
    resource::{block_device, interfaces, vif},
};
use tracer_analysis::recording::host::Hello;

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(10);

/// How long a loader behind a terminal may be silent: it says something every few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// Pause before a terminal that failed is opened again.
const AGAIN: Duration = Duration::from_millis(500);

/// Serves one loader over standard input and output, or any other pair of streams.
///
/// # Errors
/// If the loader sends what is not of the protocol, or cannot be written to. However it ends, the
/// programs are detached and the loads stopped.
pub fn serve(
    mut input: impl Read,
    mut output: impl Write + Send + 'static,
    root: &Path,
) -> anyhow::Result<()> {
    if !greeting::wait(&mut input, &mut output).context("cannot read a greeting")? {
        return Ok(());
    }
    session(input, output, root)
}

/// Serves loaders behind a terminal, one after the other, for ever.
///
/// # Errors
/// If the terminal cannot be opened.
pub fn serve_terminal(path: &Path, root: &Path) -> anyhow::Result<()> {
    loop {
        let mut terminal = Patient::open(path)?;
        let mut answer = terminal.within(SILENCE);
        let outcome = match greeting::wait(&mut terminal, &mut answer) {
            Ok(true) => session(answer.clone(), answer, root),
            Ok(false) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = outcome {
            tracing::warn!("a session over {} ended: {error:#}", path.display());
        }
        thread::sleep(AGAIN);
    }
}

/// Serves loaders that connect to a socket, one after the other, for ever. Only root may connect.
///
/// # Errors
/// If the socket cannot be made.
pub fn serve_socket(path: &Path, root: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot listen on {}", path.display());
    // One that an earlier agent has left.
    if path
        .symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket())
    {
        std::fs::remove_file(path).with_context(context)?;
    }
    let listener = {
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(path).with_context(context);
        nix::sys::stat::umask(mask);
        listener?
    };
    loop {
        let (stream, _) = listener.accept().with_context(context)?;
        let input = stream.try_clone().with_context(context)?;
        if let Err(error) = serve(input, stream, root) {
            tracing::warn!("a session over {} ended: {error:#}", path.display());
        }
    }
}

/// From hello to the loader's end.
fn session(
    input: impl Read,
    output: impl Write + Send + 'static,
    root: &Path,
) -> anyhow::Result<()> {
    let output = Arc::new(Mutex::new(output));
    let hello = Hello {
        protocol: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        host: host::facts(root),
        clock: clock::sample(),
    };
    say(&output, &Message::Hello(Box::new(hello)))?;
    let mut agent = Agent {
        output: Arc::clone(&output),
        root: root.to_owned(),
        tracing: None,
        loads: BTreeMap::new(),
    };
    read_commands(input, |command| {
        let is_last = matches!(command.action, Action::End);
        let result = agent
            .obey(command.action)
            .map(Box::new)
            .map_err(|error| format!("{error:#}"));
        say(
            &output,
            &Message::Reply {
                number: command.number,
                result,
            },
        )?;
        Ok(!is_last)
    })
}

/// Has each command obeyed until the stream ends, or one is said to be the last.
fn read_commands(
    mut input: impl Read,
    mut obey: impl FnMut(Command) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; 64 << 10];
    loop {
        while let Some(frame) = decoder.next_frame()? {
            if frame.frame_type == FrameType::Message
                && !obey(
                    serde_json::from_slice(&frame.payload).context("a command that is not one")?,
                )?
            {
                return Ok(());
            }
        }
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => decoder.buffer().extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read commands"),
        }
    }
}

struct Agent<W: Write + Send + 'static> {
    output: Output<W>,
    root: PathBuf,
    tracing: Option<Tracing<W>>,
    loads: BTreeMap<u32, load::RunningLoad>,
}

impl<W: Write + Send + 'static> Agent<W> {
    fn obey(&mut self, action: Action) -> anyhow::Result<Answer> {
        match action {
            Action::Survey(query) => Ok(Answer::Surveyed(Survey {
                devices: block_device::find(&query, &self.root)?,
                interfaces: interfaces(),
                vif_queues: vif::queues(&self.root),
            })),
            Action::Attach { request, records } => {
                let records = records.as_deref();
                let (tracing, bindings) =
                    Tracing::start(&self.root, &request, records, &self.output)?;
                self.tracing = Some(tracing);
                Ok(Answer::Attached(bindings))
            }
            Action::Snapshot => Ok(Answer::Snapshot(match &self.tracing {
                Some(tracing) => tracing.snapshot()?,
                None => snapshot::untraced(),
            })),
            Action::SendRecords => {
                self.tracing.as_ref().map_or(Ok(()), Tracing::release)?;
                Ok(Answer::Done)
            }
            Action::End => Ok(Answer::Done),
            Action::DropCaches => Ok(load::drop_caches().map(|()| Answer::Done)?),
            Action::ReadUnrelated { path, bytes } => {
                Ok(load::read_unrelated(Path::new(&path), bytes).map(|_| Answer::Done)?)
            }
            Action::StartLoad { id, spec } => self.start_load(id, &spec),
            Action::WaitLoad { id, timeout_ms } => {
                match self.running(id)?.wait(Duration::from_millis(timeout_ms)) {
                    Err(LoadError::Timeout { .. }) => Ok(Answer::Running),
                    ended => {
                        self.loads.remove(&id);
                        Ok(Answer::Load(ended?))
                    }
                }
            }
            Action::StopLoad { id } => {
                let result = self.running(id)?.stop()?;
                self.loads.remove(&id);
                Ok(Answer::Load(result))
            }
            Action::Detach => match self.tracing.take() {
                Some(tracing) => tracing.end(),
                None => Ok(Answer::Detached { in_flight: 0 }),
            },
        }
    }

    fn start_load(&mut self, id: u32, spec: &LoadSpec) -> anyhow::Result<Answer> {
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        let mut running = load::spawn(&exe, spec)?;
        if matches!(spec.kind, LoadKind::Server(_)) {
            running.ready(READY)?;
        }
        self.loads.insert(id, running);
        Ok(Answer::Done)
    }

    fn running(&mut self, id: u32) -> anyhow::Result<&mut load::RunningLoad> {
        self.loads
            .get_mut(&id)
            .ok_or_else(|| anyhow!("no load {id} runs"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::frame::header;

    /// Commands on the wire, and where each ends.
    fn wire(commands: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut wire, mut ends) = (Vec::new(), Vec::new());
        for number in 0..commands {
            let action = Action::WaitLoad {
                id: 1,
                timeout_ms: 250,
            };
            let payload = serde_json::to_vec(&Command { number, action }).unwrap();
            wire.extend(header(FrameType::Message, payload.len()).unwrap());
            wire.extend(payload);
            ends.push(wire.len());
        }
        (wire, ends)
    }

    /// Numbers of the commands that are obeyed, and whether the stream was good.
    fn obeyed(wire: &[u8]) -> (Vec<u64>, anyhow::Result<()>) {
        let mut numbers = Vec::new();
        let result = read_commands(wire, |command| {
            numbers.push(command.number);
            Ok(true)
        });
        (numbers, result)
    }

    proptest! {
        #[test]
        fn of_a_cut_stream_the_whole_commands_are_obeyed(keep in any::<prop::sample::Index>()) {
            let (wire, ends) = wire(8);
            let keep = keep.index(wire.len() + 1);
            let (numbers, result) = obeyed(&wire[..keep]);
            prop_assert!(result.is_ok());
            let whole = ends.iter().filter(|end| **end <= keep).count() as u64;
            prop_assert_eq!(numbers, (0..whole).collect::<Vec<_>>());
        }

        #[test]
        fn commands_before_the_damage_are_obeyed(
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let (mut wire, ends) = wire(8);
            let at = at.index(wire.len());
            wire[at] = value;
            let (numbers, _) = obeyed(&wire);
            let before = ends.iter().filter(|end| **end <= at).count() as u64;
            prop_assert!(numbers.len() <= 8);
            let kept: Vec<u64> = numbers.into_iter().take(usize::try_from(before).unwrap()).collect();
            prop_assert_eq!(kept, (0..before).collect::<Vec<_>>());
        }

        #[test]
        fn random_bytes_are_refused_or_waited_for(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            // No 500 random bytes are a command.
            prop_assert_eq!(obeyed(&bytes).0, Vec::<u64>::new());
        }
    }

    #[test]
    fn a_command_that_is_none_is_said_to_be() {
        let mut wire = header(FrameType::Message, 2).unwrap().to_vec();
        wire.extend(b"{}");
        let error = obeyed(&wire).1.unwrap_err().to_string();
        assert!(error.contains("a command that is not one"), "{error}");
    }
}
