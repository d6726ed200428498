//! What a scenario file holds. `docs/scenario.md` explains it to its writers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::quantity::{Size, Time};

/// A scenario: one question, asked of a machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of the format: 1.
    pub schema: u32,
    /// A short name, part of the run directory's.
    pub name: String,
    /// What the scenario wants to know, in words.
    #[serde(default)]
    pub question: String,
    /// Where programs are attached and loads run.
    pub domain: Vec<Domain>,
    /// What is made before the run and removed after it.
    #[serde(default)]
    pub resource: Vec<Resource>,
    /// The workload that is measured.
    pub workload: Workload,
    /// Loads that run meanwhile.
    #[serde(default)]
    pub background: Vec<Workload>,
    /// How often, and what happens in between.
    #[serde(default)]
    pub run: Run,
    /// What is traced.
    pub probes: Probes,
    /// What the machine should be like.
    #[serde(default)]
    pub environment: Environment,
    /// Limits; one that is exceeded makes the run exit with 1.
    #[serde(default)]
    pub threshold: Vec<Threshold>,
    /// Variants by name, of any of the keys above: `--profile NAME` lays one over the rest.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub profile: BTreeMap<String, toml::Table>,
}

/// A domain.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Its name here.
    pub name: String,
    /// How its agent is reached: `local`, `console`, `console:CHANNEL`, `console:/dev/pts/N`,
    /// `unix:/PATH`, `ssh:[USER@]HOST`.
    #[serde(default = "local")]
    pub agent: String,
    /// The guest's name in Xen, if it is not the same.
    pub guest: Option<String>,
    /// What is traced there. Not given: guests trace what `probes.datapaths` says, Dom0 the backends' part
    /// of it; the only domain all.
    pub datapaths: Option<Vec<String>>,
    /// A configuration of xl's: the guest is created for the run, and shut down after it.
    pub create: Option<String>,
    /// PCI devices that Dom0's drivers give up for the run, by their addresses.
    #[serde(default)]
    pub pci: Vec<String>,
    /// Virtual CPUs that are on during the run.
    pub vcpus: Option<u32>,
    /// The CPUs on which each virtual CPU may run during the run, as xl writes them: `3`, `0-1`, `all`.
    #[serde(default)]
    pub vcpu_pin: Vec<String>,
}

fn local() -> String {
    "local".into()
}

/// Something made for the run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Its name; `@name` stands for it elsewhere.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// loop, file: its size.
    pub size: Option<Size>,
    /// loop, file: the folder that holds it; `/var/tmp` if not given.
    pub directory: Option<String>,
    /// veth: one end.
    pub left: Option<End>,
    /// veth: the other end.
    pub right: Option<End>,
    /// veth: largest packet.
    pub mtu: Option<u32>,
}

/// Kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// A loop device over a file.
    Loop,
    /// A file.
    File,
    /// Two network namespaces joined by a veth pair.
    Veth,
}

/// One end of a veth pair.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Address and prefix length, such as `10.90.0.1/24`.
    pub address: String,
}

/// A load: measured or in the background.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Where it runs; the only domain if there is one.
    pub domain: Option<String>,
    /// CPUs that it runs on.
    #[serde(default)]
    pub cpus: Vec<u32>,
    /// dd: a path, or `@resource`.
    pub target: Option<String>,
    /// dd: `read` or `write`.
    pub operation: Option<Operation>,
    /// dd: bytes a call.
    pub block_size: Option<Size>,
    /// dd, tcp-rr, tcp-stream: operations.
    pub count: Option<u64>,
    /// dd: first byte.
    pub offset: Option<Size>,
    /// dd: past the page cache.
    pub direct: Option<bool>,
    /// dd: whether a block device may be written to.
    pub allow_device_write: Option<bool>,
    /// dd, tcp-rr: mean of random waits between the operations.
    pub think_time: Option<Time>,
    /// tcp-*, udp-*: where it runs: `@resource.left` or `@resource.right`, or nothing for the host.
    pub from: Option<String>,
    /// tcp-*, udp-*: where to: `@resource.left`, `@resource.right`, or an address.
    pub to: Option<String>,
    /// tcp-*, udp-*: the domain in which the other side runs, at the address `to`.
    pub server: Option<String>,
    /// tcp-*, udp-*: the port.
    pub port: Option<u16>,
    /// tcp-stream, tcp-rr, udp-flood, cpu: how long.
    pub duration: Option<Time>,
    /// tcp-stream: bytes a call.
    pub message_size: Option<Size>,
    /// tcp-rr: bytes out.
    pub request_size: Option<u32>,
    /// tcp-rr: bytes back.
    pub response_size: Option<u32>,
    /// udp-flood: bytes a packet.
    pub size: Option<u32>,
    /// udp-flood: packets a second, of all threads together; 0: as many as go.
    pub rate: Option<u64>,
    /// udp-flood: threads.
    pub threads: Option<u32>,
    /// command: the program.
    pub program: Option<String>,
    /// command: its arguments; `@resource` stands for a path.
    #[serde(default)]
    pub args: Vec<String>,
}

/// Kinds of loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadKind {
    /// Block after block, read or written.
    Dd,
    /// A TCP stream.
    TcpStream,
    /// TCP request and response.
    TcpRr,
    /// UDP packets.
    UdpFlood,
    /// Burns CPU time.
    Cpu,
    /// An external program.
    Command,
}

/// How often, and what happens in between.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Measured iterations.
    pub iterations: u32,
    /// Iterations before, which do not count.
    pub warm_up: u32,
    /// Whether the page cache is dropped before each iteration.
    pub drop_caches: bool,
    /// Bytes of a file read before each iteration (the paper read 4 GB of unrelated data).
    pub read_before: Option<Size>,
    /// That file.
    pub read_before_file: Option<String>,
    /// Pause before each iteration.
    pub pause: Time,
    /// Longest time of one iteration.
    pub timeout: Time,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            iterations: 5,
            warm_up: 1,
            drop_caches: false,
            read_before: None,
            read_before_file: None,
            pause: Time(std::time::Duration::from_millis(100)),
            timeout: Time(std::time::Duration::from_secs(600)),
        }
    }
}

/// What is traced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// Datapaths: `tracer probes` lists them.
    pub datapaths: Vec<String>,
    /// `spans`: a record a request. `aggregate`: histograms in the kernel.
    #[serde(default)]
    pub mode: Mode,
    /// aggregate: requests that take this long are recorded one by one.
    pub outlier: Option<Time>,
    /// Size of the ring buffer; rounded up to a power of two.
    #[serde(default = "ring_buffer")]
    pub ring_buffer: Size,
    /// Requests in flight that can be followed; rounded up to a power of two.
    #[serde(default = "in_flight")]
    pub in_flight: u32,
    /// Block devices: `@resource`, a path, or `all`. Not given: those that the workload uses.
    pub devices: Option<Vec<String>>,
    /// TCP and UDP ports. Not given: those that the workload uses.
    pub ports: Option<Vec<u16>>,
    /// One in so many packets.
    #[serde(default = "one")]
    pub sample: u32,
    /// Share of lost requests above which the run says so first and exits with 2, in percent.
    #[serde(default = "one_percent")]
    pub max_lost_percent: f64,
    /// Slowest requests shown one by one.
    #[serde(default = "ten")]
    pub slowest: usize,
    /// Whether the kernel times the programs, which itself costs about 50 ns a run.
    #[serde(default)]
    pub measure_cost: bool,
}

fn ring_buffer() -> Size {
    Size(8 << 20)
}
const fn in_flight() -> u32 {
    8192
}
const fn one() -> u32 {
    1
}
const fn one_percent() -> f64 {
    1.0
}
const fn ten() -> usize {
    10
}

/// Records or histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A record a request.
    #[default]
    Spans,
    /// Histograms in the kernel.
    Aggregate,
}

/// What the machine should be like; `tracer check-env` compares.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Environment {
    /// CPU frequency governor, such as `performance`.
    pub governor: Option<String>,
    /// Whether turbo frequencies may be on.
    pub turbo: Option<bool>,
    /// Deepest idle state: its number.
    pub max_cstate: Option<u32>,
    /// Whether SMT may be on.
    pub smt: Option<bool>,
    /// The kernel's clock source, such as `tsc`.
    pub clocksource: Option<String>,
    /// Whether the workload's CPUs should be isolated from the scheduler.
    pub isolated: Option<bool>,
}

/// A limit on one figure.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The datapath.
    pub datapath: String,
    /// `total`, a letter pair such as `D2C`, or both ends such as `blk.issue..irq.entry`.
    #[serde(default = "total")]
    pub stage: String,
    /// The figure.
    pub statistic: Statistic,
    /// The limit.
    pub at_most: Time,
    /// Only this operation (`read`, `tcp`, ...); not given: every one.
    pub operation: Option<String>,
}

fn total() -> String {
    "total".into()
}

/// A figure of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Statistic {
    /// Mean.
    #[serde(rename = "mean")]
    Mean,
    /// Median.
    #[serde(rename = "p50")]
    P50,
    /// 90th percentile.
    #[serde(rename = "p90")]
    P90,
    /// 99th percentile.
    #[serde(rename = "p99")]
    P99,
    /// 99.9th percentile.
    #[serde(rename = "p99.9")]
    P999,
    /// Longest.
    #[serde(rename = "max")]
    Max,
}

impl Workload {
    /// Fields that belong to some kinds only, and whether each is given.
    pub(super) fn given(&self) -> BTreeMap<&'static str, bool> {
        BTreeMap::from([
            ("target", self.target.is_some()),
            ("operation", self.operation.is_some()),
            ("block_size", self.block_size.is_some()),
            ("count", self.count.is_some()),
            ("offset", self.offset.is_some()),
            ("direct", self.direct.is_some()),
            ("allow_device_write", self.allow_device_write.is_some()),
            ("think_time", self.think_time.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("server", self.server.is_some()),
            ("port", self.port.is_some()),
            ("duration", self.duration.is_some()),
            ("message_size", self.message_size.is_some()),
            ("request_size", self.request_size.is_some()),
            ("response_size", self.response_size.is_some()),
            ("size", self.size.is_some()),
            ("rate", self.rate.is_some()),
            ("threads", self.threads.is_some()),
            ("program", self.program.is_some()),
            ("args", !self.args.is_empty()),
        ])
    }
}

impl WorkloadKind {
    /// Fields that this kind knows besides `kind`, `domain` and `cpus`; the first ones, up to the
    /// number given, must be there.
    pub(super) const fn fields(self) -> (usize, &'static [&'static str]) {
        match self {
            Self::Dd => (
                2,
                &[
                    "target",
                    "block_size",
                    "count",
                    "operation",
                    "offset",
                    "direct",
                    "allow_device_write",
                    "think_time",
                ],
            ),
            Self::TcpStream => (
                1,
                &[
                    "to",
                    "from",
                    "server",
                    "port",
                    "duration",
                    "count",
                    "message_size",
                ],
            ),
            Self::TcpRr => (
                1,
                &[
                    "to",
                    "from",
                    "server",
                    "port",
                    "duration",
                    "count",
                    "request_size",
                    "response_size",
                    "think_time",
                ],
            ),
            Self::UdpFlood => (
                2,
                &[
                    "to", "size", "from", "server", "port", "duration", "rate", "threads",
                ],
            ),
            Self::Cpu => (0, &["duration"]),
            Self::Command => (1, &["program", "args", "from"]),
        }
    }
}

/// Direction of [`DdLoad`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Read the target.
    Read,
    /// Write the target.
    Write,
}
