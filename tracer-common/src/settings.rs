//! What the loader tells the programs before they are loaded, as one read-only global.

/// Block devices that a run can follow at once; with none named, all are followed.
pub const MAX_DEVICES: usize = 16;
/// Ports that a run can follow; with none named, all are followed.
pub const MAX_PORTS: usize = 8;
/// System calls by which data reach a socket.
pub const MAX_SEND_CALLS: usize = 8;

/// What a run asks for and what its kernel is like. Numbers that only say whether are 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether the kernel keeps histograms instead of emitting every record.
    pub aggregates: u64,
    /// Then: requests that took at least this long are emitted as records, too.
    pub outlier_ns: u64,
    /// Slots of requests in flight less one; their number is a power of two.
    pub slot_mask: u64,
    /// Whether a followed device takes bios without making requests of them.
    pub bio_based: u64,
    /// Devices that are named.
    pub device_count: u64,
    /// Ports that are named.
    pub port_count: u64,
    /// One in so many packets is followed.
    pub sample: u64,
    /// Whether packets on their way in are followed; `netif_rx` also tells the end of the way out.
    pub receives: u64,
    /// Whether packets that the domain passes on are followed.
    pub forwards: u64,
    /// Whether requests of blkback are followed: else there is no such thread to look for.
    pub serves: u64,
    /// Address of the per-CPU variable `xen_runstate`; 0: not a domain of Xen, or the kernel does not tell.
    pub runstate: u64,
    /// Address of the kernel's array of what is added to such an address for each CPU.
    pub per_cpu_offset: u64,
    /// `dev_t`s.
    pub devices: [u32; MAX_DEVICES],
    /// Numbers of system calls; one that no call has, where there are fewer.
    pub send_calls: [u32; MAX_SEND_CALLS],
    /// Ports.
    pub ports: [u16; MAX_PORTS],
}

impl Settings {
    /// Everything is followed, and nothing is known of the kernel.
    pub const UNSET: Self = Self {
        aggregates: 0,
        outlier_ns: u64::MAX,
        slot_mask: 8191,
        bio_based: 0,
        device_count: 0,
        port_count: 0,
        sample: 1,
        receives: 0,
        forwards: 0,
        serves: 0,
        runstate: 0,
        per_cpu_offset: 0,
        devices: [0; MAX_DEVICES],
        send_calls: [u32::MAX; MAX_SEND_CALLS],
        ports: [0; MAX_PORTS],
    };
}

const _: () = assert!(
    core::mem::size_of::<Settings>()
        == 12 * 8 + MAX_DEVICES * 4 + MAX_SEND_CALLS * 4 + MAX_PORTS * 2
);

// SAFETY: repr(C), only integers, no padding (the assertion above), any bit pattern is valid.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for Settings {}
