//! The agent's side: obeys commands from one end of a stream, sends replies and records to it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use aya::{Ebpf, maps::Array};
use tracer_common::{
    point::Kind,
    record::{Record, Slot, state},
};

use crate::{
    agent::{
        frame::{Decoder, FrameType, header},
        protocol::{Action, Answer, Bindings, Command, Hello, Message, VERSION},
        records::{Collector, Destination, collect_until},
    },
    clock,
    load::{self, LoadError, LoadKind, LoadSpec},
    platform::{Kernel, host::HostFacts},
    probe::{self, drain::Drain, snapshot},
};

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(10);

/// The sending end, shared by the commands' thread and the collecting thread.
pub(super) type Output<W> = Arc<Mutex<W>>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it wrote leaves at worst a cut frame, which the reader notices.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn send<W: Write>(
    output: &Output<W>,
    frame_type: FrameType,
    payload: &[u8],
) -> anyhow::Result<()> {
    let mut output = lock(output);
    output.write_all(&header(frame_type, payload.len())?)?;
    output.write_all(payload)?;
    output.flush().context("the loader is gone")
}

pub(super) fn say<W: Write>(output: &Output<W>, message: &Message) -> anyhow::Result<()> {
    send(output, FrameType::Message, &serde_json::to_vec(message)?)
}

/// Serves one loader until it closes its end.
///
/// # Errors
/// If the loader sends what is not of the protocol, or cannot be written to. However it ends, the
/// programs are detached and the loads stopped.
pub fn serve(
    input: impl Read,
    output: impl Write + Send + 'static,
    root: &Path,
) -> anyhow::Result<()> {
    let output = Arc::new(Mutex::new(output));
    let hello = Hello {
        protocol: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        host: HostFacts::from_root(root),
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
        )
    })
}

fn read_commands(
    mut input: impl Read,
    mut obey: impl FnMut(Command) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut decoder = Decoder::default();
    let mut chunk = vec![0; 64 << 10];
    loop {
        while let Some(frame) = decoder.next_frame()? {
            if frame.frame_type == FrameType::Message {
                obey(serde_json::from_slice(&frame.payload).context("a command that is not one")?)?;
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

/// Attached programs and the thread that collects their records.
struct Tracing<W> {
    ebpf: Ebpf,
    /// While it is open, the kernel times every BPF program.
    _stats: Option<OwnedFd>,
    collector: Arc<Mutex<Collector<W>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<W> Drop for Tracing<W> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<W: Write + Send + 'static> Agent<W> {
    fn obey(&mut self, action: Action) -> anyhow::Result<Answer> {
        match action {
            Action::Attach { request, records } => self
                .attach(&request, records.as_deref())
                .map(Answer::Attached),
            Action::Snapshot => self.snapshot().map(Answer::Snapshot),
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
            Action::Detach => self.detach(),
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

    fn attach(
        &mut self,
        request: &probe::Request,
        records: Option<&Path>,
    ) -> anyhow::Result<Bindings> {
        let destination = match records {
            Some(path) => Destination::file(path)?,
            None => Destination::Frames(Arc::clone(&self.output)),
        };
        let kernel = Kernel::from_root(&self.root)?;
        let stats = if request.measure_cost {
            Some(aya::sys::enable_stats(aya::sys::Stats::RunTime).context(
                "the kernel does not time BPF programs; set probes.measure_cost = false",
            )?)
        } else {
            None
        };
        let mut attached = probe::attach::attach(&kernel, request)?;
        let drain = Drain::new(&mut attached.ebpf).context("the eBPF object has no map RECORDS")?;
        let collector = Arc::new(Mutex::new(Collector::new(drain, destination)));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("collect".into()).spawn({
            let (collector, stop, output) = (
                Arc::clone(&collector),
                Arc::clone(&stop),
                Arc::clone(&self.output),
            );
            let ring_bytes = request.ring_bytes as usize;
            move || collect_until(&stop, &collector, ring_bytes, &output)
        })?;
        self.tracing = Some(Tracing {
            ebpf: attached.ebpf,
            _stats: stats,
            collector,
            stop,
            thread: Some(thread),
        });
        Ok(Bindings {
            planned: attached.planned,
            unavailable: attached.unavailable,
            attach_ns: attached.attach_ns,
        })
    }

    fn snapshot(&mut self) -> anyhow::Result<snapshot::Snapshot> {
        let tracing = self.tracing.as_ref().context("nothing is attached")?;
        lock(&tracing.collector).collect()?;
        Ok(snapshot::take(&tracing.ebpf))
    }

    /// Detaches, then brings out what the ring buffer and the table of requests still hold.
    fn detach(&mut self) -> anyhow::Result<Answer> {
        let Some(mut tracing) = self.tracing.take() else {
            return Ok(Answer::Detached { in_flight: 0 });
        };
        probe::attach::detach(&mut tracing.ebpf);
        let (ended, in_flight) = sweep(&tracing.ebpf);
        let mut collector = lock(&tracing.collector);
        collector.collect()?;
        collector.add(&ended)?;
        Ok(Answer::Detached { in_flight })
    }
}

/// Requests left in the table: those that had ended (their reader was not yet seen to run), and the
/// number of the others.
fn sweep(ebpf: &Ebpf) -> (Vec<Record>, u64) {
    let Some(slots) = ebpf
        .map("SLOTS")
        .and_then(|map| Array::<_, Slot>::try_from(map).ok())
    else {
        return (Vec::new(), 0);
    };
    let used = slots
        .iter()
        .filter_map(Result::ok)
        .filter(|slot| slot.key != 0);
    let (ended, flying): (Vec<Slot>, Vec<Slot>) =
        used.partition(|slot| matches!(slot.state, state::ENDING | state::WOKEN));
    let ended = ended.into_iter().map(|slot| slot.record);
    let ended = ended
        .filter(|record| Kind::from_u8(record.kind).is_some())
        .collect();
    (ended, flying.len() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            Ok(())
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
