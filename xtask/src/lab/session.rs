//! A lab that is up, for benchmarks: scenarios from Dom0, and scripts in its domains.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tracer_analysis::Report;

use super::instance::{self, Lab};
use super::job::Printed;
use super::made_of;
use super::meter::Meter;
use super::run::{self, Request};
use super::up::Start;
use super::{Made, ensure_tracer};
use crate::{report, signal};

/// Exit codes of runs that were completed: well, over a threshold, too much lost.
const COMPLETED: [i32; 3] = [0, 1, 2];
/// The exit code of a run that lost more than its scenario allows.
const LOST_TOO_MUCH: i32 = 2;

/// A lab that is up, and the tracer for it.
pub(crate) struct Session {
    lab: Lab,
    tracer: PathBuf,
}

/// Installs what a lab needs, and builds a tracer for it unless there is one; as this user.
pub(crate) fn prepare(tracer: &mut Option<PathBuf>) -> Result<()> {
    ensure_tracer(tracer)
}

impl Session {
    /// Brings the lab up, or finds it up; as root.
    ///
    /// # Errors
    /// Also when a lab of this name, but of something else, is up.
    pub(crate) fn up(made: &Made, tracer: &Path) -> Result<Self> {
        let lab = Lab::named(made.name())?;
        lab.up(&made.config()?, Start::default())?;
        Ok(Self {
            lab,
            tracer: tracer.to_owned(),
        })
    }

    /// Boots a lab whose name ends in `-suffix`, does something with it, and ends it; as root.
    ///
    /// # Errors
    /// Also when a lab of that name is up.
    pub(crate) fn for_one_boot<T>(
        made: &Made,
        suffix: &str,
        tracer: &Path,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let lab = Lab::named(&format!("{}-{suffix}", made.name()))?;
        lab.for_one_boot(&made.config()?, |lab| {
            work(&Self {
                lab: lab.clone(),
                tracer: tracer.to_owned(),
            })
        })
    }

    /// What the runs of such a lab are made of: machine, kernel's build, tracer.
    pub(crate) fn made_of(made: &Made, tracer: &Path) -> Result<Value> {
        let side = made_of::Side::new(&made.config()?)?;
        Ok(json!({"lab": side, "tracer": made_of::digest(tracer)?}))
    }

    /// As [`Self::report`]; a run that lost more than its scenario allows is an error, too.
    pub(crate) fn comparable(
        &self,
        scenario: &Path,
        args: &[String],
        out: &Path,
    ) -> Result<Report> {
        let (code, report) = self.coded_report(scenario, args, out)?;
        if code == LOST_TOO_MUCH {
            bail!(
                "the run in {} lost more than its scenario allows",
                out.display()
            );
        }
        Ok(report)
    }

    /// Runs a scenario; returns its report. The run's directory is then `out`.
    ///
    /// # Errors
    /// Also when the run is not whole.
    pub(crate) fn report(&self, scenario: &Path, args: &[String], out: &Path) -> Result<Report> {
        Ok(self.coded_report(scenario, args, out)?.1)
    }

    /// The exit code, too.
    fn coded_report(&self, scenario: &Path, args: &[String], out: &Path) -> Result<(i32, Report)> {
        let mut printed = Printed::default();
        let mut all = vec!["--json".to_owned()];
        all.extend_from_slice(args);
        let request = Request {
            tracer: &self.tracer,
            scenario,
            domain: "dom0",
            args: &all,
            out,
        };
        let code = run::run(&self.lab, &request, &mut printed)?;
        signal::check()?;
        if !COMPLETED.contains(&code) {
            bail!(
                "`tracer run` of {} ended with {code}: {}",
                scenario.display(),
                printed.stderr.trim_end()
            );
        }
        let report = report::parse(&printed.stdout)
            .with_context(|| format!("the run of {} printed no report", scenario.display()))?;
        match &report.partial {
            Some(why) => bail!("the run in {} is not whole: {why}", out.display()),
            None => Ok((code, report)),
        }
    }

    /// Begins to meter what arrives at the peer host by one of its wires, `tap0` (from Dom0's card) or `tap1`
    /// (from the one that is passed through), and the emulator's CPU time.
    ///
    /// # Errors
    /// When the lab's emulator has ended.
    pub(crate) fn meter(&self, wire: &'static str) -> Result<Meter> {
        let qemu = instance::qemu(&self.lab.folder).context("the lab's QEMU has ended")?;
        Ok(Meter::start(qemu, wire))
    }

    /// Runs a script in a domain; returns what it printed.
    ///
    /// # Errors
    /// Also when its status is not 0, or it takes longer than `limit`.
    pub(crate) fn output(&self, domain: &str, script: &str, limit: Duration) -> Result<String> {
        self.lab.domain(domain).output(script, limit)
    }

    /// Gives a folder that root has made to the user of sudo.
    pub(crate) fn give_to_user(folder: &Path) -> Result<()> {
        run::give_to_user(folder)
    }
}
