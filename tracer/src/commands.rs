//! What each command does. Data go to standard output, talk to standard error.

mod check;
mod compare;
mod history;
mod load;
mod paper;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    agent,
    cli::{AgentArgs, CheckEnvArgs, Cli, Command, ProbesArgs, ReportArgs, RunArgs, SchemaOf},
    load as workload,
    platform::{Kernel, environment},
    probe::survey::{Surveyed, survey},
    run::{self, Options},
};
use tracer_analysis::{
    Report,
    baseline::Baseline,
    check::{Check, Policy},
    compare::Comparison,
    datapath::{DATAPATHS, datapath},
    recording::{directory::RunDirectory, environment::Verdict},
    report::{self, Format},
    scenario::{Changes, Scenario},
};

/// Exit code: all is well.
pub const WELL: u8 = 0;
/// Exit code: a threshold was exceeded, or the machine is other than the scenario wants.
pub const EXCEEDED: u8 = 1;
/// Exit code: the run is partial, or too much of it was lost.
pub const PARTIAL: u8 = 2;
/// Exit code: wrong usage, or the environment does not allow it.
pub const USAGE: u8 = 3;
pub use check::ABORT;
use tracer_analysis::replay::analyse;

/// Does what the command line says; returns the exit code.
///
/// # Errors
/// If it cannot be done; the exit code is then [`USAGE`].
pub fn obey(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Run(args) => run(&args),
        Command::Report(args) => report(&args),
        Command::Compare(args) => compare::obey(&args),
        Command::Paper(args) => paper::obey(&args),
        Command::Check(args) => check::obey(&args),
        Command::Baseline { command } => check::baseline(&command),
        Command::History { command } => history::obey(&command),
        Command::Probes(args) => probes(&args),
        Command::CheckEnv(args) => check_env(&args),
        Command::Schema { of } => {
            let schema = match of {
                SchemaOf::Scenario => Scenario::json_schema(),
                SchemaOf::Report => Report::json_schema(),
                SchemaOf::Compare => Comparison::json_schema(),
                SchemaOf::Check => Check::json_schema(),
                SchemaOf::Policy => Policy::json_schema(),
                SchemaOf::Baseline => Baseline::json_schema(),
            };
            print(format!("{schema:#}\n").as_bytes()).map(|()| WELL)
        }
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut out);
            print(&out).map(|()| WELL)
        }
        Command::Man { out } => {
            fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
            clap_mangen::generate_to(Cli::command(), &out)
                .with_context(|| format!("cannot write man pages into {}", out.display()))?;
            Ok(WELL)
        }
        Command::Agent(args) => serve(&args).map(|()| WELL),
        Command::Load => Ok(u8::try_from(workload::run_stdio()).unwrap_or(USAGE)),
    }
}

fn serve(args: &AgentArgs) -> anyhow::Result<()> {
    let root = Path::new("/");
    match (&args.terminal, &args.socket) {
        (Some(terminal), _) => agent::serve::serve_terminal(terminal, root),
        (_, Some(socket)) => agent::serve::serve_socket(socket, root),
        _ => agent::serve::serve(io::stdin(), io::stdout(), root),
    }
}

/// Says on standard error what went wrong.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "tracer: {error:#}");
}

/// Writes data to standard output; that the reader has gone is no error.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    match io::stdout()
        .write_all(bytes)
        .and_then(|()| io::stdout().flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes data to a file, or to standard output.
fn deliver(output: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
    match output {
        Some(path) => {
            fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
        }
        None => print(bytes),
    }
}

fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let mut overrides = args.overrides.clone();
    overrides.extend(
        args.iterations
            .map(|count| format!("run.iterations={count}")),
    );
    let changes = Changes {
        profiles: &args.profiles,
        overrides: &overrides,
    };
    let (scenario, text) = Scenario::load(&args.scenario, changes)?;
    let root = Path::new("/");
    Kernel::check(root)?;
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "`tracer run` must be root: eBPF programs, page cache and network namespaces need it; use sudo"
        );
    }
    let now = jiff::Zoned::now();
    let out = args.out.clone().unwrap_or_else(|| {
        PathBuf::from("runs").join(format!(
            "{}-{}",
            scenario.name,
            now.strftime("%Y%m%d-%H%M%S%.3f")
        ))
    });
    for finding in environment::check(&scenario, root) {
        if finding.verdict == Verdict::Differs {
            tracing::warn!(
                "{} is {}, the scenario wants {}",
                finding.what,
                finding.actual,
                finding.wanted.unwrap_or_default()
            );
        }
    }
    let options = Options {
        out,
        exe: std::env::current_exe().context("cannot find this program's own file")?,
        started: now.timestamp().to_string(),
        changes: changes.into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let directory = runtime.block_on(run::drive(&scenario, &text, &options))?;
    let report = analyse(&directory)?;
    let format = if args.json {
        Format::Json
    } else {
        Format::Text
    };
    print(&report::render(&report, format)?)?;
    tracing::info!("the run is in {}", directory.path().display());
    Ok(code(&report, &scenario))
}

/// How a run went, as an exit code.
fn code(report: &Report, scenario: &Scenario) -> u8 {
    let limit = scenario.probes.max_lost_percent / 100.0;
    if report.partial.is_some()
        || report
            .domains
            .iter()
            .any(|domain| domain.lost_share > limit)
    {
        PARTIAL
    } else if report.thresholds.iter().any(|threshold| !threshold.kept) {
        EXCEEDED
    } else {
        WELL
    }
}

fn report(args: &ReportArgs) -> anyhow::Result<u8> {
    let report = analyse(&RunDirectory::open(&args.run)?)?;
    let bytes = report::render(&report, args.format)?;
    deliver(args.output.as_deref(), &bytes).map(|()| WELL)
}

fn probes(args: &ProbesArgs) -> anyhow::Result<u8> {
    let kernel = Kernel::from_root(Path::new("/"))?;
    let chosen: Vec<_> = match &args.datapath {
        Some(name) => {
            let known = || {
                DATAPATHS
                    .iter()
                    .map(|path| path.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            vec![
                datapath(name)
                    .with_context(|| format!("there is no datapath {name}; known: {}", known()))?,
            ]
        }
        None => DATAPATHS.iter().collect(),
    };
    let surveyed = survey(&kernel, &chosen)?;
    if args.json {
        let document =
            json!({"schema": "tracer.probes/1", "kernel": kernel.release(), "datapaths": surveyed});
        print(format!("{document:#}\n").as_bytes())?;
    } else {
        let text: String = surveyed.iter().map(probes_text).collect();
        print(format!("kernel {}\n{text}", kernel.release()).as_bytes())?;
    }
    let complete = surveyed.iter().all(|path| path.traceable);
    Ok(if complete { WELL } else { USAGE })
}

/// One datapath in words.
fn probes_text(path: &Surveyed) -> String {
    let mut text = format!("\n{}: {}\n", path.name, path.summary);
    if !path.traceable {
        text.push_str("  cannot be traced here: what is required is missing\n");
    }
    for probe in &path.attached {
        let point = probe.point.as_deref().unwrap_or("-");
        let module = probe.module.as_deref();
        let module = module.map_or(String::new(), |name| format!(" [{name}]"));
        text.push_str(&format!(
            "  {point:<18} {:<30} {:<9} {}{module}\n",
            probe.role, probe.binding, probe.symbol
        ));
    }
    for missing in &path.unavailable {
        let point = missing.point.as_deref().unwrap_or("-");
        let required = if missing.required { " (required)" } else { "" };
        text.push_str(&format!(
            "  {point:<18} {:<30} none{required}: {}\n",
            missing.role,
            missing.why.join("; ")
        ));
    }
    text
}

fn check_env(args: &CheckEnvArgs) -> anyhow::Result<u8> {
    let (scenario, _) = Scenario::load(&args.scenario, Changes::default())?;
    let findings = environment::check(&scenario, Path::new("/"));
    let differs = findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Differs);
    if args.json {
        print(
            format!(
                "{:#}\n",
                json!({"schema": "tracer.environment/1", "findings": findings})
            )
            .as_bytes(),
        )?;
    } else {
        let mut out = String::new();
        for finding in &findings {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Differs => "DIFFERS",
                Verdict::Unknown => "unknown",
                Verdict::Note => "-",
            };
            let wanted = finding.wanted.as_deref().unwrap_or("nothing in particular");
            out.push_str(&format!(
                "{verdict:<8} {:<26} is {}, wanted: {wanted}\n",
                finding.what, finding.actual
            ));
            if let Some(hint) = &finding.hint {
                out.push_str(&format!("         {hint}\n"));
            }
        }
        print(out.as_bytes())?;
    }
    Ok(if differs { EXCEEDED } else { WELL })
}
