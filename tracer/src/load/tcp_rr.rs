//! A request and a response at a time over one TCP connection (netperf's `TCP_RR`).

use super::{
    Context, LoadError, Outcome, Result, TcpRrLoad,
    measure::Latencies,
    monotonic_ns,
    net::{self, Request, Transfer},
    per_second, place,
    think::Waits,
};

pub(crate) fn run(load: &TcpRrLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin_worker(context.cpus, 0)?;
    let stream = net::connect(load.destination, load.connect_timeout_ms, context.stop)?;
    let hello = Request::Rr(load.request_size, load.response_size);
    net::write_whole(&stream, &hello.encode(), None)?;
    let request = vec![0x5a; load.request_size as usize];
    let mut response = vec![0; load.response_size as usize];
    let mut latencies = Latencies::new()?;
    let mut operations = 0;
    let start_ns = monotonic_ns();
    let end_ns = load
        .duration_ms
        .map_or(u64::MAX, |ms| start_ns + ms * 1_000_000);
    let count = load.count.unwrap_or(u64::MAX);
    let mut waits = load.think.map(Waits::new);
    let mut now = start_ns;
    while operations < count && now < end_ns && !context.stop.is_requested() {
        // A transaction once begun is finished, so that both ends count the same.
        net::write_whole(&stream, &request, None)?;
        if net::read_whole(&stream, &mut response, None)? != Transfer::Whole {
            return Err(LoadError::Failed(format!(
                "the server {} ended the connection after {operations} transactions; stop it after \
                 its clients",
                load.destination
            )));
        }
        let after = monotonic_ns();
        latencies.record(after.saturating_sub(now));
        operations += 1;
        now = after;
        if operations != count
            && let Some(waits) = &mut waits
        {
            now = waits.wait(context.stop, end_ns);
        }
    }
    let mut outcome = Outcome {
        start_ns,
        end_ns: now,
        operations,
        bytes: operations * (u64::from(load.request_size) + u64::from(load.response_size)),
        latency: Some(latencies),
        tids: vec![place::tid()],
        ..Outcome::default()
    };
    outcome.extra(
        "transactions_per_second",
        per_second(operations, now - start_ns),
    );
    if let Some(info) = net::tcp_info(&stream) {
        outcome.extra("retransmits", info.retransmits);
        outcome.extra("rtt_us", info.rtt_us);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use crate::load::{LoadKind, TcpRrLoad, Think, server::tests::with_server, think::Waits};
    use tracer_analysis::recording::load::LoadResult;

    #[test]
    fn counts_are_exact_at_both_ends() {
        for (address, request_size, response_size) in [("127.0.0.1", 1, 1), ("::1", 100, 200_000)] {
            let Some((client, server)) = with_server(address, |destination| {
                LoadKind::TcpRr(TcpRrLoad {
                    destination,
                    request_size,
                    response_size,
                    count: Some(200),
                    duration_ms: None,
                    connect_timeout_ms: 1000,
                    think: None,
                })
            }) else {
                continue;
            };
            let client = client.unwrap();
            let bytes = 200 * u64::from(request_size + response_size);
            assert_eq!((client.operations, client.bytes), (200, bytes));
            assert_eq!((server.operations, server.bytes), (200, bytes));
            let latency = client.latency.unwrap();
            assert_eq!(latency.count, 200);
            // The transactions follow each other without a gap.
            let sum = latency.mean_ns * 200.0;
            assert!((sum - client.duration_ns as f64).abs() < 1.0);
        }
    }

    /// Transactions of one byte for 80 ms, at both ends.
    fn for_80_ms(think: Option<Think>) -> (LoadResult, LoadResult) {
        let (client, server) = with_server("127.0.0.1", |destination| {
            LoadKind::TcpRr(TcpRrLoad {
                destination,
                request_size: 1,
                response_size: 1,
                count: None,
                duration_ms: Some(80),
                connect_timeout_ms: 1000,
                think,
            })
        })
        .unwrap();
        (client.unwrap(), server)
    }

    #[test]
    fn ends_after_its_duration() {
        let (client, server) = for_80_ms(None);
        assert!((80_000_000..1_000_000_000).contains(&client.duration_ns));
        assert_eq!(client.operations, server.operations);
    }

    #[test]
    fn waits_are_in_its_duration_and_in_no_latency() {
        let think = |mean_ns| {
            Some(Think {
                mean_ns,
                sequence: 1,
            })
        };
        let (client, server) = for_80_ms(think(2_000_000));
        assert!((80_000_000..1_000_000_000).contains(&client.duration_ns));
        assert_eq!(client.operations, server.operations);
        let latency = client.latency.unwrap();
        assert_eq!(latency.count, client.operations);
        // Some 40 waits of 2 ms; the fewer, the slower the machine is.
        let mut waits = Waits::new(think(2_000_000).unwrap());
        let waited: u64 = (1..client.operations).map(|_| waits.draw_ns()).sum();
        let whole = latency.mean_ns * client.operations as f64 + waited as f64;
        assert!(
            whole <= client.duration_ns as f64,
            "{waited} ns, {client:?}"
        );
        // A wait that is longer than all of it.
        let (client, server) = for_80_ms(think(3_600_000_000_000));
        assert_eq!((client.operations, server.operations), (1, 1));
    }
}
