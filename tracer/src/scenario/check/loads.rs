//! Loads: which fields go together, what they refer to, ranges.

use crate::{
    load::LONGEST_THINK_NS,
    scenario::{
        check::{Checked, problem, resources::refer},
        quantity::Time,
        types::{ResourceKind, Scenario, Workload, WorkloadKind},
    },
};

pub(super) fn check_load(
    scenario: &Scenario,
    at: &str,
    load: &Workload,
    measured: bool,
) -> Checked {
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
    for (name, domain) in [("domain", &load.domain), ("server", &load.server)] {
        check_domain(scenario, &format!("{at}.{name}"), domain.as_deref())?;
    }
    if load.server.is_some() && load.to.as_ref().is_some_and(|to| to.starts_with('@')) {
        return Err(problem(
            format!("{at}.server"),
            "goes with an address: at the end of a resource the other side runs anyway",
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
    check_local(scenario, at, load)?;
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

fn check_domain(scenario: &Scenario, field: &str, domain: Option<&str>) -> Checked {
    let names = || scenario.domain.iter().map(|domain| domain.name.as_str());
    match domain.filter(|domain| !names().any(|name| name == *domain)) {
        Some(domain) => {
            let known: Vec<&str> = names().collect();
            Err(problem(
                field,
                format!(
                    "there is no domain {domain:?}; allowed: {}",
                    known.join(", ")
                ),
            ))
        }
        None => Ok(()),
    }
}

/// Resources are made where the tracer runs.
fn check_local(scenario: &Scenario, at: &str, load: &Workload) -> Checked {
    // Without a name the only domain is meant.
    let is_meant = |name: &String| load.domain.as_ref().is_none_or(|meant| meant == name);
    let mut domains = scenario.domain.iter();
    let is_elsewhere = domains.any(|domain| is_meant(&domain.name) && domain.agent != "local");
    let texts = [
        ("target", &load.target),
        ("from", &load.from),
        ("to", &load.to),
    ];
    let mut used = texts
        .iter()
        .filter_map(|(name, text)| Some((name, text.as_ref()?)));
    match used.find(|(_, text)| text.starts_with('@')) {
        Some((name, text)) if is_elsewhere => Err(problem(
            format!("{at}.{name}"),
            format!(
                "{text} is made where the tracer runs, and this load runs elsewhere; name a path there"
            ),
        )),
        _ => Ok(()),
    }
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
    match load.think_time.map(|time| time.0) {
        Some(time) if time.is_zero() || time.as_nanos() > LONGEST_THINK_NS.into() => {
            return out("think_time", time.as_secs(), "more than 0, to 60min");
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
