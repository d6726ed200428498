//! Drives a scenario: makes its resources, starts the agent, runs the iterations, puts everything
//! back.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    agent::{
        client::{Client, Sink},
        protocol::{Action, Answer},
    },
    load::LoadResult,
    platform::environment,
    probe::snapshot::Snapshot,
    resource::Resources,
    run::{
        directory::{DomainEnd, DomainStart, IterationRecord, RunDirectory, State, records_name},
        request::{devices, request},
        workload::{self, Specs},
    },
    scenario::{Scenario, types::Resource},
};

/// Time for commands that answer at once.
const SOON: Duration = Duration::from_secs(30);
/// The agent looks after a running load in turns of this length, so that it can be stopped. Each turn
/// wakes both sides, which costs the load some of its CPU.
const TURN: Duration = Duration::from_millis(250);
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
    let directory = RunDirectory::create(&options.out, text, options.started.clone())?;
    let outcome = run(scenario, &directory, &options.exe, &mut signals).await;
    let state = match &outcome {
        Ok(state) => state.clone(),
        Err(error) => State::Partial(format!("nothing was measured: {error:#}")),
    };
    // On a full disk this fails, too: then the manifest goes on saying `running`, which means partial.
    if let Err(error) = directory.set_state(options.started.clone(), state) {
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
    let resources = match make(scenario.resource.clone(), signals).await? {
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

/// Makes the resources; or says which signal came meanwhile. A thread makes them, since a large file
/// takes its time.
async fn make(
    resources: Vec<Resource>,
    signals: &mut Signals,
) -> anyhow::Result<Result<Resources, &'static str>> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut thread = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || Resources::create(&resources, &stop)
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

/// A domain being traced.
struct Session<'a> {
    scenario: &'a Scenario,
    directory: &'a RunDirectory,
    domain: String,
    client: Client,
    measured: Specs,
    others: Vec<Specs>,
    /// What runs now, for the end.
    running: Vec<u32>,
    /// The iteration that runs now.
    open: Option<(u32, Snapshot)>,
}

impl<'a> Session<'a> {
    async fn start(
        scenario: &'a Scenario,
        resources: &Resources,
        directory: &'a RunDirectory,
        exe: &Path,
    ) -> anyhow::Result<Self> {
        let domain = scenario
            .domain
            .first()
            .context("the scenario has no domain")?
            .name
            .clone();
        let measured = workload::specs(&scenario.workload, resources)?;
        let others = scenario
            .background
            .iter()
            .map(|load| workload::specs(load, resources))
            .collect::<anyhow::Result<_>>()?;
        let devices = devices(scenario, resources)?;
        let request = request(scenario, &devices);
        let (mut client, hello) =
            Client::start_local(&domain, exe, sink(directory, &domain)?).await?;
        let attach = Action::Attach {
            request: request.clone(),
            records: Some(directory.records_path(&domain)?),
        };
        let bindings = match client.ask(attach, SOON).await {
            Ok(Answer::Attached(bindings)) => bindings,
            Ok(_) => bail!("the agent gave an answer to another question"),
            Err(error) => {
                client.end().await;
                return Err(error);
            }
        };
        directory.write_start(&DomainStart {
            name: domain.clone(),
            hello,
            request,
            bindings,
            devices,
            interfaces: resources.interfaces(),
            environment: environment::check(scenario, Path::new("/")),
        })?;
        Ok(Self {
            scenario,
            directory,
            domain,
            client,
            measured,
            others,
            running: Vec::new(),
            open: None,
        })
    }

    /// Warm-up and measured iterations.
    async fn measure(&mut self) -> anyhow::Result<()> {
        let mut id = FIRST_OTHER;
        if let Some(server) = self.measured.server.clone() {
            self.start_load(id, server).await?;
            id += 1;
        }
        for specs in self.others.clone() {
            for spec in specs.server.into_iter().chain([specs.load]) {
                self.start_load(id, spec).await?;
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
            self.iterate(measured).await?;
        }
        Ok(())
    }

    /// What happens before an iteration.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let run = &self.scenario.run;
        if let (Some(bytes), Some(path)) = (run.read_before, &run.read_before_file) {
            let action = Action::ReadUnrelated {
                path: path.clone(),
                bytes: bytes.0,
            };
            self.client.ask(action, run.timeout.0).await?;
        }
        if run.drop_caches {
            self.client.ask(Action::DropCaches, run.timeout.0).await?;
        }
        tokio::time::sleep(run.pause.0).await;
        Ok(())
    }

    async fn iterate(&mut self, measured: Option<u32>) -> anyhow::Result<()> {
        if let Some(index) = measured {
            let before = self.snapshot().await?;
            self.open = Some((index, before));
        }
        let spec = self.measured.load.clone();
        self.start_load(MEASURED, spec).await?;
        let limit = self.scenario.run.timeout.0;
        let load = tokio::time::timeout(limit, self.wait(MEASURED)).await.map_err(|_| {
            anyhow!("the workload did not end within run.timeout ({limit:?}); give it more time or less to do")
        })??;
        self.close(load).await
    }

    /// Writes the open iteration down.
    async fn close(&mut self, load: LoadResult) -> anyhow::Result<()> {
        let Some((index, before)) = self.open.take() else {
            return Ok(());
        };
        let after = self.snapshot().await?;
        self.directory.add_iteration(&IterationRecord {
            index,
            load,
            before,
            after,
        })
    }

    async fn start_load(&mut self, id: u32, spec: crate::load::LoadSpec) -> anyhow::Result<()> {
        self.running.push(id);
        self.client
            .ask(Action::StartLoad { id, spec }, SOON)
            .await
            .map(drop)
    }

    async fn wait(&mut self, id: u32) -> anyhow::Result<LoadResult> {
        let timeout_ms = u64::try_from(TURN.as_millis()).unwrap_or(250);
        loop {
            match self
                .client
                .ask(Action::WaitLoad { id, timeout_ms }, SOON)
                .await?
            {
                Answer::Load(result) => {
                    self.running.retain(|other| *other != id);
                    return Ok(result);
                }
                Answer::Running => {}
                _ => bail!("the agent gave an answer to another question"),
            }
        }
    }

    async fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        match self.client.ask(Action::Snapshot, SOON).await? {
            Answer::Snapshot(snapshot) => Ok(snapshot),
            _ => bail!("the agent gave an answer to another question"),
        }
    }

    /// Stops loads, detaches, ends the agent. After an early end the iteration that ran is kept as far
    /// as it came.
    async fn end(mut self, early: bool) -> anyhow::Result<()> {
        let outcome = self.wind_up(early).await;
        self.client.end().await;
        outcome
    }

    async fn wind_up(&mut self, early: bool) -> anyhow::Result<()> {
        for id in std::mem::take(&mut self.running) {
            let stopped = self.client.ask(Action::StopLoad { id }, SOON).await;
            if let (MEASURED, true, Ok(Answer::Load(load))) = (id, early, stopped) {
                self.close(load).await?;
            }
        }
        let answer = self.client.ask(Action::Detach, SOON).await?;
        if let Answer::Detached { in_flight } = answer {
            self.directory
                .write_end(&self.domain, &DomainEnd { in_flight })?;
        }
        Ok(())
    }
}

/// Writes records as they come, from an agent that does not reach the run directory itself.
fn sink(directory: &RunDirectory, domain: &str) -> anyhow::Result<Sink> {
    let mut file = directory.append(&records_name(domain))?;
    let path = directory.path().to_owned();
    Ok(Box::new(move |bytes| {
        file.write_all(&bytes)
            .with_context(|| format!("cannot write records into {}", path.display()))
    }))
}
