//! Datapaths as data: trace points, how each is bound on a kernel, and whose time a stage is.

mod native;
mod stages;
pub mod table;
mod vif;
mod xen;

pub use stages::Stage;
pub use table::{DATAPATHS, Datapath, datapath};
use tracer_common::{
    point::{Kind, Point},
    record::vbd,
};

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

/// A guest's virtual disk, as people name it: `A xvda` has domain and number.
#[must_use]
pub fn vbd_name(dev: u32) -> String {
    // docs/man/xen-vbd-interface of Xen: 202 << 8 | disk << 4 | partition up to xvdp; from xvdq
    // 1 << 28 | disk << 8 | partition, of which blkback keeps 16 bits; lower ones are IDE and SCSI.
    let (domid, number) = vbd::unpack(dev);
    let number = u32::from(number);
    let (disk, partition) = match number >> 8 {
        202 => (number >> 4 & 0xf, number & 0xf),
        disk @ 16.. => (disk, number & 0xff),
        _ => return format!("domain {domid} vbd {number}"),
    };
    let letter = |digit: u32| char::from(b'a' + u8::try_from(digit % 26).unwrap_or(0));
    let mut name = format!("domain {domid} xvd");
    if disk >= 26 {
        name.push(letter(disk / 26 - 1));
    }
    name.push(letter(disk));
    if partition != 0 {
        name += &partition.to_string();
    }
    name
}

/// Whether a point is passed in the domain of a backend.
#[must_use]
pub fn is_backends(point: Point) -> bool {
    let mut kinds = [Kind::Blkback, Kind::NetForward].into_iter();
    kinds.any(|kind| kind.points().contains(&point))
}

/// Points of Dom0's part of a request's way, and those that its domain traces for them.
const OF_DOM0: [(Point, Point); 12] = [
    (Point::Dom0Upcall, Point::EvtchnUpcall),
    (Point::Dom0Issue, Point::BlkIssue),
    (Point::Dom0Irq, Point::IrqEntry),
    (Point::Dom0Softirq, Point::SoftirqEntry),
    (Point::Dom0Complete, Point::BlkComplete),
    (Point::Dom0Poll, Point::NapiPoll),
    (Point::Dom0Gro, Point::NapiGroReceive),
    (Point::Dom0Receive, Point::NetifReceive),
    (Point::Dom0Queue, Point::NetQueue),
    (Point::Dom0Dequeue, Point::QdiscDequeue),
    (Point::Dom0Xmit, Point::NetXmit),
    (Point::Dom0XmitDone, Point::NetXmitDone),
];

/// By which name a domain traces the point of this name: Dom0's own `blk.issue` is a guest's `dom0.issue`.
#[must_use]
pub fn traced_as(point: &str) -> &str {
    let own = OF_DOM0.iter().find(|(there, _)| there.name() == point);
    own.map_or(point, |(_, own)| own.name())
}

/// Whether a point of this name is passed in the domain of a backend.
#[must_use]
pub fn is_backends_own(point: &str) -> bool {
    let kinds = [Kind::Blkback, Kind::NetForward].into_iter();
    kinds.flat_map(Kind::points).any(|own| own.name() == point)
}

/// Whether a stage begins in one domain and ends in another.
#[must_use]
pub fn crosses(from: Point, to: Point) -> bool {
    is_backends(from) != is_backends(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_disks_have_the_names_of_their_guests() {
        for (number, name) in [
            (202 << 8, "domain 3 xvda"),
            (202 << 8 | 16, "domain 3 xvdb"),
            (202 << 8 | 1, "domain 3 xvda1"),
            (25 << 8, "domain 3 xvdz"),
            (26 << 8 | 2, "domain 3 xvdaa2"),
            (768, "domain 3 vbd 768"),
        ] {
            assert_eq!(vbd_name(vbd::pack(3, number)), name);
        }
    }
}
