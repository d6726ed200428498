//! Counts the packets of `udp-flood` and, by their sequence numbers, those that did not arrive.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
};

use super::{
    Context, LoadError, Outcome, Result, ServerLoad, control::STOP_LATENCY, monotonic_ns, net,
    place, udp_flood::Header,
};
use tracer_analysis::scenario::limits::is_ours;

/// Room that is asked for in the socket, so that the sink is not what loses packets.
static SOCKET_BYTES: libc::c_int = 8 << 20;
/// Senders that are told apart; packets of more are counted as strangers.
const MOST_SENDERS: usize = 4096;
/// How long a stopped sink still takes what is already queued.
const DRAIN_NS: u64 = 200_000_000;

/// What came from one sender.
#[derive(Default)]
struct Sender {
    received: u64,
    /// One more than the highest number seen.
    seen: u64,
    reordered: u64,
    /// How many it says it sent; known if one of its last packets arrived.
    total: Option<u64>,
}

impl Sender {
    fn lost(&self) -> u64 {
        self.total
            .unwrap_or(self.seen)
            .saturating_sub(self.received)
    }
}

/// Everything that was received.
struct Sink {
    senders: HashMap<u32, Sender>,
    ended: u32,
    packets: u64,
    bytes: u64,
    strangers: u64,
    first_ns: u64,
    last_ns: u64,
}

pub(crate) fn run(load: &ServerLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin_worker(context.cpus, 0)?;
    let socket = listen(SocketAddr::new(load.address, load.port))?;
    let port = socket.local_addr().map_or(load.port, |a| a.port());
    let mut sink = Sink {
        senders: HashMap::with_capacity(MOST_SENDERS),
        ended: 0,
        packets: 0,
        bytes: 0,
        strangers: 0,
        first_ns: 0,
        last_ns: 0,
    };
    (context.on_ready)(port);
    let mut packet = vec![0; 1 << 16];
    let mut drain_until = None;
    loop {
        if context.stop.is_requested() {
            let until = *drain_until.get_or_insert_with(|| monotonic_ns() + DRAIN_NS);
            if monotonic_ns() >= until {
                break;
            }
        }
        match socket.recv_from(&mut packet) {
            // Not for this run: it would count as lost, or end it.
            Ok((_, from)) if !context.allow_remote && !is_ours(from.ip()) => {}
            Ok((got, _)) => sink.take(&packet[..got]),
            Err(error) if net::is_pause(&error) => {
                // Nothing is queued any more.
                let enough = load.finish_after.is_some_and(|count| sink.ended >= count);
                if enough || drain_until.is_some() {
                    break;
                }
            }
            Err(source) => return Err(LoadError::io("receiving UDP packets", source)),
        }
    }
    Ok(sink.into_outcome())
}

impl Sink {
    fn take(&mut self, packet: &[u8]) {
        let header = Header::decode(packet);
        if let Some(Header {
            ended: true,
            sender,
            number,
        }) = header
        {
            if !self.has_room(sender) {
                return;
            }
            let sender = self.senders.entry(sender).or_default();
            if sender.total.replace(number).is_none() {
                self.ended += 1;
            }
            return;
        }
        self.last_ns = monotonic_ns();
        if self.packets == 0 {
            self.first_ns = self.last_ns;
        }
        self.packets += 1;
        self.bytes += packet.len() as u64;
        match header {
            Some(header) if self.has_room(header.sender) => {
                let sender = self.senders.entry(header.sender).or_default();
                sender.received += 1;
                sender.reordered += u64::from(header.number < sender.seen);
                sender.seen = sender.seen.max(header.number.saturating_add(1));
            }
            _ => self.strangers += 1,
        }
    }

    /// Whether a sender is known, or can be.
    fn has_room(&self, sender: u32) -> bool {
        self.senders.len() < MOST_SENDERS || self.senders.contains_key(&sender)
    }

    fn into_outcome(self) -> Outcome {
        let mut outcome = Outcome {
            start_ns: self.first_ns,
            end_ns: self.last_ns,
            operations: self.packets,
            bytes: self.bytes,
            tids: vec![place::tid()],
            ..Outcome::default()
        };
        // What a packet says of its sender can be anything.
        let sum = |of: fn(&Sender) -> u64| {
            let all = self.senders.values().map(of);
            all.fold(0, u64::saturating_add)
        };
        outcome.extra("lost", sum(Sender::lost));
        outcome.extra("reordered", sum(|s| s.reordered));
        outcome.extra("senders", self.senders.len());
        // Of a sender whose end was not seen, losses after the last packet are unknown.
        outcome.extra("senders_not_ended", sum(|s| u64::from(s.total.is_none())));
        outcome.extra("without_number", self.strangers);
        outcome
    }
}

fn listen(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).and_then(|socket| {
        socket.set_read_timeout(Some(STOP_LATENCY))?;
        Ok(socket)
    });
    let socket = socket.map_err(|source| {
        LoadError::io_advice(
            format!("listening on UDP {address}"),
            source,
            "is the address configured in this namespace, and the port free?",
        )
    })?;
    // The first needs root and goes beyond the system's limit; the second is the best without.
    // A small buffer only loses packets, which are counted.
    let _ = ask_for_room(&socket, libc::SO_RCVBUFFORCE) || ask_for_room(&socket, libc::SO_RCVBUF);
    Ok(socket)
}

fn ask_for_room(socket: &UdpSocket, option: libc::c_int) -> bool {
    // SAFETY: the option's value is one int, which is valid for the call.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const SOCKET_BYTES).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Sink {
        Sink {
            senders: HashMap::new(),
            ended: 0,
            packets: 0,
            bytes: 0,
            strangers: 0,
            first_ns: 0,
            last_ns: 0,
        }
    }

    fn sink_of(numbers: &[u64], total: Option<u64>) -> Outcome {
        let mut sink = empty();
        for &number in numbers {
            sink.take(
                &Header {
                    sender: 1,
                    number,
                    ended: false,
                }
                .encode(),
            );
        }
        if let Some(number) = total {
            sink.take(
                &Header {
                    sender: 1,
                    number,
                    ended: true,
                }
                .encode(),
            );
        }
        sink.take(b"stranger");
        sink.into_outcome()
    }

    #[test]
    fn what_packets_claim_overflows_nothing_and_fills_no_memory() {
        let mut sink = empty();
        for sender in 0..=MOST_SENDERS as u32 {
            let farewell = Header {
                sender,
                number: u64::MAX,
                ended: true,
            };
            sink.take(&farewell.encode());
        }
        assert_eq!(sink.senders.len(), MOST_SENDERS);
        assert_eq!(sink.into_outcome().extra["lost"], u64::MAX);
    }

    #[test]
    fn losses_are_counted_in_the_middle_and_at_the_end() {
        let middle = sink_of(&[0, 1, 4, 5], None);
        assert_eq!((&middle.extra["lost"], middle.operations), (&2.into(), 5));
        assert_eq!(middle.extra["senders_not_ended"], 1);
        let end = sink_of(&[0, 2, 1], Some(10));
        assert_eq!(end.extra["lost"], 7);
        assert_eq!(end.extra["reordered"], 1);
        assert_eq!(end.extra["without_number"], 1);
        assert_eq!(end.bytes, 3 * 16 + 8);
    }
}
