//! A new kernel against a base: both are booted alternately, each boot runs the scenarios, and the tracer
//! gives its verdict on each.
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::instance::{Config, Lab};
use super::kernel::Kernel;
use super::made_of::{self, MadeOf};
use super::many;
use super::run::{self, Request, Silent};
use super::versions::Xen;
use crate::{shell, signal};

/// The baseline's name in the folder of its scenario.
const BASELINE: &str = "base";
/// What is written of each verdict, beside what is printed: the tracer's form, and the file.
const FILES: [(&str, &str); 3] = [
    ("json", "check.json"),
    ("markdown", "check.md"),
    ("junit", "check.xml"),
];

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The scenario files, such as scenarios/disk-vbd.toml: each boot runs all of them
    #[arg(required = true)]
    pub(super) scenarios: Vec<PathBuf>,
    /// The kernel that is good: a version that Debian has, such as 6.12, 7.3 or 6.12-rt, or a folder with a build of your
    /// own
    #[arg(long, value_name = "KERNEL")]
    pub(super) base: Kernel,
    /// The kernel that is checked
    #[arg(long, value_name = "KERNEL")]
    pub(super) new: Kernel,
    /// The hypervisor and its tools
    #[arg(long, default_value = "4.17")]
    pub(super) xen: Xen,
    /// Boots of each kernel: the more, the smaller the difference that is told from noise
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    boots: u32,
    /// What counts as a regression: docs/check.md
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The folder of runs and verdicts [default: runs/check-BASE-NEW]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The domain in which the tracer runs
    #[arg(long = "in", default_value = "dom0", value_name = "DOMAIN")]
    domain: String,
    /// A static tracer that is built already
    #[arg(long, hide = true)]
    pub(super) tracer: Option<PathBuf>,
    /// Further arguments for `tracer run`, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// One of both kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Base,
    New,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::New => "new",
        }
    }
}

/// One boot of one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Boot {
    side: Side,
    /// From 1.
    number: u32,
}

/// Both kernels in turn, and each as often first, in the order of Thue and Morse: a machine that slows down in the
/// meantime, ever faster or ever slower, slows both.
fn order(boots: u32) -> Vec<Boot> {
    let pair = |number: u32| {
        let sides = if (number - 1).count_ones().is_multiple_of(2) {
            [Side::Base, Side::New]
        } else {
            [Side::New, Side::Base]
        };
        sides.map(|side| Boot { side, number })
    };
    (1..=boots).flat_map(pair).collect()
}

/// The check of one or more scenarios.
pub(super) struct Check<'a> {
    pub(super) options: &'a Options,
    /// The labs' common name.
    pub(super) name: &'a str,
    /// The machine of both kernels.
    pub(super) base: Config,
    pub(super) new: Config,
}

impl Check<'_> {
    fn config(&self, side: Side) -> &Config {
        match side {
            Side::Base => &self.base,
            Side::New => &self.new,
        }
    }

    /// The folder of all.
    fn out(&self) -> PathBuf {
        let options = self.options;
        let name = format!("check-{}-{}", options.base, options.new);
        let default = || PathBuf::from("runs").join(name);
        options.out.clone().unwrap_or_else(default)
    }

    /// The folder of a scenario's runs and verdict.
    fn folder(&self, scenario: &Path) -> PathBuf {
        self.out().join(scenario.file_stem().unwrap_or_default())
    }

    /// Sees to it that what is in the scenarios' folders already is of the same kernels and settings.
    fn claim_folders(&self) -> Result<()> {
        let (base, new) = (
            made_of::Side::new(&self.base)?,
            made_of::Side::new(&self.new)?,
        );
        let tracer = made_of::digest(self.tracer())?;
        for scenario in &self.options.scenarios {
            let text = fs::read_to_string(scenario)
                .with_context(|| format!("cannot read {}", scenario.display()))?;
            let made_of = MadeOf {
                base: base.clone(),
                new: new.clone(),
                domain: self.options.domain.clone(),
                args: self.options.args.clone(),
                scenario: text,
                tracer: tracer.clone(),
            };
            made_of.claim(&self.folder(scenario))?;
        }
        Ok(())
    }

    fn run_folder(&self, scenario: &Path, boot: Boot) -> PathBuf {
        let name = format!("{}-{}", boot.side.name(), boot.number);
        self.folder(scenario).join(name)
    }

    /// The scenarios that a boot has still to run.
    fn missing(&self, boot: Boot) -> Vec<&PathBuf> {
        let scenarios = self.options.scenarios.iter();
        scenarios
            .filter(|scenario| many::complete(&self.run_folder(scenario, boot)).is_none())
            .collect()
    }

    fn tracer(&self) -> &Path {
        let tracer = self.options.tracer.as_deref();
        tracer.unwrap_or(Path::new("tracer"))
    }

    /// A boot, its runs, and its end.
    fn boot(&self, boot: Boot, scenarios: &[&PathBuf]) -> Result<()> {
        let lab = Lab::named(&format!("{}-{}", self.name, boot.side.name()))?;
        lab.for_one_boot(self.config(boot.side), |lab| {
            let mut scenarios = scenarios.iter();
            scenarios.try_for_each(|scenario| self.run(lab, scenario, boot))
        })
    }

    fn run(&self, lab: &Lab, scenario: &Path, boot: Boot) -> Result<()> {
        let out = self.run_folder(scenario, boot);
        many::set_aside(&out)?;
        let request = Request {
            tracer: self.tracer(),
            scenario,
            domain: &self.options.domain,
            args: &self.options.args,
            out: &out,
        };
        match run::run(lab, &request, &mut Silent)? {
            // A threshold was exceeded; or the run lost too much, and the check refuses it, with its reason.
            0..=2 => Ok(()),
            code => bail!("{} ended with {code}", scenario.display()),
        }
    }

    /// All boots that are still missing; returns whether each went well. One that does not, does not keep
    /// the others from it, a Ctrl-C does.
    fn boots(&self) -> Result<bool> {
        let start = Instant::now();
        let boots = order(self.options.boots).into_iter();
        let boots = boots.map(|boot| (boot, self.missing(boot)));
        let to_do: Vec<_> = boots.filter(|(_, missing)| !missing.is_empty()).collect();
        let mut all_well = true;
        for (done, (boot, scenarios)) in to_do.iter().enumerate() {
            let rest = many::left(start.elapsed(), done, to_do.len());
            let side = boot.side.name();
            eprintln!("lab: boot {} of {} ({side}){rest}", done + 1, to_do.len());
            if let Err(error) = self.boot(*boot, scenarios) {
                eprintln!("lab: boot {} of {side} failed: {error:#}", boot.number);
                all_well = false;
            }
            signal::check().with_context(|| {
                format!(
                    "the runs that are done stay in {}, and the same command goes on from there",
                    self.out().display()
                )
            })?;
        }
        Ok(all_well)
    }

    fn boots_and_verdicts(&self) -> Result<i32> {
        let mut worst = if self.boots()? { 0 } else { many::NOT_DONE };
        for scenario in &self.options.scenarios {
            worst = worst.max(self.verdict(scenario)?);
        }
        Ok(worst)
    }

    /// The runs of a side that are there.
    fn runs(&self, scenario: &Path, side: Side) -> Vec<PathBuf> {
        (1..=self.options.boots)
            .map(|number| self.run_folder(scenario, Boot { side, number }))
            .filter(|run| many::manifest(run).is_some())
            .collect()
    }

    /// The tracer's verdict, printed and written down; returns its exit code.
    fn verdict(&self, scenario: &Path) -> Result<i32> {
        let folder = self.folder(scenario);
        // Those of an earlier verdict, with fewer runs.
        let baseline = format!("{BASELINE}.json");
        for file in FILES.map(|(_, file)| file).iter().chain([&&*baseline]) {
            match fs::remove_file(folder.join(file)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {file} in {}", folder.display()));
                }
                _ => {}
            }
        }
        let (base, new) = (
            self.runs(scenario, Side::Base),
            self.runs(scenario, Side::New),
        );
        if base.is_empty() || new.is_empty() {
            eprintln!(
                "lab: {}: no run of both kernels, and so no verdict",
                scenario.display()
            );
            return Ok(many::NOT_DONE);
        }
        let mut save = shell::command(self.tracer());
        save.args(["baseline", "save"]).args(base);
        save.args(["--name", BASELINE, "--store"]).arg(&folder);
        let policy = self.options.policy.iter();
        let policy: Vec<&OsStr> = policy
            .flat_map(|file| [OsStr::new("--policy"), file.as_os_str()])
            .collect();
        save.args(&policy);
        let code = many::exit_code(&mut save)?;
        if code != 0 {
            return Ok(code);
        }
        let check = || {
            let mut check = shell::command(self.tracer());
            check.arg("check").args(&new);
            check.args(["--baseline", BASELINE, "--store"]).arg(&folder);
            check.args(&policy);
            check
        };
        println!("{}", scenario.display());
        let mut worst = many::exit_code(&mut check())?;
        for (format, file) in FILES {
            let mut command = check();
            command.args(["--format", format, "--output"]);
            worst = worst.max(many::exit_code(command.arg(folder.join(file)))?);
        }
        Ok(worst)
    }
}

/// Makes the runs that are not there yet, and gives the verdicts; returns the worst exit code: 0 no
/// regression, 1 a regression, 2 not comparable or cannot tell, 3 a boot or a run failed.
pub(super) fn check(check: &Check<'_>) -> Result<i32> {
    for config in [&check.base, &check.new] {
        run::require_domain(config, &check.options.domain)?;
    }
    let scenarios = check.options.scenarios.iter();
    let folders: BTreeSet<PathBuf> = scenarios.map(|scenario| check.folder(scenario)).collect();
    if folders.len() < check.options.scenarios.len() {
        bail!("two of the scenarios have the same file name, and so the same folder of runs");
    }
    if let Some(policy) = check.options.policy.as_ref().filter(|file| !file.is_file()) {
        bail!("there is no file {}", policy.display());
    }
    check.claim_folders()?;
    let worst = check.boots_and_verdicts();
    // Also what there is after a Ctrl-C.
    run::give_to_user(&check.out())?;
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_take_turns_and_each_is_first_as_often() {
        let order = order(4);
        let sides: Vec<&str> = order.iter().map(|boot| boot.side.name()).collect();
        assert_eq!(
            sides,
            ["base", "new", "new", "base", "new", "base", "base", "new"]
        );
        let numbers: Vec<u32> = order.iter().map(|boot| boot.number).collect();
        assert_eq!(numbers, [1, 1, 2, 2, 3, 3, 4, 4]);
    }
}
