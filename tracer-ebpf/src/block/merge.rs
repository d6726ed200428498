//! bios that share a request, and bios that need several.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::{
    counter::Counter,
    point::{Kind, Point},
    record::flag,
};

use crate::core::{
    counters::count,
    cpu::{self},
    kernel::{Object, key_of, key_of_unknown},
    member, slots,
};

const QUEUE: usize = Kind::Disk.index_of(Point::BlkQueue);

/// The part that was split off is a new bio, which goes first; the rest of the old one, which comes back by
/// itself, is what the new one will tell.
#[btf_tracepoint(function = "block_split")]
pub fn blk_split(ctx: BtfTracePointContext) -> i32 {
    let front: Object = ctx.arg(0);
    let rest_sector: u64 = ctx.arg(1);
    // By a helper: of what is read directly, newer verifiers know that it is a pointer.
    let Some(rest) = member::BioPrivate.read_unknown(front as u64) else {
        return 0;
    };
    let Some(cpu) = cpu::this() else { return 0 };
    let Some((rest, _)) = slots::find(key_of_unknown(rest, &mut cpu.key_base)) else {
        return 0;
    };
    count(Counter::Split);
    let bytes = member::BioSize.read(front);
    let (dev, op, tid, from) = (
        rest.record.dev,
        rest.record.op,
        rest.record.tid,
        rest.record.cpu,
    );
    let (queued_at, owner) = (rest.record.at[QUEUE], rest.owner);
    rest.record.flags |= flag::SPLIT;
    rest.record.position = rest_sector;
    rest.record.bytes = rest.record.bytes.saturating_sub(bytes);
    rest.first_bytes = rest.record.bytes;
    let Some((slot, _)) = slots::claim(key_of(front), Kind::Disk) else {
        return 0;
    };
    slot.first_bytes = bytes;
    slot.owner = owner;
    let record = &mut slot.record;
    record.op = op;
    record.dev = dev;
    record.tid = tid;
    record.cpu = from;
    record.position = member::BioSector.read(front);
    record.bytes = bytes;
    record.flags = flag::SPLIT;
    record.at[QUEUE] = queued_at;
    0
}

/// A bio joined to a request ends with that request: its own slot is not needed.
#[inline(always)]
fn merged(bio: Object, counter: Counter) {
    if let Some((slot, _)) = slots::find(key_of(bio)) {
        count(counter);
        slots::free(slot);
    }
}

#[btf_tracepoint(function = "block_bio_backmerge")]
pub fn blk_backmerge(ctx: BtfTracePointContext) -> i32 {
    merged(ctx.arg(0), Counter::BackMerged);
    0
}

/// The bio becomes the request's first one, so it keeps its slot; see [`crate::block::request`].
#[btf_tracepoint(function = "block_bio_frontmerge")]
pub fn blk_frontmerge(ctx: BtfTracePointContext) -> i32 {
    let bio: Object = ctx.arg(0);
    if let Some((slot, _)) = slots::find(key_of(bio)) {
        count(Counter::FrontMerged);
        slot.record.flags |= flag::FRONT_MERGED;
    }
    0
}

#[btf_tracepoint(function = "block_rq_merge")]
pub fn blk_merge(ctx: BtfTracePointContext) -> i32 {
    let request: Object = ctx.arg(0);
    let bio = member::RequestBio.read(request);
    if !bio.is_null() {
        merged(bio, Counter::RequestsMerged);
    }
    0
}
