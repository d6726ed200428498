//! Drives a scenario: makes its resources, reaches the agents, runs the iterations, puts everything
//! back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    agent::protocol::Action,
    resource::Resources,
    run::{
        traced::Traced,
        workload::{self, Specs},
    },
};
use tracer_analysis::{
    recording::{
        directory::{IterationRecord, RunDirectory, State, Window},
        load::LoadResult,
        snapshot::Snapshot,
    },
    scenario::{RunChanges, Scenario, types::Workload},
};

/// The measured load's number; its server's, and the backgrounds', follow.
const MEASURED: u32 = 0;
const FIRST_OTHER: u32 = 1;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run directory.
    pub out: PathBuf,
    /// This program, for agents.
    pub exe: PathBuf,
    /// When it began (RFC 3339).
    pub started: String,
    /// How the scenario was changed.
    pub changes: RunChanges,
}

/// Signals that end a run in order. They are taken from the beginning, so that none can end the
/// process with something left behind.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn take() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one; says what it was.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted by SIGINT",
            _ = self.terminate.recv() => "ended by SIGTERM",
        }
    }
}

/// Runs a scenario. The run directory is written whatever happens; its state tells how it ended.
///
/// # Errors
/// If nothing could be measured at all.
pub async fn drive(
    scenario: &Scenario,
    text: &str,
    options: &Options,
) -> anyhow::Result<RunDirectory> {
    let mut signals = Signals::take()?;
    let started = options.started.clone();
    let directory = RunDirectory::create(&options.out, text, &options.changes, started)?;
    let outcome = run(scenario, &directory, &options.exe, &mut signals).await;
    let state = match &outcome {
        Ok(state) => state.clone(),
        Err(error) => State::Partial(format!("nothing was measured: {error:#}")),
    };
    // On a full disk this fails, too: then the manifest goes on saying `running`, which means partial.
    if let Err(error) = directory.set_state(state) {
        tracing::error!("{error:#}");
    }
    outcome.map(|_| directory)
}

async fn run(
    scenario: &Scenario,
    directory: &RunDirectory,
    exe: &Path,
    signals: &mut Signals,
) -> anyhow::Result<State> {
    let resources = match make(scenario.clone(), signals).await? {
        Ok(resources) => resources,
        Err(signal) => return Ok(State::Partial(signal.into())),
    };
    let mut session = tokio::select! {
        session = Session::start(scenario, &resources, directory, exe) => session?,
        signal = signals.next() => return Ok(State::Partial(signal.into())),
    };
    let outcome = tokio::select! {
        outcome = session.measure() => outcome,
        signal = signals.next() => Err(anyhow!(signal)),
    };
    let ended = session.end(outcome.is_err()).await;
    let removed = resources.remove();
    let problem = [outcome, ended, removed].into_iter().find_map(Result::err);
    Ok(problem.map_or(State::Complete, |error| {
        State::Partial(format!("{error:#}"))
    }))
}

/// Makes the resources, and the guests; or says which signal came meanwhile. A thread makes them, since a large file
/// takes its time.
async fn make(
    scenario: Scenario,
    signals: &mut Signals,
) -> anyhow::Result<Result<Resources, &'static str>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut thread = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || Resources::create(&scenario.resource, &scenario.domain, &stop)
    });
    tokio::select! {
        made = &mut thread => made?.map(Ok),
        signal = signals.next() => {
            stop.store(true, Ordering::Relaxed);
            // What was made by now is removed when it is dropped here.
            drop(thread.await);
            Ok(Err(signal))
        }
    }
}

/// The domains of a run, and what runs in them.
struct Session<'a> {
    scenario: &'a Scenario,
    directory: &'a RunDirectory,
    domains: Vec<Traced>,
    /// The measured load and its domain.
    measured: Placed,
    others: Vec<Placed>,
    /// The iteration that runs now, and the domains' counters before it.
    open: Option<(u32, BTreeMap<String, Snapshot>)>,
    /// Domains that did not last, and why.
    lost: Vec<String>,
}

/// A load and the domain that it runs in.
#[derive(Clone)]
struct Placed {
    domain: String,
    /// The domain of its other side, if it has one.
    server: String,
    specs: Specs,
}

impl Placed {
    fn new(scenario: &Scenario, load: &Workload, resources: &Resources) -> anyhow::Result<Self> {
        let domain = workload::domain(scenario, load);
        Ok(Self {
            domain: domain.into(),
            server: load.server.as_deref().unwrap_or(domain).into(),
            specs: workload::specs(load, resources)?,
        })
    }
}

impl<'a> Session<'a> {
    async fn start(
        scenario: &'a Scenario,
        resources: &Resources,
        directory: &'a RunDirectory,
        exe: &Path,
    ) -> anyhow::Result<Self> {
        let others = scenario.background.iter();
        let mut session = Self {
            scenario,
            directory,
            domains: Vec::new(),
            measured: Placed::new(scenario, &scenario.workload, resources)?,
            others: others
                .map(|load| Placed::new(scenario, load, resources))
                .collect::<anyhow::Result<_>>()?,
            open: None,
            lost: Vec::new(),
        };
        if let Err(error) = session.attach(resources, exe).await {
            session.end_agents().await;
            return Err(error);
        }
        Ok(session)
    }

    /// In all domains at once: each takes its own CPU for that.
    async fn attach(&mut self, resources: &Resources, exe: &Path) -> anyhow::Result<()> {
        let domains = self.scenario.domain.iter();
        let reaching = domains.map(|domain| Traced::reach(domain, self.directory, exe));
        let mut failed = Ok(());
        for reached in join_all(reaching).await {
            match reached {
                Ok(domain) => self.domains.push(domain),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed?;
        let names: Vec<&str> = self.domains.iter().map(|d| d.name.as_str()).collect();
        if names.len() > 1 {
            tracing::info!("attaching in {}", names.join(", "));
        }
        let domains = self.domains.iter_mut();
        let attaching =
            domains.map(|domain| domain.attach(self.scenario, resources, self.directory));
        join_all(attaching).await.into_iter().collect()
    }

    /// A domain that is still there.
    fn domain(&mut self, name: &str) -> anyhow::Result<&mut Traced> {
        let found = self.domains.iter_mut().find(|domain| domain.name == name);
        found.with_context(|| format!("domain {name} is gone"))
    }

    /// Does the same with every domain. One that fails is given up; without the measured one there is
    /// nothing left to do.
    async fn with_each<T>(
        &mut self,
        mut act: impl AsyncFnMut(&mut Traced) -> anyhow::Result<T>,
    ) -> anyhow::Result<BTreeMap<String, T>> {
        let mut results = BTreeMap::new();
        let mut failed = Vec::new();
        for (index, domain) in self.domains.iter_mut().enumerate() {
            match act(domain).await {
                Ok(result) => {
                    results.insert(domain.name.clone(), result);
                }
                Err(error) => failed.push((index, error)),
            }
        }
        for (index, error) in failed.into_iter().rev() {
            let domain = self.domains.remove(index);
            let name = domain.name.clone();
            domain.end().await;
            if name == self.measured.domain {
                return Err(error);
            }
            tracing::warn!("going on without domain {name}: {error:#}");
            self.lost
                .push(format!("domain {name} did not last: {error:#}"));
        }
        Ok(results)
    }

    /// Warm-up and measured iterations.
    async fn measure(&mut self) -> anyhow::Result<()> {
        let mut id = FIRST_OTHER;
        let measured = self.measured.clone();
        if let Some(server) = measured.specs.server {
            self.domain(&measured.server)?
                .start_load(id, server)
                .await?;
            id += 1;
        }
        for Placed {
            domain,
            server,
            specs,
        } in self.others.clone()
        {
            let server = specs.server.map(|spec| (server, spec));
            for (domain, mut spec) in server.into_iter().chain([(domain, specs.load)]) {
                // No load waits as another does.
                spec.kind.set_sequence(u64::from(id) << 32);
                self.domain(&domain)?.start_load(id, spec).await?;
                id += 1;
            }
        }
        let run = &self.scenario.run;
        let (warm_up, iterations) = (run.warm_up, run.iterations);
        for number in 0..warm_up + iterations {
            self.prepare().await?;
            let measured = number.checked_sub(warm_up);
            match measured {
                Some(index) => tracing::info!("iteration {} of {iterations}", index + 1),
                None => tracing::info!("warm-up {} of {warm_up}", number + 1),
            }
            self.iterate(number, measured).await?;
        }
        if self.lost.is_empty() {
            Ok(())
        } else {
            Err(anyhow!(self.lost.join("; ")))
        }
    }

    /// What happens before an iteration. The page cache is dropped in every domain: a backend may have
    /// one, too.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let run = &self.scenario.run;
        let name = self.measured.domain.clone();
        if let (Some(bytes), Some(path)) = (run.read_before, &run.read_before_file) {
            let action = Action::ReadUnrelated {
                path: path.clone(),
                bytes: bytes.0,
            };
            self.domain(&name)?.act(action, run.timeout.0).await?;
        }
        if run.drop_caches {
            self.with_each(async |domain| domain.act(Action::DropCaches, run.timeout.0).await)
                .await?;
        }
        tokio::time::sleep(run.pause.0).await;
        Ok(())
    }

    /// Each iteration, of all from the warm-up on, has its own random waits, the same in every run.
    async fn iterate(&mut self, number: u32, measured: Option<u32>) -> anyhow::Result<()> {
        if let Some(index) = measured {
            let before = self
                .with_each(async |domain| domain.snapshot().await)
                .await?;
            self.open = Some((index, before));
        }
        let Placed {
            domain, mut specs, ..
        } = self.measured.clone();
        specs.load.kind.set_sequence(number.into());
        let limit = self.scenario.run.timeout.0;
        let domain = self.domain(&domain)?;
        domain.start_load(MEASURED, specs.load).await?;
        let load = tokio::time::timeout(limit, domain.wait(MEASURED)).await.map_err(|_| {
            anyhow!("the workload did not end within run.timeout ({limit:?}); give it more time or less to do")
        })??;
        self.close(load).await
    }

    /// Writes the open iteration down, and has the agents send what they hold of it.
    async fn close(&mut self, load: LoadResult) -> anyhow::Result<()> {
        if let Some((index, before)) = self.open.take() {
            let mut after = self
                .with_each(async |domain| domain.snapshot().await)
                .await?;
            let windows = before.into_iter().filter_map(|(name, before)| {
                let after = after.remove(&name)?;
                Some((name, Window { before, after }))
            });
            self.directory.add_iteration(&IterationRecord {
                index,
                load,
                domain: self.measured.domain.clone(),
                windows: windows.collect(),
            })?;
        }
        self.with_each(async |domain| domain.send_records().await)
            .await
            .map(drop)
    }

    /// Stops loads, detaches, ends the agents. After an early end the iteration that ran is kept as far
    /// as it came.
    async fn end(mut self, early: bool) -> anyhow::Result<()> {
        let outcome = self.wind_up(early).await;
        self.end_agents().await;
        outcome
    }

    async fn wind_up(&mut self, early: bool) -> anyhow::Result<()> {
        let mut measured = None;
        for domain in &mut self.domains {
            let stopped = domain.stop_loads(MEASURED).await;
            measured = measured.or(stopped);
        }
        if let (true, Some(load)) = (early, measured) {
            self.close(load).await?;
        }
        let directory = self.directory;
        self.with_each(async |domain| domain.detach(directory).await)
            .await
            .map(drop)
    }

    async fn end_agents(&mut self) {
        for domain in std::mem::take(&mut self.domains) {
            domain.end().await;
        }
    }
}
