//! What the benchmark reads of a run's report.
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracer_analysis::Report;
use tracer_analysis::document::DomainReport;

use crate::bench::statistics::median;

/// A run of some iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Of the iteration in the middle, where the stream arrives.
    pub(super) bits_per_second: f64,
    /// For each second of the emulator's CPU time, over all iterations; none in virtual time.
    pub(super) bits_per_cpu_second: Option<f64>,
    /// Packets that tracer lost, and all that it should have seen; none without tracer.
    pub(super) lost: Option<(u64, u64)>,
    /// Where the kernel timed the programs, by domain.
    pub(super) costs: Vec<Cost>,
}

/// What the programs took in a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) domain: String,
    /// Packets on record, of both directions.
    pub(super) packets: u64,
    pub(super) bpf_ns_per_packet: f64,
    /// Of the time of the iterations, on however many CPUs.
    pub(super) bpf_share_of_time: f64,
    /// The dearest first.
    pub(super) programs: Vec<Program>,
}

/// A program's part of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) runs_per_packet: f64,
    pub(super) ns_per_packet: f64,
}

impl Sample {
    /// Reads a report; `bits_per_cpu_second` was metered beside the run.
    ///
    /// # Errors
    /// When it has no stream in it.
    pub(super) fn of(report: &Report, bits_per_cpu_second: Option<f64>) -> Result<Self> {
        let iterations = &report.iterations;
        let rates = iterations.iter().filter_map(|iteration| {
            let rate = iteration.extra.get("bits_per_second");
            rate.and_then(Value::as_f64)
        });
        let rates: Vec<f64> = rates.collect();
        let bits_per_second = median(&rates)
            .filter(|rate| *rate > 0.0)
            .context("the report has no iterations[].extra.bits_per_second: no byte arrived")?;
        let time_ns: f64 = iterations
            .iter()
            .map(|iteration| iteration.duration_ns as f64)
            .sum();
        let domains = report.domains.iter();
        let traced = domains.filter(|domain| !domain.bindings.is_empty());
        let lost = traced
            .clone()
            .map(|domain| (domain.lost, domain.lost + domain.spans));
        let costs = traced.filter_map(|domain| Cost::of(domain, time_ns));
        Ok(Self {
            bits_per_second,
            bits_per_cpu_second,
            lost: lost.reduce(|a, b| (a.0 + b.0, a.1 + b.1)),
            costs: costs.collect(),
        })
    }
}

impl Cost {
    /// A domain's, if the kernel timed its programs.
    fn of(domain: &DomainReport, time_ns: f64) -> Option<Self> {
        let cost = &domain.cost;
        if !cost.measured {
            return None;
        }
        let packets = domain.spans;
        let per_packet = |figure: u64| figure as f64 / packets.max(1) as f64;
        let programs = cost.programs.iter().map(|program| Program {
            name: program.name.clone(),
            runs_per_packet: per_packet(program.runs),
            ns_per_packet: per_packet(program.run_ns),
        });
        let mut programs: Vec<Program> = programs.collect();
        programs.sort_by(|a, b| b.ns_per_packet.total_cmp(&a.ns_per_packet));
        Some(Self {
            domain: domain.name.clone(),
            packets,
            bpf_ns_per_packet: per_packet(cost.bpf_run_ns),
            bpf_share_of_time: cost.bpf_run_ns as f64 / time_ns.max(1.0),
            programs,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracer_analysis::document::{self, Iteration, ProgramFigures};
    use tracer_analysis::recording::bindings::Planned;

    use super::*;

    /// Of as many iterations, and two domains, one of which is traced.
    fn report(rates: &[f64]) -> Report {
        let iteration = |rate: &f64| Iteration {
            duration_ns: 1_000_000,
            extra: [("bits_per_second".into(), json!(rate))].into(),
            ..Iteration::default()
        };
        let program = |name: &str, runs, run_ns| ProgramFigures {
            name: name.into(),
            runs,
            run_ns,
        };
        let binding = Planned {
            role: String::new(),
            point: None,
            program: "net_queue".into(),
            binding: "fentry".into(),
            symbol: String::new(),
            module: None,
        };
        let traced = DomainReport {
            name: "B".into(),
            bindings: vec![binding],
            spans: 100,
            lost: 3,
            cost: document::Cost {
                measured: true,
                bpf_run_ns: 60_000,
                programs: vec![
                    program("net_queue", 100, 20_000),
                    program("sched_switch", 300, 40_000),
                ],
                ..document::Cost::default()
            },
            ..DomainReport::default()
        };
        let peer = DomainReport {
            name: "peer".into(),
            ..DomainReport::default()
        };
        Report {
            iterations: rates.iter().map(iteration).collect(),
            domains: vec![traced, peer],
            ..Report::default()
        }
    }

    #[test]
    fn the_rate_is_that_of_the_iteration_in_the_middle() {
        let sample = Sample::of(&report(&[9e6, 1e6, 2e6]), Some(4e6)).unwrap();
        assert_eq!(
            (sample.bits_per_second, sample.bits_per_cpu_second),
            (2e6, Some(4e6))
        );
        assert_eq!(sample.lost, Some((3, 103)));
        let error = Sample::of(&report(&[]), None).unwrap_err().to_string();
        assert!(error.contains("bits_per_second"), "{error}");
    }

    #[test]
    fn programs_are_told_by_packet_the_dearest_first() {
        let sample = Sample::of(&report(&[1e6, 1e6]), None).unwrap();
        let [cost] = sample.costs.as_slice() else {
            panic!("{sample:?}");
        };
        assert_eq!((cost.packets, cost.bpf_ns_per_packet), (100, 600.0));
        assert_eq!(cost.bpf_share_of_time, 0.03);
        assert_eq!(cost.programs[0].name, "sched_switch");
        assert_eq!(cost.programs[0].runs_per_packet, 3.0);
        assert_eq!(cost.programs[0].ns_per_packet, 400.0);
    }

    #[test]
    fn without_programs_nothing_is_lost_and_nothing_costs() {
        let mut report = report(&[1e6]);
        report.domains[0].bindings.clear();
        let sample = Sample::of(&report, None).unwrap();
        assert_eq!((sample.lost, sample.costs.len()), (None, 0));
    }
}
