//! Loads: which fields go together, what they refer to, ranges.

use std::{net::IpAddr, ops::RangeInclusive};

use crate::scenario::{
    check::{
        resources::refer,
        rule::{Checked, problem},
    },
    limits::{self, LONGEST_THINK_NS, MOST_BYTES, MOST_RATE, MOST_THREADS, MOST_UDP_BYTES},
    quantity::Time,
    types::{ResourceKind, Scenario, Workload, WorkloadKind},
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
    check_destination(at, load)?;
    check_ranges(at, load)?;
    if measured {
        check_end(at, load, fields)?;
    }
    Ok(())
}

/// A measured load ends by itself.
fn check_end(at: &str, load: &Workload, fields: &[&str]) -> Checked {
    let ends = load.count.is_some() || load.duration.is_some();
    if ends || load.kind == WorkloadKind::Command {
        return Ok(());
    }
    let keys: Vec<&str> = ["duration", "count"]
        .into_iter()
        .filter(|key| fields.contains(key))
        .collect();
    Err(problem(
        format!("{at}.{}", keys.first().unwrap_or(&"duration")),
        format!("the measured workload needs a {}", keys.join(" or a ")),
    ))
}

/// An address that a load sends to: nobody else's, and with something behind it that answers.
fn check_destination(at: &str, load: &Workload) -> Checked {
    let Some(to) = load.to.as_deref().filter(|to| !to.starts_with('@')) else {
        return Ok(());
    };
    let field = format!("{at}.to");
    let address: IpAddr = to.parse().map_err(|_| {
        problem(
            field.as_str(),
            format!("{to:?} is neither an address, such as 10.0.0.2, nor the end of a resource, such as @link.right"),
        )
    })?;
    if !limits::is_ours(address) {
        return Err(problem(
            field,
            format!(
                "{to} may be somebody else's; allowed: loopback, private and link-local addresses"
            ),
        ));
    }
    // The other side of a UDP flood need not answer.
    if load.kind != WorkloadKind::UdpFlood && !address.is_loopback() && load.server.is_none() {
        return Err(problem(
            format!("{at}.server"),
            format!(
                "is missing: which of the domains has the address {to}? The load's other side is started there"
            ),
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

/// A field, its value if it is given, the least and the most, and how these are said.
type Range = (
    &'static str,
    fn(&Workload) -> Option<u64>,
    RangeInclusive<u64>,
    &'static str,
);

const RANGES: [Range; 11] = [
    (
        "block_size",
        |load| load.block_size.map(|size| size.0),
        1..=MOST_BYTES,
        "1B to 64MiB",
    ),
    (
        "message_size",
        |load| load.message_size.map(|size| size.0),
        1..=MOST_BYTES,
        "1B to 64MiB",
    ),
    (
        "request_size",
        |load| load.request_size.map(u64::from),
        1..=MOST_BYTES,
        "1 to 67108864 bytes",
    ),
    (
        "response_size",
        |load| load.response_size.map(u64::from),
        1..=MOST_BYTES,
        "1 to 67108864 bytes",
    ),
    (
        "size",
        |load| load.size.map(u64::from),
        8..=MOST_UDP_BYTES as u64,
        "8 to 65507 bytes",
    ),
    (
        "rate",
        |load| load.rate,
        0..=MOST_RATE,
        "0 to 1000000000 packets a second",
    ),
    (
        "threads",
        |load| load.threads.map(u64::from),
        1..=MOST_THREADS as u64,
        "1 to 1024",
    ),
    ("count", |load| load.count, 1..=u64::MAX, "at least 1"),
    (
        "port",
        |load| load.port.map(u64::from),
        1..=65_535,
        "1 to 65535",
    ),
    (
        "think_time",
        |load| load.think_time.map(ns),
        1..=LONGEST_THINK_NS,
        "more than 0ns, to 60min",
    ),
    (
        "duration",
        |load| load.duration.map(ns),
        1..=u64::MAX,
        "more than 0ns",
    ),
];

fn ns(time: Time) -> u64 {
    u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)
}

fn check_ranges(at: &str, load: &Workload) -> Checked {
    let out = |name: &str, value: u64, allowed: &str| {
        Err(problem(
            format!("{at}.{name}"),
            format!("is {value}; allowed: {allowed}"),
        ))
    };
    for (name, value, range, allowed) in RANGES {
        if let Some(value) = value(load).filter(|value| !range.contains(value)) {
            return out(name, value, allowed);
        }
    }
    match load.block_size.map(|size| size.0) {
        Some(size) if load.direct == Some(true) && size % 512 != 0 => {
            out("block_size", size, "a multiple of 512 with direct = true")
        }
        _ => Ok(()),
    }
}
