//! What a report says of each domain: losses, clock, joins, costs.

use std::fmt::Write as _;

use crate::{
    document::DomainReport,
    units::{bytes, percent, time},
};

/// Appends it.
pub(super) fn write_domain(out: &mut String, domain: &DomainReport) -> std::fmt::Result {
    writeln!(out)?;
    writeln!(
        out,
        "{}: {} spans, {} lost ({}), {} incomplete, {} out of order, {} in flight at the end, {} outside the iterations",
        domain.name,
        domain.spans,
        domain.lost,
        percent(domain.lost_share),
        domain.incomplete,
        domain.disordered,
        domain.in_flight,
        domain.outside
    )?;
    writeln!(
        out,
        "  on: Linux {} · Xen role {} · {} CPUs · clock source {}",
        domain.host.kernel, domain.host.xen_role, domain.host.cpus, domain.host.clocksource
    )?;
    write_counted(out, domain)?;
    if let Some(stolen) = domain.counters.get("stolen_ns").filter(|ns| **ns != 0) {
        writeln!(
            out,
            "  hypervisor: during the iterations its virtual CPUs wanted to run and did not for {}",
            time(*stolen as f64)
        )?;
    }
    let cost = &domain.cost;
    if domain.bindings.is_empty() && domain.unavailable.is_empty() {
        return writeln!(out, "  nothing is traced there");
    }
    write!(
        out,
        "  cost: attached in {}, {} of records",
        time(cost.attach_ns as f64),
        bytes(cost.record_bytes as f64)
    )?;
    if cost.measured {
        write!(
            out,
            ", {:.0} ns of BPF a request in {:.1} program runs (about 50 ns of each is the measuring itself)",
            cost.bpf_ns_per_request,
            cost.bpf_runs as f64 * cost.bpf_ns_per_request / (cost.bpf_run_ns.max(1) as f64)
        )?;
    }
    writeln!(out)?;
    write_join(out, domain)?;
    for missing in &domain.unavailable {
        let point = missing.point.as_deref().unwrap_or(&missing.role);
        writeln!(
            out,
            "  not traced: {point} ({}): {}",
            missing.role,
            missing.why.join("; ")
        )?;
    }
    Ok(())
}

/// What was counted by the way, and which packets were followed.
fn write_counted(out: &mut String, domain: &DomainReport) -> std::fmt::Result {
    let counted: Vec<String> = domain
        .counters
        .iter()
        .filter(|(name, count)| {
            **count != 0 && !matches!(name.as_str(), "emitted" | "aggregated" | "stolen_ns")
        })
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !counted.is_empty() {
        writeln!(out, "  counted: {}", counted.join(", "))?;
    }
    if domain.sample > 1 {
        writeln!(
            out,
            "  of the packets one in {} is followed, chosen by its flow and number, the same in every domain",
            domain.sample
        )?;
    }
    Ok(())
}

fn write_join(out: &mut String, domain: &DomainReport) -> std::fmt::Result {
    let clock = &domain.clock;
    let error = clock.error_ns.map_or("-".into(), time);
    let Some(join) = &domain.join else {
        if clock.error_ns.is_some() {
            writeln!(
                out,
                "  clock: CLOCK_MONOTONIC, tied to the TSC within {error}"
            )?;
        }
        return Ok(());
    };
    let whole = join.joined + join.unjoined.values().sum::<u64>();
    write!(
        out,
        "  joined with {}: {} of {whole} requests ({})",
        join.backend,
        join.joined,
        percent(join.joined as f64 / whole.max(1) as f64)
    )?;
    for (why, count) in &join.unjoined {
        write!(out, "; {count} {why}")?;
    }
    if join.only_backend > 0 {
        write!(
            out,
            "; {} more seen by {} only (joined to others by the guest, or dropped)",
            join.only_backend, join.backend
        )?;
    }
    writeln!(
        out,
        "\n  clock: on {}'s within {error}, by {}; {} of {} requests break causality beyond that",
        join.backend, clock.method, clock.violations, clock.checked
    )
}
