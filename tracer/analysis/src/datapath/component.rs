//! Whose time passes.

/// Whose time a stage is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The block layer: merging, splitting, plugging, the I/O scheduler.
    BlockLayer,
    /// The device, with its driver's submission.
    Device,
    /// Hard interrupt to completion: handler, soft interrupt.
    Interrupt,
    /// Waking the waiting task and giving it a CPU.
    Scheduler,
    /// Sockets and protocols.
    NetworkStack,
    /// The queueing discipline.
    Qdisc,
    /// The network driver.
    Driver,
    /// A paravirtual frontend's way to its ring.
    Ring,
    /// A paravirtual device's other side. As its guest sees it: all of Dom0 and the device; in Dom0:
    /// the backend driver's own part.
    Backend,
    /// Xen's event channel: from one domain's notification to the other's upcall, and from the upcall
    /// to the interrupt's handler.
    EventChannel,
    /// Waking the backend's thread in Dom0 and giving it a CPU.
    Dom0Scheduling,
    /// Dom0's block layer.
    Dom0BlockLayer,
    /// Dom0's hard interrupt to completion: handler, soft interrupt.
    Dom0Interrupt,
    /// The hypervisor: a virtual CPU that wanted to run had no physical one.
    Hypervisor,
    /// Dom0's protocol stack: its bridge and the queueing disciplines of its devices.
    Dom0NetworkStack,
}

impl Component {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlockLayer => "block layer",
            Self::Device => "device",
            Self::Interrupt => "interrupt",
            Self::Scheduler => "scheduler",
            Self::NetworkStack => "network stack",
            Self::Qdisc => "qdisc",
            Self::Driver => "driver",
            Self::Ring => "ring",
            Self::Backend => "backend",
            Self::EventChannel => "event channel",
            Self::Dom0Scheduling => "Dom0 scheduling",
            Self::Dom0BlockLayer => "Dom0 block layer",
            Self::Dom0Interrupt => "Dom0 interrupt",
            Self::Hypervisor => "hypervisor",
            Self::Dom0NetworkStack => "Dom0 network stack",
        }
    }
}
