//! What a scenario's types alone cannot say: ranges, references, fields that go together.

use crate::{
    agent::address::{ALLOWED, Address},
    datapath::{DATAPATHS, datapath},
    scenario::{
        error::Problem,
        quantity::Time,
        types::{Domain, ResourceKind, Scenario, Workload, WorkloadKind},
    },
};

type Checked = Result<(), Problem>;

fn problem(field: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        field: field.into(),
        message: message.into(),
    }
}

pub(super) fn check(scenario: &Scenario) -> Checked {
    if scenario.schema != 1 {
        return Err(problem(
            "schema",
            format!("is {}; this tracer knows schema 1", scenario.schema),
        ));
    }
    check_name("name", &scenario.name)?;
    check_domains(scenario)?;
    check_resources(scenario)?;
    check_load(scenario, "workload", &scenario.workload, true)?;
    for (index, load) in scenario.background.iter().enumerate() {
        check_load(scenario, &format!("background.{index}"), load, false)?;
    }
    check_run(scenario)?;
    check_probes(scenario)?;
    check_thresholds(scenario)
}

/// Names become parts of file, namespace and device names.
fn check_name(field: &str, name: &str) -> Checked {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(good) {
        return Err(problem(
            field,
            format!("is {name:?}; allowed are 1 to 40 letters, digits, '-' and '_'"),
        ));
    }
    Ok(())
}

fn check_domains(scenario: &Scenario) -> Checked {
    if scenario.domain.is_empty() {
        return Err(problem("domain", "there must be at least one"));
    }
    for (index, domain) in scenario.domain.iter().enumerate() {
        check_name(&format!("domain.{index}.name"), &domain.name)?;
        if scenario.domain[..index]
            .iter()
            .any(|other| other.name == domain.name)
        {
            return Err(problem(
                format!("domain.{index}.name"),
                format!("{:?} is there twice", domain.name),
            ));
        }
        if let Err(error) = domain.agent.parse::<Address>() {
            return Err(problem(format!("domain.{index}.agent"), error));
        }
        if let Some(datapaths) = &domain.datapaths {
            check_datapaths(&format!("domain.{index}.datapaths"), datapaths)?;
        }
    }
    let local = |domain: &&Domain| domain.agent == "local";
    if let Some(second) = scenario.domain.iter().filter(local).nth(1) {
        return Err(problem(
            "domain",
            format!(
                "{:?} is local, too; a domain elsewhere needs an agent: {ALLOWED}",
                second.name
            ),
        ));
    }
    Ok(())
}

fn check_datapaths(field: &str, datapaths: &[String]) -> Checked {
    let known: Vec<&str> = DATAPATHS.iter().map(|path| path.name).collect();
    match datapaths
        .iter()
        .enumerate()
        .find(|(_, name)| datapath(name).is_none())
    {
        Some((index, name)) => Err(problem(
            format!("{field}.{index}"),
            format!(
                "there is no datapath {name:?}; allowed: {}",
                known.join(", ")
            ),
        )),
        None => Ok(()),
    }
}

fn check_resources(scenario: &Scenario) -> Checked {
    for (index, resource) in scenario.resource.iter().enumerate() {
        let field = |name: &str| format!("resource.{index}.{name}");
        check_name(&field("name"), &resource.name)?;
        if scenario.resource[..index]
            .iter()
            .any(|other| other.name == resource.name)
        {
            return Err(problem(
                field("name"),
                format!("{:?} is there twice", resource.name),
            ));
        }
        match resource.kind {
            ResourceKind::Loop | ResourceKind::File => {
                let size = resource
                    .size
                    .ok_or_else(|| problem(field("size"), "is missing"))?;
                if size.0 < 4096 || size.0 % 512 != 0 {
                    return Err(problem(
                        field("size"),
                        format!("is {} bytes; allowed: a multiple of 512 from 4096", size.0),
                    ));
                }
                if resource.left.is_some() || resource.right.is_some() || resource.mtu.is_some() {
                    return Err(problem(
                        field("kind"),
                        "left, right and mtu belong to kind = \"veth\"",
                    ));
                }
            }
            ResourceKind::Veth => check_veth(resource, &field)?,
        }
    }
    Ok(())
}

fn check_veth(
    resource: &crate::scenario::types::Resource,
    field: &impl Fn(&str) -> String,
) -> Checked {
    if resource.size.is_some() || resource.directory.is_some() {
        return Err(problem(
            field("kind"),
            "size and directory belong to kind = \"loop\" or \"file\"",
        ));
    }
    for (side, end) in [("left", &resource.left), ("right", &resource.right)] {
        let end = end
            .as_ref()
            .ok_or_else(|| problem(field(side), "is missing"))?;
        let well_formed = end
            .address
            .split_once('/')
            .is_some_and(|(address, prefix)| {
                address.parse::<std::net::IpAddr>().is_ok()
                    && prefix.parse::<u8>().is_ok_and(|p| p <= 128)
            });
        if !well_formed {
            return Err(problem(
                format!("{}.address", field(side)),
                format!(
                    "is {:?}; allowed: an address and a prefix length, such as \"10.90.0.1/24\"",
                    end.address
                ),
            ));
        }
    }
    match resource.mtu {
        Some(mtu) if !(68..=65_535).contains(&mtu) => Err(problem(
            field("mtu"),
            format!("is {mtu}; allowed: 68 to 65535"),
        )),
        _ => Ok(()),
    }
}

fn check_load(scenario: &Scenario, at: &str, load: &Workload, measured: bool) -> Checked {
    let (required, fields) = load.kind.fields();
    for (name, given) in load.given() {
        if given && !fields.contains(&name) {
            return Err(problem(
                format!("{at}.{name}"),
                format!(
                    "does not belong to this kind of load; allowed: kind, domain, cpus, {}",
                    fields.join(", ")
                ),
            ));
        }
        if !given && fields[..required].contains(&name) {
            return Err(problem(format!("{at}.{name}"), "is missing"));
        }
    }
    if let Some(domain) = &load.domain
        && !scenario.domain.iter().any(|other| other.name == *domain)
    {
        let known: Vec<&str> = scenario.domain.iter().map(|d| d.name.as_str()).collect();
        return Err(problem(
            format!("{at}.domain"),
            format!(
                "there is no domain {domain:?}; allowed: {}",
                known.join(", ")
            ),
        ));
    }
    if load.domain.is_none() && scenario.domain.len() > 1 {
        return Err(problem(
            format!("{at}.domain"),
            "is missing: which of the domains does it run in?",
        ));
    }
    if let Some(cpu) = load.cpus.iter().find(|cpu| **cpu > 4095) {
        return Err(problem(
            format!("{at}.cpus"),
            format!("CPU {cpu}; allowed: 0 to 4095"),
        ));
    }
    check_references(scenario, at, load)?;
    check_ranges(at, load)?;
    if measured
        && load.kind != WorkloadKind::Command
        && load.count.is_none()
        && load.duration.is_none()
    {
        return Err(problem(
            format!("{at}.duration"),
            "the measured workload needs a count or a duration",
        ));
    }
    Ok(())
}

fn check_references(scenario: &Scenario, at: &str, load: &Workload) -> Checked {
    let disk = [("target", &load.target)];
    let net = [("from", &load.from), ("to", &load.to)];
    for (name, value) in disk {
        if let Some(reference) = value.as_ref().and_then(|value| value.strip_prefix('@')) {
            refer(
                scenario,
                &format!("{at}.{name}"),
                reference,
                &[ResourceKind::Loop, ResourceKind::File],
            )?;
        }
    }
    for (name, value) in net {
        let Some(reference) = value.as_ref().and_then(|value| value.strip_prefix('@')) else {
            continue;
        };
        let field = format!("{at}.{name}");
        let (resource, side) = reference.split_once('.').unwrap_or((reference, ""));
        refer(scenario, &field, resource, &[ResourceKind::Veth])?;
        if side != "left" && side != "right" {
            return Err(problem(
                field,
                format!("@{reference} names no end; allowed: @{resource}.left, @{resource}.right"),
            ));
        }
    }
    Ok(())
}

fn refer(scenario: &Scenario, field: &str, name: &str, kinds: &[ResourceKind]) -> Checked {
    let fits = |resource: &&crate::scenario::types::Resource| kinds.contains(&resource.kind);
    if scenario
        .resource
        .iter()
        .filter(fits)
        .any(|resource| resource.name == name)
    {
        return Ok(());
    }
    let known: Vec<String> = scenario
        .resource
        .iter()
        .filter(fits)
        .map(|resource| format!("@{}", resource.name))
        .collect();
    let known = if known.is_empty() {
        "none is defined".into()
    } else {
        known.join(", ")
    };
    Err(problem(
        field,
        format!("there is no resource @{name} of a fitting kind; allowed: {known}"),
    ))
}

fn check_ranges(at: &str, load: &Workload) -> Checked {
    let out = |name: &str, value: u64, allowed: &str| {
        Err(problem(
            format!("{at}.{name}"),
            format!("is {value}; allowed: {allowed}"),
        ))
    };
    match load.block_size.map(|size| size.0) {
        Some(size) if size == 0 || size > 1 << 30 => return out("block_size", size, "1B to 1GiB"),
        Some(size) if load.direct == Some(true) && size % 512 != 0 => {
            return out("block_size", size, "a multiple of 512 with direct = true");
        }
        _ => {}
    }
    match load.message_size.map(|size| size.0) {
        Some(size) if size == 0 || size > 16 << 20 => {
            return out("message_size", size, "1B to 16MiB");
        }
        _ => {}
    }
    for (name, value) in [
        ("request_size", load.request_size),
        ("response_size", load.response_size),
    ] {
        match value {
            Some(size) if size == 0 || size > 16 << 20 => {
                return out(name, u64::from(size), "1 to 16777216 bytes");
            }
            _ => {}
        }
    }
    match load.size {
        Some(size) if !(8..=65_507).contains(&size) => {
            return out("size", u64::from(size), "8 to 65507 bytes");
        }
        _ => {}
    }
    match load.threads {
        Some(threads) if !(1..=256).contains(&threads) => {
            out("threads", u64::from(threads), "1 to 256")
        }
        _ if load.count == Some(0) => out("count", 0, "at least 1"),
        _ if load.port == Some(0) => out("port", 0, "1 to 65535"),
        _ if load.duration == Some(Time(std::time::Duration::ZERO)) => {
            out("duration", 0, "more than 0")
        }
        _ => Ok(()),
    }
}

fn check_run(scenario: &Scenario) -> Checked {
    let run = &scenario.run;
    if run.iterations == 0 || run.iterations > 100_000 {
        return Err(problem(
            "run.iterations",
            format!("is {}; allowed: 1 to 100000", run.iterations),
        ));
    }
    if run.warm_up > 100_000 {
        return Err(problem(
            "run.warm_up",
            format!("is {}; allowed: 0 to 100000", run.warm_up),
        ));
    }
    if run.timeout.0.is_zero() {
        return Err(problem("run.timeout", "is 0; allowed: more than 0"));
    }
    match (&run.read_before, &run.read_before_file) {
        (Some(_), None) => Err(problem(
            "run.read_before_file",
            "is missing: run.read_before needs a file to read",
        )),
        (None, Some(_)) => Err(problem(
            "run.read_before",
            "is missing: how much of run.read_before_file shall be read?",
        )),
        _ => Ok(()),
    }
}

fn check_probes(scenario: &Scenario) -> Checked {
    let probes = &scenario.probes;
    let known: Vec<&str> = DATAPATHS.iter().map(|path| path.name).collect();
    if probes.datapaths.is_empty() {
        return Err(problem(
            "probes.datapaths",
            format!("is empty; allowed: {}", known.join(", ")),
        ));
    }
    check_datapaths("probes.datapaths", &probes.datapaths)?;
    if !(4096..=1 << 30).contains(&probes.ring_buffer.0) {
        return Err(problem(
            "probes.ring_buffer",
            format!("is {} bytes; allowed: 4KiB to 1GiB", probes.ring_buffer.0),
        ));
    }
    if !(4..=1 << 22).contains(&probes.in_flight) {
        return Err(problem(
            "probes.in_flight",
            format!("is {}; allowed: 4 to 4194304", probes.in_flight),
        ));
    }
    if probes.sample == 0 {
        return Err(problem(
            "probes.sample",
            "is 0; allowed: 1 (every packet) or more (one in so many)",
        ));
    }
    if !(0.0..=100.0).contains(&probes.max_lost_percent) {
        return Err(problem(
            "probes.max_lost_percent",
            format!("is {}; allowed: 0 to 100", probes.max_lost_percent),
        ));
    }
    if probes.slowest > 10_000 {
        return Err(problem(
            "probes.slowest",
            format!("is {}; allowed: 0 to 10000", probes.slowest),
        ));
    }
    check_followed(scenario)
}

/// Devices and ports to follow.
fn check_followed(scenario: &Scenario) -> Checked {
    let probes = &scenario.probes;
    for (index, device) in probes.devices.iter().flatten().enumerate() {
        if let Some(name) = device.strip_prefix('@') {
            refer(
                scenario,
                &format!("probes.devices.{index}"),
                name,
                &[ResourceKind::Loop, ResourceKind::File],
            )?;
        }
    }
    match &probes.ports {
        Some(ports) if ports.len() > tracer_common::settings::MAX_PORTS => Err(problem(
            "probes.ports",
            format!(
                "has {} ports; allowed: up to {}",
                ports.len(),
                tracer_common::settings::MAX_PORTS
            ),
        )),
        _ => Ok(()),
    }
}

fn check_thresholds(scenario: &Scenario) -> Checked {
    for (index, threshold) in scenario.threshold.iter().enumerate() {
        if !scenario.probes.datapaths.contains(&threshold.datapath) {
            return Err(problem(
                format!("threshold.{index}.datapath"),
                format!(
                    "{:?} is not traced; allowed: {}",
                    threshold.datapath,
                    scenario.probes.datapaths.join(", ")
                ),
            ));
        }
    }
    Ok(())
}
