//! Guests whose requests go on in a backend's domain: both records become one span, on its clock.

use std::collections::{BTreeMap, HashMap};

use tracer_common::{
    point::{Kind, Point},
    record::{Record, flag, vbd},
};

use crate::{
    analysis::document::{ClockReport, JoinReport},
    clock::{Mapping, Timeline},
    datapath::datapath,
    run::{
        directory::RunDirectory,
        domain::{Domain, Fold, Folded, cpu_at, finish, first},
    },
    span::{
        across::{self, Backend, Leeway},
        join::Unjoined,
    },
};

const ISSUE: usize = Kind::Disk.index_of(Point::BlkIssue);
const COMPLETE: usize = Kind::Disk.index_of(Point::BlkComplete);
const CONSUME: usize = Kind::Blkback.index_of(Point::BlkbackConsume);
const RESPONSE: usize = Kind::Blkback.index_of(Point::BlkbackResponse);

/// Requests are looked for as far as this beside where causality wants them, to find a clock that is off.
const WIDE_NS: i64 = 20_000_000;
/// With more requests than this outside of the error bound, the TSC is not what both domains share.
const MOST_VIOLATIONS: f64 = 0.01;
/// Requests by which the distance of two unrelated clocks is guessed, and the grain of the guess.
const VOTERS: usize = 4096;
/// Votes in all: a guest that reads one sector over and over has each of its requests vote for each of them.
const MOST_VOTES: usize = 1 << 18;
const GRAIN_NS: i128 = 10_000_000;

/// A guest's requests to the virtual disks of its backend.
struct Requests<'a> {
    guest: &'a Domain<'a>,
    backend: &'a Domain<'a>,
    domid: u16,
    /// The disks' numbers, by the guest's own.
    disks: BTreeMap<u32, u32>,
}

impl<'a> Requests<'a> {
    fn new(guest: &'a Domain<'a>, backend: &'a Domain<'a>) -> Self {
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
                && record.at[CONSUME] != 0
                && record.at[RESPONSE] != 0
        }))
    }

    /// What causality says of a mapping that is off by at most `error`, over all requests that are found
    /// with it. They are looked for there first: a request that comes again and again, such as a flush,
    /// is not to be told apart further off.
    fn survey(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
        error: i64,
    ) -> anyhow::Result<Survey> {
        let mut backend = Backend::new(self.of_backend(directory)?);
        let mut survey = Survey::default();
        for record in self.of_guest(directory)? {
            let (_, Some(request)) = self.looked_for(record, mapping) else {
                continue;
            };
            survey.asked += 1;
            let near = backend.take(&request, error);
            if let Ok((_, leeway)) = near.or_else(|_| backend.take(&request, WIDE_NS)) {
                survey.add(leeway);
            }
        }
        Ok(survey)
    }

    /// How far the guest's clock is from the backend's, by the distance that most requests agree on.
    fn vote(&self, directory: &RunDirectory, mapping: &Mapping) -> anyhow::Result<i64> {
        let mut consumed: HashMap<(u32, u64, u8, u32), Vec<u64>> = HashMap::new();
        for record in self.of_backend(directory)?.take(16 * VOTERS) {
            let key = (record.dev, record.position, record.op, record.bytes);
            consumed.entry(key).or_default().push(record.at[CONSUME]);
        }
        let mut votes: BTreeMap<i128, (u64, i128)> = BTreeMap::new();
        let mut left = MOST_VOTES;
        for record in self.of_guest(directory)?.take(VOTERS) {
            let (_, Some(request)) = self.looked_for(record, mapping) else {
                continue;
            };
            let key = (request.dev, request.position, request.op, request.bytes);
            for at in consumed.get(&key).into_iter().flatten().take(left) {
                left -= 1;
                let distance = i128::from(*at) - i128::from(request.at[ISSUE]);
                let vote = votes
                    .entry(distance.div_euclid(GRAIN_NS))
                    .or_insert((0, distance));
                vote.0 += 1;
                // The closest: what comes on top of it is the way to the ring.
                vote.1 = vote.1.min(distance);
            }
        }
        let most = votes.into_values().max_by_key(|(count, _)| *count);
        Ok(most.map_or(0, |(_, distance)| i64::try_from(distance).unwrap_or(0)))
    }
}

/// Bounds of what would have to be added to a guest's clock.
#[derive(Debug)]
struct Survey {
    asked: u64,
    leeways: Vec<Leeway>,
    least: i64,
    most: i64,
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            asked: 0,
            leeways: Vec::new(),
            least: i64::MIN,
            most: i64::MAX,
        }
    }
}

impl Survey {
    fn add(&mut self, leeway: Leeway) {
        self.least = self.least.max(leeway.least);
        self.most = self.most.min(leeway.most);
        self.leeways.push(leeway);
    }

    /// Requests that are outside of an error bound.
    fn outside(&self, error: i64) -> u64 {
        let outside = self.leeways.iter().filter(|leeway| !leeway.within(error));
        outside.count() as u64
    }

    /// Whether what was found speaks for the mapping.
    fn supports(&self, error: i64) -> bool {
        let found = self.leeways.len() as f64;
        found * 2.0 >= self.asked as f64 && self.outside(error) as f64 <= MOST_VIOLATIONS * found
    }
}

/// How a guest's times become its backend's: by the TSC that both have read; where that is not the same
/// one, by causality alone.
///
/// # Errors
/// If the recording cannot be read.
pub(super) fn clocks(
    directory: &RunDirectory,
    guest: &Domain<'_>,
    backend: &Domain<'_>,
) -> anyhow::Result<(Mapping, ClockReport)> {
    let requests = Requests::new(guest, backend);
    let report = ClockReport {
        ticks_per_ns: guest.timeline.as_ref().map(Timeline::ticks_per_ns),
        ..ClockReport::default()
    };
    let both = guest.timeline.clone().zip(backend.timeline.clone());
    let by_tsc = both.map(|(guest, backend)| {
        let error = guest.error_ns() + backend.error_ns();
        (Mapping::new(guest, backend), error)
    });
    if let Some((mapping, error)) = &by_tsc {
        let bound = error.ceil() as i64;
        let survey = requests.survey(directory, mapping, bound)?;
        if survey.asked == 0 || survey.supports(bound) {
            let report = ClockReport {
                method: "TSC".into(),
                error_ns: Some(*error),
                checked: survey.leeways.len() as u64,
                violations: survey.outside(bound),
                ..report
            };
            return Ok((mapping.clone(), report));
        }
    }
    let rate = by_tsc.map_or_else(Mapping::default, |(mapping, _)| mapping);
    let guess = requests.vote(directory, &rate)?;
    let guessed = rate.clone().moved(guess);
    let survey = requests.survey(directory, &guessed, 0)?;
    if survey.leeways.is_empty() {
        return Ok((
            guessed,
            ClockReport {
                method: "none".into(),
                ..report
            },
        ));
    }
    let middle = survey.least.midpoint(survey.most);
    let error = survey.most.abs_diff(survey.least).div_ceil(2);
    let report = ClockReport {
        method: "causality".into(),
        error_ns: Some(error as f64),
        offset_ns: Some(guess.saturating_add(middle)),
        checked: survey.leeways.len() as u64,
        // Bounds that exclude each other are those of clocks that drift apart.
        violations: if survey.least > survey.most {
            survey.leeways.len() as u64
        } else {
            0
        },
        ..report
    };
    Ok((guessed.moved(middle), report))
}

impl Fold<'_> {
    /// A guest whose requests go on in the backend.
    pub(super) fn joined(
        &self,
        domain: &Domain<'_>,
        backend: &Domain<'_>,
    ) -> anyhow::Result<Folded> {
        let (mut report, mut builder) = self.begin(domain);
        let requests = Requests::new(domain, backend);
        let name = domain.start.request.datapaths.iter().find_map(|name| {
            let path = datapath(name)?;
            path.backend.map(|_| path.name)
        });
        let error = domain.clock.error_ns.unwrap_or(0.0).ceil() as i64;
        let mut join = JoinReport {
            backend: backend.start.name.clone(),
            ..JoinReport::default()
        };
        let mut others = Backend::new(requests.of_backend(self.directory)?);
        let Some(mut records) = domain.records(self.directory)? else {
            return Ok(finish(report, builder, domain));
        };
        report.cost.record_bytes = records.bytes();
        for record in records.by_ref() {
            if record.kind != Kind::Disk as u8 {
                continue;
            }
            let (record, request) = requests.looked_for(record, &domain.mapping);
            let found = request.map(|request| others.take(&request, error));
            let Some(iteration) = self.iteration(first(&record)) else {
                report.outside += 1;
                continue;
            };
            let span = match found {
                None => Err(Unjoined::Unseen),
                Some(found) => found.and_then(|(other, _)| {
                    let error = error.unsigned_abs();
                    let span = across::join(
                        name.unwrap_or("disk/vbd"),
                        iteration,
                        &record,
                        &other,
                        error,
                    )?;
                    Ok(span.stolen_by(|point| {
                        if Kind::Blkback.points().contains(&point) {
                            (&backend.thefts, cpu_at(&other, point))
                        } else {
                            (&domain.thefts, cpu_at(&record, point))
                        }
                    }))
                }),
            };
            match span {
                Ok(span) => {
                    report.spans += 1;
                    join.joined += 1;
                    builder.add(&span);
                }
                Err(why) => {
                    let why = if record.flags & flag::RING_ID == 0 {
                        "never on a ring (not a virtual disk's, or refused by its driver)"
                    } else {
                        why.reason()
                    };
                    *join.unjoined.entry(why.into()).or_default() += 1;
                }
            }
        }
        self.read_whole(records, domain)?;
        report.join = Some(join);
        Ok(finish(report, builder, domain))
    }
}
