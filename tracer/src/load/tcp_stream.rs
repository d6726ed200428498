//! Sends over one TCP connection as fast as it goes (netperf's `TCP_STREAM`).

use std::net::{Shutdown, TcpStream};

use super::{
    Context, LoadError, Outcome, Result, TcpStreamLoad,
    measure::Latencies,
    monotonic_ns,
    net::{self, Request, StreamReport, Transfer},
    per_second, place,
};

pub(crate) fn run(load: &TcpStreamLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin_worker(context.cpus, 0)?;
    let stream = net::connect(load.destination, load.connect_timeout_ms, context.stop)?;
    net::write_whole(&stream, &Request::Stream.encode(), None)?;
    let mut outcome = Outcome {
        tids: vec![place::tid()],
        ..Outcome::default()
    };
    let sent = send(load, context, &stream, &mut outcome)?;
    stream
        .shutdown(Shutdown::Write)
        .map_err(|source| LoadError::io("ending the stream", source))?;
    let report = receive_report(&stream)?;
    outcome.end_ns = monotonic_ns();
    // Only now has all been sent: until then much of it waits in the socket.
    let info = net::tcp_info(&stream);
    if report.bytes != sent {
        return Err(LoadError::Failed(format!(
            "{sent} bytes were sent to {}, but {} arrived: the server was stopped too early",
            load.destination, report.bytes
        )));
    }
    outcome.bytes = report.bytes;
    outcome.extra("receiver_duration_ns", report.duration_ns);
    outcome.extra(
        "bits_per_second",
        8.0 * per_second(report.bytes, report.duration_ns),
    );
    if let Some(info) = info {
        outcome.extra("retransmits", info.retransmits);
        outcome.extra("rtt_us", info.rtt_us);
    }
    Ok(outcome)
}

/// Sends until the limits or a stop; returns the bytes sent. Latencies are those of the calls.
fn send(
    load: &TcpStreamLoad,
    context: &Context<'_>,
    stream: &TcpStream,
    outcome: &mut Outcome,
) -> Result<u64> {
    let message = vec![0x5a; load.message_size as usize];
    let mut latencies = Latencies::new()?;
    let mut left = load.bytes.unwrap_or(u64::MAX);
    let mut sent = 0;
    outcome.start_ns = monotonic_ns();
    let mut now = outcome.start_ns;
    let end_ns = load.duration_ms.map_or(u64::MAX, |ms| now + ms * 1_000_000);
    while left > 0 && now < end_ns && !context.stop.is_requested() {
        let size = usize::try_from(left).map_or(message.len(), |left| left.min(message.len()));
        let (transfer, done) = net::write_whole(stream, &message[..size], Some(context.stop))?;
        let after = monotonic_ns();
        sent += done as u64;
        left -= done as u64;
        if transfer == Transfer::Whole {
            latencies.record(after.saturating_sub(now));
            outcome.operations += 1;
        }
        now = after;
    }
    outcome.latency = Some(latencies);
    Ok(sent)
}

fn receive_report(stream: &TcpStream) -> Result<StreamReport> {
    let mut bytes = [0; 16];
    match net::read_whole(stream, &mut bytes, None)? {
        Transfer::Whole => Ok(StreamReport::decode(bytes)),
        Transfer::Ended | Transfer::Stopped => Err(LoadError::Failed(
            "the server ended before it reported what it received; stop it after its clients"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::load::{LoadKind, TcpStreamLoad, server::tests::with_server};

    fn load(destination: std::net::SocketAddr) -> TcpStreamLoad {
        TcpStreamLoad {
            destination,
            message_size: 16 * 1024,
            duration_ms: None,
            bytes: None,
            connect_timeout_ms: 1000,
        }
    }

    #[test]
    fn every_byte_arrives() {
        for address in ["127.0.0.1", "::1"] {
            let Some((client, server)) = with_server(address, |to| {
                LoadKind::TcpStream(TcpStreamLoad {
                    bytes: Some(1_000_001),
                    ..load(to)
                })
            }) else {
                continue;
            };
            let client = client.unwrap();
            assert_eq!((client.bytes, client.operations), (1_000_001, 62));
            assert_eq!((server.bytes, server.operations), (1_000_001, 1));
            assert_eq!(client.latency.unwrap().count, 62);
            assert!(client.extra["bits_per_second"].as_f64().unwrap() > 0.0);
            // None, unless a busy machine lets an answer wait: TCP probes then.
            assert!(client.extra["retransmits"].is_u64());
        }
    }

    #[test]
    fn sends_for_its_duration() {
        let (client, server) = with_server("127.0.0.1", |to| {
            LoadKind::TcpStream(TcpStreamLoad {
                duration_ms: Some(100),
                ..load(to)
            })
        })
        .unwrap();
        let client = client.unwrap();
        assert!(client.duration_ns >= 100_000_000);
        assert_eq!(client.bytes, server.bytes);
    }

    #[test]
    fn a_missing_server_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = free.local_addr().unwrap();
        drop(free);
        let mut spec = crate::load::LoadSpec::new(LoadKind::TcpStream(TcpStreamLoad {
            connect_timeout_ms: 60,
            ..load(to)
        }));
        let error = crate::load::run(&spec).unwrap_err().to_string();
        assert!(error.contains(&to.to_string()) && error.contains("server load running"));
        spec.namespace = Some("tracer-none-such".into());
        let error = crate::load::run(&spec).unwrap_err().to_string();
        assert!(error.contains("tracer-none-such"), "{error}");
    }
}
