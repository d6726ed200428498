//! Measured workloads and background loads, all built in, so that nothing needs installing in a
//! guest. Each runs in a child process of this same program: `tracer load` reads a [`LoadSpec`] and
//! prints a [`LoadResult`].

pub mod address;
pub mod cache;
mod command;
mod cpu;
mod dd;
mod process;
mod tcp;
mod udp;

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use process::{RunningLoad, spawn};

use crate::clock;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadSpec {
    /// The load.
    pub kind: LoadKind,
    /// CPUs to run on; threads take them in turn. None: any.
    pub cpus: Vec<u32>,
    /// A network namespace (a name under `/run/netns`) to run in.
    pub namespace: Option<String>,
}

/// The kinds of load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadKind {
    /// Reads or writes like dd.
    Dd(Dd),
    /// Sends a TCP stream, like netperf's `TCP_STREAM`.
    TcpStream(TcpStream),
    /// One byte out, one byte back, like netperf's `TCP_RR`.
    TcpRr(TcpRr),
    /// The other side of both.
    TcpServer(Listen),
    /// UDP packets at a rate (the paper's udpsend).
    UdpFlood(UdpFlood),
    /// Counts what arrives.
    UdpSink(Listen),
    /// Burns CPU time (the paper's stress).
    Cpu(Cpu),
    /// Runs an external program.
    Command(Command),
}

/// Read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// From the target.
    Read,
    /// To the target.
    Write,
}

/// A dd-like load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dd {
    /// File or block device.
    pub target: String,
    /// Read or write.
    pub operation: Operation,
    /// Bytes a call.
    pub block_size: u64,
    /// Calls.
    pub count: u64,
    /// First byte.
    pub offset: u64,
    /// Past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// Without this, writing to a block device is refused.
    pub allow_device_write: bool,
}

/// When a network load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// After so many operations.
    Count(u64),
    /// After this time.
    Elapsed(Duration),
    /// When it is stopped.
    Stopped,
}

/// A TCP stream's sending side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpStream {
    /// Where to: address and port.
    pub to: String,
    /// Bytes a call.
    pub message_size: u64,
    /// Its end; a count is of calls.
    pub until: Until,
}

/// A request/response client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRr {
    /// Where to: address and port.
    pub to: String,
    /// Bytes out.
    pub request_size: u32,
    /// Bytes back.
    pub response_size: u32,
    /// Its end; a count is of transactions.
    pub until: Until,
}

/// A receiving side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Address and port.
    pub at: String,
}

/// A UDP flood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpFlood {
    /// Where to: address and port.
    pub to: String,
    /// Bytes of payload a packet; at least 8.
    pub size: u32,
    /// Packets a second from each thread; 0: as many as go.
    pub rate: u64,
    /// Threads.
    pub threads: u32,
    /// Its end; a count is of packets of each thread.
    pub until: Until,
}

/// A CPU burner: one thread for each CPU of the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Its end.
    pub until: Until,
}

/// An external program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadResult {
    /// `CLOCK_MONOTONIC` at the first operation, in nanoseconds.
    pub start_ns: u64,
    /// ... and after the last.
    pub end_ns: u64,
    /// Operations: calls, transactions or packets.
    pub operations: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Latency of an operation as the load saw it.
    pub latency: Option<LatencySummary>,
    /// Other figures, such as packets lost.
    pub figures: BTreeMap<String, u64>,
    /// What an external program printed (at most 1 MiB).
    pub output: Option<String>,
}

/// A summary of latencies, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySummary {
    /// Operations.
    pub count: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Variance, in ns^2.
    pub variance_ns2: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Longest.
    pub max_ns: u64,
}

/// Times operations without allocating.
pub(crate) struct Stopwatch {
    histogram: Histogram<u64>,
}

impl Stopwatch {
    /// Up to 100 s, three digits.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            histogram: Histogram::new_with_bounds(1, 100_000_000_000, 3)?,
        })
    }

    /// Records one operation.
    pub(crate) fn record(&mut self, elapsed: Duration) {
        self.histogram
            .saturating_record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1));
    }

    /// Adds another's operations.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.histogram.add(&other.histogram)?;
        Ok(())
    }

    /// The summary; `None` if nothing was recorded.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let h = &self.histogram;
        (!h.is_empty()).then(|| LatencySummary {
            count: h.len(),
            mean_ns: h.mean(),
            variance_ns2: h.stdev().powi(2),
            p50_ns: h.value_at_quantile(0.5),
            p90_ns: h.value_at_quantile(0.9),
            p99_ns: h.value_at_quantile(0.99),
            p999_ns: h.value_at_quantile(0.999),
            max_ns: h.max(),
        })
    }
}

/// `CLOCK_MONOTONIC`, which the eBPF programs stamp with, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    clock::monotonic_ns().unwrap_or(0)
}

/// Runs a load in this process.
///
/// # Errors
/// If it cannot run; the message says what failed and what to do.
pub fn run(spec: &LoadSpec) -> anyhow::Result<LoadResult> {
    process::enter(spec)?;
    match &spec.kind {
        LoadKind::Dd(dd) => dd::run(dd),
        LoadKind::TcpStream(stream) => tcp::stream(stream),
        LoadKind::TcpRr(rr) => tcp::request_response(rr),
        LoadKind::TcpServer(listen) => tcp::serve(listen),
        LoadKind::UdpFlood(flood) => udp::flood(flood, &spec.cpus),
        LoadKind::UdpSink(listen) => udp::sink(listen),
        LoadKind::Cpu(cpu) => cpu::burn(cpu, &spec.cpus),
        LoadKind::Command(command) => command::run(command),
    }
}
