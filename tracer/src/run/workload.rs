//! From a scenario's load to what the agent runs, with its other side.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;

use crate::{
    load::{self, LoadKind, LoadSpec, Protocol},
    resource::{Place, Resources},
};
use tracer_analysis::scenario::{
    Scenario,
    types::{Operation, Workload, WorkloadKind},
};

/// netperf's and iperf's habit: a port of its own.
const PORT: u16 = 5201;
/// How long a client tries to reach its server, in milliseconds.
const CONNECT_MS: u64 = 5000;

/// What the agent runs for one load.
#[derive(Clone, Debug)]
pub(super) struct Specs {
    /// The receiving side, to be started first.
    pub(super) server: Option<LoadSpec>,
    /// The load.
    pub(super) load: LoadSpec,
}

/// The domain in which a load runs. The check of the scenario has seen to it that there is one.
pub(super) fn domain<'a>(scenario: &'a Scenario, load: &'a Workload) -> &'a str {
    let only = scenario.domain.first().map_or("", |only| &only.name);
    load.domain.as_deref().unwrap_or(only)
}

/// The port of a load, if it has one.
pub(super) fn port(workload: &Workload) -> Option<u16> {
    use WorkloadKind::{TcpRr, TcpStream, UdpFlood};
    matches!(workload.kind, TcpRr | TcpStream | UdpFlood).then(|| workload.port.unwrap_or(PORT))
}

/// Makes a load's specification.
pub(super) fn specs(workload: &Workload, resources: &Resources) -> anyhow::Result<Specs> {
    let alone = |kind, namespace| Specs {
        server: None,
        load: spec(kind, workload, namespace),
    };
    match workload.kind {
        WorkloadKind::Dd => Ok(alone(dd(workload, resources)?, None)),
        WorkloadKind::Cpu => {
            let duration_ms = duration_ms(workload);
            Ok(alone(LoadKind::Cpu(load::CpuLoad { duration_ms }), None))
        }
        WorkloadKind::Command => {
            let namespace = from(workload, resources)?.map(|place| place.namespace);
            Ok(alone(command(workload, resources)?, namespace))
        }
        WorkloadKind::TcpStream | WorkloadKind::TcpRr | WorkloadKind::UdpFlood => {
            network(workload, resources)
        }
    }
}

fn spec(kind: LoadKind, workload: &Workload, namespace: Option<String>) -> LoadSpec {
    LoadSpec {
        cpus: workload.cpus.clone(),
        namespace,
        stop_when_stdin_closes: true,
        ..LoadSpec::new(kind)
    }
}

fn duration_ms(workload: &Workload) -> Option<u64> {
    workload
        .duration
        .map(|time| u64::try_from(time.0.as_millis()).unwrap_or(u64::MAX).max(1))
}

fn think(workload: &Workload) -> Option<load::Think> {
    let mean_ns = u64::try_from(workload.think_time?.0.as_nanos()).unwrap_or(u64::MAX);
    Some(load::Think {
        mean_ns,
        sequence: 0,
    })
}

fn dd(workload: &Workload, resources: &Resources) -> anyhow::Result<LoadKind> {
    let target = workload
        .target
        .as_deref()
        .context("workload.target is missing")?;
    // What a run has made for itself may be written to.
    let own = target.starts_with('@');
    Ok(LoadKind::Dd(load::DdLoad {
        target: resources.path(target)?,
        operation: workload.operation.unwrap_or(Operation::Read),
        block_size: workload.block_size.map_or(4096, |size| size.0),
        count: workload.count.unwrap_or(0),
        offset: workload.offset.map_or(0, |offset| offset.0),
        direct: workload.direct.unwrap_or(false),
        truncate: false,
        allow_device_write: own || workload.allow_device_write.unwrap_or(false),
        think: think(workload),
    }))
}

fn command(workload: &Workload, resources: &Resources) -> anyhow::Result<LoadKind> {
    let program = workload
        .program
        .clone()
        .context("workload.program is missing")?;
    let args = workload
        .args
        .iter()
        .map(|arg| substitute(arg, resources))
        .collect::<anyhow::Result<_>>()?;
    Ok(LoadKind::Command(load::CommandLoad {
        program,
        args,
        cwd: None,
        env: BTreeMap::new(),
    }))
}

/// `@name` in an argument, alone or behind `=`, stands for a resource's path.
fn substitute(arg: &str, resources: &Resources) -> anyhow::Result<String> {
    let (before, reference) = match arg.split_once("=@") {
        Some((option, name)) => (format!("{option}="), format!("@{name}")),
        None if arg.starts_with('@') => (String::new(), arg.to_owned()),
        None => return Ok(arg.to_owned()),
    };
    Ok(format!("{before}{}", resources.path(&reference)?.display()))
}

fn from(workload: &Workload, resources: &Resources) -> anyhow::Result<Option<Place>> {
    workload
        .from
        .as_deref()
        .map(|reference| resources.place(reference))
        .transpose()
}

fn network(workload: &Workload, resources: &Resources) -> anyhow::Result<Specs> {
    let to = workload.to.as_deref().context("workload.to is missing")?;
    let port = port(workload).unwrap_or(PORT);
    let place = if to.starts_with('@') {
        Some(resources.place(to)?)
    } else {
        None
    };
    let address = place.as_ref().map_or(to, |place| place.address.as_str());
    let address: IpAddr = address
        .parse()
        .with_context(|| format!("workload.to is {to:?}, not an address"))?;
    // Elsewhere there is no other side (of a UDP flood), if the scenario does not say in which domain it runs.
    let runs = place.is_some() || address.is_loopback() || workload.server.is_some();
    let server = runs.then(|| {
        let protocol = match workload.kind {
            WorkloadKind::UdpFlood => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        let kind = LoadKind::Server(load::ServerLoad {
            protocol,
            address,
            port,
            finish_after: None,
        });
        let namespace = place.map(|place| place.namespace);
        LoadSpec {
            namespace,
            stop_when_stdin_closes: true,
            ..LoadSpec::new(kind)
        }
    });
    let kind = client(workload, SocketAddr::new(address, port))?;
    let namespace = from(workload, resources)?.map(|place| place.namespace);
    Ok(Specs {
        server,
        load: spec(kind, workload, namespace),
    })
}

fn client(workload: &Workload, destination: SocketAddr) -> anyhow::Result<LoadKind> {
    Ok(match workload.kind {
        WorkloadKind::TcpStream => {
            let message_size = workload.message_size.map_or(64 << 10, |size| size.0);
            LoadKind::TcpStream(load::TcpStreamLoad {
                destination,
                message_size: u32::try_from(message_size)?,
                duration_ms: duration_ms(workload),
                bytes: workload
                    .count
                    .map(|count| count.saturating_mul(message_size)),
                connect_timeout_ms: CONNECT_MS,
            })
        }
        WorkloadKind::TcpRr => LoadKind::TcpRr(load::TcpRrLoad {
            destination,
            request_size: workload.request_size.unwrap_or(1),
            response_size: workload.response_size.unwrap_or(1),
            count: workload.count,
            duration_ms: duration_ms(workload),
            connect_timeout_ms: CONNECT_MS,
            think: think(workload),
        }),
        _ => LoadKind::UdpFlood(load::UdpFloodLoad {
            destination,
            size: workload.size.unwrap_or(64),
            rate: workload.rate.unwrap_or(0),
            threads: workload.threads.unwrap_or(1),
            duration_ms: duration_ms(workload),
        }),
    })
}
