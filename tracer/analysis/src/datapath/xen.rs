//! Datapaths of a domain on Xen. Inside the domain they are the native ones, and the event channel
//! that brings each interrupt; a virtual device's backend is one stage, seen from its guest.

use tracer_common::point::{Kind, Point};

use crate::datapath::{
    native::{DISK, NET_RX, NET_TX},
    table::{Backend, Datapath, Probe, probe},
};

pub(super) const UPCALL: &[Probe] = &[
    probe! { Required, "upcall, FIFO channels", EvtchnUpcall;
        "evtchn_upcall_fifo": fentry "evtchn_fifo_handle_events" / 0 [];
    },
    probe! { Optional, "upcall, 2-level channels", EvtchnUpcall;
        "evtchn_upcall_2l": fentry "evtchn_2l_handle_events" / 0 [];
    },
];

const BLKFRONT: &[Probe] = &[
    probe! { Optional, "request for a ring";
        "blkfront_queue": kprobe "blkif_queue_rq" / 1 [HctxQueueNum];
    },
    probe! { Optional, "id on the ring";
        "blkfront_id": kretprobe "get_id_from_freelist" / 0 [];
    },
    probe! { Optional, "backend told", BlkfrontPush;
        "blkfront_notify": fentry "notify_remote_via_irq" / 0 [];
    },
    probe! { Required, "request on the ring", BlkfrontPush;
        "blkfront_pushed": kretprobe "blkif_queue_rq" / 0 [];
    },
];

/// A request's way through both domains: the guest's points up to the ring, the backend's, the guest's
/// from there on.
const ACROSS: [Point; Kind::Disk.points().len() + Kind::Blkback.points().len()] = {
    let (guest, backend) = (Kind::Disk.points(), Kind::Blkback.points());
    let pushed = Kind::Disk.index_of(Point::BlkfrontPush) + 1;
    let mut all = [Point::BlkQueue; Kind::Disk.points().len() + Kind::Blkback.points().len()];
    let mut index = 0;
    while index < all.len() {
        all[index] = if index < pushed {
            guest[index]
        } else if index < pushed + backend.len() {
            backend[index - pushed]
        } else {
            guest[index - backend.len()]
        };
        index += 1;
    }
    all
};

const BLKBACK: &[Probe] = &[
    probe! { Optional, "blkback told of requests", BlkbackInterrupt;
        "blkback_interrupt": kprobe "xen_blkif_be_int" / 2 [RingWaiting];
    },
    probe! { Optional, "blkback's thread runs", BlkbackRun;
        "blkback_run": tracepoint "sched_switch" / 4 [];
    },
    probe! { Required, "request taken from the ring", BlkbackConsume;
        "blkback_consume": kprobe "dispatch_rw_block_io" / 1 [];
        "blkback_consume": kprobe "xen_blkbk_map" / 1 [];
    },
    probe! { Required, "bio of a guest's request", BlkbackSubmit;
        "blkback_submit": tracepoint "block_bio_queue" / 1 [
            BioPrivate BioSize BioOpf BioSector BioBdev BdevStart PendingRing PendingId RingBlkif BlkifDomid
            BlkifHandle BlkifRings RingBytes
        ];
    },
    probe! { Optional, "guest's discard handed on", BlkbackSubmit;
        "blkback_discard": fentry "blkdev_issue_discard" / 3 [
            TaskKthread KthreadData RingBlkif BlkifDomid BlkifHandle BlkifRings RingBytes
        ];
    },
    probe! { Optional, "last bio of a guest's request ends", BlkbackComplete;
        "blkback_unmap": fentry "gnttab_unmap_refs_async" / 1 [UnmapData PendingRing PendingId];
        "blkback_complete": kprobe "end_block_io_op" / 1 [BioPrivate PendingRing PendingId];
    },
    probe! { Required, "response on the ring", BlkbackResponse;
        "blkback_response": kprobe "make_response" / 3 [];
    },
    probe! { Optional, "end of a request whose response was passed over";
        "blkback_unmapped": fexit "gnttab_unmap_refs_async" / 1 [UnmapData UnmapWork PendingRing PendingId];
    },
];

/// A guest's requests to a virtual disk.
pub(super) const DISK_VBD: Datapath = Datapath {
    name: "disk/vbd",
    summary: "a guest's virtual disk: queue, issue, ring, backend (all of Dom0, or one stage without it), upcall, complete, reader wakes",
    kind: Some(Kind::Disk),
    backend: Some(Backend {
        datapath: "disk/vbd-backend",
        points: &ACROSS,
    }),
    probes: &[DISK, BLKFRONT, UPCALL],
};

/// The same requests in the domain of their backend.
pub(super) const DISK_VBD_BACKEND: Datapath = Datapath {
    name: "disk/vbd-backend",
    summary: "guests' virtual disks, in Dom0: upcall, blkback's interrupt and thread, consume, submit, Dom0's block layer, response",
    kind: Some(Kind::Blkback),
    backend: None,
    probes: &[BLKBACK, DISK, UPCALL],
};

/// Requests to a disk behind a controller that is passed through; Dom0's own disks, too.
pub(super) const DISK_PASSTHROUGH: Datapath = Datapath {
    name: "disk/passthrough",
    summary: "a passed-through disk, or Dom0's own: as disk/native, with the event channel upcall if one brings the interrupt",
    kind: Some(Kind::Disk),
    backend: None,
    probes: &[DISK, UPCALL],
};

/// Packets out through a card that is passed through, or Dom0's own.
pub(super) const NET_TX_PASSTHROUGH: Datapath = Datapath {
    name: "net-tx/passthrough",
    summary: "packets sent by a passed-through card: as net-tx/native, with the event channel upcall if one brings the interrupt",
    kind: Some(Kind::NetTx),
    backend: None,
    probes: &[NET_TX, UPCALL],
};

/// Packets in through a card that is passed through, or Dom0's own.
pub(super) const NET_RX_PASSTHROUGH: Datapath = Datapath {
    name: "net-rx/passthrough",
    summary: "packets received by a passed-through card: as net-rx/native, with the event channel upcall if one brings the interrupt",
    kind: Some(Kind::NetRx),
    backend: None,
    probes: &[NET_RX, UPCALL],
};
