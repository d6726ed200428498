//! Trace points: the named moments of a request's way, and the kinds of record that hold them.

/// What is known of each point, once: `/// What it is`, `NAME = "NAME IN REPORTS"`.
macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A named moment on a datapath. The discriminant is stable within one build only; recordings
        /// carry the names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        impl Point {
            /// Every point, in the order of the discriminants.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// The name in scenarios, reports and recordings.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

points! {
    /// The bio enters the block layer (blktrace's Q).
    BlkQueue = "blk.queue",
    /// A request was allocated for the bio, after merging and splitting (G).
    BlkGetrq = "blk.getrq",
    /// The request enters the I/O scheduler (I).
    BlkInsert = "blk.insert",
    /// The driver gave the request back; the last time it did.
    BlkRequeue = "blk.requeue",
    /// The request goes to the driver (D); the last time it did.
    BlkIssue = "blk.issue",
    /// blkfront has put the request on its ring; its backend may have been told.
    BlkfrontPush = "blkfront.push",
    /// In the backend's domain: the event channel upcall that brings the interrupt starts.
    Dom0Upcall = "dom0.upcall",
    /// blkback's interrupt handler starts: its guest has told it of requests on the ring.
    BlkbackInterrupt = "blkback.interrupt",
    /// blkback's thread gets a CPU to look at the ring.
    BlkbackRun = "blkback.run",
    /// blkback has taken the request from the ring and begins to map the guest's pages.
    BlkbackConsume = "blkback.consume",
    /// blkback hands the request's first bio to Dom0's block layer.
    BlkbackSubmit = "blkback.submit",
    /// Dom0's block layer gives the last of the request's own requests to the device's driver.
    Dom0Issue = "dom0.issue",
    /// In Dom0: the hard interrupt handler starts: of the device that answers, or that brings a packet.
    Dom0Irq = "dom0.irq.entry",
    /// In Dom0: the soft interrupt that completes the request, or polls for the packet, starts.
    Dom0Softirq = "dom0.softirq.entry",
    /// In Dom0's block layer: it is complete.
    Dom0Complete = "dom0.complete",
    /// Dom0's block layer tells blkback that the request's last bio has ended.
    BlkbackComplete = "blkback.complete",
    /// blkback puts the response on the ring.
    BlkbackResponse = "blkback.response",
    /// Xen's event channel upcall that brings the interrupt starts.
    EvtchnUpcall = "evtchn.upcall",
    /// The hard interrupt handler that answers the request starts.
    IrqEntry = "irq.entry",
    /// The soft interrupt (BLOCK, NET_RX or NET_TX) starts.
    SoftirqEntry = "softirq.entry",
    /// The request is complete (C). For a bio-based device: the bio is.
    BlkComplete = "blk.complete",
    /// The task that waits is woken.
    SchedWaking = "sched.waking",
    /// The task that waits runs.
    SchedSwitch = "sched.switch",
    /// The sending task calls into the socket.
    SockSend = "sock.send",
    /// The packet reaches the device queue layer (`__dev_queue_xmit`).
    NetQueue = "net.queue",
    /// The queueing discipline hands the packet out again.
    QdiscDequeue = "qdisc.dequeue",
    /// The driver's transmit function is called.
    NetXmit = "net.xmit",
    /// netfront has put the packet on its ring and tells its backend.
    NetfrontNotify = "netfront.notify",
    /// The driver's transmit function has returned.
    NetXmitDone = "net.xmit_done",
    /// netback's thread takes the packet from its queue, to copy it to the guest.
    NetbackDequeue = "netback.dequeue",
    /// netback tells the guest of packets that it has copied, this one among them.
    NetbackNotify = "netback.notify",
    /// The driver freed the packet: the device has sent it.
    NetTxComplete = "net.tx_complete",
    /// The packet is put in a CPU's backlog (software devices: veth, loopback).
    NetifRx = "netif.rx",
    /// The driver's poll function starts.
    NapiPoll = "napi.poll",
    /// netback begins to take the guest's packets from the ring.
    NetbackConsume = "netback.consume",
    /// The driver hands the packet to GRO.
    NapiGroReceive = "napi.gro_receive",
    /// The packet enters the protocol stack.
    NetifReceive = "netif.receive",
    /// The data is in the socket and its reader is told.
    SockReady = "sock.ready",
    /// The hypervisor takes the physical CPU from a virtual one that wants to run, or does not give it one.
    VcpuOff = "vcpu.off",
    /// The virtual CPU runs again.
    VcpuOn = "vcpu.on",
    /// In Dom0: blkback's thread loses its CPU to another task, and has not done yet.
    BlkbackPreempted = "blkback.preempted",
    /// blkback's thread goes on.
    BlkbackResumed = "blkback.resumed",
    /// In Dom0: the driver's poll function starts, the card's or netback's.
    Dom0Poll = "dom0.poll",
    /// In Dom0: the card's driver hands the packet to GRO.
    Dom0Gro = "dom0.gro_receive",
    /// In Dom0: the packet enters the protocol stack, and by that the bridge.
    Dom0Receive = "dom0.receive",
    /// In Dom0: the bridge has chosen where the packet goes, and queues it on that device.
    Dom0Queue = "dom0.queue",
    /// In Dom0: that device's queueing discipline hands the packet out.
    Dom0Dequeue = "dom0.dequeue",
    /// In Dom0: the transmit function of that device is called, the card's or netback's.
    Dom0Xmit = "dom0.xmit",
    /// In Dom0: the transmit function has returned.
    Dom0XmitDone = "dom0.xmit_done",
    /// In Dom0: the packet's memory is given back: the card has sent it, or netback has copied it.
    Dom0TxComplete = "dom0.tx_complete",
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
    fn every_kind_has_room_in_a_record() {
        for kind in Kind::ALL {
            assert!(kind.points().len() <= crate::record::MAX_POINTS);
            assert_eq!(Kind::from_u8(kind as u8), Some(kind));
        }
    }
}
