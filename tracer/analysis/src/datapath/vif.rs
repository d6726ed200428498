//! Datapaths of guests' virtual cards: the guest's half, Dom0's, and both as one.

use tracer_common::point::{Kind, Point};

use crate::datapath::{
    native::{NET_RX, NET_TX},
    table::{Backend, Datapath, Probe, probe},
    xen::UPCALL,
};

const NETFRONT: &[Probe] = &[probe! { Optional, "packet on the ring", NetfrontNotify;
    "netfront_notify": fentry "notify_remote_via_irq" / 0 [];
}];

const NETBACK: &[Probe] = &[
    probe! { Optional, "packets taken from the ring", NetbackConsume;
        "netback_consume": kprobe "xenvif_tx_action" / 0 [];
    },
    probe! { Optional, "packet to be copied to a guest", NetbackDequeue;
        "netback_dequeued": kretprobe "xenvif_rx_dequeue" / 0 [];
    },
    probe! { Optional, "guest told of packets", NetbackNotify;
        "netback_notify": fentry "notify_remote_via_irq" / 0 [];
    },
];

const TX: &[Point] = Kind::NetTx.points();
const FORWARD: &[Point] = Kind::NetForward.points();
/// Of a packet that came over a ring: no software device of the guest has it first.
const RX: &[Point] = Kind::NetRx.points().split_at(1).1;

/// Three parts of a way, one after the other.
const fn one_way<const N: usize>(parts: [&[Point]; 3]) -> [Point; N] {
    let mut all = [Point::SockSend; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[at] = parts[part][index];
            index += 1;
            at += 1;
        }
        part += 1;
    }
    all
}

/// Up to the ring in the guest, through Dom0, and the answer in the guest.
const TX_ACROSS: [Point; TX.len() + FORWARD.len()] = {
    let (before, after) = TX.split_at(Kind::NetTx.index_of(Point::NetfrontNotify) + 1);
    one_way([before, FORWARD, after])
};

/// Through Dom0, then in the guest from the ring on.
const RX_ACROSS: [Point; RX.len() + FORWARD.len()] = one_way([FORWARD, RX, &[]]);

/// Packets out through a guest's virtual interface.
pub(super) const NET_TX_VIF: Datapath = Datapath {
    name: "net-tx/vif",
    summary: "packets sent by a guest's virtual card: socket call, stack, netfront's ring, Dom0 (netback, bridge, card; or one stage without it), completion",
    kind: Some(Kind::NetTx),
    backend: Some(Backend {
        datapath: "net/vif-backend",
        points: &TX_ACROSS,
    }),
    probes: &[NET_TX, NETFRONT, UPCALL],
};

/// Packets in through a guest's virtual interface.
pub(super) const NET_RX_VIF: Datapath = Datapath {
    name: "net-rx/vif",
    summary: "packets received by a guest's virtual card: Dom0 (card, bridge, netback's thread; not without it), upcall, poll, stack, socket, reader wakes",
    kind: Some(Kind::NetRx),
    backend: Some(Backend {
        datapath: "net/vif-backend",
        points: &RX_ACROSS,
    }),
    probes: &[NET_RX, UPCALL],
};

/// The same packets, both ways, in the domain of their backend.
pub(super) const NET_VIF_BACKEND: Datapath = Datapath {
    name: "net/vif-backend",
    summary: "packets to and from guests, in Dom0: upcall, poll, netback, bridge, qdisc, driver or netback's thread, completion",
    kind: Some(Kind::NetForward),
    backend: None,
    probes: &[NETBACK, NET_RX, NET_TX, UPCALL],
};
