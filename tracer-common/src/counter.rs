//! Counters of what the kernel side could not do, or did by the way: one `u64` per CPU each.

/// A counter. The discriminant is its index in the per-CPU array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Counter {
    /// Records emitted.
    Emitted,
    /// Records lost: the ring buffer was full.
    RingFull,
    /// Requests not followed: every slot that could hold them was taken.
    SlotsFull,
    /// Requests whose end was never seen before their memory was used again.
    Abandoned,
    /// bios merged behind a request.
    BackMerged,
    /// bios merged in front of a request.
    FrontMerged,
    /// Requests merged into another request.
    RequestsMerged,
    /// Requests that the driver gave back.
    Requeued,
    /// bios split.
    Split,
    /// Packets that GRO joined to another one.
    GroMerged,
    /// Requests that ended before tracing had seen their start.
    NoStart,
    /// TCP segments sent again, by connections with a port that is followed.
    Retransmitted,
    /// Packets dropped on their way.
    Dropped,
    /// Looks at packets that are not followed, because of sampling: a packet is looked at by each hook on its way.
    NotSampled,
    /// Interrupt handlers not counted: the table was full.
    IrqTableFull,
    /// Requests counted in the kernel's histograms (aggregate mode).
    Aggregated,
    /// Packets that entered the stack and did not reach a reader by themselves: TCP joins those that
    /// wait for a busy socket.
    SocketMerged,
    /// Nanoseconds for which virtual CPUs wanted to run and the hypervisor did not let them.
    StolenNs,
    /// Flushes that the block layer has made one with another, which is on record.
    FlushesMerged,
    /// Looks at later fragments of IP packets: they have no ports, and are not followed.
    Fragment,
}

impl Counter {
    /// Every counter, in the order of the discriminants.
    pub const ALL: [Self; 20] = [
        Self::Emitted,
        Self::RingFull,
        Self::SlotsFull,
        Self::Abandoned,
        Self::BackMerged,
        Self::FrontMerged,
        Self::RequestsMerged,
        Self::Requeued,
        Self::Split,
        Self::GroMerged,
        Self::NoStart,
        Self::Retransmitted,
        Self::Dropped,
        Self::NotSampled,
        Self::IrqTableFull,
        Self::Aggregated,
        Self::SocketMerged,
        Self::StolenNs,
        Self::FlushesMerged,
        Self::Fragment,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emitted => "emitted",
            Self::RingFull => "ring_full",
            Self::SlotsFull => "slots_full",
            Self::Abandoned => "abandoned",
            Self::BackMerged => "back_merged",
            Self::FrontMerged => "front_merged",
            Self::RequestsMerged => "requests_merged",
            Self::Requeued => "requeued",
            Self::Split => "split",
            Self::GroMerged => "gro_merged",
            Self::NoStart => "no_start",
            Self::Retransmitted => "retransmitted",
            Self::Dropped => "dropped",
            Self::NotSampled => "not_sampled",
            Self::IrqTableFull => "irq_table_full",
            Self::Aggregated => "aggregated",
            Self::SocketMerged => "socket_merged",
            Self::StolenNs => "stolen_ns",
            Self::FlushesMerged => "flushes_merged",
            Self::Fragment => "fragments",
        }
    }

    /// Whether each count is a span that the run lost.
    #[must_use]
    pub const fn is_loss(self) -> bool {
        matches!(self, Self::RingFull | Self::SlotsFull | Self::Abandoned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_all() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
