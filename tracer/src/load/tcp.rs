//! TCP stream and request/response, as netperf measures them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream as Socket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::load::{
    Listen, LoadResult, Stopwatch, TcpRr, TcpStream, Until, address, now_ns, process,
};

/// How long a client tries to reach its server.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a server looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(50);
/// First bytes of a connection: what the client wants of the server. A response size of zero: a
/// stream, whose bytes the server counts and reports at the end.
const HELLO_BYTES: usize = 8;

fn connect(to: &str) -> anyhow::Result<Socket> {
    let address = address::private(to)?;
    let start = Instant::now();
    loop {
        match Socket::connect_timeout(&address, CONNECT) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) if start.elapsed() > CONNECT => {
                return Err(error).with_context(|| {
                    format!("cannot reach {address}; does its server run, and is there a route?")
                });
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn hello(socket: &mut Socket, request: u32, response: u32) -> anyhow::Result<()> {
    socket.write_all(&request.to_le_bytes())?;
    socket.write_all(&response.to_le_bytes())?;
    Ok(())
}

fn goes_on(until: Until, done: u64, start: Instant) -> bool {
    let more = match until {
        Until::Count(count) => done < count,
        Until::Elapsed(limit) => start.elapsed() < limit,
        Until::Stopped => true,
    };
    more && !process::stopped()
}

pub(super) fn stream(spec: &TcpStream) -> anyhow::Result<LoadResult> {
    let mut socket = connect(&spec.to)?;
    hello(&mut socket, u32::try_from(spec.message_size)?, 0)?;
    let message = vec![0x5A; usize::try_from(spec.message_size)?];
    let mut latency = Stopwatch::new()?;
    process::say_ready()?;
    let (start, start_ns) = (Instant::now(), now_ns());
    let mut operations = 0;
    while goes_on(spec.until, operations, start) {
        let begin = Instant::now();
        socket
            .write_all(&message)
            .with_context(|| format!("{} closed the stream", spec.to))?;
        latency.record(begin.elapsed());
        operations += 1;
    }
    socket.shutdown(std::net::Shutdown::Write)?;
    // As in netperf, what counts is what arrived, when it had arrived.
    let mut count = [0; 8];
    socket
        .read_exact(&mut count)
        .context("the server did not say what it received")?;
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations,
        bytes: u64::from_le_bytes(count),
        latency: latency.summary(),
        ..LoadResult::default()
    })
}

pub(super) fn request_response(spec: &TcpRr) -> anyhow::Result<LoadResult> {
    if spec.request_size == 0 || spec.response_size == 0 {
        bail!("request_size and response_size must be at least 1 byte");
    }
    let mut socket = connect(&spec.to)?;
    hello(&mut socket, spec.request_size, spec.response_size)?;
    let request = vec![0x5A; spec.request_size as usize];
    let mut response = vec![0; spec.response_size as usize];
    let mut latency = Stopwatch::new()?;
    process::say_ready()?;
    let (start, start_ns) = (Instant::now(), now_ns());
    let mut operations = 0;
    while goes_on(spec.until, operations, start) {
        let begin = Instant::now();
        socket.write_all(&request)?;
        socket
            .read_exact(&mut response)
            .with_context(|| format!("{} closed the connection", spec.to))?;
        latency.record(begin.elapsed());
        operations += 1;
    }
    let bytes = operations * u64::from(spec.request_size + spec.response_size);
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations,
        bytes,
        latency: latency.summary(),
        ..LoadResult::default()
    })
}

pub(super) fn serve(listen: &Listen) -> anyhow::Result<LoadResult> {
    let address: SocketAddr = address::private(&listen.at)?;
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen at {address}; is the port in use?"))?;
    listener.set_nonblocking(true)?;
    process::say_ready()?;
    let start_ns = now_ns();
    let mut connections = Vec::new();
    while !process::stopped() {
        match listener.accept() {
            Ok((socket, _)) => connections.push(thread::spawn(move || serve_one(socket))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK / 10),
            Err(error) => return Err(error).context("cannot accept connections"),
        }
    }
    let mut bytes = 0;
    for connection in connections {
        bytes += connection.join().ok().and_then(Result::ok).unwrap_or(0);
    }
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        bytes,
        ..LoadResult::default()
    })
}

/// Serves one client; returns the bytes received.
fn serve_one(mut socket: Socket) -> anyhow::Result<u64> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    let mut hello = [0; HELLO_BYTES];
    socket.read_exact(&mut hello)?;
    let request = u32::from_le_bytes([hello[0], hello[1], hello[2], hello[3]]) as usize;
    let response = u32::from_le_bytes([hello[4], hello[5], hello[6], hello[7]]) as usize;
    let limit = 16 << 20;
    if request > limit || response > limit {
        bail!("a client asks for messages over {limit} bytes");
    }
    if response == 0 {
        count_stream(&mut socket, request)
    } else {
        respond(&mut socket, request, response)
    }
}

fn count_stream(socket: &mut Socket, message: usize) -> anyhow::Result<u64> {
    let mut buffer = vec![0; message.max(64 << 10)];
    let mut bytes = 0;
    loop {
        match socket.read(&mut buffer)? {
            0 => break,
            count => bytes += count as u64,
        }
    }
    socket.write_all(&bytes.to_le_bytes())?;
    Ok(bytes)
}

fn respond(socket: &mut Socket, request: usize, response: usize) -> anyhow::Result<u64> {
    let mut received = vec![0; request];
    let answer = vec![0x5A; response];
    let mut bytes = 0;
    while socket.read_exact(&mut received).is_ok() {
        socket.write_all(&answer)?;
        bytes += request as u64;
    }
    Ok(bytes)
}
