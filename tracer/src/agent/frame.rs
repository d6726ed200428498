//! Frames: a little-endian length, a type, a payload. A guest's agent is not trusted: a length is
//! bounded before anything is allocated for it.

use bytes::{Buf as _, Bytes, BytesMut};

/// Largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 4 << 20;
/// Bytes before the payload.
const HEADER: usize = 5;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// A JSON message of [`super::protocol`].
    Message = 1,
    /// Records, one after the other ([`tracer_common::record`]).
    Records = 2,
    /// Nothing, said so that the agent knows that the loader is there.
    Heartbeat = 3,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub frame_type: FrameType,
    /// The payload.
    pub payload: Bytes,
}

/// Why bytes are not frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is over the bound.
    #[error(
        "a frame of {0} bytes; at most {MAX_PAYLOAD} are allowed: the other side does not speak this protocol"
    )]
    TooLong(usize),
    /// The type is not known.
    #[error("a frame of the unknown type {0}: the other side does not speak this protocol")]
    UnknownType(u8),
}

/// The bytes before a payload of this type and length.
///
/// # Errors
/// If the payload is too long.
pub fn header(frame_type: FrameType, length: usize) -> Result<[u8; HEADER], FrameError> {
    let length = u32::try_from(length)
        .ok()
        .filter(|length| *length as usize <= MAX_PAYLOAD)
        .ok_or(FrameError::TooLong(length))?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([a, b, c, d, frame_type as u8])
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// The buffer to read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// If the stream is not of this protocol; then nothing more can be read from it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.buffer.get(..HEADER) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let frame_type = match header[4] {
            1 => FrameType::Message,
            2 => FrameType::Records,
            3 => FrameType::Heartbeat,
            other => return Err(FrameError::UnknownType(other)),
        };
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Frame {
            frame_type,
            payload: self.buffer.split_to(length).freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1usize..64,
        ) {
            let mut wire = Vec::new();
            for payload in &payloads {
                wire.extend(header(FrameType::Records, payload.len()).unwrap());
                wire.extend(payload);
            }
            let mut decoder = Decoder::default();
            let mut decoded = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.buffer().extend_from_slice(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    decoded.push(frame.payload.to_vec());
                }
            }
            prop_assert_eq!(decoded, payloads);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(frame)) = decoder.next_frame() {
                prop_assert!(frame.payload.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_payload_comes() {
        let mut decoder = Decoder::default();
        decoder
            .buffer()
            .extend_from_slice(&[0xff, 0xff, 0xff, 0x7f, 1]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(0x7fff_ffff)));
    }
}
