//! Trace points: the named moments of a request's way, and the kinds of record that hold them.

/// A named moment on a datapath. The discriminant is stable within one build only; recordings
/// carry the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Point {
    /// The bio enters the block layer (blktrace's Q).
    BlkQueue,
    /// A request was allocated for the bio, after merging and splitting (G).
    BlkGetrq,
    /// The request enters the I/O scheduler (I).
    BlkInsert,
    /// The driver gave the request back; the last time it did.
    BlkRequeue,
    /// The request goes to the driver (D); the last time it did.
    BlkIssue,
    /// blkfront has put the request on its ring; its backend may have been told.
    BlkfrontPush,
    /// In the backend's domain: the event channel upcall that brings the interrupt starts.
    Dom0Upcall,
    /// blkback's interrupt handler starts: its guest has told it of requests on the ring.
    BlkbackInterrupt,
    /// blkback's thread gets a CPU to look at the ring.
    BlkbackRun,
    /// blkback has taken the request from the ring and begins to map the guest's pages.
    BlkbackConsume,
    /// blkback hands the request's first bio to Dom0's block layer.
    BlkbackSubmit,
    /// Dom0's block layer gives the last of the request's own requests to the device's driver.
    Dom0Issue,
    /// In Dom0: the hard interrupt handler starts: of the device that answers, or that brings a packet.
    Dom0Irq,
    /// In Dom0: the soft interrupt that completes the request, or polls for the packet, starts.
    Dom0Softirq,
    /// In Dom0's block layer: it is complete.
    Dom0Complete,
    /// Dom0's block layer tells blkback that the request's last bio has ended.
    BlkbackComplete,
    /// blkback puts the response on the ring.
    BlkbackResponse,
    /// Xen's event channel upcall that brings the interrupt starts.
    EvtchnUpcall,
    /// The hard interrupt handler that answers the request starts.
    IrqEntry,
    /// The soft interrupt (BLOCK, NET_RX or NET_TX) starts.
    SoftirqEntry,
    /// The request is complete (C). For a bio-based device: the bio is.
    BlkComplete,
    /// The task that waits is woken.
    SchedWaking,
    /// The task that waits runs.
    SchedSwitch,
    /// The sending task calls into the socket.
    SockSend,
    /// The packet reaches the device queue layer (`__dev_queue_xmit`).
    NetQueue,
    /// The queueing discipline hands the packet out again.
    QdiscDequeue,
    /// The driver's transmit function is called.
    NetXmit,
    /// netfront has put the packet on its ring and tells its backend.
    NetfrontNotify,
    /// The driver's transmit function has returned.
    NetXmitDone,
    /// netback's thread takes the packet from its queue, to copy it to the guest.
    NetbackDequeue,
    /// netback tells the guest of packets that it has copied, this one among them.
    NetbackNotify,
    /// The driver freed the packet: the device has sent it.
    NetTxComplete,
    /// The packet is put in a CPU's backlog (software devices: veth, loopback).
    NetifRx,
    /// The driver's poll function starts.
    NapiPoll,
    /// netback begins to take the guest's packets from the ring.
    NetbackConsume,
    /// The driver hands the packet to GRO.
    NapiGroReceive,
    /// The packet enters the protocol stack.
    NetifReceive,
    /// The data is in the socket and its reader is told.
    SockReady,
    /// The hypervisor takes the physical CPU from a virtual one that wants to run, or does not give it one.
    VcpuOff,
    /// The virtual CPU runs again.
    VcpuOn,
    /// In Dom0: blkback's thread loses its CPU to another task, and has not done yet.
    BlkbackPreempted,
    /// blkback's thread goes on.
    BlkbackResumed,
    /// In Dom0: the driver's poll function starts, the card's or netback's.
    Dom0Poll,
    /// In Dom0: the card's driver hands the packet to GRO.
    Dom0Gro,
    /// In Dom0: the packet enters the protocol stack, and by that the bridge.
    Dom0Receive,
    /// In Dom0: the bridge has chosen where the packet goes, and queues it on that device.
    Dom0Queue,
    /// In Dom0: that device's queueing discipline hands the packet out.
    Dom0Dequeue,
    /// In Dom0: the transmit function of that device is called, the card's or netback's.
    Dom0Xmit,
    /// In Dom0: the transmit function has returned.
    Dom0XmitDone,
    /// In Dom0: the packet's memory is given back: the card has sent it, or netback has copied it.
    Dom0TxComplete,
}

impl Point {
    /// Every point, in the order of the discriminants.
    pub const ALL: [Self; 50] = [
        Self::BlkQueue,
        Self::BlkGetrq,
        Self::BlkInsert,
        Self::BlkRequeue,
        Self::BlkIssue,
        Self::BlkfrontPush,
        Self::Dom0Upcall,
        Self::BlkbackInterrupt,
        Self::BlkbackRun,
        Self::BlkbackConsume,
        Self::BlkbackSubmit,
        Self::Dom0Issue,
        Self::Dom0Irq,
        Self::Dom0Softirq,
        Self::Dom0Complete,
        Self::BlkbackComplete,
        Self::BlkbackResponse,
        Self::EvtchnUpcall,
        Self::IrqEntry,
        Self::SoftirqEntry,
        Self::BlkComplete,
        Self::SchedWaking,
        Self::SchedSwitch,
        Self::SockSend,
        Self::NetQueue,
        Self::QdiscDequeue,
        Self::NetXmit,
        Self::NetfrontNotify,
        Self::NetXmitDone,
        Self::NetbackDequeue,
        Self::NetbackNotify,
        Self::NetTxComplete,
        Self::NetifRx,
        Self::NapiPoll,
        Self::NetbackConsume,
        Self::NapiGroReceive,
        Self::NetifReceive,
        Self::SockReady,
        Self::VcpuOff,
        Self::VcpuOn,
        Self::BlkbackPreempted,
        Self::BlkbackResumed,
        Self::Dom0Poll,
        Self::Dom0Gro,
        Self::Dom0Receive,
        Self::Dom0Queue,
        Self::Dom0Dequeue,
        Self::Dom0Xmit,
        Self::Dom0XmitDone,
        Self::Dom0TxComplete,
    ];

    /// The name in scenarios, reports and recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BlkQueue => "blk.queue",
            Self::BlkGetrq => "blk.getrq",
            Self::BlkInsert => "blk.insert",
            Self::BlkRequeue => "blk.requeue",
            Self::BlkIssue => "blk.issue",
            Self::BlkfrontPush => "blkfront.push",
            Self::Dom0Upcall => "dom0.upcall",
            Self::BlkbackInterrupt => "blkback.interrupt",
            Self::BlkbackRun => "blkback.run",
            Self::BlkbackConsume => "blkback.consume",
            Self::BlkbackSubmit => "blkback.submit",
            Self::Dom0Issue => "dom0.issue",
            Self::Dom0Irq => "dom0.irq.entry",
            Self::Dom0Softirq => "dom0.softirq.entry",
            Self::Dom0Complete => "dom0.complete",
            Self::BlkbackComplete => "blkback.complete",
            Self::BlkbackResponse => "blkback.response",
            Self::EvtchnUpcall => "evtchn.upcall",
            Self::IrqEntry => "irq.entry",
            Self::SoftirqEntry => "softirq.entry",
            Self::BlkComplete => "blk.complete",
            Self::SchedWaking => "sched.waking",
            Self::SchedSwitch => "sched.switch",
            Self::SockSend => "sock.send",
            Self::NetQueue => "net.queue",
            Self::QdiscDequeue => "qdisc.dequeue",
            Self::NetXmit => "net.xmit",
            Self::NetfrontNotify => "netfront.notify",
            Self::NetXmitDone => "net.xmit_done",
            Self::NetbackDequeue => "netback.dequeue",
            Self::NetbackNotify => "netback.notify",
            Self::NetTxComplete => "net.tx_complete",
            Self::NetifRx => "netif.rx",
            Self::NapiPoll => "napi.poll",
            Self::NetbackConsume => "netback.consume",
            Self::NapiGroReceive => "napi.gro_receive",
            Self::NetifReceive => "netif.receive",
            Self::SockReady => "sock.ready",
            Self::VcpuOff => "vcpu.off",
            Self::VcpuOn => "vcpu.on",
            Self::BlkbackPreempted => "blkback.preempted",
            Self::BlkbackResumed => "blkback.resumed",
            Self::Dom0Poll => "dom0.poll",
            Self::Dom0Gro => "dom0.gro_receive",
            Self::Dom0Receive => "dom0.receive",
            Self::Dom0Queue => "dom0.queue",
            Self::Dom0Dequeue => "dom0.dequeue",
            Self::Dom0Xmit => "dom0.xmit",
            Self::Dom0XmitDone => "dom0.xmit_done",
            Self::Dom0TxComplete => "dom0.tx_complete",
        }
    }
}

impl Point {
    /// Whether a request leaves its CPU here, for the device or the other domain.
    #[must_use]
    pub const fn leaves(self) -> bool {
        matches!(
            self,
            Self::BlkfrontPush | Self::Dom0Issue | Self::NetXmitDone | Self::Dom0XmitDone
        )
    }
}

impl Point {
    /// Whether the program that stamps it also looks for time that was taken meanwhile: such time is told up to where
    /// somebody looks, and without this point further.
    #[must_use]
    pub const fn looks_for_taken(self) -> bool {
        matches!(
            self,
            Self::EvtchnUpcall
                | Self::Dom0Upcall
                | Self::BlkIssue
                | Self::Dom0Issue
                | Self::BlkComplete
                | Self::Dom0Complete
                | Self::BlkbackConsume
                | Self::BlkbackSubmit
                | Self::SchedSwitch
        )
    }
}

/// What a record describes; it says which points the stamps stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A block request (or a bio, on a bio-based device).
    Disk = 1,
    /// A packet on its way out.
    NetTx = 2,
    /// A packet on its way in.
    NetRx = 3,
    /// A request of a guest's virtual disk, in the domain of its backend.
    Blkback = 4,
    /// A packet that the domain passes on from one device to another, as Dom0's bridge does.
    NetForward = 5,
    /// No request: a time when a virtual CPU wanted to run and the hypervisor did not let it.
    Steal = 6,
    /// No request: a time when blkback's thread had work and another task had its CPU.
    Preempt = 7,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Disk,
        Self::NetTx,
        Self::NetRx,
        Self::Blkback,
        Self::NetForward,
        Self::Steal,
        Self::Preempt,
    ];

    /// Whether such a record is of a request.
    #[must_use]
    pub const fn is_request(self) -> bool {
        !matches!(self, Self::Steal | Self::Preempt)
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Disk),
            2 => Some(Self::NetTx),
            3 => Some(Self::NetRx),
            4 => Some(Self::Blkback),
            5 => Some(Self::NetForward),
            6 => Some(Self::Steal),
            7 => Some(Self::Preempt),
            _ => None,
        }
    }

    /// The trace points of this kind of record, in the order in which a request passes them: stamp
    /// `i` of a record belongs to `points()[i]`.
    #[must_use]
    pub const fn points(self) -> &'static [Point] {
        match self {
            Self::Disk => DISK,
            Self::NetTx => NET_TX,
            Self::NetRx => NET_RX,
            Self::Blkback => BLKBACK,
            Self::NetForward => NET_FORWARD,
            Self::Steal => STEAL,
            Self::Preempt => PREEMPT,
        }
    }

    /// Where `point` stands in this kind of record.
    ///
    /// # Panics
    /// At compile time (it is meant for `const` use), if the kind has no such point.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "only evaluated in constants: a wrong table does not compile"
    )]
    pub const fn index_of(self, point: Point) -> usize {
        let points = self.points();
        let mut index = 0;
        while index < points.len() {
            if points[index] as u8 == point as u8 {
                return index;
            }
            index += 1;
        }
        panic!("this kind of record has no such point")
    }
}

const DISK: &[Point] = &[
    Point::BlkQueue,
    Point::BlkGetrq,
    Point::BlkInsert,
    Point::BlkRequeue,
    Point::BlkIssue,
    Point::BlkfrontPush,
    Point::EvtchnUpcall,
    Point::IrqEntry,
    Point::SoftirqEntry,
    Point::BlkComplete,
    Point::SchedWaking,
    Point::SchedSwitch,
];

const NET_TX: &[Point] = &[
    Point::SockSend,
    Point::NetQueue,
    Point::QdiscDequeue,
    Point::NetXmit,
    Point::NetfrontNotify,
    Point::NetXmitDone,
    Point::EvtchnUpcall,
    Point::IrqEntry,
    Point::SoftirqEntry,
    Point::NetTxComplete,
];

const NET_RX: &[Point] = &[
    Point::NetifRx,
    Point::EvtchnUpcall,
    Point::IrqEntry,
    Point::SoftirqEntry,
    Point::NapiPoll,
    Point::NapiGroReceive,
    Point::NetifReceive,
    Point::SockReady,
    Point::SchedWaking,
    Point::SchedSwitch,
];

const BLKBACK: &[Point] = &[
    Point::Dom0Upcall,
    Point::BlkbackInterrupt,
    Point::BlkbackRun,
    Point::BlkbackConsume,
    Point::BlkbackSubmit,
    Point::Dom0Issue,
    Point::Dom0Irq,
    Point::Dom0Softirq,
    Point::Dom0Complete,
    Point::BlkbackComplete,
    Point::BlkbackResponse,
];

const NET_FORWARD: &[Point] = &[
    Point::NetifRx,
    Point::Dom0Upcall,
    Point::Dom0Irq,
    Point::Dom0Softirq,
    Point::Dom0Poll,
    Point::NetbackConsume,
    Point::Dom0Gro,
    Point::Dom0Receive,
    Point::Dom0Queue,
    Point::Dom0Dequeue,
    Point::Dom0Xmit,
    Point::Dom0XmitDone,
    Point::NetbackDequeue,
    Point::NetbackNotify,
    Point::Dom0TxComplete,
];

const STEAL: &[Point] = &[Point::VcpuOff, Point::VcpuOn];

const PREEMPT: &[Point] = &[Point::BlkbackPreempted, Point::BlkbackResumed];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_all() {
        for (index, point) in Point::ALL.iter().enumerate() {
            assert_eq!(*point as usize, index, "{}", point.name());
        }
    }

    #[test]
    fn every_kind_has_room_in_a_record() {
        for kind in Kind::ALL {
            assert!(kind.points().len() <= crate::record::MAX_POINTS);
            assert_eq!(Kind::from_u8(kind as u8), Some(kind));
        }
    }
}
