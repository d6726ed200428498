//! A domain of a recorded run: its clock, its records, what was stolen of them.

use std::collections::BTreeSet;

use tracer_common::{
    point::Kind,
    record::{MAX_POINTS, Record},
};

use crate::{
    clock::{Mapping, Timeline},
    datapath::{datapath, is_backends},
    document::ClockReport,
    recording::{
        directory::{DomainStart, IterationRecord, RunDirectory, Window},
        records::Records,
    },
    span::{
        Span,
        steal::{Thefts, Worker},
        worker,
    },
};

/// A domain of a recorded run.
#[derive(Debug)]
pub(super) struct Domain<'a> {
    pub(super) start: DomainStart,
    /// Its counters around the iterations.
    pub(super) windows: Vec<&'a Window>,
    /// Its clock against the TSC.
    pub(super) timeline: Option<Timeline>,
    /// From its clock to the run's timeline.
    pub(super) mapping: Mapping,
    pub(super) clock: ClockReport,
    /// When its virtual CPUs, or blkback's threads, wanted to run and did not; set when its mapping is.
    pub(super) thefts: Thefts,
    /// Whether its timeline is the backend's.
    pub(super) is_tied: bool,
}

impl<'a> Domain<'a> {
    pub(super) fn new(start: DomainStart, iterations: &'a [IterationRecord]) -> Self {
        let windows: Vec<&Window> = iterations
            .iter()
            .filter_map(|iteration| iteration.windows.get(&start.name))
            .collect();
        let pairs = windows
            .iter()
            .flat_map(|window| [&window.before, &window.after])
            .flat_map(|snapshot| snapshot.clocks.iter().chain(&snapshot.clock));
        let pairs = start.hello.clock.iter().chain(pairs);
        Self {
            timeline: Timeline::new(pairs.copied()),
            start,
            windows,
            mapping: Mapping::default(),
            clock: ClockReport::default(),
            thefts: Thefts::default(),
            is_tied: false,
        }
    }

    /// Whether times of both are on one timeline.
    pub(super) fn shares_timeline(&self, other: &Self) -> bool {
        self.start.name == other.start.name || (self.is_tied && other.is_tied)
    }

    /// Whether it traces the backend of other domains' devices.
    pub(super) fn is_backend(&self) -> bool {
        let mut traced = self.start.request.datapaths.iter();
        let kinds = [Some(Kind::Blkback), Some(Kind::NetForward)];
        traced.any(|name| datapath(name).is_some_and(|path| kinds.contains(&path.kind)))
    }

    /// The datapath of its requests of this kind, if they go on in this backend.
    pub(super) fn goes_on(&self, kind: Kind, backend: &Self) -> Option<&'static str> {
        let theirs = &backend.start.request.datapaths;
        let mut own = self.start.request.datapaths.iter();
        own.find_map(|name| {
            let path = datapath(name).filter(|path| path.kind == Some(kind))?;
            let other = path.backend?.datapath;
            theirs.iter().any(|name| name == other).then_some(path.name)
        })
    }

    /// Whether any of its requests go on in this backend.
    pub(super) fn is_joined_with(&self, backend: &Self) -> bool {
        let mut kinds = Kind::ALL.into_iter();
        self.start.domid.is_some() && kinds.any(|kind| self.goes_on(kind, backend).is_some())
    }

    /// A span of one of its records, and of the backend's if it goes on there, with what was taken from it.
    pub(super) fn without_taken(
        &self,
        span: Span,
        record: &Record,
        backend: Option<(&Self, &Record)>,
    ) -> Span {
        let thefts = backend.map_or(&self.thefts, |(backend, _)| &backend.thefts);
        if self.thefts.is_empty() && thefts.is_empty() {
            return span;
        }
        span.taken_by(|point| {
            let (domain, record) = match backend {
                Some(backends) if is_backends(point) => backends,
                _ => (self, record),
            };
            Worker {
                thefts: &domain.thefts,
                cpu: worker::cpu_at(record, point),
                thread: worker::thread_at(record, point),
            }
        })
    }

    /// The clock of a domain that is joined with no other.
    pub(super) fn own_clock(&self) -> (Mapping, ClockReport) {
        let report = ClockReport {
            method: "its own".into(),
            ticks_per_ns: self.timeline.as_ref().map(Timeline::ticks_per_ns),
            error_ns: self.timeline.as_ref().map(Timeline::error_ns),
            ..ClockReport::default()
        };
        (Mapping::default(), report)
    }

    /// What Xen gave to others, by the mapping that is set; without Xen there is nothing to look for.
    pub(super) fn thefts(&self, directory: &RunDirectory) -> anyhow::Result<Thefts> {
        if self.start.hello.host.xen_role == "none" {
            return Ok(Thefts::default());
        }
        let records = self.records(directory)?.into_iter().flatten();
        Ok(Thefts::new(records, &self.mapping))
    }

    /// Its records, if it has any.
    pub(super) fn records(&self, directory: &RunDirectory) -> anyhow::Result<Option<Records>> {
        let file = directory.records(&self.start.name)?;
        // A number is taken to be one line's for the whole run.
        let snapshots = self
            .windows
            .iter()
            .flat_map(|window| [&window.before, &window.after]);
        let native = snapshots.flat_map(|snapshot| &snapshot.native_irqs);
        let native: BTreeSet<u32> = native.copied().collect();
        file.map(|file| Records::new(file, native)).transpose()
    }
}

/// The first stamp of a record.
pub(super) fn first(record: &Record) -> u64 {
    let stamps = record.at[..MAX_POINTS].iter().copied();
    stamps.filter(|at| *at != 0).min().unwrap_or(0)
}
