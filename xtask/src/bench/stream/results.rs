//! What the samples say: a table for each route, and the goals.
use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::sample::{Cost, Sample};
use super::{Options, Route, Variant};
use crate::bench::Findings;
use crate::bench::goal::{Goal, cell, ratio_cell};
use crate::bench::statistics::{median, spread};

/// How much of a stream's throughput tracing may take, in percent.
const MOST_FALL_PERCENT: f64 = 5.0;
/// So many programs are printed; JSON has all.
const DEAREST: usize = 8;

/// All samples.
#[derive(Debug)]
pub(super) struct Results {
    rounds: u32,
    iterations: u32,
    runtime_s: u32,
    sample: u32,
    is_virtual: bool,
    routes: BTreeMap<Route, Samples>,
}

/// Those of a route.
#[derive(Debug, Default)]
struct Samples {
    /// By variant, with the round.
    streams: BTreeMap<Variant, Vec<(u32, Sample)>>,
    /// Of the run in which the kernel timed tracer's programs.
    costs: Vec<Cost>,
}

/// One variant's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Line {
    variant: Variant,
    megabits_per_second: Option<f64>,
    /// Of the same round without tracing: median, smallest, largest.
    ratio: Option<[f64; 3]>,
    /// The same of what arrived for each second of the emulator's CPU time.
    ratio_per_cpu_second: Option<[f64; 3]>,
    /// Packets that tracer lost, of all rounds, in percent.
    lost_percent: Option<f64>,
}

impl Results {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            rounds: options.rounds,
            iterations: options.iterations,
            runtime_s: options.runtime,
            sample: options.sample,
            is_virtual: options.in_lab.made.is_virtual(),
            routes: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, route: Route, variant: Variant, round: u32, sample: Sample) {
        let samples = self.routes.entry(route).or_default();
        let streams = samples.streams.entry(variant).or_default();
        streams.push((round, sample));
    }

    pub(super) fn add_timed(&mut self, route: Route, sample: Sample) {
        self.routes.entry(route).or_default().costs = sample.costs;
    }
}

impl Findings for Results {
    /// How much of the throughput tracer may take, for each route.
    fn goals(&self) -> Vec<Goal> {
        let goal = |(route, samples): (&Route, &Samples)| {
            let ratio = samples.line(Variant::Tracer).ratio;
            Goal {
                text: format!(
                    "{}: tracer: throughput falls by no more than {MOST_FALL_PERCENT}%",
                    route.name()
                ),
                value: ratio.map(|[median, ..]| (1.0 - median) * 100.0),
                limit: Some(MOST_FALL_PERCENT),
                decimals: 1,
            }
        };
        self.routes.iter().map(goal).collect()
    }

    fn to_json(&self) -> Result<Value> {
        let mut routes = Vec::new();
        for (route, samples) in &self.routes {
            let lines = serde_json::to_value(samples.lines()).context("the results are no JSON")?;
            let costs = serde_json::to_value(&samples.costs).context("the costs are no JSON")?;
            routes.push(json!({"route": route.name(), "variants": lines, "costs": costs}));
        }
        let goals: Vec<Value> = self.goals().iter().map(Goal::to_json).collect();
        Ok(json!({
            "schema": "tracer.bench.stream/1",
            "rounds": self.rounds,
            "iterations": self.iterations,
            "runtime_s": self.runtime_s,
            "sample": self.sample,
            "virtual_time": self.is_virtual,
            "routes": routes,
            "goals": goals,
        }))
    }
}

impl Samples {
    fn of(&self, variant: Variant) -> impl Iterator<Item = &(u32, Sample)> {
        self.streams.get(&variant).into_iter().flatten()
    }

    /// A figure against that of no tracing in the same round.
    fn ratio(&self, variant: Variant, figure: impl Fn(&Sample) -> Option<f64>) -> Option<[f64; 3]> {
        let none: BTreeMap<u32, f64> = self
            .of(Variant::None)
            .filter_map(|(round, sample)| Some((*round, figure(sample)?)))
            .collect();
        let ratio = |(round, sample): &(u32, Sample)| Some(figure(sample)? / none.get(round)?);
        spread(&self.of(variant).filter_map(ratio).collect::<Vec<f64>>())
    }

    fn line(&self, variant: Variant) -> Line {
        let rates: Vec<f64> = self
            .of(variant)
            .map(|(_, sample)| sample.bits_per_second / 1e6)
            .collect();
        let lost = self.of(variant).filter_map(|(_, sample)| sample.lost);
        let lost = lost.reduce(|a, b| (a.0 + b.0, a.1 + b.1));
        Line {
            variant,
            megabits_per_second: median(&rates),
            ratio: self.ratio(variant, |sample| Some(sample.bits_per_second)),
            ratio_per_cpu_second: self.ratio(variant, |sample| sample.bits_per_cpu_second),
            lost_percent: lost.map(|(lost, all)| lost as f64 / all.max(1) as f64 * 100.0),
        }
    }

    fn lines(&self) -> Vec<Line> {
        self.streams
            .keys()
            .map(|variant| self.line(*variant))
            .collect()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            iterations,
            runtime_s,
            sample,
            is_virtual,
            routes,
        } = self;
        let (to, ratios) = if *is_virtual {
            let to = "guest A (vif) and Dom0 (passthrough), in virtual time";
            (to, "of the throughput")
        } else {
            let ratios =
                "of the throughput, and of what arrives for each second of the emulator's CPU time";
            ("the peer host", ratios)
        };
        writeln!(
            f,
            "TCP stream from the guest B to {to}, emulated:\n\
             {rounds} rounds, the median of {iterations} streams of {runtime_s} s a run. Ratios are to no tracing in the same\n\
             round, {ratios}.\n\
             tracer-sampling follows one in {sample} packets.\n"
        )?;
        for (route, samples) in routes {
            writeln!(
                f,
                "{:<16} {:>8} {:>23} {:>23} {:>7}",
                route.name(),
                "Mbit/s",
                "ratio (min..max)",
                "per CPU s (min..max)",
                "lost %"
            )?;
            for line in samples.lines() {
                writeln!(
                    f,
                    "{:<16} {:>8} {:>23} {:>23} {:>7}",
                    line.variant.name(),
                    cell(line.megabits_per_second, 1),
                    ratio_cell(line.ratio),
                    ratio_cell(line.ratio_per_cpu_second),
                    cell(line.lost_percent, 2)
                )?;
            }
            writeln!(f)?;
            for cost in &samples.costs {
                write_cost(f, cost)?;
            }
        }
        for goal in self.goals() {
            writeln!(f, "{goal}")?;
        }
        Ok(())
    }
}

fn write_cost(f: &mut fmt::Formatter<'_>, cost: &Cost) -> fmt::Result {
    writeln!(
        f,
        "  BPF in {}, timed by the kernel: {:.0} ns a packet of {}, {:.1}% of the time",
        cost.domain,
        cost.bpf_ns_per_packet,
        cost.packets,
        cost.bpf_share_of_time * 100.0
    )?;
    for program in cost.programs.iter().take(DEAREST) {
        writeln!(
            f,
            "    {:<22} {:>6.0} ns a packet, {:>5.2} runs",
            program.name, program.ns_per_packet, program.runs_per_packet
        )?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stream::sample::Program;

    fn sample(megabits: f64, lost: Option<(u64, u64)>) -> Sample {
        Sample {
            bits_per_second: megabits * 1e6,
            bits_per_cpu_second: Some(3e6),
            lost,
            costs: Vec::new(),
        }
    }

    /// A machine that is twice as fast in the second round, and a tracer that takes a tenth in each.
    fn results() -> Results {
        let mut results = Results {
            rounds: 2,
            iterations: 3,
            runtime_s: 2,
            sample: 16,
            is_virtual: false,
            routes: BTreeMap::new(),
        };
        for (round, speed) in [(0, 100.0), (1, 200.0)] {
            let none = sample(speed, None);
            results.add(Route::Vif, Variant::None, round, none);
            let traced = sample(speed * 0.9, Some((1, 100)));
            results.add(Route::Vif, Variant::Tracer, round, traced);
        }
        results
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let results = results();
        let line = results.routes[&Route::Vif].line(Variant::Tracer);
        assert_eq!(line.megabits_per_second, Some(135.0));
        assert_eq!(line.ratio, Some([0.9; 3]));
        assert_eq!(line.ratio_per_cpu_second, Some([1.0; 3]));
        assert_eq!(line.lost_percent, Some(1.0));
        assert_eq!(
            results.routes[&Route::Vif].line(Variant::Bpftrace).ratio,
            None
        );
    }

    #[test]
    fn a_fall_of_more_than_the_limit_misses_the_goal() {
        let mut results = results();
        assert!(!results.goals()[0].is_met(), "{results}");
        let goal = results.goals()[0].to_string();
        assert_eq!(
            goal,
            "FAIL  vif: tracer: throughput falls by no more than 5%: 10.0 of 5.0"
        );
        for round in 0..2 {
            results.add(Route::Passthrough, Variant::None, round, sample(10.0, None));
            results.add(
                Route::Passthrough,
                Variant::Tracer,
                round,
                sample(9.6, None),
            );
        }
        assert!(results.goals()[1].is_met(), "{results}");
    }

    #[test]
    fn json_has_the_figures_of_the_tables() {
        let mut results = results();
        let mut timed = sample(50.0, None);
        timed.costs = vec![Cost {
            domain: "B".into(),
            packets: 10,
            bpf_ns_per_packet: 900.0,
            bpf_share_of_time: 0.03,
            programs: vec![Program {
                name: "net_queue".into(),
                runs_per_packet: 1.0,
                ns_per_packet: 900.0,
            }],
        }];
        results.add_timed(Route::Vif, timed);
        let json = results.to_json().unwrap();
        assert_eq!(json["routes"][0]["route"], "vif");
        assert_eq!(json["routes"][0]["variants"][1]["ratio"][0], 0.9);
        assert_eq!(
            json["routes"][0]["costs"][0]["programs"][0]["name"],
            "net_queue"
        );
        assert_eq!(json["goals"][0]["met"], false);
        let text = results.to_string();
        assert!(
            text.contains("900 ns a packet of 10, 3.0% of the time"),
            "{text}"
        );
    }
}
