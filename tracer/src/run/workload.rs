//! From a scenario's load to what the agent runs, with its other side.

use anyhow::Context as _;

use crate::{
    load::{self, LoadKind, LoadSpec, Operation, Until},
    resource::{Place, Resources},
    scenario::types::{Workload, WorkloadKind},
};

/// netperf's and iperf's habit: a port of its own.
const PORT: u16 = 5201;

/// What the agent runs for one load.
#[derive(Clone, Debug)]
pub(super) struct Specs {
    /// The receiving side, to be started first.
    pub(super) server: Option<LoadSpec>,
    /// The load.
    pub(super) load: LoadSpec,
}

/// The port of a load, if it has one.
pub(super) fn port(workload: &Workload) -> Option<u16> {
    matches!(
        workload.kind,
        WorkloadKind::TcpRr | WorkloadKind::TcpStream | WorkloadKind::UdpFlood
    )
    .then(|| workload.port.unwrap_or(PORT))
}

/// Makes a load's specification.
pub(super) fn specs(workload: &Workload, resources: &Resources) -> anyhow::Result<Specs> {
    match workload.kind {
        WorkloadKind::Dd => Ok(alone(workload, None, dd(workload, resources)?)),
        WorkloadKind::Cpu => Ok(alone(
            workload,
            None,
            LoadKind::Cpu(load::Cpu {
                until: until(workload),
            }),
        )),
        WorkloadKind::Command => {
            let namespace = from(workload, resources)?.map(|place| place.namespace);
            Ok(alone(workload, namespace, command(workload, resources)?))
        }
        WorkloadKind::TcpStream | WorkloadKind::TcpRr | WorkloadKind::UdpFlood => {
            network(workload, resources)
        }
    }
}

fn alone(workload: &Workload, namespace: Option<String>, kind: LoadKind) -> Specs {
    Specs {
        server: None,
        load: LoadSpec {
            kind,
            cpus: workload.cpus.clone(),
            namespace,
        },
    }
}

fn until(workload: &Workload) -> Until {
    match (workload.count, workload.duration) {
        (Some(count), _) => Until::Count(count),
        (None, Some(duration)) => Until::Elapsed(duration.0),
        (None, None) => Until::Stopped,
    }
}

fn dd(workload: &Workload, resources: &Resources) -> anyhow::Result<LoadKind> {
    let target = workload
        .target
        .as_deref()
        .context("workload.target is missing")?;
    // What a run has made for itself may be written to.
    let own = target.starts_with('@');
    Ok(LoadKind::Dd(load::Dd {
        target: resources.path(target)?.display().to_string(),
        operation: workload.operation.unwrap_or(Operation::Read),
        block_size: workload.block_size.map_or(4096, |size| size.0),
        count: workload.count.unwrap_or(u64::MAX),
        offset: workload.offset.map_or(0, |offset| offset.0),
        direct: workload.direct.unwrap_or(false),
        allow_device_write: own || workload.allow_device_write.unwrap_or(false),
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
    Ok(LoadKind::Command(load::Command { program, args }))
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
    let (address, server_namespace, own_server) = if to.starts_with('@') {
        let place = resources.place(to)?;
        (place.address, Some(place.namespace), true)
    } else {
        let is_here = to
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
        (to.to_owned(), None, is_here)
    };
    let at = if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    };
    let listen = load::Listen { at: at.clone() };
    let (server, kind) = match workload.kind {
        WorkloadKind::TcpStream => (
            LoadKind::TcpServer(listen),
            LoadKind::TcpStream(load::TcpStream {
                to: at,
                message_size: workload.message_size.map_or(64 << 10, |size| size.0),
                until: until(workload),
            }),
        ),
        WorkloadKind::TcpRr => (
            LoadKind::TcpServer(listen),
            LoadKind::TcpRr(load::TcpRr {
                to: at,
                request_size: workload.request_size.unwrap_or(1),
                response_size: workload.response_size.unwrap_or(1),
                until: until(workload),
            }),
        ),
        _ => (
            LoadKind::UdpSink(listen),
            LoadKind::UdpFlood(load::UdpFlood {
                to: at,
                size: workload.size.unwrap_or(64),
                rate: workload.rate.unwrap_or(0),
                threads: workload.threads.unwrap_or(1),
                until: until(workload),
            }),
        ),
    };
    let server = own_server.then(|| LoadSpec {
        kind: server,
        cpus: Vec::new(),
        namespace: server_namespace,
    });
    let namespace = from(workload, resources)?.map(|place| place.namespace);
    Ok(Specs {
        server,
        load: LoadSpec {
            kind,
            cpus: workload.cpus.clone(),
            namespace,
        },
    })
}
