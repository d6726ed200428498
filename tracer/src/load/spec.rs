//! What a load is asked to do: the JSON that `tracer load` reads, and its rules.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LoadError, Result};
use tracer_analysis::scenario::{
    limits::{LONGEST_THINK_NS, MOST_BYTES, MOST_RATE, MOST_THREADS, MOST_UDP_BYTES},
    types::Operation,
};

/// One load: what it does and where it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// What it does.
    pub kind: LoadKind,
    /// CPUs to run on, empty for any. Threads are pinned round-robin, one CPU each; a `command`
    /// may use them all.
    #[serde(default)]
    pub cpus: Vec<u32>,
    /// Network namespace (a name under `/run/netns`) to enter first.
    #[serde(default)]
    pub namespace: Option<String>,
    /// End the load, with a result, when stdin closes: for background loads.
    #[serde(default)]
    pub stop_when_stdin_closes: bool,
    /// Allow traffic to addresses that are neither loopback nor private nor link-local.
    #[serde(default)]
    pub allow_remote: bool,
}

/// The kinds of load and their parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum LoadKind {
    /// Sequential reads or writes of a file or block device, as dd does them.
    Dd(DdLoad),
    /// One TCP connection, one direction, as fast as it goes (netperf's `TCP_STREAM`).
    TcpStream(TcpStreamLoad),
    /// One TCP connection, a request and a response at a time (netperf's `TCP_RR`).
    TcpRr(TcpRrLoad),
    /// UDP packets of one size at a given rate (the paper's udpsend).
    UdpFlood(UdpFloodLoad),
    /// The other end of the network loads.
    Server(ServerLoad),
    /// Busy threads, one a CPU (the paper's stress).
    Cpu(CpuLoad),
    /// An external program.
    Command(CommandLoad),
    /// Nothing at all.
    Idle(IdleLoad),
}

/// Transport of [`ServerLoad`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Serves `tcp-stream` and `tcp-rr`; the client says which.
    Tcp,
    /// Counts the packets of `udp-flood`, and those it missed.
    Udp,
}

/// Random waits between operations, exponentially distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Think {
    /// Their mean, in nanoseconds.
    pub mean_ns: u64,
    /// Which waits: those of one sequence are always the same.
    #[serde(default)]
    pub sequence: u64,
}

/// Parameters of `dd`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DdLoad {
    /// File or block device. A write makes the file if there is none.
    pub target: PathBuf,
    /// Read or write.
    pub operation: Operation,
    /// Bytes of one call.
    pub block_size: u64,
    /// Calls to make; 0 to go on until stopped. Reads, and writes to a device, start again at
    /// `offset` when the end is reached.
    pub count: u64,
    /// Where to start, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Bypass the page cache (`O_DIRECT`).
    #[serde(default)]
    pub direct: bool,
    /// Empty an existing file before writing to it, as dd does unless told `conv=notrunc`.
    #[serde(default)]
    pub truncate: bool,
    /// Allow overwriting the content of a block device. One that is in use is refused anyway.
    #[serde(default)]
    pub allow_device_write: bool,
    /// Wait between the calls.
    #[serde(default)]
    pub think: Option<Think>,
}

/// Parameters of `tcp-stream`. Without `duration_ms` and `bytes` it runs until stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpStreamLoad {
    /// Address and port of the server.
    pub destination: SocketAddr,
    /// Bytes of one send call.
    pub message_size: u32,
    /// Send for so long, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// Send so many bytes.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Try to connect for so long, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

/// Parameters of `tcp-rr`. Without `duration_ms` and `count` it runs until stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpRrLoad {
    /// Address and port of the server.
    pub destination: SocketAddr,
    /// Bytes of a request.
    pub request_size: u32,
    /// Bytes of a response.
    pub response_size: u32,
    /// Transactions to do.
    #[serde(default)]
    pub count: Option<u64>,
    /// Go on for so long, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// Try to connect for so long, in milliseconds.
    #[serde(default = "default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Wait between the transactions.
    #[serde(default)]
    pub think: Option<Think>,
}

/// Parameters of `udp-flood`. Without `duration_ms` it runs until stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UdpFloodLoad {
    /// Address and port to send to; nobody needs to listen.
    pub destination: SocketAddr,
    /// Payload of a packet in bytes; a sink can only count losses from 16 on.
    pub size: u32,
    /// Packets a second of all threads together, evenly paced; 0 for as many as go.
    #[serde(default)]
    pub rate: u64,
    /// Sending threads, each with its own socket.
    #[serde(default = "one")]
    pub threads: u32,
    /// Send for so long, in milliseconds.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// Parameters of `server`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerLoad {
    /// What to serve.
    pub protocol: Protocol,
    /// Address to listen on.
    #[serde(default = "loopback")]
    pub address: IpAddr,
    /// Port to listen on; 0 for any free one, which the `ready` line then names.
    #[serde(default)]
    pub port: u16,
    /// End by itself after so many connections (TCP) or senders (UDP); otherwise when stopped.
    #[serde(default)]
    pub finish_after: Option<u32>,
}

/// Parameters of `cpu`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpuLoad {
    /// Burn for so long, in milliseconds; otherwise until stopped.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

/// Parameters of `command`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandLoad {
    /// The program, looked up in `PATH`.
    pub program: String,
    /// Its arguments; no shell looks at them.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its working directory.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Variables added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Parameters of `idle`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdleLoad {
    /// Wait for so long, in milliseconds; otherwise until stopped.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

fn default_connect_timeout_ms() -> u64 {
    5000
}

fn one() -> u32 {
    1
}

fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

impl LoadKind {
    /// Takes the waits of this sequence, if there are any.
    pub(crate) fn set_sequence(&mut self, sequence: u64) {
        let think = match self {
            Self::Dd(load) => &mut load.think,
            Self::TcpRr(load) => &mut load.think,
            _ => return,
        };
        if let Some(think) = think {
            think.sequence = sequence;
        }
    }
}

impl LoadSpec {
    /// A load on any CPU, in the caller's namespace, that ends by itself or by a signal.
    #[must_use]
    pub fn new(kind: LoadKind) -> Self {
        Self {
            kind,
            cpus: Vec::new(),
            namespace: None,
            stop_when_stdin_closes: false,
            allow_remote: false,
        }
    }

    /// Checks every parameter that can be checked without running the load.
    ///
    /// # Errors
    /// [`LoadError::Invalid`] names the parameter and what is allowed; [`LoadError::Refused`] a
    /// destination that needs `allow_remote`.
    pub fn validate(&self) -> Result<()> {
        if let Some(name) = &self.namespace
            && (name.is_empty() || name.contains('/') || name.starts_with('.'))
        {
            let problem = format!("`{name}` is not a name as in `ip netns list`");
            return Err(LoadError::invalid("namespace", problem));
        }
        match &self.kind {
            LoadKind::Dd(load) => {
                within("block_size", load.block_size, 1, MOST_BYTES)?;
                let end = load.block_size.checked_mul(load.count.max(1));
                if end.and_then(|end| end.checked_add(load.offset)).is_none() {
                    let problem = "offset + block_size * count does not fit in 64 bits";
                    return Err(LoadError::invalid("count", problem));
                }
                think(load.think)
            }
            LoadKind::TcpStream(load) => {
                within("message_size", load.message_size.into(), 1, MOST_BYTES)?;
                duration(load.duration_ms)?;
                duration(Some(load.connect_timeout_ms))?;
                super::net::check_destination(load.destination, self.allow_remote)
            }
            LoadKind::TcpRr(load) => {
                within("request_size", load.request_size.into(), 1, MOST_BYTES)?;
                within("response_size", load.response_size.into(), 1, MOST_BYTES)?;
                think(load.think)?;
                duration(load.duration_ms)?;
                duration(Some(load.connect_timeout_ms))?;
                super::net::check_destination(load.destination, self.allow_remote)
            }
            LoadKind::UdpFlood(load) => {
                within("size", load.size.into(), 1, MOST_UDP_BYTES.into())?;
                within("threads", load.threads.into(), 1, MOST_THREADS.into())?;
                within("rate", load.rate, 0, MOST_RATE)?;
                duration(load.duration_ms)?;
                super::net::check_destination(load.destination, self.allow_remote)
            }
            LoadKind::Server(load) => {
                let most = MOST_THREADS.into();
                within(
                    "finish_after",
                    load.finish_after.unwrap_or(1).into(),
                    1,
                    most,
                )
            }
            LoadKind::Cpu(CpuLoad { duration_ms }) | LoadKind::Idle(IdleLoad { duration_ms }) => {
                duration(*duration_ms)
            }
            LoadKind::Command(load) if load.program.is_empty() => {
                Err(LoadError::invalid("program", "is empty"))
            }
            LoadKind::Command(_) => Ok(()),
        }
    }
}

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let problem = format!("{value} is not within {least} to {most}");
    Err(LoadError::invalid(field, problem))
}

/// A year at most, so that no sum of times overflows.
fn duration(ms: Option<u64>) -> Result<()> {
    within("duration_ms", ms.unwrap_or(0), 0, 365 * 86_400_000)
}

fn think(think: Option<Think>) -> Result<()> {
    think.map_or(Ok(()), |think| {
        within("think.mean_ns", think.mean_ns, 1, LONGEST_THINK_NS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_short_and_unknown_keys_are_refused() {
        let spec: LoadSpec = serde_json::from_str(
            r#"{"kind":{"type":"udp-flood","destination":"[::1]:9","size":64}}"#,
        )
        .unwrap();
        let LoadKind::UdpFlood(load) = &spec.kind else {
            panic!("{spec:?}")
        };
        assert_eq!((load.threads, load.rate, load.duration_ms), (1, 0, None));
        let again = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<LoadSpec>(&again).unwrap(), spec);
        let typo = r#"{"kind":{"type":"cpu","durations_ms":1}}"#;
        let error = serde_json::from_str::<LoadSpec>(typo)
            .unwrap_err()
            .to_string();
        assert!(error.contains("durations_ms"), "{error}");
    }

    #[test]
    fn impossible_parameters_are_named() {
        let dd = |block_size, count| {
            let json = format!(
                r#"{{"kind":{{"type":"dd","target":"/x","operation":"read",
                "block_size":{block_size},"count":{count},"offset":1}}}}"#
            );
            let spec: LoadSpec = serde_json::from_str(&json).unwrap();
            spec.validate().unwrap_err().to_string()
        };
        assert!(dd(0, 1).contains("block_size"));
        assert!(dd(1 << 20, u64::MAX >> 19).contains("count"));
        let json = r#"{"kind":{"type":"dd","target":"/x","operation":"read","block_size":1,
            "count":1,"think":{"mean_ns":0}}}"#;
        let spec: LoadSpec = serde_json::from_str(json).unwrap();
        let error = spec.validate().unwrap_err().to_string();
        assert!(error.contains("think.mean_ns"), "{error}");
        let mut spec = LoadSpec::new(LoadKind::Idle(IdleLoad { duration_ms: None }));
        spec.namespace = Some("../1/ns/net".into());
        assert!(
            spec.validate()
                .unwrap_err()
                .to_string()
                .contains("namespace")
        );
    }
}
