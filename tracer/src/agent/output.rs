//! The sending end of a stream.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;

use crate::agent::{
    frame::{FrameType, header},
    protocol::Message,
};

/// The sending end, shared by the commands' thread and the collecting thread.
pub(super) type Output<W> = Arc<Mutex<W>>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it wrote leaves at worst a cut frame, which the reader notices.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn send<W: Write>(
    output: &Output<W>,
    frame_type: FrameType,
    payload: &[u8],
) -> anyhow::Result<()> {
    let mut output = lock(output);
    output.write_all(&header(frame_type, payload.len())?)?;
    output.write_all(payload)?;
    output.flush().context("the loader is gone")
}

pub(super) fn say<W: Write>(output: &Output<W>, message: &Message) -> anyhow::Result<()> {
    send(output, FrameType::Message, &serde_json::to_vec(message)?)
}
