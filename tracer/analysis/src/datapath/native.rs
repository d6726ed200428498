//! Datapaths of a host's own devices, and the lists of probes that datapaths on Xen share with them.

use tracer_common::point::Kind;

use crate::datapath::table::{Datapath, Probe, probe};

const IRQ_ENTRY: Probe = probe! { Optional aggregated, "interrupt handler starts", IrqEntry;
    "irq_entry": tracepoint "irq_handler_entry" / 2 [IrqactionFlags];
};
const IRQ_EXIT: Probe = probe! { Optional aggregated, "interrupt handler ends";
    "irq_exit": tracepoint "irq_handler_exit" / 3 [IrqactionName];
};
const SOFTIRQ_RAISE: Probe = probe! { Optional aggregated, "soft interrupt raised";
    "softirq_raise": tracepoint "softirq_raise" / 1 [];
};
const SOFTIRQ_ENTRY: Probe = probe! { Optional aggregated, "soft interrupt starts", SoftirqEntry;
    "softirq_entry": tracepoint "softirq_entry" / 1 [];
};
const SOFTIRQ_EXIT: Probe = probe! { Optional aggregated, "soft interrupt ends";
    "softirq_exit": tracepoint "softirq_exit" / 1 [];
};
const NAPI_SCHEDULE: Probe = probe! { Optional, "driver's poll scheduled";
    "napi_schedule": fentry "__napi_schedule" / 1 [];
};
const NAPI_SCHEDULE_IRQOFF: Probe = probe! { Optional, "driver's poll scheduled, interrupts off";
    "napi_schedule_irqoff": fentry "__napi_schedule_irqoff" / 1 [];
};
const NAPI_POLL: Probe = probe! { Optional, "poll starts", NapiPoll;
    "napi_poll": fentry "__napi_poll" / 1 [];
    // Of one caller alone, and compiled for what that passes.
    "napi_poll_kprobe": kprobe "__napi_poll" / 1 [];
};
const SCHED_WAKING: Probe = probe! { Optional, "waiting task woken", SchedWaking;
    "sched_waking": tracepoint "sched_waking" / 1 [TaskPid TaskOnCpu TaskOnRq];
};
const SCHED_SWITCH: Probe = probe! { Optional, "waiting task runs", SchedSwitch;
    "sched_switch": tracepoint "sched_switch" / 4 [TaskPid];
};

/// Block requests on a host's own disks.
pub(super) const DISK_NATIVE: Datapath = Datapath {
    name: "disk/native",
    summary: "block requests: queue, getrq, insert, issue, interrupt, complete, reader wakes",
    kind: Some(Kind::Disk),
    backend: None,
    probes: &[DISK],
};

pub(super) const DISK: &[Probe] = &[
    probe! { Required aggregated, "bio queued", BlkQueue;
        "blk_queue": tracepoint "block_bio_queue" / 1 [BioBdev BdevDev BioSize BioOpf BioSector];
    },
    probe! { Optional aggregated, "bio split";
        "blk_split": tracepoint "block_split" / 2 [BioPrivate BioSize BioSector];
    },
    probe! { Optional, "request allocated", BlkGetrq;
        "blk_getrq": tracepoint "block_getrq" / 1 [];
    },
    probe! { Optional aggregated, "bio merged behind";
        "blk_backmerge": tracepoint "block_bio_backmerge" / 1 [];
    },
    probe! { Optional aggregated, "bio merged in front";
        "blk_frontmerge": tracepoint "block_bio_frontmerge" / 1 [];
    },
    probe! { Optional aggregated, "requests merged";
        "blk_merge": tracepoint "block_rq_merge" / 1 [RequestBio];
    },
    probe! { Optional aggregated, "request inserted", BlkInsert;
        "blk_insert": tracepoint "block_rq_insert" / 1 [RequestBio BioNext];
    },
    probe! { Optional aggregated, "request given back", BlkRequeue;
        "blk_requeue": tracepoint "block_rq_requeue" / 1 [RequestBio BioNext];
    },
    probe! { Required aggregated, "request issued", BlkIssue;
        "blk_issue": tracepoint "block_rq_issue" / 1 [
            RequestBio RequestDataLen RequestCmdFlags RequestQueue QueueDisk DiskWhole BdevDev BioNext
        ];
    },
    probe! { Required aggregated, "request complete", BlkComplete;
        "blk_complete": tracepoint "block_rq_complete" / 3 [RequestBio RequestDataLen RequestQueue TaskPid TaskState];
    },
    probe! { Optional, "owners told";
        "blk_done": tracepoint "block_io_done" / 1 [];
        "blk_done_fentry": fentry "__blk_mq_end_request" / 0 [];
        "blk_done_fentry": fentry "blk_mq_free_request" / 0 [];
    },
    probe! { Optional aggregated, "bio complete", BlkComplete;
        "blk_bio_complete": tracepoint "block_bio_complete" / 2 [BioStatus TaskPid TaskState];
    },
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
    probe! { Optional, "TCP sends", SockSend;
        "sock_send_tcp": fentry "tcp_sendmsg" / 0 [];
        "sock_send": tracepoint "sys_enter" / 2 [];
    },
    probe! { Optional, "UDP sends", SockSend;
        "sock_send_udp": fentry "udp_sendmsg" / 0 [];
        "sock_send": tracepoint "sys_enter" / 2 [];
    },
    probe! { Required, "packet queued", NetQueue;
        "net_queue": tracepoint "net_dev_queue" / 1 [
            SkbData SkbHead SkbNetworkHeader SkbLen SkbProtocol SkbDev SkbEnd SharedGsoSize NetDeviceIfindex
        ];
    },
    probe! { Optional, "qdisc hands out", QdiscDequeue;
        "qdisc_dequeue": tracepoint "qdisc_dequeue" / 4 [];
    },
    probe! { Required, "driver called", NetXmit;
        "net_xmit": tracepoint "net_dev_start_xmit" / 2 [];
    },
    probe! { Required, "driver returned", NetXmitDone;
        "net_xmit_done": tracepoint "net_dev_xmit" / 4 [];
    },
    probe! { Optional, "packet handed to a peer";
        "netif_rx": tracepoint "netif_rx" / 1 [
            SkbData SkbLen SkbProtocol SkbDev SkbHead SkbEnd SharedGsoSize NetDeviceIfindex
        ];
    },
    probe! { Required, "packet freed", NetTxComplete;
        "net_consumed": tracepoint "consume_skb" / 2 [SkbProtocol];
        "net_consumed": tracepoint "consume_skb" / 1 [SkbProtocol];
    },
    probe! { Optional, "packet dropped";
        "net_dropped": tracepoint "kfree_skb" / 4 [SkbProtocol];
        "net_dropped": tracepoint "kfree_skb" / 3 [SkbProtocol];
    },
    probe! { Optional, "TCP sends again";
        "tcp_retransmit_result": tracepoint "tcp_retransmit_skb" / 3 [SockPort SockPeerPort];
        "tcp_retransmit": tracepoint "tcp_retransmit_skb" / 2 [SockPort SockPeerPort];
    },
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
    probe! { Optional, "packet put in a backlog", NetifRx;
        "netif_rx": tracepoint "netif_rx" / 1 [
            SkbData SkbLen SkbProtocol SkbDev SkbHead SkbEnd SharedGsoSize NetDeviceIfindex
        ];
    },
    NAPI_SCHEDULE,
    NAPI_SCHEDULE_IRQOFF,
    NAPI_POLL,
    probe! { Optional, "packet handed to GRO", NapiGroReceive;
        "napi_gro_receive": tracepoint "napi_gro_receive_entry" / 1 [
            SkbData SkbLen SkbProtocol SkbDev SkbHead SkbEnd SharedGsoSize NetDeviceIfindex
        ];
    },
    probe! { Optional, "GRO's verdict";
        "napi_gro_result": tracepoint "napi_gro_receive_exit" / 1 [];
    },
    probe! { Required, "packet enters the stack", NetifReceive;
        "netif_receive": tracepoint "netif_receive_skb" / 1 [
            SkbData SkbLen SkbProtocol SkbDev SkbHead SkbEnd SharedGsoSize NetDeviceIfindex
        ];
    },
    probe! { Optional, "TCP takes a segment";
        "tcp_segment": tracepoint "tcp_probe" / 2 [];
    },
    probe! { Required, "data ready", SockReady;
        "sock_ready": tracepoint "sk_data_ready" / 1 [SockProtocol SockReceiveQueueTail];
        "sock_ready_fentry": fentry "sock_def_readable" / 1 [SockProtocol SockReceiveQueueTail];
    },
    probe! { Optional, "packet dropped";
        "net_dropped": tracepoint "kfree_skb" / 4 [SkbProtocol];
        "net_dropped": tracepoint "kfree_skb" / 3 [SkbProtocol];
    },
    IRQ_ENTRY,
    IRQ_EXIT,
    SOFTIRQ_RAISE,
    SOFTIRQ_ENTRY,
    SOFTIRQ_EXIT,
    SCHED_WAKING,
    SCHED_SWITCH,
];
