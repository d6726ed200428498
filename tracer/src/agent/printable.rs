//! Messages of agents, made safe to print and to keep. What a guest says ends up on a terminal and in a
//! report: its texts must not command the one, nor look like lines of the other, nor fill either.

use anyhow::anyhow;

use crate::agent::protocol::{Answer, Message};

/// Of an agent's error no more bytes are shown.
const LONGEST_ERROR: usize = 8 << 10;

/// A message. Errors keep their lines, cut to a length that can be read, and so does what a load's program
/// printed; what else an agent says are names, which have none.
pub(super) fn message(payload: &[u8]) -> anyhow::Result<Message> {
    let wrong = |error: serde_json::Error| {
        let error = line(error.to_string().as_bytes());
        anyhow!("a message that is not one: {error}")
    };
    let mut text = payload.to_vec();
    defuse(&mut text, true);
    let message = serde_json::from_slice(&text).map_err(wrong)?;
    match message {
        Message::Failed(error) => Ok(Message::Failed(cut(error))),
        Message::Reply {
            number,
            result: Err(error),
        } => Ok(Message::Reply {
            number,
            result: Err(cut(error)),
        }),
        plain if has_lines(&plain) || !defuse(&mut text, false) => Ok(plain),
        _ => serde_json::from_slice(&text).map_err(wrong),
    }
}

/// Whether a message brings what a program printed.
fn has_lines(message: &Message) -> bool {
    let Message::Reply { result, .. } = message else {
        return false;
    };
    matches!(result.as_deref(), Ok(Answer::Load(_)))
}

/// Text that came by another way, such as what ssh passes on: one line, without control characters.
pub(super) fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let safe = text.chars().map(|c| match c {
        c if commands(c, false) => '\u{fffd}',
        c => c,
    });
    cut(safe.collect())
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST_ERROR {
        let left_out = text.len() - LONGEST_ERROR;
        text.truncate(text.floor_char_boundary(LONGEST_ERROR));
        text += &format!("... ({left_out} bytes more)");
    }
    text
}

/// Whether a character does something to a terminal, or to the order in which text is shown.
fn commands(c: char, keep_lines: bool) -> bool {
    match c {
        '\n' | '\t' => !keep_lines,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

/// Replaces such characters in the strings of a JSON text by others of as many bytes: there they are
/// escapes, or stand as they are in UTF-8. Says whether there was one.
fn defuse(text: &mut [u8], keep_lines: bool) -> bool {
    let mut any = false;
    let mut at = 0;
    while at < text.len() {
        let (length, replacement): (usize, &[u8]) = match &text[at..] {
            [b'\\', b'u', digits @ ..] if digits.len() >= 4 => (
                6,
                if escaped(&digits[..4], keep_lines) {
                    b"\\ufffd"
                } else {
                    b""
                },
            ),
            [b'\\', b'b' | b'f' | b'r', ..] if keep_lines => (2, b"\\t"),
            [b'\\', b'b' | b'f' | b'r' | b'n' | b't', ..] if !keep_lines => (2, b"\\/"),
            [b'\\', _, ..] => (2, b""),
            // Pilcrow, section sign, inverted question mark: of one, two and three bytes there is nothing
            // better.
            [0x7f, ..] => (1, b"?"),
            [0xc2, 0x80..=0x9f, ..] => (2, "\u{b6}".as_bytes()),
            [0xd8, 0x9c, ..] => (2, "\u{b6}".as_bytes()),
            [0xe2, 0x80, 0x8e | 0x8f | 0xaa..=0xae, ..] | [0xe2, 0x81, 0xa6..=0xa9, ..] => {
                (3, "\u{fffd}".as_bytes())
            }
            _ => (1, b""),
        };
        if !replacement.is_empty() {
            text[at..at + length].copy_from_slice(replacement);
            any = true;
        }
        at += length;
    }
    any
}

/// Whether the four digits of an escape are a character that commands.
fn escaped(digits: &[u8], keep_lines: bool) -> bool {
    let code = std::str::from_utf8(digits).map(|digits| u32::from_str_radix(digits, 16));
    let character = code.ok().and_then(Result::ok).and_then(char::from_u32);
    character.is_some_and(|character| commands(character, keep_lines))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::protocol::Survey;
    use tracer_analysis::recording::load::LoadResult;

    #[test]
    fn a_guest_s_words_do_not_command_a_terminal() {
        let text =
            "{\"Failed\":\"\\u001b[2J \\\\u001b \u{9b}\\u009b\\r.\u{7f}\u{202e}\\u2066\\n\"}";
        match message(text.as_bytes()).unwrap() {
            Message::Failed(text) => {
                assert_eq!(
                    text,
                    "\u{fffd}[2J \\u001b \u{b6}\u{fffd}\t.?\u{fffd}\u{fffd}\n"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_guest_s_error_is_cut_and_its_names_have_no_lines() {
        let text = serde_json::to_vec(&Message::Failed("ä".repeat(1 << 20))).unwrap();
        match message(&text).unwrap() {
            Message::Failed(text) => {
                assert!(
                    text.len() < LONGEST_ERROR + 40 && text.ends_with("more)"),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
        let survey = Survey {
            interfaces: vec![(1, "eth0\nINFO the run is in /elsewhere".into())],
            ..Survey::default()
        };
        let result = Ok(Box::new(Answer::Surveyed(survey)));
        let text = serde_json::to_vec(&Message::Reply { number: 1, result }).unwrap();
        let message = format!("{:?}", message(&text).unwrap());
        assert!(
            message.contains("eth0/INFO") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn what_a_program_printed_keeps_its_lines() {
        let mut load = LoadResult::default();
        load.extra
            .insert("stdout".into(), "{\n\t\"jobs\": []\n}\u{1b}".into());
        let result = Ok(Box::new(Answer::Load(load)));
        let text = serde_json::to_vec(&Message::Reply { number: 1, result }).unwrap();
        let Message::Reply {
            result: Ok(answer), ..
        } = message(&text).unwrap()
        else {
            panic!("no answer");
        };
        let Answer::Load(load) = *answer else {
            panic!("{answer:?}");
        };
        assert_eq!(load.extra["stdout"], "{\n\t\"jobs\": []\n}\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_text_commands_whatever_way_it_comes(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&Message::Failed(text.clone())).unwrap();
            if ascii {
                let escape = |c: char| {
                    let mut units = [0; 2];
                    let units = c.encode_utf16(&mut units).iter();
                    units.map(|unit| format!("\\u{unit:04X}")).collect::<String>()
                };
                let all: String = text.chars().map(escape).collect();
                json = format!("{{\"Failed\":\"{all}\"}}");
            }
            match message(json.as_bytes()).unwrap() {
                Message::Failed(text) => prop_assert!(!text.chars().any(|c| commands(c, true)), "{text:?}"),
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert!(!line(text.as_bytes()).chars().any(|c| commands(c, false)));
        }
    }
}
