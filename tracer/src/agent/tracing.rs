//! What an agent has attached, and the thread that collects its records.

use std::{
    io::Write,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use aya::{Ebpf, maps::Array};
use tracer_common::{
    point::Kind,
    record::{Record, Slot, state},
};

use crate::{
    agent::{
        output::{Output, lock},
        protocol::Answer,
        records::{Collector, Destination, collect_until},
    },
    platform::Kernel,
    probe::{self, drain::Drain, snapshot},
};
use tracer_analysis::recording::{bindings::Bindings, request::Request, snapshot::Snapshot};

/// Attached programs.
pub(super) struct Tracing<W> {
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

impl<W: Write + Send + 'static> Tracing<W> {
    /// Attaches what was asked for; records go to a file, or to the loader.
    ///
    /// # Errors
    /// If the kernel refuses it, or there is no way for the records.
    pub(super) fn start(
        root: &Path,
        request: &Request,
        records: Option<&Path>,
        output: &Output<W>,
    ) -> anyhow::Result<(Self, Bindings)> {
        let destination = match records {
            Some(path) => Destination::file(path)?,
            None => Destination::frames(Arc::clone(output)),
        };
        let kernel = Kernel::from_root(root)?;
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
                Arc::clone(output),
            );
            let ring_bytes = request.ring_bytes as usize;
            move || collect_until(&stop, &collector, ring_bytes, &output)
        })?;
        let tracing = Self {
            ebpf: attached.ebpf,
            _stats: stats,
            collector,
            stop,
            thread: Some(thread),
        };
        let bindings = Bindings {
            planned: attached.planned,
            unavailable: attached.unavailable,
            attach_ns: attached.attach_ns,
        };
        Ok((tracing, bindings))
    }

    /// Brings out what the ring buffer holds, then the counters.
    pub(super) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let clocks = {
            let mut collector = lock(&self.collector);
            collector.collect()?;
            collector.clocks()
        };
        Ok(Snapshot {
            clocks,
            ..snapshot::take(&self.ebpf)
        })
    }

    /// Sends the records that are held.
    pub(super) fn release(&self) -> anyhow::Result<()> {
        lock(&self.collector).release()
    }

    /// Detaches, then brings out what the ring buffer and the table of requests still hold.
    pub(super) fn end(mut self) -> anyhow::Result<Answer> {
        probe::attach::detach(&mut self.ebpf);
        let (ended, in_flight) = sweep(&self.ebpf);
        let mut collector = lock(&self.collector);
        collector.collect()?;
        collector.add(&ended)?;
        collector.release()?;
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
