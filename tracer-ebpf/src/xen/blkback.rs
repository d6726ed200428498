//! xen-blkback: a guest's request from its backend's interrupt to the response on the ring.
//!
//! blkback's own request, its `pending_req`, is what its bios have for `bi_private`; with its ring and
//! the guest's id for it, it is known from the first bio to the response. What Dom0's block layer did
//! with the last bio is taken from that layer's own slot, which is ending just then.
//!
//! blkback is a module, where only kprobes reach, and the kernel passes over a kprobe inside another one's run:
//! with several rings on a CPU, one ring's disk interrupts the probes of another's thread. So neither end of a
//! request hangs on a kprobe alone: its first bio begins a record without `blkback.consume`, and the unmapping of its
//! pages, a function of the kernel itself around the response, ends one without `blkback.response`.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit, kprobe},
    programs::{BtfTracePointContext, FEntryContext, FExitContext, ProbeContext},
};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::ring_id,
};

use crate::{
    core::{
        counters::count,
        cpu, emit,
        kernel::{Object, now},
        member,
        operation::{op, operation},
        preempt,
        slots::{self, Slot, state},
    },
    xen::{discard, ring},
};

const COMPLETE: usize = Kind::Blkback.index_of(Point::BlkbackComplete);
const RESPONSE: usize = Kind::Blkback.index_of(Point::BlkbackResponse);

/// Of `work_struct.data` (include/linux/workqueue.h).
const WORK_STRUCT_PENDING: u64 = 1;

/// A request's key among the slots. Ids are small numbers; a guest may send others, which
/// [`request`] tells apart.
#[inline(always)]
const fn key(ring: u64, id: u64) -> u64 {
    ring ^ id.rotate_left(48)
}

/// The slot of a request in flight.
#[inline(always)]
fn request(ring: u64, id: u64) -> Option<&'static mut Slot> {
    let (slot, _) = slots::find(key(ring, id))?;
    let same = slot.record.kind == Kind::Blkback as u8
        && slot.record.key << 16 == id << 16
        && slot.owner == ring;
    same.then_some(slot)
}

/// `xen_blkif_be_int(irq, ring)`.
#[kprobe]
pub fn blkback_interrupt(ctx: ProbeContext) -> u32 {
    let (Some(irq), Some(address)) = (ctx.arg::<i32>(0), ctx.arg::<u64>(1)) else {
        return 0;
    };
    let Some(cpu) = cpu::this() else { return 0 };
    // With the last one its thread has looked already, and found the ring empty: the request that it was for had been
    // taken before.
    let is_spent = member::RingWaiting.read_unknown(address) == Some(0);
    if let Some(ring) = ring::or_new(address)
        && (ring.interrupt_at == 0 || is_spent)
    {
        ring.interrupt_at = now();
        ring.upcall_at = cpu.upcall_at;
        ring.irq = irq as u32;
    }
    0
}

/// When each CPU went to another task: blkback's thread asks for the last time.
#[btf_tracepoint(function = "sched_switch")]
pub fn blkback_run(_ctx: BtfTracePointContext) -> i32 {
    if let Some(cpu) = cpu::this() {
        cpu.switched_at = now();
    }
    0
}

/// `dispatch_rw_block_io(ring, ..)`, or where it is inlined `xen_blkbk_map(ring, ..)`, which it calls
/// first: once for the data, and before that for the list of an indirect request.
#[kprobe]
pub fn blkback_consume(ctx: ProbeContext) -> u32 {
    let Some(address) = ctx.arg::<u64>(0) else {
        return 0;
    };
    let Some(cpu) = cpu::this() else { return 0 };
    if let Some(ring) = ring::or_new(address)
        && ring.consume_at == 0
    {
        ring.consume_at = now();
        ring.run_at = cpu.switched_at;
        preempt::begin();
    }
    0
}

/// A bio enters Dom0's block layer: the first one of a request of blkback's begins its record.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn blkback_submit(ctx: BtfTracePointContext) -> i32 {
    let bio: Object = ctx.arg(0);
    let pending = member::BioPrivate.read(bio) as u64;
    let Some(address) = member::PendingRing.read_unknown(pending) else {
        return 0;
    };
    let Some(ring) = ring::of(address) else {
        return 0;
    };
    let Some(id) = member::PendingId.read_unknown(pending) else {
        return 0;
    };
    let bytes = member::BioSize.read(bio);
    if ring.consume_at == 0
        && let Some(slot) = request(address, id)
    {
        // A large request is several bios; so is one that must flush first.
        slot.record.bytes += bytes;
        return 0;
    }
    // A slot of this ring and id can only be that of a request whose response was not seen: the kernel runs
    // no program where one is running already.
    let Some((slot, _)) = slots::claim(key(address, id), Kind::Blkback) else {
        return 0;
    };
    slot.owner = address;
    let opf = member::BioOpf.read(bio);
    let record = &mut slot.record;
    record.op = operation(opf, bytes);
    let (disk, ring_number) = ring::disk(address);
    record.dev = disk;
    record.key = ring_id::pack(ring_number, id);
    record.position = match record.op {
        op::FLUSH => 0,
        _ => guests_sector(bio),
    };
    record.bytes = bytes;
    record.tid = cpu::thread();
    record.cpu = cpu::number();
    ring::begin(slot, ring);
    0
}

/// The first sector of a bio as the guest counts them. A bio for a partition has been moved to where that
/// begins on its disk.
#[inline(always)]
fn guests_sector(bio: Object) -> u64 {
    let bdev = member::BioBdev.read(bio);
    let sector = member::BioSector.read(bio);
    let start = member::BdevStart.read(bdev);
    sector.wrapping_sub(start)
}

/// `gnttab_unmap_refs_async(data)`: Dom0's block layer has done the last of a request's bios, and blkback gives up
/// its pages and then answers it.
#[fentry(function = "gnttab_unmap_refs_async")]
pub fn blkback_unmap(ctx: FEntryContext) -> i32 {
    complete(unmapped(ctx.arg(0)));
    0
}

/// The end of the same. The request's record has gone with the response, unless the kernel passed over
/// [`blkback_response`].
#[fexit(function = "gnttab_unmap_refs_async")]
pub fn blkback_unmapped(ctx: FExitContext) -> i32 {
    let data: Object = ctx.arg(0);
    // Somebody below still has one of the pages, as a network card may have: the kernel tries again later, and blkback
    // answers then.
    if member::UnmapWork.read(data) & WORK_STRUCT_PENDING != 0 {
        return 0;
    }
    // What the memory was may serve another request by now: that is not complete.
    if let Some(slot) = of_pending(unmapped(data))
        && slot.record.at[COMPLETE] != 0
    {
        emit::blkback(slot);
    }
    0
}

/// Whose grants are unmapped: a `pending_req`, or something of others that unmap in this way.
#[inline(always)]
fn unmapped(data: Object) -> u64 {
    member::UnmapData.read(data) as u64
}

/// `end_block_io_op(bio)`: Dom0's block layer has done one of a request's bios; the last one counts.
#[kprobe]
pub fn blkback_complete(ctx: ProbeContext) -> u32 {
    if let Some(bio) = ctx.arg::<u64>(0)
        && let Some(pending) = member::BioPrivate.read_unknown(bio)
    {
        complete(pending);
    }
    0
}

/// The slot of a `pending_req`.
#[inline(always)]
fn of_pending(pending: u64) -> Option<&'static mut Slot> {
    let address = member::PendingRing.read_unknown(pending)?;
    let id = member::PendingId.read_unknown(pending)?;
    request(address, id)
}

#[inline(always)]
fn complete(pending: u64) {
    let Some(cpu) = cpu::this() else { return };
    let ending = *cpu.ending();
    let Some(slot) = of_pending(pending) else {
        return;
    };
    slot.record.at[COMPLETE] = now();
    if let Some(dom0) = slots::of(ending)
        && dom0.state == state::ENDING
        && dom0.record.kind == Kind::Disk as u8
    {
        ring::take_dom0(slot, &dom0.record);
    }
}

/// `make_response(ring, id, op, ..)`: the end of a request in this domain.
#[kprobe]
pub fn blkback_response(ctx: ProbeContext) -> u32 {
    let (Some(address), Some(id)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else {
        return 0;
    };
    let slot = match ctx.arg::<u16>(2) {
        Some(discard::BLKIF_OP_DISCARD) => discard::answered(address, id),
        _ => request(address, id),
    };
    if let Some(slot) = slot {
        slot.record.at[RESPONSE] = now();
        emit::blkback(slot);
    } else {
        // In flight when tracing began; or refused, before there was a bio.
        count(Counter::NoStart);
        if let Some(ring) = ring::of(address) {
            ring.consume_at = 0;
        }
    }
    0
}
