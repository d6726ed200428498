//! The tracer itself, as a user runs it: a generated scenario whose workload is fio.
//!
//! All that the benchmark knows of the tracer's scenario format and report is in this file.
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tracer_analysis::Report;

use super::fio::{self, Load};
use super::overhead::Sample;
use super::programs;
use crate::{report, shell};

/// Exit codes of runs that were completed: well, over a threshold, too much lost.
const COMPLETED: [i32; 3] = [0, 1, 2];

/// One run with the tracer attached.
///
/// With `timed`, the kernel's account of the programs is written down by the workload itself, between
/// the end of fio and the tracer's detaching.
pub(super) fn measure(
    tracer: &Path,
    mode: &str,
    load: &Load,
    folder: &Path,
    timed: bool,
) -> Result<Sample> {
    let (fio_result, list) = (folder.join("fio.json"), folder.join("programs.json"));
    let workload = workload(load, &fio_result, timed.then_some(list.as_path()));
    let scenario = folder.join("scenario.toml");
    fs::write(&scenario, scenario_text(mode, load, &workload))
        .with_context(|| format!("{} could not be written", scenario.display()))?;
    let before = if timed {
        programs::loaded()?
    } else {
        Vec::new()
    };
    let run = folder.join("run");
    run_tracer(tracer, &scenario, &run)?;
    let bpf = if timed {
        Some(programs::cost_since(
            &before,
            &programs::read(&list)?,
            "tracer",
        ))
    } else {
        None
    };
    let outcome = Outcome::of(&report::of_run(tracer, &run)?)?;
    Ok(Sample {
        throughput: fio::read_result(&fio_result)?,
        lost: Some(outcome.lost),
        unseen: Some(outcome.unseen),
        attach_ms: Some(outcome.attach_ms),
        bpf,
    })
}

fn run_tracer(tracer: &Path, scenario: &Path, run: &Path) -> Result<()> {
    let mut command = shell::command(tracer);
    command.arg("run").arg(scenario).arg("--out").arg(run);
    let output = command
        .output()
        .with_context(|| format!("`{}` could not be started", shell::describe(&command)))?;
    if output
        .status
        .code()
        .is_some_and(|code| COMPLETED.contains(&code))
    {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!(
        "`{}` failed: {}\n{}",
        shell::describe(&command),
        output.status,
        said.trim_end()
    );
}

/// The program and its arguments.
fn workload(load: &Load, fio_result: &Path, list: Option<&Path>) -> Vec<String> {
    let mut words = vec!["fio".to_owned()];
    words.extend(load.arguments(fio_result));
    let Some(list) = list else { return words };
    // The words after the script are its $0, $1 and so on: nothing needs quoting.
    let bpftool = shell::describe(&programs::list_command());
    let script = format!("file=$1; shift; \"$@\" && {bpftool} > \"$file\"");
    let mut wrapped: Vec<String> = ["sh", "-c", &script, "workload"].map(str::to_owned).into();
    wrapped.push(list.display().to_string());
    wrapped.extend(words);
    wrapped
}

fn scenario_text(mode: &str, load: &Load, workload: &[String]) -> String {
    let program = workload
        .first()
        .map_or_else(String::new, |word| quoted(word));
    let args: Vec<String> = workload.iter().skip(1).map(|word| quoted(word)).collect();
    let device = quoted(&load.device.display().to_string());
    format!(
        "schema = 1\nname = \"overhead-{mode}\"\n\
         question = \"What does tracing cost?\"\n\n\
         [[domain]]\nname = \"native\"\n\n\
         [workload]\nkind = \"command\"\nprogram = {program}\nargs = [{}]\n\n\
         [run]\niterations = 1\nwarm_up = 0\n\n\
         [probes]\ndatapaths = [\"disk/native\"]\nmode = \"{mode}\"\ndevices = [{device}]\n\
         measure_cost = false\n",
        args.join(", ")
    )
}

/// A TOML string; JSON's escapes are TOML's, too.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Counters of requests that the tracer saw and had no room for.
const DROPPED: [&str; 2] = ["ring_full", "slots_full"];

/// What the benchmark reads of a report.
#[derive(Debug, PartialEq)]
struct Outcome {
    lost: u64,
    unseen: u64,
    attach_ms: f64,
}

impl Outcome {
    fn of(report: &Report) -> Result<Self> {
        let mut outcome = Self {
            lost: 0,
            unseen: 0,
            attach_ms: 0.0,
        };
        for domain in &report.domains {
            let mut dropped = 0;
            for counter in DROPPED {
                dropped += domain
                    .counters
                    .get(counter)
                    .with_context(|| format!("the report has no domains[].counters.{counter}"))?;
            }
            outcome.lost += dropped;
            // The rest: a program was not called for a request's end, or for a point before it.
            outcome.unseen += domain.lost.saturating_sub(dropped);
            let attach_ms = domain.cost.attach_ns as f64 / 1e6;
            outcome.attach_ms = outcome.attach_ms.max(attach_ms);
        }
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use tracer_analysis::document::{Cost, DomainReport};

    use super::*;

    fn load() -> Load {
        Load {
            device: "/dev/loop7".into(),
            io_depth: 8,
            runtime_s: 3,
        }
    }

    #[test]
    fn scenario_runs_fio_on_the_device() {
        let workload = workload(&load(), Path::new("/tmp/fio.json"), None);
        let text = scenario_text("spans", &load(), &workload);
        assert!(text.contains("program = \"fio\"\n"), "{text}");
        assert!(text.contains("\"--filename=/dev/loop7\""), "{text}");
        assert!(text.contains("devices = [\"/dev/loop7\"]"), "{text}");
    }

    #[test]
    fn timed_workload_lists_programs_after_fio() {
        let list = Path::new("/tmp/it's here");
        let words = workload(&load(), Path::new("/tmp/fio.json"), Some(list));
        assert_eq!(words[0], "sh");
        assert_eq!(words[4], "/tmp/it's here");
        assert_eq!(words[5], "fio");
    }

    #[test]
    fn losses_and_attach_time_come_from_the_report() {
        let report = |counters: &[(&str, u64)]| {
            let named = counters
                .iter()
                .map(|(name, count)| ((*name).into(), *count));
            let domain = DomainReport {
                lost: 3,
                counters: named.collect(),
                cost: Cost {
                    attach_ns: 250_000_000,
                    ..Cost::default()
                },
                ..DomainReport::default()
            };
            Report {
                domains: vec![domain],
                ..Report::default()
            }
        };
        assert_eq!(
            Outcome::of(&report(&[("ring_full", 2), ("slots_full", 0)])).unwrap(),
            Outcome {
                lost: 2,
                unseen: 1,
                attach_ms: 250.0
            }
        );
        let error = Outcome::of(&report(&[("ring_full", 2)])).unwrap_err();
        assert!(format!("{error}").contains("slots_full"), "{error}");
    }
}
