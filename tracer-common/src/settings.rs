//! What the loader tells the programs before they are loaded, as read-only globals.

/// Block devices that a run can follow at once; with none named, all are followed.
pub const MAX_DEVICES: usize = 16;

/// Values of the global `MODE`.
pub mod mode {
    /// One record a request.
    pub const SPANS: u32 = 0;
    /// Histograms in the kernel; records only for outliers.
    pub const AGGREGATE: u32 = 1;
}

/// Ports that a run can follow; with none named, all are followed.
pub const MAX_PORTS: usize = 8;
/// System calls by which data reach a socket.
pub const MAX_SEND_CALLS: usize = 8;
