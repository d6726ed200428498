//! `cargo xtask lab`: a real Xen, Dom0 and guests under QEMU, on any x86-64 machine.
mod boot;
mod cases;
mod check;
mod command_line;
mod console;
mod debian;
mod disks;
mod files;
mod guests;
mod image;
mod instance;
mod job;
mod kernel;
mod layout;
mod machine;
mod made_of;
mod many;
mod matrix;
mod meter;
mod network;
mod options;
mod packages;
mod paper;
mod place;
mod qmp;
mod run;
mod saved;
mod scenario;
mod session;
mod status;
mod transfer;
mod up;
mod versions;
mod watch;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{cargo, setup, shell, signal};
use instance::{Config, Lab};
use job::PassOn;
use kernel::{Kernel, Kernels};
pub(crate) use many::left;
use matrix::Matrix;
use options::{Boot, Clock, Emulated, InRealTime, Scenario};
pub(crate) use options::{Command, Made};
use paper::Machines;
use run::Request;
pub(crate) use session::{Session, prepare as prepare_session};
use versions::Xen;

/// The lab that runs the same without Xen.
fn companion(name: &str) -> Result<Lab> {
    Lab::named(&format!("{name}-native"))
}

/// Runs a command of the lab.
pub(crate) fn command(command: Command) -> Result<ExitCode> {
    let command = prepare(command)?;
    if !shell::is_root() {
        return become_root(&command);
    }
    if !matches!(command, Command::Console { .. }) {
        signal::catch();
    }
    match command {
        Command::Up { made, boot } => Lab::named(made.name())?
            .up(&made.config()?, boot.start())
            .map(|()| ExitCode::SUCCESS),
        Command::Exec {
            named,
            domain,
            command,
        } => exec(&Lab::named(&named.name)?, &domain, &command),
        Command::Run {
            made,
            boot,
            domain,
            scenario,
        } => run_in(
            (&Lab::named(made.name())?, &made.config()?, boot),
            &domain,
            &scenario,
        ),
        Command::Native {
            made,
            boot,
            scenario,
        } => run_in(
            (&companion(made.name())?, &made.config(true)?, boot),
            "native",
            &scenario,
        ),
        Command::Matrix {
            emulated,
            kernels,
            xens,
            domain,
            scenario,
        } => run_matrix(&emulated, (&xens, &kernels), &domain, &scenario),
        Command::Paper { made, options } => run_paper(&made, &options),
        Command::Check {
            emulated,
            clock,
            options,
        } => run_check(&emulated, clock, &options),
        Command::Console { named, domain } => {
            let (lab, config) = lab_of(&Lab::named(&named.name)?, &domain)?;
            run::require_domain(&config, &domain)?;
            console::console(&lab.folder, &domain).map(|()| ExitCode::SUCCESS)
        }
        Command::Status { json } => status::print(json).map(|()| ExitCode::SUCCESS),
        Command::Down(named) => {
            Lab::named(&named.name)?.down()?;
            companion(&named.name)?.down()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Installs and builds what the command needs, as this user.
fn prepare(mut command: Command) -> Result<Command> {
    let scenario = match &mut command {
        Command::Up { .. } => {
            setup::ensure_lab()?;
            return Ok(command);
        }
        Command::Paper { options, .. } => {
            ensure_tracer(&mut options.tracer)?;
            return Ok(command);
        }
        Command::Check { options, .. } => {
            for scenario in &options.scenarios {
                run::require_scenario(scenario)?;
            }
            ensure_tracer(&mut options.tracer)?;
            return Ok(command);
        }
        Command::Run { scenario, .. }
        | Command::Native { scenario, .. }
        | Command::Matrix { scenario, .. } => scenario,
        _ => return Ok(command),
    };
    run::require_scenario(&scenario.scenario)?;
    ensure_tracer(&mut scenario.tracer)?;
    Ok(command)
}

/// Builds a tracer for the lab, unless there is one.
fn ensure_tracer(tracer: &mut Option<PathBuf>) -> Result<()> {
    if tracer.is_none() {
        setup::ensure_lab()?;
        *tracer = Some(cargo::build_static_tracer(&setup::ensure()?)?);
    }
    Ok(())
}

/// Starts this program again through sudo, with what was built.
fn become_root(command: &Command) -> Result<ExitCode> {
    let tracer = match command {
        Command::Run { scenario, .. }
        | Command::Native { scenario, .. }
        | Command::Matrix { scenario, .. } => scenario.tracer.as_ref(),
        Command::Paper { options, .. } => options.tracer.as_ref(),
        Command::Check { options, .. } => options.tracer.as_ref(),
        _ => None,
    };
    again_as_root(tracer)
}

/// Starts this program again through sudo, with this tracer unless its arguments name one. Its own options follow the
/// command's two words; others, for `tracer run`, can follow a `--`.
pub(crate) fn again_as_root<T>(tracer: Option<&PathBuf>) -> Result<T> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut again = shell::root_command(program, "the lab's network and images")?;
    again.args(std::env::args_os().skip(1).take(2));
    let rest: Vec<_> = std::env::args_os().skip(3).collect();
    let is_named = |arg: &OsString| arg.to_string_lossy().starts_with("--tracer");
    if let Some(tracer) = tracer.filter(|_| !rest.iter().any(is_named)) {
        again.arg("--tracer").arg(tracer);
    }
    again.args(rest);
    Err(again.exec()).context("sudo could not be started")
}

fn require_up(lab: &Lab) -> Result<Config> {
    lab.running().with_context(|| {
        format!(
            "the lab `{0}` is not up: `cargo xtask lab up --name {0}`",
            lab.name
        )
    })
}

/// The lab that has the domain, which is up: the one without Xen is another than the one with it.
fn lab_of(lab: &Lab, domain: &str) -> Result<(Lab, Config)> {
    let lab = if domain == "native" && !lab.name.ends_with("-native") {
        companion(&lab.name)?
    } else {
        lab.clone()
    };
    let config = require_up(&lab)?;
    Ok((lab, config))
}

fn exec(lab: &Lab, domain: &str, command: &[String]) -> Result<ExitCode> {
    let (lab, config) = lab_of(lab, domain)?;
    // One argument is a script, several are a command's words.
    let script = match command {
        [script] => script.clone(),
        words => words
            .iter()
            .map(|word| run::quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
    };
    if domain == "peer" {
        let mut peer = lab.namespace().command("bash");
        return Err(peer.args(["-c", &script]).exec()).context("the peer host cannot run it");
    }
    run::require_domain(&config, domain)?;
    let status = lab.domain(domain).run(&script, None, &mut PassOn)?;
    Ok(exit_code(status))
}

fn exit_code(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status).unwrap_or(3))
}

fn run_in(
    (lab, config, boot): (&Lab, &Config, Boot),
    domain: &str,
    scenario: &Scenario,
) -> Result<ExitCode> {
    run::require_domain(config, domain)?;
    let out = scenario
        .out
        .clone()
        .unwrap_or_else(|| run::new_folder(&scenario.scenario, domain, config));
    lab.up(config, boot.start())?;
    run::run(lab, &request(scenario, domain, &out), &mut PassOn).map(exit_code)
}

fn run_matrix(
    emulated: &Emulated,
    (xens, kernels): (&[Xen], &[Kernel]),
    domain: &str,
    scenario: &Scenario,
) -> Result<ExitCode> {
    let of = Matrix {
        kernels,
        xens,
        name: &emulated.name,
        // Each row has its own versions.
        config: emulated.config(xens[0], Kernels::all(&kernels[0]), false)?,
    };
    run::require_domain(&of.config, domain)?;
    let out = scenario.out.clone().unwrap_or_else(|| {
        let stem = scenario.scenario.file_stem().unwrap_or_default();
        PathBuf::from("runs").join(format!("matrix-{}", stem.to_string_lossy()))
    });
    matrix::matrix(&of, &request(scenario, domain, &out)).map(exit_code)
}

fn run_paper(made: &InRealTime, options: &paper::Options) -> Result<ExitCode> {
    let machines = Machines {
        xen: (Lab::named(made.name())?, made.config(false)?),
        native: (companion(made.name())?, made.config(true)?),
    };
    paper::paper(&machines, options).map(exit_code)
}

fn run_check(emulated: &Emulated, clock: Clock, options: &check::Options) -> Result<ExitCode> {
    let config = |kernel| -> Result<Config> {
        let config = emulated.config(options.xen, Kernels::all(kernel), false)?;
        Ok(clock.of(config))
    };
    let check = check::Check {
        options,
        name: &emulated.name,
        base: config(&options.base)?,
        new: config(&options.new)?,
    };
    check::check(&check).map(exit_code)
}

fn request<'a>(scenario: &'a Scenario, domain: &'a str, out: &'a Path) -> Request<'a> {
    Request {
        tracer: scenario.tracer.as_deref().unwrap_or(Path::new("tracer")),
        scenario: &scenario.scenario,
        domain,
        args: &scenario.args,
        out,
    }
}
