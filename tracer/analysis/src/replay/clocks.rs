//! How a guest's clock is tied to its backend's: by the TSC that both have read, checked by causality; or by
//! causality alone.

use std::collections::BTreeMap;

use crate::{
    clock::{Mapping, Timeline},
    document::ClockReport,
    recording::directory::RunDirectory,
    replay::{
        domain::Domain,
        joined::{Requests, VOTERS, WIDE_NS},
        packets::Packets,
    },
};

/// The grain in which the distance of two unrelated clocks is guessed.
const GRAIN_NS: i128 = 10_000_000;

/// The distance of two clocks that most requests agree on.
fn vote(distances: impl IntoIterator<Item = i128>) -> i64 {
    let mut votes: BTreeMap<i128, (u64, i128)> = BTreeMap::new();
    for distance in distances {
        let vote = votes
            .entry(distance.div_euclid(GRAIN_NS))
            .or_insert((0, distance));
        vote.0 += 1;
        // The closest: what comes on top of it is the way to the ring.
        vote.1 = vote.1.min(distance);
    }
    let most = votes.into_values().max_by_key(|(count, _)| *count);
    most.map_or(0, |(_, distance)| i64::try_from(distance).unwrap_or(0))
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
    let (requests, packets) = (Requests::new(guest, backend), Packets::new(guest, backend));
    let survey_of = |mapping: &Mapping, bound| {
        let mut survey = requests.survey(directory, mapping, bound)?;
        packets.survey(directory, mapping, WIDE_NS, &mut survey)?;
        anyhow::Ok(survey)
    };
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
        let survey = survey_of(mapping, bound)?;
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
    let by_requests = requests.distances(directory, &rate)?;
    let by_packets = packets.distances(directory, &rate, VOTERS)?;
    let guess = vote(by_requests.into_iter().chain(by_packets));
    let guessed = rate.clone().moved(guess);
    let survey = survey_of(&guessed, 0)?;
    if !survey.is_bounded() {
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
