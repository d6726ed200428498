//! Messages of agents, made safe to print.

use anyhow::anyhow;

use crate::agent::protocol::Message;

/// A message. What a guest says ends up on a terminal: its texts must not command it.
pub(super) fn message(payload: &[u8]) -> anyhow::Result<Message> {
    let mut text = payload.to_vec();
    defuse(&mut text);
    serde_json::from_slice(&text).map_err(|error| anyhow!("a message that is not one: {error}"))
}

/// Replaces control characters, all but line ends and tabs, in the strings of a JSON text: there they
/// are escapes, or the two bytes of a C1 control in UTF-8.
fn defuse(text: &mut [u8]) {
    let mut at = 0;
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            (b'\\', b'u') => {
                if let Some(digits) = text.get_mut(at + 2..at + 6)
                    && let Ok(Ok(code)) =
                        std::str::from_utf8(digits).map(|d| u32::from_str_radix(d, 16))
                    && char::from_u32(code)
                        .is_some_and(|c| c.is_control() && c != '\n' && c != '\t')
                {
                    digits.copy_from_slice(b"fffd");
                }
                at += 2;
            }
            (b'\\', b'b' | b'f' | b'r') => {
                text[at + 1] = b't';
                at += 2;
            }
            (b'\\', _) => at += 2,
            (0xc2, 0x80..=0x9f) => {
                // A pilcrow.
                text[at + 1] = 0xb6;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_s_words_do_not_command_a_terminal() {
        let text = "{\"Failed\":\"\\u001b[2J \\\\u001b \u{9b}\\u009b\\r.\"}";
        match message(text.as_bytes()).unwrap() {
            Message::Failed(text) => {
                assert_eq!(text, "\u{fffd}[2J \\u001b \u{b6}\u{fffd}\t.");
            }
            other => panic!("{other:?}"),
        }
    }
}
