//! Datapaths as data: trace points, how each is bound on a kernel, and whose time a stage is.

mod backend;
mod component;
mod native;
mod stages;
pub mod table;
mod vbd;
mod vif;
mod xen;

pub use backend::{crosses, is_backends, is_backends_own, traced_as};
pub use component::Component;
pub use stages::Stage;
pub use table::Datapath;
pub use vbd::vbd_name;

/// Every datapath.
pub const DATAPATHS: &[Datapath] = &[
    native::DISK_NATIVE,
    native::NET_TX_NATIVE,
    native::NET_RX_NATIVE,
    native::IRQ,
    xen::DISK_VBD,
    xen::DISK_VBD_BACKEND,
    xen::DISK_PASSTHROUGH,
    vif::NET_TX_VIF,
    vif::NET_RX_VIF,
    vif::NET_VIF_BACKEND,
    xen::NET_TX_PASSTHROUGH,
    xen::NET_RX_PASSTHROUGH,
];

/// The datapath of this name.
#[must_use]
pub fn datapath(name: &str) -> Option<&'static Datapath> {
    DATAPATHS.iter().find(|path| path.name == name)
}
