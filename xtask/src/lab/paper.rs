//! All of the paper's cases in the lab, one after the other, and the page of them.
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::json;
use tracer_analysis::scenario::RunChanges;

use super::cases::{self, Case, Part};
use super::instance::{Config, Lab};
use super::made_of::{PaperMadeOf, Side};
use super::many;
use super::run::{self, Request, Silent};
use super::scenario::Scenario;
use super::up::Start;
use crate::{shell, signal, workspace};

/// Where the runs are, below the folder of all.
const RUNS: &str = "runs";
/// Where the page is.
const PAGE: &str = "page";

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Shorter runs (`--profile quick` of the scenarios): minutes instead of hours
    #[arg(long)]
    quick: bool,
    /// Only a part of the paper
    #[arg(long)]
    only: Option<Part>,
    /// The folder of runs and page [default: runs/paper, or runs/paper-quick]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Reads an iteration, in place of the scenarios'; streams go by time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// The paper's own values, for the page
    #[arg(long, value_name = "FILE")]
    published: Option<PathBuf>,
    /// A static tracer that is built already
    #[arg(long, hide = true)]
    pub(super) tracer: Option<PathBuf>,
}

/// The machines to run on.
#[derive(Clone, Debug)]
pub(super) struct Machines {
    pub(super) xen: (Lab, Config),
    pub(super) native: (Lab, Config),
}

impl Machines {
    fn of(&self, case: &Case) -> &(Lab, Config) {
        if case.is_native() {
            &self.native
        } else {
            &self.xen
        }
    }
}

/// A case, its folder, and how its scenario is changed.
#[derive(Clone, Debug)]
struct Planned {
    case: Case,
    run: PathBuf,
    /// As the tracer's manifest has it.
    changes: RunChanges,
    /// Whether its run is there already.
    is_there: bool,
}

/// Runs what is not there yet, and draws the page; returns the worst exit code.
pub(super) fn paper(machines: &Machines, options: &Options) -> Result<i32> {
    // Before hours of work.
    if let Some(file) = options.published.as_ref().filter(|file| !file.is_file()) {
        bail!("there is no file {}", file.display());
    }
    let out = options.out.clone().unwrap_or_else(|| {
        let name = if options.quick {
            "paper-quick"
        } else {
            "paper"
        };
        PathBuf::from("runs").join(name)
    });
    let made_of = PaperMadeOf {
        xen: Side::new(&machines.xen.1)?,
        native: Side::new(&machines.native.1)?,
    };
    made_of.claim(&out)?;
    let all = cases::of_folder(&workspace::root().join("scenarios/paper"))?;
    let wanted = all.iter().filter(|case| {
        let part = options.only;
        part.is_none_or(|part| case.is_of(part))
    });
    let planned: Vec<Planned> = wanted
        .map(|case| plan(case, machines, options, &out))
        .collect::<Result<_>>()?;
    let outcomes = run_all(&planned, machines, options);
    let was_interrupted = signal::interrupted();
    // What is there makes a page, also after a Ctrl-C.
    let drawn = signal::despite(|| draw(&all, options, &out));
    let worst = complain(&planned, &outcomes);
    if was_interrupted {
        bail!(
            "interrupted; the runs that are done stay in {}, and the same command goes on from there",
            out.display()
        );
    }
    Ok(worst.max(drawn?))
}

/// Whether a case is still to be run. A run that other settings made is none of this page's.
fn plan(case: &Case, machines: &Machines, options: &Options, out: &Path) -> Result<Planned> {
    let run = out.join(RUNS).join(case.name());
    let changes = changes(case, options, &machines.of(case).1)?;
    let manifest = many::complete(&run);
    if let Some(made) = manifest.as_ref().map(|manifest| &manifest.changes)
        && made.as_ref() != Some(&changes)
    {
        bail!(
            "{} was made with other settings ({}, not {}): name another --out",
            run.display(),
            json!(made),
            json!(changes)
        );
    }
    Ok(Planned {
        case: case.clone(),
        run,
        changes,
        is_there: manifest.is_some(),
    })
}

fn changes(case: &Case, options: &Options, config: &Config) -> Result<RunChanges> {
    let quick = options.quick.then(|| "quick".to_owned());
    let profiles: Vec<String> = case.profiles.iter().cloned().chain(quick).collect();
    let count = options
        .count
        .filter(|_| case.is_of(Part::Disk))
        .map(|count| format!("workload.count={count}"));
    // The lab's Dom0 may have fewer than the paper's.
    let vcpus = case
        .dom0_vcpus
        .filter(|vcpus| *vcpus > config.dom0_vcpus)
        .map(|_| format!("domain.dom0.vcpus={}", config.dom0_vcpus));
    let mut changes = RunChanges {
        profiles,
        overrides: count.into_iter().chain(vcpus).collect(),
    };
    // As `lab run` adds them: named here, they are among what the run was made with.
    let floods = Scenario::read(&case.scenario, &changes)?.slower_floods();
    changes.overrides.extend(floods);
    Ok(changes)
}

/// The same as arguments of `tracer run`.
fn arguments(changes: &RunChanges) -> Vec<String> {
    let profiles = changes.profiles.iter();
    let profiles = profiles.map(|name| format!("--profile={name}"));
    let overrides = changes.overrides.iter();
    let overrides = overrides.map(|change| format!("--set={change}"));
    profiles.chain(overrides).collect()
}

/// Runs what is not there; a case that fails does not keep the others from it, a Ctrl-C does. For each case
/// that was run, its place and the tracer's exit code.
fn run_all(
    planned: &[Planned],
    machines: &Machines,
    options: &Options,
) -> Vec<(usize, Result<i32>)> {
    let (native, _) = &machines.native;
    let mut is_mine = native.running().is_none();
    let start = Instant::now();
    let mut outcomes = Vec::new();
    let to_run = planned.iter().filter(|planned| !planned.is_there).count();
    for (index, one) in planned.iter().enumerate() {
        let case = &one.case;
        if one.is_there {
            continue;
        }
        // An emulated machine that idles still takes CPU time from the one that is measured.
        if is_mine && !case.is_native() && native.running().is_some() {
            if let Err(error) = native.down() {
                eprintln!("lab: {error:#}");
            }
            is_mine = false;
        }
        eprintln!(
            "lab: case {} of {} ({}){}",
            index + 1,
            planned.len(),
            case.name(),
            many::left(start.elapsed(), outcomes.len(), to_run)
        );
        outcomes.push((index, run_case(one, machines, options)));
        if signal::interrupted() {
            break;
        }
    }
    outcomes
}

fn run_case(planned: &Planned, machines: &Machines, options: &Options) -> Result<i32> {
    let Planned { case, run, .. } = planned;
    many::set_aside(run)?;
    let (lab, config) = machines.of(case);
    lab.up(config, Start::default())?;
    let request = Request {
        tracer: options.tracer.as_deref().unwrap_or(Path::new("tracer")),
        scenario: &case.scenario,
        domain: config.first_domain(),
        args: &arguments(&planned.changes),
        out: run,
    };
    run::run(lab, &request, &mut Silent)
}

/// Says which cases did not end well; returns the worst exit code.
fn complain(planned: &[Planned], outcomes: &[(usize, Result<i32>)]) -> i32 {
    let mut worst = 0;
    for (index, outcome) in outcomes {
        let name = planned[*index].case.name();
        match outcome {
            Ok(0) => {}
            Ok(code) => {
                eprintln!("lab: {name} ended with {code}");
                worst = worst.max(*code);
            }
            Err(error) => {
                eprintln!("lab: {name} failed: {error:#}");
                worst = worst.max(many::NOT_DONE);
            }
        }
    }
    worst
}

/// Draws the page of all runs that are there, also of those that this command did not make; returns the
/// tracer's exit code.
fn draw(cases: &[Case], options: &Options, out: &Path) -> Result<i32> {
    let runs: Vec<PathBuf> = cases
        .iter()
        .map(|case| out.join(RUNS).join(case.name()))
        .filter(|run| many::manifest(run).is_some())
        .collect();
    if runs.is_empty() {
        eprintln!("lab: there is no run to draw");
        return Ok(many::NOT_DONE);
    }
    let tracer = options.tracer.as_deref().unwrap_or(Path::new("tracer"));
    let page = out.join(PAGE);
    let mut command = shell::command(tracer);
    command.arg("paper").args(runs).arg("--out").arg(&page);
    if let Some(published) = &options.published {
        command.arg("--published").arg(published);
    }
    let code = many::exit_code(&mut command)?;
    run::give_to_user(out)?;
    Ok(code)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracer_analysis::recording::directory::State;

    use super::super::command_line::Added;
    use super::super::kernel::Kernels;
    use super::*;

    fn options() -> Options {
        Options {
            quick: true,
            only: None,
            out: None,
            count: Some(300),
            published: None,
            tracer: None,
        }
    }

    fn case(stem: &str, profiles: &[&str]) -> Case {
        Case {
            scenario: workspace::root().join(format!("scenarios/paper/{stem}.toml")),
            stem: stem.into(),
            profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
            dom0_vcpus: Some(2),
        }
    }

    fn machines(dom0_vcpus: u32) -> Machines {
        let machine = |native| {
            let lab = Lab {
                name: "none".into(),
                folder: "/nowhere".into(),
            };
            let config = Config {
                xen: super::super::versions::Xen::V4_17,
                kernels: Kernels::all(&"6.1".parse().unwrap()),
                added: Added::default(),
                cpus: 4,
                dom0_vcpus,
                native,
                virtual_time: None,
            };
            (lab, config)
        };
        Machines {
            xen: machine(false),
            native: machine(true),
        }
    }

    #[test]
    fn a_cases_changes_are_what_the_tracer_is_told() {
        let config = machines(1).xen.1;
        let changes = changes(&case("disk-vbd", &["io"]), &options(), &config).unwrap();
        assert_eq!(
            arguments(&changes),
            [
                "--profile=io",
                "--profile=quick",
                "--set=workload.count=300",
                "--set=domain.dom0.vcpus=1",
                "--set=background.0.rate=3000"
            ]
        );
        let config = machines(2).xen.1;
        let changes = super::changes(&case("net-vif", &["receive"]), &options(), &config).unwrap();
        assert_eq!(
            arguments(&changes),
            ["--profile=receive", "--profile=quick"]
        );
    }

    #[test]
    fn a_run_that_is_there_is_not_made_again_and_one_of_other_settings_is_refused() {
        let out = std::env::temp_dir().join(format!("xtask-paper-{}", std::process::id()));
        let (case, machines) = (case("disk-vbd", &[]), machines(1));
        let run = out.join("runs/disk-vbd-idle");
        fs::create_dir_all(&run).unwrap();
        let planned = || plan(&case, &machines, &options(), &out);
        assert!(!planned().unwrap().is_there, "a folder without a manifest");
        let write = |state, changes| many::tests::write_manifest(&run, state, changes);
        let own = changes(&case, &options(), &machines.xen.1).unwrap();
        write(State::Partial("interrupted".into()), Some(own.clone()));
        assert!(!planned().unwrap().is_there, "a partial run");
        write(State::Complete, Some(own));
        assert!(planned().unwrap().is_there);
        for other in [Some(RunChanges::default()), None] {
            write(State::Complete, other);
            let error = planned().unwrap_err().to_string();
            assert!(error.contains("name another --out"), "{error}");
        }
        fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn the_worst_case_is_the_exit_code() {
        let planned: Vec<Planned> = ["", "io"]
            .map(|profile| Planned {
                case: case("disk-vbd", &[profile]),
                run: PathBuf::new(),
                changes: RunChanges::default(),
                is_there: false,
            })
            .into();
        assert_eq!(complain(&planned, &[(0, Ok(0))]), 0);
        let outcomes = [(0, Err(anyhow::anyhow!("no boot"))), (1, Ok(2))];
        assert_eq!(complain(&planned, &outcomes), many::NOT_DONE);
    }
}
