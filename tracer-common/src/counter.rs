//! Counters of what the kernel side could not do, or did by the way: one `u64` per CPU each.

/// What is known of each counter, once: `/// What it is`, `NAME = "NAME IN REPORTS"`.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A counter. The discriminant is its index in the per-CPU array.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $name,)*
        }

        impl Counter {
            /// Every counter, in the order of the discriminants.
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

counters! {
    /// Records emitted.
    Emitted = "emitted",
    /// Records lost: the ring buffer was full.
    RingFull = "ring_full",
    /// Requests not followed: every slot that could hold them was taken.
    SlotsFull = "slots_full",
    /// Requests whose end was never seen before their memory was used again.
    Abandoned = "abandoned",
    /// bios merged behind a request.
    BackMerged = "back_merged",
    /// bios merged in front of a request.
    FrontMerged = "front_merged",
    /// Requests merged into another request.
    RequestsMerged = "requests_merged",
    /// Requests that the driver gave back.
    Requeued = "requeued",
    /// bios split.
    Split = "split",
    /// Packets that GRO joined to another one.
    GroMerged = "gro_merged",
    /// Requests that ended before tracing had seen their start.
    NoStart = "no_start",
    /// TCP segments sent again, by connections with a port that is followed.
    Retransmitted = "retransmitted",
    /// Packets dropped on their way.
    Dropped = "dropped",
    /// Looks at packets that are not followed, because of sampling: a packet is looked at by each hook on its way.
    NotSampled = "not_sampled",
    /// Interrupt handlers not counted: the table was full.
    IrqTableFull = "irq_table_full",
    /// Requests counted in the kernel's histograms (aggregate mode).
    Aggregated = "aggregated",
    /// Packets that entered the stack and did not reach a reader by themselves: TCP joins those that
    /// wait for a busy socket.
    SocketMerged = "socket_merged",
    /// Nanoseconds for which virtual CPUs wanted to run and the hypervisor did not let them.
    StolenNs = "stolen_ns",
    /// Flushes that the block layer has made one with another, which is on record.
    FlushesMerged = "flushes_merged",
    /// Looks at later fragments of IP packets: they have no ports, and are not followed.
    Fragment = "fragments",
}

impl Counter {
    /// Whether each count is a span that the run lost.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::RingFull | Self::SlotsFull | Self::Abandoned)
    }
}
