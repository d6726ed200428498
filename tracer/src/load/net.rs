//! What the network loads share: the rule for destinations, connecting, whole reads and writes.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use super::{LoadError, Result, Stop, control::STOP_LATENCY};
use tracer_analysis::scenario::limits::{MOST_BYTES, is_ours};

/// How long the other end may stay silent within a transaction.
pub(crate) const PEER_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses destinations that may belong to somebody else, unless that is allowed.
pub(crate) fn check_destination(destination: SocketAddr, allow_remote: bool) -> Result<()> {
    if destination.port() == 0 {
        return Err(LoadError::invalid(
            "destination",
            "port 0 cannot be sent to",
        ));
    }
    if allow_remote || is_ours(destination.ip()) {
        return Ok(());
    }
    Err(LoadError::Refused(format!(
        "{} is neither a loopback nor a private nor a link-local address; set `allow_remote` if \
         the load may really be sent there",
        destination.ip()
    )))
}

/// The first bytes of a connection: what the client wants of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Count what comes until the end, then answer with a [`StreamReport`].
    Stream,
    /// Answer each request of the first size with a response of the second.
    Rr(u32, u32),
}

/// Length of [`Request`] on the wire.
pub(crate) const REQUEST_BYTES: usize = 20;
const MAGIC: &[u8; 8] = b"TRCRLD01";

impl Request {
    pub(crate) fn encode(self) -> [u8; REQUEST_BYTES] {
        let (mode, request, response) = match self {
            Self::Stream => (0u32, 0, 0),
            Self::Rr(request, response) => (1, request, response),
        };
        let mut bytes = [0; REQUEST_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&mode.to_le_bytes());
        bytes[12..16].copy_from_slice(&request.to_le_bytes());
        bytes[16..].copy_from_slice(&response.to_le_bytes());
        bytes
    }

    /// None if the peer is no load of ours.
    pub(crate) fn decode(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let word =
            |at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let sane = |size: u32| (1..=MOST_BYTES).contains(&u64::from(size));
        match (bytes.starts_with(MAGIC), word(8), word(12), word(16)) {
            (true, 0, 0, 0) => Some(Self::Stream),
            (true, 1, request, response) if sane(request) && sane(response) => {
                Some(Self::Rr(request, response))
            }
            _ => None,
        }
    }
}

/// What the receiver of a stream counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamReport {
    pub(crate) bytes: u64,
    pub(crate) duration_ns: u64,
}

impl StreamReport {
    pub(crate) fn encode(self) -> [u8; 16] {
        (u128::from(self.bytes) | u128::from(self.duration_ns) << 64).to_le_bytes()
    }

    #[allow(clippy::cast_possible_truncation)] // takes the two halves apart
    pub(crate) fn decode(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self {
            bytes: both as u64,
            duration_ns: (both >> 64) as u64,
        }
    }
}

/// Connects, trying again until `timeout_ms` is over: the server may still be starting.
pub(crate) fn connect(to: SocketAddr, timeout_ms: u64, stop: &Stop) -> Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&to, left.max(Duration::from_millis(1))) {
            Ok(stream) => {
                prepare(&stream)?;
                return Ok(stream);
            }
            Err(source) if left.is_zero() || stop.is_requested() => {
                return Err(LoadError::io_advice(
                    format!("connecting to {to} (tried for {timeout_ms} ms)"),
                    source,
                    "is the server load running, and in the namespace or domain of that address?",
                ));
            }
            Err(_) => thread::sleep(left.min(Duration::from_millis(20))),
        }
    }
}

/// Lets blocking calls return now and then, to see whether to stop.
pub(crate) fn prepare(stream: &TcpStream) -> Result<()> {
    stream
        .set_read_timeout(Some(STOP_LATENCY))
        .and_then(|()| stream.set_write_timeout(Some(STOP_LATENCY)))
        .and_then(|()| stream.set_nodelay(true))
        .map_err(|source| LoadError::io("setting the options of a TCP socket", source))
}

/// Whether the error only says that a socket's timeout passed.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// How a whole read or write ended without error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// All of it was moved.
    Whole,
    /// The peer ended the connection first.
    Ended,
    /// A stop was requested while waiting.
    Stopped,
}

/// Fills `buffer`, or says why not. `stop` None means to wait even if a stop was requested;
/// [`PEER_TIMEOUT`] without a single byte is an error (with a `stop`, only inside a message).
pub(crate) fn read_whole(
    mut from: impl Read,
    buffer: &mut [u8],
    stop: Option<&Stop>,
) -> Result<Transfer> {
    let (mut done, mut silent_since) = (0, None);
    while done < buffer.len() {
        match from.read(&mut buffer[done..]) {
            Ok(0) => return Ok(Transfer::Ended),
            Ok(got) => {
                done += got;
                silent_since = None;
            }
            Err(error) if is_pause(&error) => {
                if stop.is_some_and(Stop::is_requested) {
                    return Ok(Transfer::Stopped);
                }
                let since: Instant = *silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PEER_TIMEOUT && (stop.is_none() || done > 0) {
                    return Err(silent("sends nothing"));
                }
            }
            Err(source) => return Err(LoadError::io("receiving from the peer", source)),
        }
    }
    Ok(Transfer::Whole)
}

/// Sends all of `bytes`, or says why not.
pub(crate) fn write_whole(
    mut to: impl Write,
    bytes: &[u8],
    stop: Option<&Stop>,
) -> Result<(Transfer, usize)> {
    let (mut done, mut silent_since) = (0, None);
    while done < bytes.len() {
        match to.write(&bytes[done..]) {
            Ok(sent) => {
                done += sent;
                silent_since = None;
            }
            Err(error) if is_pause(&error) => {
                if stop.is_some_and(Stop::is_requested) {
                    return Ok((Transfer::Stopped, done));
                }
                let since: Instant = *silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PEER_TIMEOUT {
                    return Err(silent("takes nothing"));
                }
            }
            Err(source) => {
                let advice = "the peer closed the connection; see the server's error";
                return Err(LoadError::io_advice("sending to the peer", source, advice));
            }
        }
    }
    Ok((Transfer::Whole, done))
}

fn silent(what: &str) -> LoadError {
    LoadError::Failed(format!(
        "the peer {what} for {PEER_TIMEOUT:?}: it hangs, or the network between is down"
    ))
}

/// What the kernel counted for a connection.
pub(crate) struct TcpInfo {
    /// Segments sent again since the connection was made.
    pub(crate) retransmits: u32,
    /// Smoothed round trip time in microseconds.
    pub(crate) rtt_us: u32,
}

/// Reads `TCP_INFO`; None if the kernel does not answer.
pub(crate) fn tcp_info(stream: &TcpStream) -> Option<TcpInfo> {
    // SAFETY: tcp_info is plain integers, for which all zeroes is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&info)).ok()?;
    // SAFETY: `info` is writable for `length` bytes; the descriptor is open as `stream` lives.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (failed == 0).then_some(TcpInfo {
        retransmits: info.tcpi_total_retrans,
        rtt_us: info.tcpi_rtt,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_destinations_are_allowed() {
        let check = |address: &str, allow| check_destination(address.parse().unwrap(), allow);
        for ours in [
            "127.0.0.1:1",
            "10.1.2.3:1",
            "192.168.0.9:1",
            "172.31.0.1:1",
            "169.254.1.1:1",
            "[::1]:1",
            "[fd00::1]:1",
            "[fe80::1%2]:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            check(ours, false).unwrap();
        }
        for foreign in [
            "8.8.8.8:53",
            "0.0.0.0:1",
            "255.255.255.255:1",
            "[2001:db8::1]:1",
        ] {
            let error = check(foreign, false).unwrap_err().to_string();
            assert!(error.contains("allow_remote"), "{error}");
            check(foreign, true).unwrap();
        }
        assert!(check("127.0.0.1:0", true).is_err());
    }

    #[test]
    fn wire_formats_survive_the_way_there_and_back() {
        for request in [Request::Stream, Request::Rr(1, 16 << 20)] {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        assert_eq!(Request::decode(&Request::Rr(0, 1).encode()), None);
        assert_eq!(Request::decode(b"GET / HTTP/1.1\r\nHost"), None);
        let report = StreamReport {
            bytes: u64::MAX - 1,
            duration_ns: 7,
        };
        assert_eq!(StreamReport::decode(report.encode()), report);
    }
}
