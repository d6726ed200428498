//! UDP packets of one size at a given rate (the paper's udpsend).
//!
//! From 16 bytes on each packet carries the sender's number and a sequence number, so that a
//! sink can say what was lost; the last packets say how many there were.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use super::{
    Context, LoadError, Outcome, Result, UdpFloodLoad, control::STOP_LATENCY, measure::Latencies,
    monotonic_ns, net, per_second, place,
};

/// Bytes of [`Header`].
pub(crate) const HEADER_BYTES: usize = 16;
const MAGIC: [u8; 2] = *b"Tu";
/// How often a sender says that it has ended: that packet may be lost, too.
const FAREWELLS: u32 = 3;
/// Shorter waits than this are spent looking at the clock, as a sleep would take longer. Short, so
/// that a flood of some thousand packets a second does not burn its CPU as well.
const SPIN_NS: u64 = 20_000;
/// A sender that is later than this gives up the time lost, instead of sending a burst.
const LATEST_NS: u64 = 10_000_000;

/// The beginning of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which sender.
    pub(crate) sender: u32,
    /// Number of this packet from 0 on, or, at the end, how many were sent.
    pub(crate) number: u64,
    /// Whether this packet only says that the sender has ended.
    pub(crate) ended: bool,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = u8::from(self.ended);
        bytes[4..8].copy_from_slice(&self.sender.to_le_bytes());
        bytes[8..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// None if the packet is not one of ours, or too small to carry a header.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = packet.first_chunk()?;
        let (sender, number) = (bytes[4..].first_chunk()?, bytes[8..].first_chunk()?);
        bytes.starts_with(&MAGIC).then(|| Self {
            sender: u32::from_le_bytes(*sender),
            number: u64::from_le_bytes(*number),
            ended: bytes[2] == 1,
        })
    }
}

/// What one thread sent.
struct Sent {
    packets: u64,
    /// The peer said that nobody listens (ICMP port unreachable).
    refused: u64,
    /// The kernel had no room (ENOBUFS), and the packet was tried again.
    no_room: u64,
    /// Packets not sent because the schedule could not be kept.
    skipped: u64,
    latencies: Latencies,
}

pub(crate) fn run(load: &UdpFloodLoad, context: &Context<'_>) -> Result<Outcome> {
    let threads = load.threads as usize;
    let start_ns = monotonic_ns();
    let sent = place::run_workers(threads, context.cpus, context.stop, |index| {
        flood(load, context, index, start_ns)
    })?;
    let end_ns = monotonic_ns();
    let mut all = Latencies::new()?;
    for (_, sent) in &sent {
        all.merge(&sent.latencies);
    }
    let sum = |of: fn(&Sent) -> u64| sent.iter().map(|(_, sent)| of(sent)).sum::<u64>();
    let packets = sum(|s| s.packets);
    let mut outcome = Outcome {
        start_ns,
        end_ns,
        operations: packets,
        bytes: packets * u64::from(load.size),
        latency: Some(all),
        tids: sent.iter().map(|(tid, _)| *tid).collect(),
        ..Outcome::default()
    };
    outcome.extra("packets_per_second", per_second(packets, end_ns - start_ns));
    outcome.extra("wanted_packets_per_second", load.rate);
    outcome.extra("refused", sum(|s| s.refused));
    outcome.extra("no_room", sum(|s| s.no_room));
    outcome.extra("skipped", sum(|s| s.skipped));
    Ok(outcome)
}

fn flood(load: &UdpFloodLoad, context: &Context<'_>, index: usize, start_ns: u64) -> Result<Sent> {
    let socket = connect(load.destination)?;
    // Unique enough among the senders of one sink, whatever domain they are in.
    let sender = u32::try_from(RandomState::new().hash_one(index) >> 32).unwrap_or(0);
    let mut packet = vec![0x5a; load.size as usize];
    let mut pace = Pace::new(load, index as u64, start_ns);
    let end_ns = load
        .duration_ms
        .map_or(u64::MAX, |ms| start_ns + ms * 1_000_000);
    let mut sent = Sent {
        packets: 0,
        refused: 0,
        no_room: 0,
        skipped: 0,
        latencies: Latencies::new()?,
    };
    while !context.stop.is_requested() && pace.wait(end_ns, context) {
        let header = Header {
            sender,
            number: sent.packets,
            ended: false,
        };
        if let Some(start) = packet.first_chunk_mut() {
            *start = header.encode();
        }
        let before = monotonic_ns();
        match socket.send(&packet) {
            Ok(_) => {
                sent.latencies.record(monotonic_ns().saturating_sub(before));
                sent.packets += 1;
                pace.sent += 1;
            }
            Err(error) => sent.failed(load, error)?,
        }
    }
    sent.skipped = pace.skipped;
    if packet.len() >= HEADER_BYTES {
        say_farewell(
            &socket,
            Header {
                sender,
                number: sent.packets,
                ended: true,
            },
        );
    }
    Ok(sent)
}

impl Sent {
    /// Counts what is no reason to give up.
    fn failed(&mut self, load: &UdpFloodLoad, error: io::Error) -> Result<()> {
        match error.raw_os_error() {
            // It belongs to an earlier packet; this one was not sent and is tried again.
            Some(libc::ECONNREFUSED) => self.refused += 1,
            Some(libc::ENOBUFS) => {
                self.no_room += 1;
                thread::sleep(Duration::from_micros(50));
            }
            _ if net::is_pause(&error) => {}
            Some(libc::EMSGSIZE) => {
                let advice = "a smaller `size`: larger packets are not fragmented here";
                let action = format!("sending {} bytes to {}", load.size, load.destination);
                return Err(LoadError::io_advice(action, error, advice));
            }
            _ => {
                let action = format!("sending to {}", load.destination);
                return Err(LoadError::io(action, error));
            }
        }
        Ok(())
    }
}

fn say_farewell(socket: &UdpSocket, header: Header) {
    for _ in 0..FAREWELLS {
        // Refused means that there is no sink, so nobody needs to know.
        let _ = socket.send(&header.encode());
        thread::sleep(Duration::from_millis(1));
    }
}

fn connect(to: SocketAddr) -> Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.set_write_timeout(Some(STOP_LATENCY))?;
        Ok(socket)
    });
    socket.map_err(|source| {
        LoadError::io_advice(
            format!("making a UDP socket to {to}"),
            source,
            "is there a route to it in this namespace?",
        )
    })
}

/// When each packet of one thread is due: absolute times, so that errors do not add up.
struct Pace {
    start_ns: u64,
    /// Packets a second; 0 for no pacing.
    rate: u64,
    threads: u64,
    index: u64,
    sent: u64,
    skipped: u64,
}

impl Pace {
    fn new(load: &UdpFloodLoad, index: u64, start_ns: u64) -> Self {
        if load.rate > 0 {
            place::sleep_exactly();
        }
        Self {
            start_ns,
            rate: load.rate,
            threads: load.threads.into(),
            index,
            sent: 0,
            skipped: 0,
        }
    }

    /// `CLOCK_MONOTONIC` at which the next packet is due; the threads take turns.
    fn due_ns(&self) -> u64 {
        let turn = u128::from(self.sent + self.skipped) * u128::from(self.threads)
            + u128::from(self.index);
        let after = turn * 1_000_000_000 / u128::from(self.rate.max(1));
        self.start_ns
            .saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
    }

    /// Waits for the next packet's time; false if there is none before `end_ns` or a stop.
    fn wait(&mut self, end_ns: u64, context: &Context<'_>) -> bool {
        if self.rate == 0 {
            return monotonic_ns() < end_ns;
        }
        let now = monotonic_ns();
        let late = now.min(end_ns).saturating_sub(self.due_ns());
        if late > LATEST_NS {
            let missed = u128::from(late) * u128::from(self.rate)
                / (1_000_000_000 * u128::from(self.threads));
            self.skipped += u64::try_from(missed).unwrap_or(0);
        }
        let due = self.due_ns();
        if due >= end_ns {
            context.stop.sleep_until(Some(end_ns));
            return false;
        }
        loop {
            let left = due.saturating_sub(monotonic_ns());
            if left == 0 && now < end_ns {
                return true;
            }
            if left == 0 {
                // The thread had no CPU for the last of them.
                while self.due_ns() < end_ns {
                    self.skipped += 1;
                }
                return false;
            }
            if left > SPIN_NS {
                thread::sleep(Duration::from_nanos(left - SPIN_NS).min(STOP_LATENCY));
                if context.stop.is_requested() {
                    return false;
                }
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{LoadKind, LoadSpec, run, server::tests::with_server};

    fn load(destination: SocketAddr, rate: u64) -> UdpFloodLoad {
        UdpFloodLoad {
            destination,
            size: 64,
            rate,
            threads: 1,
            duration_ms: Some(200),
        }
    }

    #[test]
    fn the_sink_accounts_for_every_packet() {
        for address in ["127.0.0.1", "::1"] {
            let flood = |to| LoadKind::UdpFlood(load(to, 2000));
            let Some((client, sink)) = with_server(address, flood) else {
                continue;
            };
            let client = client.unwrap();
            let skipped = client.extra["skipped"].as_u64().unwrap();
            assert_eq!(client.operations + skipped, 400);
            assert_eq!(client.bytes, client.operations * 64);
            let lost = sink.extra["lost"].as_u64().unwrap();
            assert_eq!(sink.operations + lost, client.operations);
            assert_eq!(sink.extra["senders"], 1);
        }
    }

    #[test]
    fn unlimited_and_threaded_is_accounted_for_too() {
        let (client, sink) = with_server("127.0.0.1", |to| {
            LoadKind::UdpFlood(UdpFloodLoad {
                duration_ms: Some(50),
                ..load(to, 0)
            })
        })
        .unwrap();
        let client = client.unwrap();
        let lost = sink.extra["lost"].as_u64().unwrap();
        assert!(client.operations > 100);
        assert_eq!(sink.operations + lost, client.operations);
    }

    #[test]
    fn nobody_listening_is_no_error() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        drop(socket);
        let mut flood = load(to, 1000);
        flood.threads = 4;
        let result = run(&LoadSpec::new(LoadKind::UdpFlood(flood))).unwrap();
        assert!(result.extra["refused"].as_u64().unwrap() > 0);
        assert_eq!(result.tids.len(), 4);
        assert!(result.operations <= 200);
    }

    #[test]
    fn headers_survive_and_strangers_do_not() {
        let header = Header {
            sender: 7,
            number: 1 << 40,
            ended: true,
        };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!(Header::decode(&header.encode()[..15]), None);
        assert_eq!(Header::decode(&[0; 64]), None);
    }
}
