//! What scenarios and loads may ask for.

use std::net::IpAddr;

/// Most bytes that one read, write or message may have.
pub const MOST_BYTES: u64 = 64 << 20;
/// Most threads that one load may have.
pub const MOST_THREADS: u32 = 1024;
/// Most payload that a UDP packet over IPv4 may have, in bytes.
pub const MOST_UDP_BYTES: u32 = 65_507;
/// Most packets that a UDP flood may send in a second.
pub const MOST_RATE: u64 = 1_000_000_000;
/// The longest mean of random waits: an hour, in nanoseconds.
pub const LONGEST_THINK_NS: u64 = 3_600_000_000_000;

/// Whether traffic to the address stays on this machine or on a network nobody else owns.
pub fn is_ours(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}
