//! What ssh, and an agent behind it, write to standard error: shown line by line, made safe first, and kept
//! for the error's own message.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    task::JoinHandle,
    time::timeout,
};

use crate::agent::{output::lock, printable};
use tracer_analysis::scenario::address::Address;

/// No more bytes are shown: the other side may be a guest that writes for ever.
const MOST_BYTES: usize = 64 << 10;
/// A line is shown as soon as it is as long.
const LONGEST_LINE: usize = 1 << 10;
/// How long a process may take to end once its output has.
const END: Duration = Duration::from_secs(2);
/// What a shell says of a program that is not there.
const NOT_FOUND: i32 = 127;
/// What ssh says of itself.
const SSH_FAILED: i32 = 255;

/// The complaints of a process.
#[derive(Debug)]
pub struct Errors {
    advice: String,
    /// The last one that was heard.
    last: Arc<Mutex<String>>,
    listener: JoinHandle<()>,
}

impl Errors {
    /// Listens from now on.
    pub(super) fn listen(
        stream: impl AsyncRead + Send + Unpin + 'static,
        address: &Address,
    ) -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let listener = tokio::spawn(show(stream, address.to_string(), Arc::clone(&last)));
        Self {
            advice: address.advice(),
            last,
            listener,
        }
    }

    /// What to do about a process that has ended, or does not answer.
    pub(super) async fn advice(mut self, child: Option<&mut Child>) -> String {
        // What it complained of last may still be on its way.
        let heard = timeout(END, &mut self.listener).await;
        let status = match child {
            Some(child) if heard.is_ok() => timeout(END, child.wait()).await.ok(),
            _ => None,
        };
        let code = status.and_then(Result::ok).and_then(|status| status.code());
        let last = lock(&self.last).clone();
        let advice = match code {
            Some(NOT_FOUND) => {
                "tracer is not installed there: copy this program into a folder of its PATH, such as /usr/local/bin"
            }
            Some(SSH_FAILED) if last.contains("Host key verification failed") => {
                "its host key is not known here: connect once by hand, and look at the key"
            }
            Some(SSH_FAILED) if last.contains("Permission denied") => {
                "root's key here must be among the authorized keys there, and need no password"
            }
            _ => &self.advice,
        };
        if last.is_empty() {
            advice.to_owned()
        } else {
            format!("{last}; {advice}")
        }
    }
}

async fn show(mut stream: impl AsyncRead + Unpin, from: String, last: Arc<Mutex<String>>) {
    let mut buffer = Vec::with_capacity(LONGEST_LINE);
    let mut shown = 0;
    let mut piece = [0; 512];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        for byte in &piece[..count] {
            if *byte == b'\n' || buffer.len() == LONGEST_LINE {
                shown += tell(&mut buffer, &from, shown, &last);
            }
            if *byte != b'\n' {
                buffer.push(*byte);
            }
        }
    }
    tell(&mut buffer, &from, shown, &last);
}

/// Shows a line, unless that would be too much; returns its length.
fn tell(line: &mut Vec<u8>, from: &str, shown: usize, last: &Mutex<String>) -> usize {
    let length = line.len();
    let text = printable::line(line.trim_ascii());
    line.clear();
    if text.is_empty() || shown > MOST_BYTES {
        return length;
    }
    if shown + length > MOST_BYTES {
        tracing::warn!("{from}: what else it says is not shown");
    } else {
        tracing::warn!("{from}: {text}");
    }
    *lock(last) = text;
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_made_safe_and_end_up_in_the_advice() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let script = "printf 'a\\033[2Jb\\n\\n' >&2; exit 127";
            let mut child = tokio::process::Command::new("sh")
                .args(["-c", script])
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let address = Address::Ssh("b".into());
            let errors = Errors::listen(child.stderr.take().unwrap(), &address);
            let advice = errors.advice(Some(&mut child)).await;
            assert!(
                advice.starts_with("a\u{fffd}[2Jb; tracer is not installed"),
                "{advice}"
            );
        });
    }

    #[test]
    fn lines_are_cut_and_nothing_of_them_is_lost() {
        let last = Arc::new(Mutex::new(String::new()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let text = "x".repeat(LONGEST_LINE) + "rest";
        runtime.block_on(show(text.as_bytes(), String::new(), Arc::clone(&last)));
        assert_eq!(*lock(&last), "rest");
    }
}
