//! A UDP flood of given size and rate (the paper's udpsend), and a sink that counts what arrives.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::UdpSocket,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::load::{Listen, LoadResult, Stopwatch, UdpFlood, Until, address, now_ns, process};

/// Bytes at a packet's start that number it.
const NUMBER_BYTES: usize = 8;
/// How often a sink looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn flood(spec: &UdpFlood, cpus: &[u32]) -> anyhow::Result<LoadResult> {
    if (spec.size as usize) < NUMBER_BYTES || spec.size > 65_507 {
        bail!(
            "size is {}; a packet has from {NUMBER_BYTES} to 65507 bytes",
            spec.size
        );
    }
    process::say_ready()?;
    let start_ns = now_ns();
    let threads: Vec<_> = (0..spec.threads.max(1))
        .map(|index| {
            let spec = spec.clone();
            let place: Vec<u32> = cpus
                .get(index as usize % cpus.len().max(1))
                .copied()
                .into_iter()
                .collect();
            thread::spawn(move || flood_one(&spec, &place))
        })
        .collect();
    let (mut sent, mut refused) = (0, 0);
    let mut latency = Stopwatch::new()?;
    for thread in threads {
        let one = thread
            .join()
            .map_err(|_| anyhow::anyhow!("a sending thread died"))??;
        sent += one.0;
        refused += one.1;
        latency.add(&one.2)?;
    }
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations: sent,
        bytes: sent * u64::from(spec.size),
        latency: latency.summary(),
        figures: BTreeMap::from([("refused".into(), refused)]),
        ..LoadResult::default()
    })
}

/// One thread's packets sent, packets refused (buffers full), and times of the calls.
fn flood_one(spec: &UdpFlood, place: &[u32]) -> anyhow::Result<(u64, u64, Stopwatch)> {
    process::pin(place)?;
    let to = address::private(&spec.to)?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket
        .connect(to)
        .with_context(|| format!("no route to {to}"))?;
    let mut packet = vec![0x5A; spec.size as usize];
    let gap = (spec.rate != 0).then(|| Duration::from_secs_f64(1.0 / spec.rate as f64));
    let (mut sent, mut refused, mut latency) = (0u64, 0, Stopwatch::new()?);
    let start = Instant::now();
    let mut due = start;
    loop {
        let done = match spec.until {
            Until::Count(count) => sent >= count,
            Until::Elapsed(limit) => start.elapsed() >= limit,
            Until::Stopped => false,
        };
        if done || process::stopped() {
            return Ok((sent, refused, latency));
        }
        if let Some(gap) = gap {
            wait_until(due);
            due += gap;
        }
        packet[..NUMBER_BYTES].copy_from_slice(&sent.to_le_bytes());
        let begin = Instant::now();
        match socket.send(&packet) {
            Ok(_) => sent += 1,
            // Nobody listens, or a buffer is full: a flood goes on.
            Err(error) if is_passing(&error) => refused += 1,
            Err(error) => return Err(error).with_context(|| format!("cannot send to {to}")),
        }
        latency.record(begin.elapsed());
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::WouldBlock
    ) || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Sleeps, then spins over the last stretch: timers alone would send in bursts.
fn wait_until(due: Instant) {
    const SPIN: Duration = Duration::from_micros(80);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SPIN {
            thread::sleep(left - SPIN);
        } else {
            std::hint::spin_loop();
        }
    }
}

pub(super) fn sink(listen: &Listen) -> anyhow::Result<LoadResult> {
    let at = address::private(&listen.at)?;
    let socket = UdpSocket::bind(at)
        .with_context(|| format!("cannot listen at {at}; is the port in use?"))?;
    socket.set_read_timeout(Some(LOOK))?;
    process::say_ready()?;
    let start_ns = now_ns();
    let mut buffer = vec![0; 65_536];
    // By sender: packets received, highest number seen.
    let mut senders = BTreeMap::new();
    let mut bytes = 0;
    while !process::stopped() {
        let (count, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error).context("cannot receive"),
        };
        bytes += count as u64;
        let sender = senders.entry(from).or_insert((0u64, 0u64));
        sender.0 += 1;
        if let Some(number) = buffer[..count].first_chunk::<NUMBER_BYTES>() {
            sender.1 = sender.1.max(u64::from_le_bytes(*number).saturating_add(1));
        }
    }
    let received: u64 = senders.values().map(|sender| sender.0).sum();
    let sent: u64 = senders.values().map(|sender| sender.1).sum();
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations: received,
        bytes,
        figures: BTreeMap::from([("lost".into(), sent.saturating_sub(received))]),
        ..LoadResult::default()
    })
}
