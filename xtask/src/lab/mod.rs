//! `cargo xtask lab`: a real Xen, Dom0 and guests under QEMU, on any x86-64 machine.
mod cases;
mod check;
mod console;
mod files;
mod guests;
mod image;
mod instance;
mod job;
mod machine;
mod made_of;
mod many;
mod matrix;
mod meter;
mod network;
mod packages;
mod paper;
mod place;
mod run;
mod scenario;
mod session;
mod status;
mod transfer;
mod versions;

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{cargo, setup, shell, signal};
use instance::{Config, Lab};
use job::PassOn;
use matrix::Matrix;
use paper::Machines;
use run::Request;
pub(crate) use session::{Session, prepare as prepare_session};
use versions::{Kernel, Xen};

/// The emulated machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Emulated {
    /// The lab's name: labs of several names can be up side by side
    #[arg(long, default_value = "lab")]
    name: String,
    /// Emulated CPUs
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    smp: u32,
    /// Dom0's virtual CPUs, pinned to the first emulated ones; the paper has 2 for disks, 1 for networks
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    dom0_vcpus: u32,
    /// The emulated clock counts instructions, of 2^SHIFT ns each: what else the host does has no part in it
    #[arg(long, value_name = "SHIFT", value_parser = clap::value_parser!(u8).range(0..=10))]
    virtual_time: Option<u8>,
}

impl Emulated {
    fn config(&self, xen: Xen, kernel: &Kernel, native: bool) -> Result<Config> {
        if self.dom0_vcpus > self.smp {
            bail!(
                "--dom0-vcpus {} is more than --smp {}",
                self.dom0_vcpus,
                self.smp
            );
        }
        Ok(Config {
            xen,
            kernel: kernel.clone(),
            cpus: self.smp,
            dom0_vcpus: self.dom0_vcpus,
            native,
            virtual_time: self.virtual_time,
        })
    }
}

/// What a lab is made of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Made {
    #[command(flatten)]
    emulated: Emulated,
    /// Linux of Dom0, the guests and the native run: Debian's 6.1 or 6.12, or a folder with a build of your
    /// own (boot/vmlinuz-RELEASE, lib/modules/RELEASE)
    #[arg(long, default_value = "6.1", value_name = "KERNEL")]
    kernel: Kernel,
    /// The hypervisor and its tools
    #[arg(long, default_value = "4.17")]
    xen: Xen,
}

impl Made {
    fn name(&self) -> &str {
        &self.emulated.name
    }

    /// Whether its clock counts instructions, so that nothing outside of it has a part in what is measured.
    pub(crate) const fn is_virtual(&self) -> bool {
        self.emulated.virtual_time.is_some()
    }

    fn config(&self, native: bool) -> Result<Config> {
        self.emulated.config(self.xen, &self.kernel, native)
    }
}

/// Which lab.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Named {
    /// The lab's name
    #[arg(long, default_value = "lab")]
    name: String,
}

/// A scenario to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scenario {
    /// The scenario file, such as scenarios/native-disk.toml
    scenario: PathBuf,
    /// The run's directory on this machine; `runs/...` otherwise
    #[arg(long)]
    out: Option<PathBuf>,
    /// A static tracer that is built already
    #[arg(long, hide = true)]
    tracer: Option<PathBuf>,
    /// Further arguments for `tracer run`, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Commands of the lab.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring a lab up: Xen, Dom0 and the guests A and B
    Up(Made),
    /// Run a command in dom0, A, B, native, or on the peer host
    Exec {
        #[command(flatten)]
        named: Named,
        domain: String,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Run a scenario in a domain (up if needed), and bring the run and its report back
    Run {
        #[command(flatten)]
        made: Made,
        /// The domain in which the tracer runs
        #[arg(long = "in", default_value = "dom0", value_name = "DOMAIN")]
        domain: String,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run a scenario on the same kernel, disk and NIC under the same QEMU, without Xen
    Native {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run a scenario on several kernels and hypervisors, and compare
    Matrix {
        #[command(flatten)]
        emulated: Emulated,
        /// Separated by commas
        #[arg(long, value_delimiter = ',', required = true, value_name = "KERNEL")]
        kernels: Vec<Kernel>,
        /// Separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        xens: Vec<Xen>,
        /// The domain in which the tracer runs
        #[arg(long = "in", default_value = "dom0", value_name = "DOMAIN")]
        domain: String,
        #[command(flatten)]
        scenario: Scenario,
    },
    /// Run every case of scenarios/paper that has no run yet, and draw the paper's figures from them
    Paper {
        #[command(flatten)]
        made: Made,
        #[command(flatten)]
        options: paper::Options,
    },
    /// Boot two kernels alternately, run scenarios on each, and say whether the new one is slower, and where
    Check {
        #[command(flatten)]
        emulated: Emulated,
        #[command(flatten)]
        options: check::Options,
    },
    /// A terminal on dom0, A, B or native; Ctrl-] leaves
    Console {
        #[command(flatten)]
        named: Named,
        domain: String,
    },
    /// Which labs are up, and their domains
    Status {
        #[arg(long)]
        json: bool,
    },
    /// End a lab, and its native companion; nothing of them is left but cached images
    Down(Named),
}

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
        Command::Up(made) => Lab::named(made.name())?
            .up(&made.config(false)?)
            .map(|()| ExitCode::SUCCESS),
        Command::Exec {
            named,
            domain,
            command,
        } => exec(&Lab::named(&named.name)?, &domain, &command),
        Command::Run {
            made,
            domain,
            scenario,
        } => run_in(
            &Lab::named(made.name())?,
            &made.config(false)?,
            &domain,
            &scenario,
        ),
        Command::Native { made, scenario } => run_in(
            &companion(made.name())?,
            &made.config(true)?,
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
        Command::Check { emulated, options } => run_check(&emulated, &options),
        Command::Console { named, domain } => {
            let lab = Lab::named(&named.name)?;
            run::require_domain(&require_up(&lab)?, &domain)?;
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
        Command::Up(_) => {
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
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut again = shell::root_command(program, "the lab's network and images")?;
    again.args(std::env::args_os().skip(1).take(2));
    let tracer = match command {
        Command::Run { scenario, .. }
        | Command::Native { scenario, .. }
        | Command::Matrix { scenario, .. } => scenario.tracer.as_ref(),
        Command::Paper { options, .. } => options.tracer.as_ref(),
        Command::Check { options, .. } => options.tracer.as_ref(),
        _ => None,
    };
    if let Some(tracer) = tracer {
        again.arg("--tracer").arg(tracer);
    }
    again.args(std::env::args_os().skip(3));
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

fn exec(lab: &Lab, domain: &str, command: &[String]) -> Result<ExitCode> {
    let (lab, config) = if domain == "native" && !lab.name.ends_with("-native") {
        let native = companion(&lab.name)?;
        let config = require_up(&native)?;
        (native, config)
    } else {
        (lab.clone(), require_up(lab)?)
    };
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

fn run_in(lab: &Lab, config: &Config, domain: &str, scenario: &Scenario) -> Result<ExitCode> {
    run::require_domain(config, domain)?;
    let out = scenario
        .out
        .clone()
        .unwrap_or_else(|| run::new_folder(&scenario.scenario, domain, config));
    lab.up(config)?;
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
        config: emulated.config(xens[0], &kernels[0], false)?,
    };
    run::require_domain(&of.config, domain)?;
    let out = scenario.out.clone().unwrap_or_else(|| {
        let stem = scenario.scenario.file_stem().unwrap_or_default();
        PathBuf::from("runs").join(format!("matrix-{}", stem.to_string_lossy()))
    });
    matrix::matrix(&of, &request(scenario, domain, &out)).map(exit_code)
}

fn run_paper(made: &Made, options: &paper::Options) -> Result<ExitCode> {
    let machines = Machines {
        xen: (Lab::named(made.name())?, made.config(false)?),
        native: (companion(made.name())?, made.config(true)?),
    };
    paper::paper(&machines, options).map(exit_code)
}

fn run_check(emulated: &Emulated, options: &check::Options) -> Result<ExitCode> {
    let config = |kernel| emulated.config(options.xen, kernel, false);
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
