//! Xen's paravirtual devices, at both ends, and the event channels between them.

mod blkback;
mod blkfront;
pub mod discard;
mod evtchn;
mod netback;
mod netfront;
mod ring;
