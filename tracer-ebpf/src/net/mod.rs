//! Packets: those that a domain sends, receives, and passes on.

pub mod forward;
mod hooks;
mod napi;
mod packet;
mod rx;
mod tx;
