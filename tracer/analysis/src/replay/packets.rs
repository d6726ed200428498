//! A guest's packets that Dom0 passes on: both records become one span, on Dom0's clock.

use std::collections::HashMap;

use tracer_common::{
    point::{Kind, Point},
    record::Record,
};

use crate::{
    clock::Mapping,
    recording::directory::RunDirectory,
    replay::{domain::Domain, survey::Survey},
    span::packets::{Answer, Forwarded, Queues},
};

const XMIT: usize = Kind::NetTx.index_of(Point::NetXmit);
const RECEIVE: usize = Kind::NetRx.index_of(Point::NetifReceive);
const DOM0_RECEIVE: usize = Kind::NetForward.index_of(Point::Dom0Receive);

/// A guest's packets by its virtual cards.
pub(super) struct Packets<'a> {
    guest: &'a Domain<'a>,
    backend: &'a Domain<'a>,
    /// The datapaths of sent and received packets, if they go on in the backend.
    sent: Option<&'static str>,
    received: Option<&'static str>,
}

impl<'a> Packets<'a> {
    pub(super) fn new(guest: &'a Domain<'a>, backend: &'a Domain<'a>) -> Self {
        Self {
            sent: guest.goes_on(Kind::NetTx, backend),
            received: guest.goes_on(Kind::NetRx, backend),
            guest,
            backend,
        }
    }

    /// The datapath of records of this kind that are looked for in Dom0's.
    pub(super) fn datapath(&self, kind: u8) -> Option<&'static str> {
        match Kind::from_u8(kind)? {
            Kind::NetTx => self.sent,
            Kind::NetRx => self.received,
            _ => None,
        }
    }

    fn of_guest(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
    ) -> anyhow::Result<impl Iterator<Item = Record>> {
        let records = self.guest.records(directory)?.into_iter().flatten();
        let packets = records.filter(|record| {
            let index = if record.kind == Kind::NetTx as u8 {
                XMIT
            } else {
                RECEIVE
            };
            self.datapath(record.kind).is_some() && record.at[index] != 0
        });
        Ok(packets.map(move |mut record| {
            mapping.map_all(&mut record.at);
            record
        }))
    }

    /// What Dom0 passed on.
    fn of_backend(
        &self,
        directory: &RunDirectory,
    ) -> anyhow::Result<impl Iterator<Item = Record> + use<>> {
        let records = self.backend.records(directory)?.into_iter().flatten();
        Ok(records
            .filter(|record| record.kind == Kind::NetForward as u8 && record.at[DOM0_RECEIVE] != 0))
    }

    /// Dom0's records, of which those count that `is_measured` says, for packets whose stamps are off by
    /// `error` nanoseconds at most.
    ///
    /// # Errors
    /// If the recording cannot be read.
    pub(super) fn forwarded<M: Fn(&Record) -> bool>(
        &self,
        directory: &RunDirectory,
        is_measured: M,
        error: i64,
    ) -> anyhow::Result<Forwarded<impl Iterator<Item = Record> + use<M>, M>> {
        let queues = match self.guest.start.vif_queues {
            Some(1) => Queues::One,
            _ => Queues::Several,
        };
        let records = self.of_backend(directory)?;
        Ok(Forwarded::new(records, is_measured, queues, error))
    }

    /// Adds to a survey what causality says of a mapping, over all packets that are found with it up to
    /// `wide` nanoseconds off.
    ///
    /// # Errors
    /// If the recording cannot be read.
    pub(super) fn survey(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
        wide: i64,
        survey: &mut Survey,
    ) -> anyhow::Result<()> {
        let mut forwarded = self.forwarded(directory, |_| false, wide)?;
        let mut add = |answers: Vec<Answer>| {
            survey.asked += answers.len() as u64;
            for (_, leeway) in answers.into_iter().filter_map(|(_, found)| found.ok()) {
                survey.add(leeway);
            }
        };
        for packet in self.of_guest(directory, mapping)? {
            add(forwarded.ask(packet));
        }
        add(forwarded.rest());
        Ok(())
    }

    /// Distances of the guest's clock from Dom0's, by packets that it sent: `(that of each, at most)`.
    ///
    /// # Errors
    /// If the recording cannot be read.
    pub(super) fn distances(
        &self,
        directory: &RunDirectory,
        mapping: &Mapping,
        most: usize,
    ) -> anyhow::Result<Vec<i128>> {
        let mut taken: HashMap<(u64, u64, u8, u32), Vec<u64>> = HashMap::new();
        let key = |record: &Record| (record.key, record.position, record.op, record.bytes);
        for record in self.of_backend(directory)?.take(16 * most) {
            let times = taken.entry(key(&record)).or_default();
            times.push(record.at[DOM0_RECEIVE]);
        }
        let sent = self.of_guest(directory, mapping)?;
        let sent = sent.filter(|record| record.kind == Kind::NetTx as u8);
        let distances = sent.take(most).flat_map(|packet| {
            let times = taken.get(&key(&packet)).cloned().unwrap_or_default();
            let sent_at = i128::from(packet.at[XMIT]);
            times.into_iter().map(move |at| i128::from(at) - sent_at)
        });
        Ok(distances.collect())
    }
}
