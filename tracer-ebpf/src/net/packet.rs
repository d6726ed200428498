//! What a packet is: protocol, ports, sequence. And which packets a run follows.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use tracer_common::{
    counter::Counter,
    record::{Record, addresses, flag, flow},
    sample::is_followed,
    settings::MAX_PORTS,
};

use crate::core::{counters::count, kernel::Object, member, settings::setting};

/// EtherTypes as they stand in memory.
const IPV4: u16 = 0x0800u16.to_be();
const IPV6: u16 = 0x86DDu16.to_be();
/// IP protocols.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// A TCP or UDP packet that carries data.
pub struct Packet {
    protocol: u8,
    addresses: u64,
    pub position: u64,
    payload: u32,
    /// Of IP and transport.
    pub header: u32,
    device: u32,
    segmented: bool,
}

impl Packet {
    /// Fills in the head of a record.
    #[inline(always)]
    pub fn describe(&self, record: &mut Record) {
        record.op = self.protocol;
        record.key = self.addresses;
        record.position = self.position;
        record.dev = self.device;
        record.cpu = 0;
        resize(record, self.payload, self.segmented);
    }
}

#[inline(always)]
fn resize(record: &mut Record, payload: u32, segmented: bool) {
    record.bytes = payload;
    if segmented {
        record.flags |= flag::SEGMENTED;
    }
}

/// Says in a record how large its packet has become, on its way out, with headers of so many bytes.
#[inline(always)]
pub fn resize_outgoing(record: &mut Record, skb: Object, header: u32) {
    let (_, len) = network_part(skb);
    resize(record, len.wrapping_sub(header), is_segmented(skb));
}

/// Whether the stack has told of what protocol it is, as it has of each packet that is followed.
#[inline(always)]
pub fn has_protocol(skb: Object) -> bool {
    let ethertype = member::SkbProtocol.read(skb);
    ethertype != 0
}

/// A packet on its way in: its data begin with the network header.
#[inline(always)]
pub fn incoming(skb: Object) -> Option<Packet> {
    let data = member::SkbData.read(skb) as u64;
    let len = member::SkbLen.read(skb);
    parse(skb, data, len)
}

/// A packet on its way out: its data begin with the link header.
#[inline(always)]
pub fn outgoing(skb: Object) -> Option<Packet> {
    let (start, len) = network_part(skb);
    parse(skb, start, len)
}

/// Where the network header is, and the bytes from there on.
#[inline(always)]
fn network_part(skb: Object) -> (u64, u32) {
    let head = member::SkbHead.read(skb) as u64;
    let data = member::SkbData.read(skb) as u64;
    let network = member::SkbNetworkHeader.read(skb);
    let len = member::SkbLen.read(skb);
    let start = head + u64::from(network);
    (start, len.wrapping_sub(start.wrapping_sub(data) as u32))
}

#[inline(always)]
fn bytes<const N: usize>(address: u64) -> Option<[u8; N]> {
    // SAFETY: the helper reads any address and fails where nothing is mapped.
    unsafe { bpf_probe_read_kernel(address as *const [u8; N]) }.ok()
}

/// Four bytes of a header, from `at` on.
#[inline(always)]
fn word<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[inline(always)]
fn parse(skb: Object, network: u64, len: u32) -> Option<Packet> {
    let ethertype = member::SkbProtocol.read(skb);
    if ethertype != IPV4 && ethertype != IPV6 {
        return None;
    }
    // Both headers by one call: what comes after the packet is the kernel's account of it.
    let ip: [u8; 56] = bytes(network)?;
    let (protocol, addresses, header, id) = if ethertype == IPV4 {
        // Only the first fragment has ports.
        if u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff != 0 {
            count(Counter::Fragment);
            return None;
        }
        (
            ip[9],
            addresses::pack(word(&ip, 12), word(&ip, 16)),
            u32::from(ip[0] & 15) * 4,
            u32::from(u16::from_be_bytes([ip[4], ip[5]])),
        )
    } else {
        let source = word(&ip, 8) ^ word(&ip, 12) ^ word(&ip, 16) ^ word(&ip, 20);
        let destination = word(&ip, 24) ^ word(&ip, 28) ^ word(&ip, 32) ^ word(&ip, 36);
        (ip[6], addresses::pack(source, destination), 40, 0)
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let transport = transport(&ip, network, header)?;
    let source = u16::from_be_bytes([transport[0], transport[1]]);
    let destination = u16::from_be_bytes([transport[2], transport[3]]);
    if !follows(source, destination) {
        return None;
    }
    let fifth = word(&transport, 4);
    let (sequence, transport_len) = if protocol == TCP {
        (fifth, u32::from(transport[12] >> 4) * 4)
    } else if ethertype == IPV4 {
        (id, 8)
    } else {
        // IPv6 has no id: length and checksum tell most packets of a flow apart.
        (fifth, 8)
    };
    let header = header + transport_len;
    let payload = len.wrapping_sub(header);
    // A TCP segment without data is an acknowledgement: it belongs to no one's call.
    if protocol == TCP && (payload == 0 || payload > u32::MAX / 2) {
        return None;
    }
    let position = flow::pack(source, destination, sequence);
    if !sampled(position) {
        return None;
    }
    let net_device = member::SkbDev.read(skb);
    Some(Packet {
        protocol,
        addresses,
        position,
        payload,
        header,
        device: member::NetDeviceIfindex.read(net_device),
        segmented: is_segmented(skb),
    })
}

/// The transport's header, behind the network's.
#[inline(always)]
fn transport(ip: &[u8; 56], network: u64, header: u32) -> Option<[u8; 16]> {
    match header {
        20 => ip[20..36].try_into().ok(),
        40 => ip[40..56].try_into().ok(),
        _ => bytes(network + u64::from(header)),
    }
}

#[inline(always)]
fn is_segmented(skb: Object) -> bool {
    let head = member::SkbHead.read(skb) as u64;
    let end = member::SkbEnd.read(skb);
    let size = member::SharedGsoSize.read_unknown(head + u64::from(end));
    size.is_some_and(|size| size != 0)
}

/// Whether a run follows packets between these ports.
#[inline(always)]
pub fn follows(source: u16, destination: u16) -> bool {
    let ports = setting!(port_count);
    if ports == 0 {
        return true;
    }
    for index in 0..MAX_PORTS {
        let port = setting!(ports[index]);
        if (index as u64) < ports && (port == source || port == destination) {
            return true;
        }
    }
    false
}

/// One packet in `sample`, by a hash of what identifies it, so that every domain picks the same.
#[inline(always)]
fn sampled(position: u64) -> bool {
    let is_followed = is_followed(position, setting!(sample));
    if !is_followed {
        count(Counter::NotSampled);
    }
    is_followed
}
