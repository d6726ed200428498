//! The other end of `tcp-stream` and `tcp-rr`: one thread a connection, the client says what it
//! wants.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
    thread,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    Context, LoadError, Outcome, Result, ServerLoad, Stop, monotonic_ns,
    net::{self, REQUEST_BYTES, Request, StreamReport, Transfer},
    place,
};
use tracer_analysis::scenario::limits::is_ours;

/// Bytes read at once from a stream.
const CHUNK: usize = 256 * 1024;
/// Connections served at a time; more wait in the kernel's queue.
const MOST_AT_A_TIME: usize = 256;

/// What one connection did.
struct Served {
    tid: u32,
    start_ns: u64,
    end_ns: u64,
    operations: u64,
    bytes: u64,
}

pub(crate) fn run(load: &ServerLoad, context: &Context<'_>) -> Result<Outcome> {
    place::pin(context.cpus)?;
    let address = SocketAddr::new(load.address, load.port);
    let listener = listen(address)?;
    let port = listener.local_addr().map_or(load.port, |a| a.port());
    (context.on_ready)(port);
    let begun_ns = monotonic_ns();
    let (finished, active) = (AtomicU32::new(0), AtomicUsize::new(0));
    let (served, errors) = thread::scope(|scope| {
        let mut threads = Vec::new();
        let enough = load.finish_after.unwrap_or(u32::MAX);
        while finished.load(Ordering::Acquire) < enough && !context.stop.is_requested() {
            let Some(stream) = accept(&listener, &active, context)? else {
                continue;
            };
            let (index, finished, active) = (threads.len(), &finished, &active);
            active.fetch_add(1, Ordering::Relaxed);
            threads.push(scope.spawn(move || {
                let served = place::pin_worker(context.cpus, index)
                    .and_then(|()| serve(&stream, context.stop));
                active.fetch_sub(1, Ordering::Relaxed);
                finished.fetch_add(1, Ordering::Release);
                served
            }));
        }
        let (mut served, mut errors) = (Vec::new(), Vec::new());
        for thread in threads {
            match place::join(thread) {
                Ok(connection) => served.push(connection),
                Err(error) => errors.push(error.to_string()),
            }
        }
        Ok((served, errors))
    })?;
    Ok(sum(&served, errors, begun_ns))
}

/// Adds up the connections. One that failed must not take away the results of the others: it is
/// told in `errors`.
fn sum(served: &[Served], errors: Vec<String>, begun_ns: u64) -> Outcome {
    let mut outcome = Outcome {
        start_ns: served.iter().map(|c| c.start_ns).min().unwrap_or(begun_ns),
        end_ns: served.iter().map(|c| c.end_ns).max().unwrap_or(begun_ns),
        operations: served.iter().map(|c| c.operations).sum(),
        bytes: served.iter().map(|c| c.bytes).sum(),
        tids: served.iter().map(|c| c.tid).collect(),
        ..Outcome::default()
    };
    outcome.extra("connections", served.len() + errors.len());
    outcome.extra("errors", errors);
    outcome
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|source| {
        LoadError::io_advice(
            format!("listening on TCP {address}"),
            source,
            "is the address configured in this namespace, and the port free?",
        )
    })?;
    listener
        .set_nonblocking(true)
        .map_err(|source| LoadError::io("setting up the listener", source))?;
    Ok(listener)
}

/// The next connection from an address of ours; None after a short wait without any.
fn accept(
    listener: &TcpListener,
    active: &AtomicUsize,
    context: &Context<'_>,
) -> Result<Option<TcpStream>> {
    let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let _ = poll(&mut fds, PollTimeout::from(20u8));
    if active.load(Ordering::Relaxed) >= MOST_AT_A_TIME {
        thread::sleep(super::control::STOP_LATENCY);
        return Ok(None);
    }
    match listener.accept() {
        Ok((_, peer)) if !context.allow_remote && !is_ours(peer.ip()) => Ok(None),
        Ok((stream, _)) => {
            stream
                .set_nonblocking(false)
                .map_err(|source| LoadError::io("setting up a connection", source))?;
            net::prepare(&stream).map(|()| Some(stream))
        }
        Err(error) if net::is_pause(&error) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => Ok(None),
        Err(source) => Err(LoadError::io("accepting a connection", source)),
    }
}

fn serve(stream: &TcpStream, stop: &Stop) -> Result<Served> {
    let mut hello = [0; REQUEST_BYTES];
    let request = match net::read_whole(stream, &mut hello, Some(stop))? {
        Transfer::Whole => Request::decode(&hello),
        Transfer::Ended | Transfer::Stopped => None,
    };
    let served = Served {
        tid: place::tid(),
        start_ns: monotonic_ns(),
        end_ns: monotonic_ns(),
        operations: 0,
        bytes: 0,
    };
    match request {
        Some(Request::Stream) => receive(stream, stop, served),
        Some(Request::Rr(request, response)) => answer(stream, stop, served, request, response),
        None => Err(LoadError::Failed(
            "a connection did not begin as those of our loads do".into(),
        )),
    }
}

/// Counts a stream until its end, then tells the client.
fn receive(mut stream: &TcpStream, stop: &Stop, mut served: Served) -> Result<Served> {
    let mut buffer = vec![0; CHUNK];
    let mut silent = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => {
                let now = monotonic_ns();
                // The clock runs from the first data on, not from the connection.
                if served.bytes == 0 {
                    served.start_ns = now;
                }
                (served.bytes, served.end_ns) = (served.bytes + got as u64, now);
                silent = 0;
            }
            Err(error) if net::is_pause(&error) => {
                // A client that was stopped at the same time still sends what it has.
                silent += u32::from(stop.is_requested());
                if silent > 4 {
                    break;
                }
            }
            Err(source) => return Err(LoadError::io("receiving a stream", source)),
        }
    }
    served.operations = 1;
    let report = StreamReport {
        bytes: served.bytes,
        duration_ns: served.end_ns - served.start_ns,
    };
    net::write_whole(stream, &report.encode(), None)?;
    Ok(served)
}

/// Answers requests until the client ends.
fn answer(
    stream: &TcpStream,
    stop: &Stop,
    mut served: Served,
    request_size: u32,
    response_size: u32,
) -> Result<Served> {
    let mut request = vec![0; request_size as usize];
    let response = vec![0xa5; response_size as usize];
    while net::read_whole(stream, &mut request, Some(stop))? == Transfer::Whole {
        net::write_whole(stream, &response, None)?;
        served.operations += 1;
        served.bytes += u64::from(request_size) + u64::from(response_size);
        served.end_ns = monotonic_ns();
    }
    Ok(served)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{net::IpAddr, sync::mpsc, time::Duration};

    use super::*;
    use crate::load::{Control, LoadKind, LoadSpec, Protocol, run, run_with};
    use tracer_analysis::recording::load::LoadResult;

    /// Runs a server in this process until its first client is done, and that client.
    /// None (said aloud) if this machine does not have the address.
    pub(crate) fn with_server(
        address: &str,
        client: impl FnOnce(SocketAddr) -> LoadKind,
    ) -> Option<(Result<LoadResult>, LoadResult)> {
        let address: IpAddr = address.parse().unwrap();
        if std::net::UdpSocket::bind((address, 0)).is_err() {
            eprintln!("SKIPPED: no address {address} here");
            return None;
        }
        let server = |protocol| {
            LoadSpec::new(LoadKind::Server(ServerLoad {
                protocol,
                address,
                port: 0,
                finish_after: Some(1),
            }))
        };
        let (tell, ready) = mpsc::channel();
        let on_ready = Box::new(move |port| tell.send(port).unwrap());
        let control = Control {
            stop: Stop::default(),
            on_ready,
        };
        let stop = control.stop.clone();
        // The kind of client is only known once it has a destination: ask with any.
        let client_is = |kind: &LoadKind| match kind {
            LoadKind::UdpFlood(_) => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        let mut kind = client(SocketAddr::new(address, 1));
        let spec = server(client_is(&kind));
        let thread = thread::spawn(move || run_with(&spec, &control));
        let port = ready.recv_timeout(Duration::from_secs(2)).unwrap();
        match &mut kind {
            LoadKind::TcpStream(load) => load.destination.set_port(port),
            LoadKind::TcpRr(load) => load.destination.set_port(port),
            LoadKind::UdpFlood(load) => load.destination.set_port(port),
            other => panic!("{other:?} needs no server"),
        }
        let result = run(&LoadSpec::new(kind));
        if result.is_err() {
            stop.request();
        }
        Some((result, thread.join().unwrap().unwrap()))
    }

    #[test]
    fn a_stranger_is_told_apart_and_does_not_end_the_server() {
        let (tell, ready) = mpsc::channel();
        let on_ready = Box::new(move |port| tell.send(port).unwrap());
        let control = Control {
            stop: Stop::default(),
            on_ready,
        };
        let spec = LoadSpec::new(LoadKind::Server(ServerLoad {
            protocol: Protocol::Tcp,
            address: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            finish_after: Some(1),
        }));
        let server = thread::spawn(move || run_with(&spec, &control));
        let port = ready.recv_timeout(Duration::from_secs(2)).unwrap();
        let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
        let result = server.join().unwrap().unwrap();
        assert_eq!((result.operations, result.bytes), (0, 0));
        assert!(
            result.extra["errors"][0]
                .as_str()
                .unwrap()
                .contains("did not begin")
        );
    }
}
