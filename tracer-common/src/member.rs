//! Members of kernel structs that the programs read. Their offsets and widths differ by kernel: user space looks them up
//! by name in the running kernel's BTF and hands them over before load.

use core::marker::PhantomData;

/// Hands every row to the macro `$rows`: `NAME: HELD AS = "STRUCT"."PATH"`. The programs make a static of each row, from
/// which alone the member can be read, and only as what the row says; user space makes [`Member`] of them.
#[macro_export]
macro_rules! with_members {
    ($rows:ident) => {
        $rows! {
            /// The first bio of a request.
            RequestBio: Pointer = "request"."bio",
            /// Bytes of a request.
            RequestDataLen: Number<u32> = "request"."__data_len",
            /// Operation and flags of a request.
            RequestCmdFlags: Number<u32> = "request"."cmd_flags",
            /// The queue of a request.
            RequestQueue: Pointer = "request"."q",
            /// The disk of a queue.
            QueueDisk: Pointer = "request_queue"."disk",
            /// The whole of a disk, as a block device.
            DiskWhole: Pointer = "gendisk"."part0",
            /// The device of a bio.
            BioBdev: Pointer = "bio"."bi_bdev",
            /// Operation and flags of a bio.
            BioOpf: Number<u32> = "bio"."bi_opf",
            /// First sector of a bio.
            BioSector: Number<u64> = "bio"."bi_iter.bi_sector",
            /// Bytes left of a bio.
            BioSize: Number<u32> = "bio"."bi_iter.bi_size",
            /// The next bio of a request.
            BioNext: Pointer = "bio"."bi_next",
            /// What a bio's owner keeps in it.
            BioPrivate: Pointer = "bio"."bi_private",
            /// The status of a bio.
            BioStatus: Number<u8> = "bio"."bi_status",
            /// The `dev_t` of a block device.
            BdevDev: Number<u32> = "block_device"."bd_dev",
            /// Where a partition begins on its disk, in sectors; 0 for a whole disk.
            BdevStart: Number<u64> = "block_device"."bd_start_sect",
            /// What a kernel thread keeps of itself.
            TaskKthread: Pointer = "task_struct"."worker_private",
            /// What a kernel thread was started for.
            KthreadData: Pointer = "kthread"."data",
            /// The thread id of a task.
            TaskPid: Number<u32> = "task_struct"."pid",
            /// Whether a task is on a CPU.
            TaskOnCpu: Number<u32> = "task_struct"."on_cpu",
            /// Whether a task is on a run queue.
            TaskOnRq: Number<u32> = "task_struct"."on_rq",
            /// How a task sleeps; 0: it does not.
            TaskState: Number<u32> = "task_struct"."__state",
            /// How long a task has waited for a CPU in its whole life.
            TaskRunDelay: Optional<Number<u64>> = "task_struct"."sched_info.run_delay",
            /// The name of an interrupt handler.
            IrqactionName: Pointer = "irqaction"."name",
            /// Its `IRQF_*`.
            IrqactionFlags: Number<u32> = "irqaction"."flags",
            /// The device of a packet.
            SkbDev: Pointer = "sk_buff"."dev",
            /// Bytes of a packet.
            SkbLen: Number<u32> = "sk_buff"."len",
            /// Start of a packet's buffer.
            SkbHead: Pointer = "sk_buff"."head",
            /// Start of a packet's data in its buffer.
            SkbData: Pointer = "sk_buff"."data",
            /// Offset of the network header from the start of the buffer.
            SkbNetworkHeader: Number<u16> = "sk_buff"."network_header",
            /// EtherType of a packet.
            SkbProtocol: Number<u16> = "sk_buff"."protocol",
            /// End of a packet's linear buffer: `skb_shared_info` starts there.
            SkbEnd: Number<u32> = "sk_buff"."end",
            /// Segments of a GSO packet.
            SharedGsoSize: Number<u16> = "skb_shared_info"."gso_size",
            /// The interface index of a network device.
            NetDeviceIfindex: Number<u32> = "net_device"."ifindex",
            /// The newest packet of a socket's receive queue.
            SockReceiveQueueTail: Pointer = "sock"."sk_receive_queue.prev",
            /// The IP protocol of a socket.
            SockProtocol: Number<u16> = "sock"."sk_protocol",
            /// A socket's own port.
            SockPort: Number<u16> = "sock"."__sk_common.skc_num",
            /// The port of a socket's peer, as on the wire.
            SockPeerPort: Number<u16> = "sock"."__sk_common.skc_dport",
            /// Whose grants are unmapped.
            UnmapData: Pointer = "gntab_unmap_queue_data"."data",
            /// Whether unmapping them is put off: the lowest bit tells.
            UnmapWork: Number<u64> = "gntab_unmap_queue_data"."gnttab_work.work.data.counter",
            /// The ring of blkback that a request came from.
            PendingRing: Pointer = "pending_req"."ring",
            /// The id that the guest gave its request.
            PendingId: Number<u64> = "pending_req"."id",
            /// The virtual disk of one of blkback's rings.
            RingBlkif: Pointer = "xen_blkif_ring"."blkif",
            /// Whether one of blkback's rings has had an interrupt since its thread last began to look at it.
            RingWaiting: Number<u32> = "xen_blkif_ring"."waiting_reqs",
            /// The guest of a virtual disk.
            BlkifDomid: Number<u16> = "xen_blkif"."domid",
            /// The number of a virtual disk in its guest.
            BlkifHandle: Number<u16> = "xen_blkif"."vbd.handle",
            /// The rings of a virtual disk, one after the other.
            BlkifRings: Pointer = "xen_blkif"."rings",
            /// Bytes of one of blkback's rings.
            RingBytes: StructSize = "xen_blkif_ring"."",
            /// The number of a hardware queue of the block layer.
            HctxQueueNum: Number<u32> = "blk_mq_hw_ctx"."queue_num",
            /// A virtual CPU's time in each of its states, as Xen keeps it.
            RunstateTime: Optional<Whole<[u64; 4]>> = "vcpu_runstate_info"."time",
        }
    };
}

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident: $held:ty = $in:literal . $path:literal,)*) => {
        /// A member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Member { $($(#[$doc])* $name,)* }

        impl Member {
            /// Every member.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name: also that of the programs' static.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The struct's name in BTF.
            #[must_use]
            pub const fn structure(self) -> &'static str {
                match self { $(Self::$name => $in,)* }
            }

            /// The member's name, dotted where it is nested. Empty: the struct itself is meant.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)* }
            }

            /// What the programs hold it as.
            #[must_use]
            pub const fn holds(self) -> Holds {
                match self { $(Self::$name => <$held as Held>::HOLDS,)* }
            }

            /// Whether the programs that read it do without it on a kernel that does not have it.
            #[must_use]
            pub const fn is_optional(self) -> bool {
                match self { $(Self::$name => <$held as Held>::IS_OPTIONAL,)* }
            }
        }
    };
}

with_members!(members);

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

/// What the programs hold a member as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A pointer of 8 bytes.
    Pointer,
    /// A number that has at most so many bytes in the kernel.
    Number {
        /// 1, 2, 4 or 8.
        bytes: u32,
    },
    /// Memory of exactly so many bytes, whatever is in it.
    Whole {
        /// All of it.
        bytes: u32,
    },
    /// Not what is in the struct, but its size.
    StructSize,
}

/// What stands in a row behind the name.
trait Held {
    const HOLDS: Holds;
    const IS_OPTIONAL: bool = false;
}

struct Pointer;
struct Number<T>(PhantomData<T>);
struct Whole<T>(PhantomData<T>);
struct StructSize;
struct Optional<H>(PhantomData<H>);

#[expect(clippy::cast_possible_truncation, reason = "members are small")]
const fn bytes_of<T>() -> u32 {
    size_of::<T>() as u32
}

impl Held for Pointer {
    const HOLDS: Holds = Holds::Pointer;
}

impl<T> Held for Number<T> {
    const HOLDS: Holds = Holds::Number {
        bytes: bytes_of::<T>(),
    };
}

impl<T> Held for Whole<T> {
    const HOLDS: Holds = Holds::Whole {
        bytes: bytes_of::<T>(),
    };
}

impl Held for StructSize {
    const HOLDS: Holds = Holds::StructSize;
}

impl<H: Held> Held for Optional<H> {
    const HOLDS: Holds = H::HOLDS;
    const IS_OPTIONAL: bool = true;
}

/// Where a member is in the running kernel's struct, and how its number lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// Its first byte; of [`Holds::StructSize`] the size. In bytes.
    pub offset: u32,
    /// One of [`form`]; 0 where the programs know it by what they hold the member as.
    pub form: u32,
}

impl Layout {
    /// Of a member that this kernel does not have.
    pub const MISSING: Self = Self {
        offset: u32::MAX,
        form: 0,
    };

    /// The same as it lies in the programs' memory.
    #[must_use]
    pub const fn words(self) -> [u32; 2] {
        [self.offset, self.form]
    }
}

/// How a number lies in the kernel that is narrower than what the programs hold it in.
pub mod form {
    /// An unsigned byte.
    pub const U8: u32 = 1;
    /// Two bytes, unsigned.
    pub const U16: u32 = 2;
    /// Four bytes, unsigned.
    pub const U32: u32 = 4;
    /// A signed byte.
    pub const I8: u32 = SIGNED | U8;
    /// Two bytes, signed.
    pub const I16: u32 = SIGNED | U16;
    /// Four bytes, signed.
    pub const I32: u32 = SIGNED | U32;
    /// Added to the number of bytes of a signed one.
    pub const SIGNED: u32 = 0x100;
}
