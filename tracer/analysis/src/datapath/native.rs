//! Datapaths of a host's own devices, and the lists of probes that datapaths on Xen share with them.

use tracer_common::{
    member::Member,
    point::{Kind, Point},
};

use crate::datapath::table::{
    Attach, Binding, Datapath, Function, Intent, Probe, bind, tracepoint,
};

const IRQ_ENTRY: Probe = tracepoint(
    "interrupt handler starts",
    Some(Point::IrqEntry),
    Intent::Optional,
    true,
    &[bind!(
        "irq_entry",
        "irq_handler_entry" / 2,
        [IrqactionFlags]
    )],
);
const IRQ_EXIT: Probe = tracepoint(
    "interrupt handler ends",
    None,
    Intent::Optional,
    true,
    &[bind!("irq_exit", "irq_handler_exit" / 3, [IrqactionName])],
);
const SOFTIRQ_RAISE: Probe = tracepoint(
    "soft interrupt raised",
    None,
    Intent::Optional,
    true,
    &[bind!("softirq_raise", "softirq_raise" / 1, [])],
);
const SOFTIRQ_ENTRY: Probe = tracepoint(
    "soft interrupt starts",
    Some(Point::SoftirqEntry),
    Intent::Optional,
    true,
    &[bind!("softirq_entry", "softirq_entry" / 1, [])],
);
const SOFTIRQ_EXIT: Probe = tracepoint(
    "soft interrupt ends",
    None,
    Intent::Optional,
    true,
    &[bind!("softirq_exit", "softirq_exit" / 1, [])],
);
const NAPI_SCHEDULE: Probe = tracepoint(
    "driver's poll scheduled",
    None,
    Intent::Optional,
    false,
    &[bind!("napi_schedule", fentry "__napi_schedule" / 1, [])],
);
const NAPI_SCHEDULE_IRQOFF: Probe = tracepoint(
    "driver's poll scheduled, interrupts off",
    None,
    Intent::Optional,
    false,
    &[bind!("napi_schedule_irqoff", fentry "__napi_schedule_irqoff" / 1, [])],
);
const NAPI_POLL: Probe = tracepoint(
    "poll starts",
    Some(Point::NapiPoll),
    Intent::Optional,
    false,
    &[
        bind!("napi_poll", fentry "__napi_poll" / 1, []),
        // Of one caller alone, and compiled for what that passes.
        bind!("napi_poll_kprobe", kprobe "__napi_poll" / 1, []),
    ],
);
const SCHED_WAKING: Probe = tracepoint(
    "waiting task woken",
    Some(Point::SchedWaking),
    Intent::Optional,
    false,
    &[bind!(
        "sched_waking",
        "sched_waking" / 1,
        [TaskPid, TaskOnCpu, TaskOnRq]
    )],
);
const SCHED_SWITCH: Probe = tracepoint(
    "waiting task runs",
    Some(Point::SchedSwitch),
    Intent::Optional,
    false,
    &[bind!("sched_switch", "sched_switch" / 4, [TaskPid])],
);

/// Block requests on a host's own disks.
pub(super) const DISK_NATIVE: Datapath = Datapath {
    name: "disk/native",
    summary: "block requests: queue, getrq, insert, issue, interrupt, complete, reader wakes",
    kind: Some(Kind::Disk),
    backend: None,
    probes: &[DISK],
};

pub(super) const DISK: &[Probe] = &[
    tracepoint(
        "bio queued",
        Some(Point::BlkQueue),
        Intent::Required,
        true,
        &[bind!(
            "blk_queue",
            "block_bio_queue" / 1,
            [BioBdev, BdevDev, BioSize, BioOpf, BioSector]
        )],
    ),
    tracepoint(
        "bio split",
        None,
        Intent::Optional,
        true,
        &[bind!(
            "blk_split",
            "block_split" / 2,
            [BioPrivate, BioSize, BioSector]
        )],
    ),
    tracepoint(
        "request allocated",
        Some(Point::BlkGetrq),
        Intent::Optional,
        false,
        &[bind!("blk_getrq", "block_getrq" / 1, [])],
    ),
    tracepoint(
        "bio merged behind",
        None,
        Intent::Optional,
        true,
        &[bind!("blk_backmerge", "block_bio_backmerge" / 1, [])],
    ),
    tracepoint(
        "bio merged in front",
        None,
        Intent::Optional,
        true,
        &[bind!("blk_frontmerge", "block_bio_frontmerge" / 1, [])],
    ),
    tracepoint(
        "requests merged",
        None,
        Intent::Optional,
        true,
        &[bind!("blk_merge", "block_rq_merge" / 1, [RequestBio])],
    ),
    tracepoint(
        "request inserted",
        Some(Point::BlkInsert),
        Intent::Optional,
        true,
        &[bind!(
            "blk_insert",
            "block_rq_insert" / 1,
            [RequestBio, BioNext]
        )],
    ),
    tracepoint(
        "request given back",
        Some(Point::BlkRequeue),
        Intent::Optional,
        true,
        &[bind!(
            "blk_requeue",
            "block_rq_requeue" / 1,
            [RequestBio, BioNext]
        )],
    ),
    tracepoint(
        "request issued",
        Some(Point::BlkIssue),
        Intent::Required,
        true,
        &[bind!(
            "blk_issue",
            "block_rq_issue" / 1,
            [
                RequestBio,
                RequestDataLen,
                RequestCmdFlags,
                RequestQueue,
                QueueDisk,
                DiskWhole,
                BdevDev,
                BioNext
            ]
        )],
    ),
    tracepoint(
        "request complete",
        Some(Point::BlkComplete),
        Intent::Required,
        true,
        &[bind!(
            "blk_complete",
            "block_rq_complete" / 3,
            [RequestBio, RequestDataLen, RequestQueue, TaskPid, TaskState]
        )],
    ),
    tracepoint(
        "owners told",
        None,
        Intent::Optional,
        false,
        &[
            bind!("blk_done", "block_io_done" / 1, []),
            bind!("blk_done_fentry", fentry "__blk_mq_end_request" / 0, []),
            bind!("blk_done_fentry", fentry "blk_mq_free_request" / 0, []),
        ],
    ),
    tracepoint(
        "bio complete",
        Some(Point::BlkComplete),
        Intent::Optional,
        true,
        &[bind!(
            "blk_bio_complete",
            "block_bio_complete" / 2,
            [BioStatus, TaskPid, TaskState]
        )],
    ),
    IRQ_ENTRY,
    IRQ_EXIT,
    SOFTIRQ_RAISE,
    SOFTIRQ_ENTRY,
    SOFTIRQ_EXIT,
    SCHED_WAKING,
    SCHED_SWITCH,
];

/// Interrupts alone.
pub(super) const IRQ: Datapath = Datapath {
    name: "irq",
    summary: "interrupts: arrivals, handler times, delay to the soft interrupt",
    kind: None,
    backend: None,
    probes: &[INTERRUPTS],
};

pub(super) const INTERRUPTS: &[Probe] = &[
    IRQ_ENTRY,
    IRQ_EXIT,
    SOFTIRQ_RAISE,
    SOFTIRQ_ENTRY,
    SOFTIRQ_EXIT,
];

/// Packets on their way out.
pub(super) const NET_TX_NATIVE: Datapath = Datapath {
    name: "net-tx/native",
    summary: "packets sent: socket call, stack, qdisc, driver, completion",
    kind: Some(Kind::NetTx),
    backend: None,
    probes: &[NET_TX],
};

pub(super) const NET_TX: &[Probe] = &[
    tracepoint(
        "TCP sends",
        Some(Point::SockSend),
        Intent::Optional,
        false,
        &[
            bind!("sock_send_tcp", fentry "tcp_sendmsg" / 0, []),
            bind!("sock_send", "sys_enter" / 2, []),
        ],
    ),
    tracepoint(
        "UDP sends",
        Some(Point::SockSend),
        Intent::Optional,
        false,
        &[
            bind!("sock_send_udp", fentry "udp_sendmsg" / 0, []),
            bind!("sock_send", "sys_enter" / 2, []),
        ],
    ),
    tracepoint(
        "packet queued",
        Some(Point::NetQueue),
        Intent::Required,
        false,
        &[bind!(
            "net_queue",
            "net_dev_queue" / 1,
            [
                SkbData,
                SkbHead,
                SkbNetworkHeader,
                SkbLen,
                SkbProtocol,
                SkbDev,
                SkbEnd,
                SharedGsoSize,
                NetDeviceIfindex
            ]
        )],
    ),
    tracepoint(
        "qdisc hands out",
        Some(Point::QdiscDequeue),
        Intent::Optional,
        false,
        &[bind!("qdisc_dequeue", "qdisc_dequeue" / 4, [])],
    ),
    tracepoint(
        "driver called",
        Some(Point::NetXmit),
        Intent::Required,
        false,
        &[bind!("net_xmit", "net_dev_start_xmit" / 2, [])],
    ),
    tracepoint(
        "driver returned",
        Some(Point::NetXmitDone),
        Intent::Required,
        false,
        &[bind!("net_xmit_done", "net_dev_xmit" / 4, [])],
    ),
    tracepoint(
        "packet handed to a peer",
        None,
        Intent::Optional,
        false,
        &[bind!(
            "netif_rx",
            "netif_rx" / 1,
            [
                SkbData,
                SkbLen,
                SkbProtocol,
                SkbDev,
                SkbHead,
                SkbEnd,
                SharedGsoSize,
                NetDeviceIfindex
            ]
        )],
    ),
    tracepoint(
        "packet freed",
        Some(Point::NetTxComplete),
        Intent::Required,
        false,
        &[
            bind!("net_consumed", "consume_skb" / 2, [SkbProtocol]),
            bind!("net_consumed", "consume_skb" / 1, [SkbProtocol]),
        ],
    ),
    tracepoint(
        "packet dropped",
        None,
        Intent::Optional,
        false,
        &[
            bind!("net_dropped", "kfree_skb" / 4, [SkbProtocol]),
            bind!("net_dropped", "kfree_skb" / 3, [SkbProtocol]),
        ],
    ),
    tracepoint(
        "TCP sends again",
        None,
        Intent::Optional,
        false,
        &[
            bind!(
                "tcp_retransmit_result",
                "tcp_retransmit_skb" / 3,
                [SockPort, SockPeerPort]
            ),
            bind!(
                "tcp_retransmit",
                "tcp_retransmit_skb" / 2,
                [SockPort, SockPeerPort]
            ),
        ],
    ),
    NAPI_SCHEDULE,
    NAPI_SCHEDULE_IRQOFF,
    NAPI_POLL,
    IRQ_ENTRY,
    IRQ_EXIT,
    SOFTIRQ_RAISE,
    SOFTIRQ_ENTRY,
    SOFTIRQ_EXIT,
];

/// Packets on their way in.
pub(super) const NET_RX_NATIVE: Datapath = Datapath {
    name: "net-rx/native",
    summary: "packets received: interrupt, soft interrupt, poll, stack, socket, reader wakes",
    kind: Some(Kind::NetRx),
    backend: None,
    probes: &[NET_RX],
};

pub(super) const NET_RX: &[Probe] = &[
    tracepoint(
        "packet put in a backlog",
        Some(Point::NetifRx),
        Intent::Optional,
        false,
        &[bind!(
            "netif_rx",
            "netif_rx" / 1,
            [
                SkbData,
                SkbLen,
                SkbProtocol,
                SkbDev,
                SkbHead,
                SkbEnd,
                SharedGsoSize,
                NetDeviceIfindex
            ]
        )],
    ),
    NAPI_SCHEDULE,
    NAPI_SCHEDULE_IRQOFF,
    NAPI_POLL,
    tracepoint(
        "packet handed to GRO",
        Some(Point::NapiGroReceive),
        Intent::Optional,
        false,
        &[bind!(
            "napi_gro_receive",
            "napi_gro_receive_entry" / 1,
            [
                SkbData,
                SkbLen,
                SkbProtocol,
                SkbDev,
                SkbHead,
                SkbEnd,
                SharedGsoSize,
                NetDeviceIfindex
            ]
        )],
    ),
    tracepoint(
        "GRO's verdict",
        None,
        Intent::Optional,
        false,
        &[bind!("napi_gro_result", "napi_gro_receive_exit" / 1, [])],
    ),
    tracepoint(
        "packet enters the stack",
        Some(Point::NetifReceive),
        Intent::Required,
        false,
        &[bind!(
            "netif_receive",
            "netif_receive_skb" / 1,
            [
                SkbData,
                SkbLen,
                SkbProtocol,
                SkbDev,
                SkbHead,
                SkbEnd,
                SharedGsoSize,
                NetDeviceIfindex
            ]
        )],
    ),
    tracepoint(
        "TCP takes a segment",
        None,
        Intent::Optional,
        false,
        &[bind!("tcp_segment", "tcp_probe" / 2, [])],
    ),
    tracepoint(
        "data ready",
        Some(Point::SockReady),
        Intent::Required,
        false,
        &[
            bind!(
                "sock_ready",
                "sk_data_ready" / 1,
                [SockProtocol, SockReceiveQueueTail]
            ),
            bind!("sock_ready_fentry", fentry "sock_def_readable" / 1, [SockProtocol, SockReceiveQueueTail]),
        ],
    ),
    tracepoint(
        "packet dropped",
        None,
        Intent::Optional,
        false,
        &[
            bind!("net_dropped", "kfree_skb" / 4, [SkbProtocol]),
            bind!("net_dropped", "kfree_skb" / 3, [SkbProtocol]),
        ],
    ),
    IRQ_ENTRY,
    IRQ_EXIT,
    SOFTIRQ_RAISE,
    SOFTIRQ_ENTRY,
    SOFTIRQ_EXIT,
    SCHED_WAKING,
    SCHED_SWITCH,
];
