//! Guests whose requests go on in a backend's domain: both records become one span, on its clock.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag, vbd},
};

use crate::{
    BreakdownBuilder,
    clock::Mapping,
    document::{DomainReport, JoinReport},
    recording::directory::RunDirectory,
    replay::{
        domain::{Domain, first},
        fold::{Fold, Folded, Whole, finish},
        packets::Packets,
        survey::Survey,
    },
    span::{
        Span,
        across::{self, Backend},
        join::Unjoined,
        packets::{self, Answer},
    },
};

const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);

/// Requests are looked for as far as this beside where causality wants them, to find a clock that is off.
pub(super) const WIDE_NS: i64 = 20_000_000;
/// Requests that are looked for in this way, at most.
const MOST_LATE: usize = 1 << 20;
/// Requests by which the distance of two unrelated clocks is guessed.
pub(super) const VOTERS: usize = 4096;
/// Votes in all: a guest that reads one sector over and over has each of its requests vote for each of them.
const MOST_VOTES: usize = 1 << 18;

/// A guest's requests to the virtual disks of its backend.
pub(super) struct Requests<'a> {
    guest: &'a Domain<'a>,
    backend: &'a Domain<'a>,
    domid: u16,
    /// The disks' numbers, by the guest's own.
    disks: BTreeMap<u32, u32>,
}

impl<'a> Requests<'a> {
    pub(super) fn new(guest: &'a Domain<'a>, backend: &'a Domain<'a>) -> Self {
        let domid = guest.start.domid.unwrap_or(0);
        let disks = guest.start.devices.iter().filter_map(|device| {
            let number = device.vbd? & 0xffff;
            Some((device.dev, vbd::pack(domid, u16::try_from(number).ok()?)))
        });
        Self {
            disks: disks.collect(),
            guest,
            backend,
            domid,
        }
    }

    /// The guest's disk requests as it has recorded them, and as they are looked for: on the run's
    /// timeline, the disk by its number. `None`: not one of a virtual disk, or never on its ring.
    fn looked_for(&self, mut record: Record, mapping: &Mapping) -> (Record, Option<Record>) {
        mapping.map_all(&mut record.at);
        let on_ring = record.at[ISSUE] != 0 && record.at[COMPLETE] != 0;
        let disk = self.disks.get(&record.dev).filter(|_| on_ring);
        let request = disk.map(|disk| {
            let mut request = record;
            request.dev = *disk;
            request
        });
        (record, request)
    }

    fn of_guest(
        &self,
        directory: &RunDirectory,
    ) -> anyhow::Result<impl Iterator<Item = Record> + use<>> {
        let records = self.guest.records(directory)?.into_iter().flatten();
        Ok(records.filter(|record| record.kind == Kind::Disk as u8))
    }

    fn of_backend(
        &self,
        directory: &RunDirectory,
    ) -> anyhow::Result<impl Iterator<Item = Record> + use<>> {
        let domid = self.domid;
        let records = self.backend.records(directory)?.into_iter().flatten();
        Ok(records.filter(move |record| {
            record.kind == Kind::Blkback as u8
                && vbd::unpack(record.dev).0 == domid
                && across::held(record).is_some()
        }))
    }

    /// What causality says of a mapping that is off by at most `error`, over all requests that are found
    /// with it. They are looked for there first: a request that comes again and again, such as a flush,
    /// is not to be told apart further off.
    pub(super) fn survey(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
        error: i64,
    ) -> anyhow::Result<Survey> {
        let mut backend = Backend::new(self.of_backend(directory)?);
        let mut survey = Survey::default();
        let mut late = Vec::new();
        for record in self.of_guest(directory)? {
            let (_, Some(request)) = self.looked_for(record, mapping) else {
                continue;
            };
            survey.asked += 1;
            match backend.take(&request, error) {
                Ok((_, leeway)) => survey.add(leeway),
                Err(_) if late.len() < MOST_LATE => late.push(request),
                Err(_) => {}
            }
        }
        // Farther off only among what no other request has found to be its own: of one whose record was
        // lost, the next one like it is near, too.
        let mut left = Backend::new(backend.left().into_iter());
        for request in late {
            if let Ok((_, leeway)) = left.take(&request, WIDE_NS) {
                survey.add(leeway);
            }
        }
        Ok(survey)
    }

    /// Distances of the guest's clock from the backend's, by its first requests.
    pub(super) fn distances(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
    ) -> anyhow::Result<Vec<i128>> {
        let mut consumed: HashMap<(u32, u64, u8, u32), Vec<u64>> = HashMap::new();
        for record in self.of_backend(directory)?.take(16 * VOTERS) {
            let key = (record.dev, record.position, record.op, record.bytes);
            if let Some((from, _)) = across::held(&record) {
                consumed.entry(key).or_default().push(from);
            }
        }
        let mut distances = Vec::new();
        let mut left = MOST_VOTES;
        for record in self.of_guest(directory)?.take(VOTERS) {
            let (_, Some(request)) = self.looked_for(record, mapping) else {
                continue;
            };
            let key = (request.dev, request.position, request.op, request.bytes);
            for at in consumed.get(&key).into_iter().flatten().take(left) {
                left -= 1;
                distances.push(i128::from(*at) - i128::from(request.at[ISSUE]));
            }
        }
        Ok(distances)
    }
}

/// What becomes of a guest's records.
struct Joined<'a> {
    fold: &'a Fold<'a>,
    domain: &'a Domain<'a>,
    report: DomainReport,
    builder: BreakdownBuilder,
    join: JoinReport,
}

impl Joined<'_> {
    /// Adds a record of the run's timeline, given how to make a span of it in an iteration.
    fn add(&mut self, record: &Record, span: impl FnOnce(u32) -> Result<Span, Unjoined>) {
        // What TCP joined to another packet is counted already; it was looked for so that no copy has its record in Dom0.
        if record.flags & flag::SOCKET_MERGED != 0 {
            return;
        }
        let Some(iteration) = self.fold.iteration(self.domain, first(record)) else {
            self.report.outside += 1;
            return;
        };
        match span(iteration) {
            Ok(span) => {
                self.report.spans += 1;
                self.join.joined += 1;
                self.builder.add(&span);
            }
            Err(why) => {
                let is_disk = record.kind == Kind::Disk as u8;
                let why = if is_disk && record.flags & flag::RING_ID == 0 {
                    "never on a ring (not a virtual disk's, or refused by its driver)"
                } else {
                    why.reason()
                };
                *self.join.unjoined.entry(why.into()).or_default() += 1;
            }
        }
    }

    /// Adds packets, given what was found of them in Dom0.
    fn add_packets(
        &mut self,
        answers: Vec<Answer>,
        packets: &Packets<'_>,
        backend: &Domain<'_>,
        bound: u64,
    ) {
        for (record, found) in answers {
            let Some(name) = packets.datapath(record.kind) else {
                continue;
            };
            let domain = self.domain;
            self.add(&record, |iteration| {
                let (other, _) = found?;
                let span = packets::join(name, iteration, &record, &other, bound)?;
                Ok(domain.without_taken(span, &record, Some((backend, &other))))
            });
        }
    }
}

impl Fold<'_> {
    /// A guest whose requests go on in the backend.
    pub(super) fn joined(
        &self,
        domain: &Domain<'_>,
        backend: &Domain<'_>,
    ) -> anyhow::Result<Folded> {
        let (report, builder) = self.begin(domain);
        let join = JoinReport {
            backend: backend.start.name.clone(),
            ..JoinReport::default()
        };
        let mut joined = Joined {
            fold: self,
            domain,
            report,
            builder,
            join,
        };
        let Some(mut records) = domain.records(self.directory)? else {
            self.require_whole(None, domain)?;
            return Ok(finish(joined.report, joined.builder, domain));
        };
        joined.report.cost.record_bytes = records.bytes();
        let disk = domain.goes_on(Kind::Disk, backend);
        let requests = Requests::new(domain, backend);
        let mut others = Backend::new(requests.of_backend(self.directory)?);
        let packets = Packets::new(domain, backend);
        let is_measured = |record: &Record| self.iteration(backend, first(record)).is_some();
        let whole = Whole::new(self, domain);
        let error = domain.clock.error_ns.unwrap_or(0.0).ceil() as i64;
        let mut forwarded = packets.forwarded(self.directory, is_measured, error)?;
        let bound = error.unsigned_abs();
        for mut record in records.by_ref() {
            if !record.is_request() {
                continue;
            }
            if let Some(name) = disk.filter(|_| record.kind == Kind::Disk as u8) {
                let (record, request) = requests.looked_for(record, &domain.mapping);
                let found = request.map(|request| others.take(&request, error));
                joined.add(&record, |iteration| {
                    let (other, _) = found.unwrap_or(Err(Unjoined::Unseen))?;
                    let span = across::join(name, iteration, &record, &other, bound)?;
                    Ok(domain.without_taken(span, &record, Some((backend, &other))))
                });
                continue;
            }
            domain.mapping.map_all(&mut record.at);
            if packets.datapath(record.kind).is_none() {
                whole.fold(&record, &mut joined.report, &mut joined.builder);
            } else if domain.clock.error_ns.is_none() {
                joined.add(&record, |_| Err(Unjoined::NoClock));
            } else {
                let answers = forwarded.ask(record);
                joined.add_packets(answers, &packets, backend, bound);
            }
        }
        joined.add_packets(forwarded.rest(), &packets, backend, bound);
        self.require_whole(Some(records), domain)?;
        joined.join.only_backend = forwarded.unasked();
        joined.report.join = Some(joined.join);
        Ok(finish(joined.report, joined.builder, domain))
    }
}
