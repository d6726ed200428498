//! `tracer check`: new runs against a baseline; and `tracer baseline`.

use std::{
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context as _, anyhow};
use serde_json::json;

use crate::{
    cli::{BaselineCommand, BaselineListArgs, BaselineSaveArgs, CheckArgs},
    commands::{EXCEEDED, PARTIAL, USAGE, WELL, complain, deliver, load, print},
};
use tracer_analysis::{
    baseline::{Baseline, SCHEMA, Store},
    check::{CheckedRun, Policy, Verdict, check, not_of_a_kind},
    report,
};

/// `git bisect run`: this commit cannot be tested.
const SKIP: u8 = 125;
/// `git bisect run`: stop, as no commit can.
pub const ABORT: u8 = 128;

/// Checks runs; returns the exit code.
pub(super) fn obey(args: &CheckArgs) -> anyhow::Result<u8> {
    if !args.bisect {
        return outcome(args).map(|verdict| match verdict {
            Verdict::Passed => WELL,
            Verdict::Regressed | Verdict::Undecided => EXCEEDED,
            Verdict::CannotTell | Verdict::NotComparable => PARTIAL,
        });
    }
    // To bisect, 1 to 127 is a bad commit: nothing that is no verdict may end so.
    let caught = catch_unwind(AssertUnwindSafe(|| outcome(args)));
    Ok(match caught {
        Ok(Ok(Verdict::Passed)) => WELL,
        Ok(Ok(Verdict::Regressed)) => EXCEEDED,
        Ok(Ok(Verdict::Undecided | Verdict::CannotTell | Verdict::NotComparable)) => SKIP,
        Ok(Err(error)) => {
            complain(&error);
            ABORT
        }
        Err(_) => ABORT,
    })
}

fn outcome(args: &CheckArgs) -> anyhow::Result<Verdict> {
    let policy = policy(args.policy.as_deref())?;
    let base = load::baseline(&args.baseline, &Store::new(&args.store))?;
    let new = load::runs(&args.runs)?;
    let check = check(&base, &new, &policy);
    let bytes = report::check::render(&check, args.format)?;
    deliver(args.output.as_deref(), &bytes)?;
    for reason in &check.reasons {
        let what = if check.verdict == Verdict::CannotTell {
            "cannot tell"
        } else {
            "not comparable"
        };
        complain(&anyhow!("{what}: {reason}"));
    }
    Ok(check.verdict)
}

fn policy(file: Option<&Path>) -> anyhow::Result<Policy> {
    Ok(match file {
        Some(path) => Policy::load(path)?,
        None => Policy::default(),
    })
}

/// Saves or lists baselines; returns the exit code.
pub(super) fn baseline(command: &BaselineCommand) -> anyhow::Result<u8> {
    match command {
        BaselineCommand::Save(args) => save(args),
        BaselineCommand::List(args) => list(args),
    }
}

fn save(args: &BaselineSaveArgs) -> anyhow::Result<u8> {
    let policy = policy(args.policy.as_deref())?;
    let runs = load::runs(&args.runs)?;
    let reasons = not_of_a_kind(&runs, &policy);
    for reason in &reasons {
        complain(&anyhow!("these runs make no baseline: {reason}"));
    }
    if !reasons.is_empty() {
        return Ok(PARTIAL);
    }
    let runs = runs.into_iter().map(|mut run| {
        // Not where it was on one machine: a baseline goes to others.
        let name = Path::new(&run.source).file_name();
        if let Some(name) = name.map(|name| name.to_string_lossy().into_owned()) {
            run.source = name;
        }
        run
    });
    let baseline = Baseline::new(&args.name, runs.collect())?;
    let path = Store::new(&args.store).save(&baseline, args.replace)?;
    tracing::info!("the baseline is in {}", path.display());
    Ok(WELL)
}

fn list(args: &BaselineListArgs) -> anyhow::Result<u8> {
    let store = Store::new(&args.store);
    let (mut baselines, mut code) = (Vec::new(), WELL);
    for name in store.names()? {
        match store.load(&name) {
            Ok(baseline) => baselines.push((name, baseline)),
            Err(error) => {
                complain(&error);
                code = USAGE;
            }
        }
    }
    let bytes = if args.json {
        let all: Vec<_> = baselines
            .iter()
            .map(|(name, own)| described(name, own))
            .collect();
        let document = json!({"schema": "tracer.baselines/1", "baselines": all});
        format!("{document:#}\n").into_bytes()
    } else {
        words(&baselines).context("cannot list baselines")?
    };
    print(&bytes)?;
    Ok(code)
}

fn described(name: &str, baseline: &Baseline) -> serde_json::Value {
    let runs: Vec<_> = baseline
        .runs
        .iter()
        .map(|run| json!({"source": run.source, "started": run.report.started, "kernel": run.report.host.kernel}))
        .collect();
    json!({
        "name": name,
        "schema": SCHEMA,
        "version": baseline.version,
        "scenario": baseline.runs.first().map(|run| &run.report.scenario),
        "runs": runs,
    })
}

fn words(baselines: &[(String, Baseline)]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, baseline) in baselines {
        let Some(first) = baseline.runs.first() else {
            continue;
        };
        let kernels = |run: &CheckedRun| run.report.host.kernel.clone();
        let mut kernels: Vec<String> = baseline.runs.iter().map(kernels).collect();
        kernels.dedup();
        writeln!(
            out,
            "{name:<24} {:<24} {:>3} runs  Linux {}  {}",
            first.report.scenario,
            baseline.runs.len(),
            kernels.join(", "),
            first.report.started
        )?;
    }
    Ok(out)
}
