//! (stub)
use crate::cpu::Cpu;
#[inline(always)]
pub fn flush(_cpu: &mut Cpu) {}
