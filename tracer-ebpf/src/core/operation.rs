//! What a block request does.

/// Operations (`enum req_op` in include/linux/blk_types.h).
pub mod op {
    pub const MASK: u32 = 0xff;
    pub const WRITE: u8 = 1;
    pub const FLUSH: u8 = 2;
    pub const DISCARD: u8 = 3;
}

/// What a bio of these flags and bytes does: a write of nothing is one that flushes.
#[inline(always)]
pub const fn operation(opf: u32, bytes: u32) -> u8 {
    match (opf & op::MASK) as u8 {
        op::WRITE if bytes == 0 => op::FLUSH,
        op => op,
    }
}
