//! Members of kernel structs that the programs read. Their offsets differ by kernel: user space
//! looks them up by name in the running kernel's BTF and hands them over before load.

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident = $in:literal . $path:literal,)*) => {
        /// A member; the discriminant is its index in the offset table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Member { $($(#[$doc])* $name,)* }

        impl Member {
            /// Every member, in the order of the discriminants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The struct's name in BTF.
            #[must_use]
            pub const fn structure(self) -> &'static str {
                match self { $(Self::$name => $in,)* }
            }

            /// The member's name, dotted where it is nested. Empty: the struct's size is meant.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }
        }
    };
}

members! {
    /// The first bio of a request.
    RequestBio = "request"."bio",
    /// Bytes of a request.
    RequestDataLen = "request"."__data_len",
    /// First sector of a request.
    RequestSector = "request"."__sector",
    /// Operation and flags of a request.
    RequestCmdFlags = "request"."cmd_flags",
    /// The queue of a request.
    RequestQueue = "request"."q",
    /// The disk of a queue.
    QueueDisk = "request_queue"."disk",
    /// The whole of a disk, as a block device.
    DiskWhole = "gendisk"."part0",
    /// The device of a bio.
    BioBdev = "bio"."bi_bdev",
    /// Operation and flags of a bio.
    BioOpf = "bio"."bi_opf",
    /// First sector of a bio.
    BioSector = "bio"."bi_iter.bi_sector",
    /// Bytes left of a bio.
    BioSize = "bio"."bi_iter.bi_size",
    /// The next bio of a request.
    BioNext = "bio"."bi_next",
    /// What a bio's owner keeps in it.
    BioPrivate = "bio"."bi_private",
    /// The status of a bio.
    BioStatus = "bio"."bi_status",
    /// The `dev_t` of a block device.
    BdevDev = "block_device"."bd_dev",
    /// Where a partition begins on its disk, in sectors; 0 for a whole disk.
    BdevStart = "block_device"."bd_start_sect",
    /// What a kernel thread keeps of itself.
    TaskKthread = "task_struct"."worker_private",
    /// What a kernel thread was started for.
    KthreadData = "kthread"."data",
    /// The thread id of a task.
    TaskPid = "task_struct"."pid",
    /// Whether a task is on a CPU.
    TaskOnCpu = "task_struct"."on_cpu",
    /// Whether a task is on a run queue.
    TaskOnRq = "task_struct"."on_rq",
    /// How long a task has waited for a CPU in its whole life.
    TaskRunDelay = "task_struct"."sched_info.run_delay",
    /// The name of an interrupt handler.
    IrqactionName = "irqaction"."name",
    /// Its `IRQF_*`.
    IrqactionFlags = "irqaction"."flags",
    /// The device of a packet.
    SkbDev = "sk_buff"."dev",
    /// Bytes of a packet.
    SkbLen = "sk_buff"."len",
    /// Start of a packet's buffer.
    SkbHead = "sk_buff"."head",
    /// Start of a packet's data in its buffer.
    SkbData = "sk_buff"."data",
    /// Offset of the network header from the start of the buffer.
    SkbNetworkHeader = "sk_buff"."network_header",
    /// EtherType of a packet.
    SkbProtocol = "sk_buff"."protocol",
    /// End of a packet's linear buffer: `skb_shared_info` starts there.
    SkbEnd = "sk_buff"."end",
    /// Segments of a GSO packet.
    SharedGsoSize = "skb_shared_info"."gso_size",
    /// The interface index of a network device.
    NetDeviceIfindex = "net_device"."ifindex",
    /// The newest packet of a socket's receive queue.
    SockReceiveQueueTail = "sock"."sk_receive_queue.prev",
    /// The IP protocol of a socket.
    SockProtocol = "sock"."sk_protocol",
    /// A socket's own port.
    SockPort = "sock"."__sk_common.skc_num",
    /// The port of a socket's peer, as on the wire.
    SockPeerPort = "sock"."__sk_common.skc_dport",
    /// Whose grants are unmapped.
    UnmapData = "gntab_unmap_queue_data"."data",
    /// Whether unmapping them is put off: the lowest bit tells.
    UnmapWork = "gntab_unmap_queue_data"."gnttab_work.work.data",
    /// The ring of blkback that a request came from.
    PendingRing = "pending_req"."ring",
    /// The id that the guest gave its request.
    PendingId = "pending_req"."id",
    /// The virtual disk of one of blkback's rings.
    RingBlkif = "xen_blkif_ring"."blkif",
    /// Whether one of blkback's rings has had an interrupt since its thread last began to look at it.
    RingWaiting = "xen_blkif_ring"."waiting_reqs",
    /// The guest of a virtual disk.
    BlkifDomid = "xen_blkif"."domid",
    /// The number of a virtual disk in its guest.
    BlkifHandle = "xen_blkif"."vbd.handle",
    /// The rings of a virtual disk, one after the other.
    BlkifRings = "xen_blkif"."rings",
    /// Bytes of one of blkback's rings.
    RingBytes = "xen_blkif_ring"."",
    /// The number of a hardware queue of the block layer.
    HctxQueueNum = "blk_mq_hw_ctx"."queue_num",
    /// A virtual CPU's time in each of its states, as Xen keeps it.
    RunstateTime = "vcpu_runstate_info"."time",
}

impl Member {
    /// The module whose types have the struct; none: the kernel's own.
    #[must_use]
    pub const fn module(self) -> Option<&'static str> {
        match self {
            Self::PendingRing
            | Self::PendingId
            | Self::RingBlkif
            | Self::RingWaiting
            | Self::BlkifDomid
            | Self::BlkifHandle
            | Self::BlkifRings
            | Self::RingBytes => Some("xen_blkback"),
            _ => None,
        }
    }
}

/// Marks a member that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// Entries of the offset table; room for growth.
pub const TABLE_LEN: usize = 64;

const _: () = assert!(Member::ALL.len() <= TABLE_LEN);
