//! Measured workloads and background loads, all built in, so that a guest needs nothing installed.
//!
//! Every load runs in a child process of this same binary: [`spawn`] starts `tracer load`, which
//! reads one [`LoadSpec`] as JSON on stdin, runs it and prints one [`LoadResult`] as JSON on
//! stdout. A process of its own means that probes can select the load by process id, and that
//! entering a network namespace or changing an affinity touches nobody else.
//!
//! One file a kind of load; [`run`] is the in-process way in, [`spawn`] the one to use from a
//! scenario.

mod cache;
mod child;
mod command;
mod control;
mod cpu;
mod dd;
mod error;
mod idle;
mod measure;
mod net;
mod place;
mod process;
mod server;
mod spec;
mod stdio;
mod tcp_rr;
mod tcp_stream;
mod think;
mod udp_flood;
mod udp_sink;

use std::collections::BTreeMap;

use tracer_analysis::{
    recording::load::{LoadResult, per_second},
    scenario::types::Operation,
};

pub use cache::{drop_caches, read_unrelated};
pub use control::{Control, Stop};
pub use error::{LoadError, Result};
pub use measure::monotonic_ns;
pub use process::{RunningLoad, spawn, spawn_command};
pub use spec::{
    CommandLoad, CpuLoad, DdLoad, IdleLoad, LoadKind, LoadSpec, Protocol, ServerLoad, TcpRrLoad,
    TcpStreamLoad, Think, UdpFloodLoad,
};
pub use stdio::run_stdio;

use measure::Latencies;

/// What a kind of load hands back before it is made a [`LoadResult`].
#[derive(Default)]
struct Outcome {
    start_ns: u64,
    end_ns: u64,
    operations: u64,
    bytes: u64,
    latency: Option<Latencies>,
    extra: BTreeMap<String, serde_json::Value>,
    tids: Vec<u32>,
}

impl Outcome {
    fn extra(&mut self, key: &str, value: impl Into<serde_json::Value>) {
        self.extra.insert(key.to_owned(), value.into());
    }

    fn into_result(self) -> LoadResult {
        LoadResult {
            duration_ns: self.end_ns.saturating_sub(self.start_ns),
            operations: self.operations,
            bytes: self.bytes,
            latency: self.latency.as_ref().and_then(Latencies::summary),
            extra: self.extra,
            start_monotonic_ns: self.start_ns,
            end_monotonic_ns: self.end_ns,
            tids: self.tids,
        }
    }
}

/// What every kind of load is given besides its own parameters.
struct Context<'a> {
    stop: &'a Stop,
    cpus: &'a [u32],
    allow_remote: bool,
    on_ready: &'a (dyn Fn(u16) + Send + Sync),
}

/// Runs one load in this process and returns what it did.
///
/// A server says that it listens by one line on stdout (`{"ready":PORT}`), as `tracer load` does;
/// use [`run_with`] to be told otherwise.
///
/// # Errors
/// Every [`LoadError`]: parameters out of range, a target that cannot be opened, a refused
/// destination, a failed read, write or connection.
pub fn run(spec: &LoadSpec) -> Result<LoadResult> {
    run_with(spec, &Control::stdout())
}

/// As [`run`], with the caller's own way to stop the load and to learn that a server is ready.
///
/// The load runs on a new thread, so the caller's namespace and affinity stay as they are.
///
/// # Errors
/// As [`run`].
pub fn run_with(spec: &LoadSpec, control: &Control) -> Result<LoadResult> {
    spec.validate()?;
    let outcome = std::thread::scope(|scope| {
        let _watch = spec.stop_when_stdin_closes.then(|| control.watch_stdin());
        let load = std::thread::Builder::new()
            .name("load".into())
            .spawn_scoped(scope, || run_here(spec, control))
            .map_err(|source| LoadError::io("starting the thread of the load", source))?;
        place::join(load)
    })?;
    Ok(outcome.into_result())
}

fn run_here(spec: &LoadSpec, control: &Control) -> Result<Outcome> {
    if let Some(name) = &spec.namespace {
        place::enter_namespace(name)?;
    }
    let context = Context {
        stop: &control.stop,
        cpus: &spec.cpus,
        allow_remote: spec.allow_remote,
        on_ready: &*control.on_ready,
    };
    match &spec.kind {
        LoadKind::Dd(load) => dd::run(load, &context),
        LoadKind::TcpStream(load) => tcp_stream::run(load, &context),
        LoadKind::TcpRr(load) => tcp_rr::run(load, &context),
        LoadKind::UdpFlood(load) => udp_flood::run(load, &context),
        LoadKind::Server(load) => match load.protocol {
            Protocol::Tcp => server::run(load, &context),
            Protocol::Udp => udp_sink::run(load, &context),
        },
        LoadKind::Cpu(load) => cpu::run(load, &context),
        LoadKind::Command(load) => command::run(load, &context),
        LoadKind::Idle(load) => idle::run(load, &context),
    }
}
