//! A domain of a run: its agent, what is traced there, and the loads that run there.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};

use crate::{
    agent::{
        client::{Client, Sink},
        protocol::{Action, Answer},
    },
    load::LoadSpec,
    platform::{environment, guest::Guest},
    resource::Resources,
    run::request,
};
use tracer_analysis::{
    recording::{
        Received,
        bindings::Bindings,
        directory::{DomainEnd, DomainStart, RunDirectory},
        host::Hello,
        load::LoadResult,
        snapshot::Snapshot,
    },
    scenario::{Scenario, address::Address, types::Domain},
};

/// Time for what a domain does at once; one under an emulated CPU takes seconds for that.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// Time for an agent that is there to answer; one behind a terminal first ends the session of a loader that
/// was killed, which it notices after half a minute.
const THERE: Duration = Duration::from_secs(60);
/// Time for a guest to boot, and its agent to answer.
const BOOT: Duration = Duration::from_secs(300);
/// Time for loading and attaching the programs.
const ATTACH: Duration = Duration::from_secs(180);
/// The agent looks after a running load in turns of this length, so that it can be stopped. Each turn
/// wakes both sides, which costs the load some of its CPU.
const TURN: Duration = Duration::from_millis(250);

/// A domain of a run.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) name: String,
    /// As Xen knows it, if it is a guest of this Dom0.
    guest: Option<Guest>,
    is_local: bool,
    client: Client,
    hello: Hello,
    /// Loads that run now, for the end.
    running: Vec<u32>,
}

impl Traced {
    /// Reaches a domain's agent.
    pub(super) async fn reach(
        domain: &Domain,
        directory: &RunDirectory,
        exe: &Path,
    ) -> anyhow::Result<Self> {
        let address: Address = domain
            .agent
            .parse()
            .map_err(|error| anyhow::anyhow!("domain {}: agent {error}", domain.name))?;
        let is_local = address == Address::Local;
        let guest = if is_local {
            None
        } else {
            let found = Guest::find(domain.guest.as_ref().unwrap_or(&domain.name));
            match (found, &address) {
                (Ok(guest), _) => Some(guest),
                (Err(error), Address::Console(_)) => return Err(error),
                (Err(error), _) => {
                    tracing::info!("domain {} is no guest of this Dom0: {error:#}", domain.name);
                    None
                }
            }
        };
        let limit = if domain.create.is_some() { BOOT } else { THERE };
        let sink = sink(directory, &domain.name)?;
        let (client, hello) =
            Client::start(&domain.name, &address, exe, guest.as_ref(), sink, limit).await?;
        Ok(Self {
            name: domain.name.clone(),
            guest,
            is_local,
            client,
            hello,
            running: Vec::new(),
        })
    }

    /// Attaches what the scenario traces in this domain.
    pub(super) async fn attach(
        &mut self,
        scenario: &Scenario,
        resources: &Resources,
        directory: &RunDirectory,
    ) -> anyhow::Result<()> {
        let role = &self.hello.host.xen_role;
        let datapaths = request::datapaths(scenario, &self.name, role);
        let query = request::devices(scenario, &self.name, &datapaths, resources)?;
        let found = match self.client.ask(Action::Survey(query), SOON).await? {
            Answer::Surveyed(found) => found,
            _ => return self.confused(),
        };
        let request = request::request(scenario, datapaths, &found.devices);
        let bindings = if request.datapaths.is_empty() {
            Bindings::default()
        } else {
            let records = self.is_local.then(|| directory.records_path(&self.name));
            let attach = Action::Attach {
                request: request.clone(),
                records: records.transpose()?,
            };
            match self.client.ask(attach, ATTACH).await? {
                Answer::Attached(bindings) => bindings,
                _ => return self.confused(),
            }
        };
        directory.write_start(&DomainStart {
            name: self.name.clone(),
            domid: self.guest.as_ref().map(|guest| guest.domid),
            hello: self.hello.clone(),
            request,
            bindings,
            devices: found.devices,
            interfaces: if self.is_local {
                resources.interfaces()
            } else {
                found.interfaces
            },
            vif_queues: found.vif_queues,
            environment: if self.is_local {
                environment::check(scenario, Path::new("/"))
            } else {
                Vec::new()
            },
        })
    }

    fn confused<T>(&self) -> anyhow::Result<T> {
        bail!(
            "the agent of domain {} gave an answer to another question",
            self.name
        )
    }

    /// Has the agent do something that brings nothing back.
    pub(super) async fn act(&mut self, action: Action, limit: Duration) -> anyhow::Result<()> {
        self.client.ask(action, limit).await.map(drop)
    }

    pub(super) async fn start_load(&mut self, id: u32, spec: LoadSpec) -> anyhow::Result<()> {
        self.running.push(id);
        self.act(Action::StartLoad { id, spec }, SOON).await
    }

    /// Waits for a load's end.
    pub(super) async fn wait(&mut self, id: u32) -> anyhow::Result<LoadResult> {
        let timeout_ms = u64::try_from(TURN.as_millis()).unwrap_or(250);
        loop {
            let wait = Action::WaitLoad { id, timeout_ms };
            match self.client.ask(wait, SOON).await? {
                Answer::Load(result) => {
                    self.running.retain(|other| *other != id);
                    return Ok(result);
                }
                Answer::Running => {}
                _ => return self.confused(),
            }
        }
    }

    pub(super) async fn snapshot(&mut self) -> anyhow::Result<Snapshot> {
        match self.client.ask(Action::Snapshot, SOON).await? {
            Answer::Snapshot(snapshot) => Ok(snapshot),
            _ => self.confused(),
        }
    }

    /// Has the agent send what it holds.
    pub(super) async fn send_records(&mut self) -> anyhow::Result<()> {
        if self.is_local {
            return Ok(());
        }
        self.act(Action::SendRecords, SOON).await
    }

    /// Stops the loads that still run; returns the result of the one asked for.
    pub(super) async fn stop_loads(&mut self, wanted: u32) -> Option<LoadResult> {
        let mut found = None;
        for id in std::mem::take(&mut self.running) {
            let stopped = self.client.ask(Action::StopLoad { id }, SOON).await;
            if let (true, Ok(Answer::Load(load))) = (id == wanted, stopped) {
                found = Some(load);
            }
        }
        found
    }

    /// Detaches.
    pub(super) async fn detach(&mut self, directory: &RunDirectory) -> anyhow::Result<()> {
        match self.client.ask(Action::Detach, SOON).await? {
            Answer::Detached { in_flight } => {
                let file = directory.records(&self.name)?;
                let length = file.map_or(Ok(0), |file| file.metadata().map(|facts| facts.len()));
                let end = DomainEnd {
                    in_flight,
                    record_bytes: Some(length.context("cannot read the length of the records")?),
                };
                directory.write_end(&self.name, &end)
            }
            _ => self.confused(),
        }
    }

    /// Ends the agent.
    pub(super) async fn end(self) {
        self.client.end().await;
    }
}

/// Keeps records as they come, from an agent that does not reach the run directory itself.
fn sink(directory: &RunDirectory, domain: &str) -> anyhow::Result<Sink> {
    let mut received = Received::new(directory, domain)?;
    Ok(Box::new(move |bytes| received.keep(&bytes)))
}
