//! The loader's side of an agent: starts it, sends commands, takes replies and records.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::agent::{
    frame::{Decoder, FrameType, header},
    protocol::{Action, Answer, Command, Hello, Message, VERSION},
};

/// How long an agent may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an agent may take to end once its input is closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an agent's records go. An error ends the run for this domain.
pub type Sink = Box<dyn FnMut(Bytes) -> anyhow::Result<()> + Send>;

/// A running agent.
#[derive(Debug)]
pub struct Client {
    /// The domain's name, for messages.
    domain: String,
    child: Child,
    stdin: Option<ChildStdin>,
    messages: mpsc::Receiver<anyhow::Result<Message>>,
    reader: JoinHandle<()>,
    number: u64,
}

impl Client {
    /// Starts a local agent and waits for its hello.
    ///
    /// # Errors
    /// If it cannot be started, or does not say hello in this protocol's version.
    pub async fn start_local(
        domain: &str,
        exe: &Path,
        sink: Sink,
    ) -> anyhow::Result<(Self, Hello)> {
        let mut child = tokio::process::Command::new(exe)
            .args(["agent", "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is the loader's: it tells the agent itself, by closing its input.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start the agent of domain {domain}: {}",
                    exe.display()
                )
            })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the agent has no output")?;
        let (sender, messages) = mpsc::channel(16);
        let reader = tokio::spawn(read(stdout, sink, sender));
        let mut client = Self {
            domain: domain.into(),
            child,
            stdin,
            messages,
            reader,
            number: 0,
        };
        let hello = client.hello().await?;
        Ok((client, hello))
    }

    async fn hello(&mut self) -> anyhow::Result<Hello> {
        let domain = &self.domain;
        let message = timeout(HELLO_TIMEOUT, self.messages.recv())
            .await
            .map_err(|_| {
                anyhow!("the agent of domain {domain} did not answer in {HELLO_TIMEOUT:?}")
            })?
            .ok_or_else(|| anyhow!("the agent of domain {domain} ended at once"))??;
        match message {
            Message::Hello(hello) if hello.protocol == VERSION => Ok(*hello),
            Message::Hello(hello) => bail!(
                "the agent of domain {domain} speaks version {} of the protocol, this tracer version {VERSION}: install the same tracer ({}) there",
                hello.protocol,
                env!("CARGO_PKG_VERSION")
            ),
            _ => bail!("the agent of domain {domain} did not begin with a hello"),
        }
    }

    /// Has the agent do something and waits for the answer.
    ///
    /// # Errors
    /// If the agent could not do it, is gone, or takes longer than `limit`.
    pub async fn ask(&mut self, action: Action, limit: Duration) -> anyhow::Result<Answer> {
        self.number += 1;
        let number = self.number;
        let payload = serde_json::to_vec(&Command { number, action })?;
        let domain = self.domain.clone();
        let gone = || anyhow!("the agent of domain {domain} is gone");
        let stdin = self.stdin.as_mut().ok_or_else(gone)?;
        stdin
            .write_all(&header(FrameType::Message, payload.len())?)
            .await
            .map_err(|_| gone())?;
        stdin.write_all(&payload).await.map_err(|_| gone())?;
        stdin.flush().await.map_err(|_| gone())?;
        timeout(limit, self.reply(number))
            .await
            .map_err(|_| anyhow!("the agent of domain {domain} did not answer in {limit:?}"))?
    }

    async fn reply(&mut self, wanted: u64) -> anyhow::Result<Answer> {
        let domain = self.domain.clone();
        loop {
            let message = self.messages.recv().await;
            match message.ok_or_else(|| anyhow!("the agent of domain {domain} is gone"))?? {
                Message::Reply { number, result } if number == wanted => {
                    return result.map(|answer| *answer).map_err(|error| anyhow!(error));
                }
                // The answer to a command that was given up.
                Message::Reply { .. } => {}
                Message::Failed(error) => bail!("domain {domain}: {error}"),
                Message::Hello(_) => bail!("the agent of domain {domain} began anew"),
            }
        }
    }

    /// The agent's process.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Closes the agent's input and waits for its end, so that nothing stays attached.
    pub async fn end(mut self) {
        drop(self.stdin.take());
        if timeout(END_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        let _ = timeout(END_TIMEOUT, self.reader).await;
    }
}

/// Reads frames until the stream ends or fails.
async fn read(
    mut stream: impl AsyncRead + Unpin,
    mut sink: Sink,
    sender: mpsc::Sender<anyhow::Result<Message>>,
) {
    let mut decoder = Decoder::default();
    loop {
        let frame = match decoder.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => match stream.read_buf(decoder.buffer()).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
            Err(error) => {
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        };
        let result = match frame.frame_type {
            FrameType::Records => match sink(frame.payload) {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            FrameType::Message => serde_json::from_slice(&frame.payload)
                .map_err(|error| anyhow!("a message that is not one: {error}")),
        };
        let failed = result.is_err();
        if sender.send(result).await.is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;

    use super::*;

    /// What a reader makes of a stream: messages or errors, and bytes of records.
    fn heard(wire: &[u8]) -> (Vec<anyhow::Result<Message>>, usize) {
        let bytes = Arc::new(Mutex::new(0));
        let sum = Arc::clone(&bytes);
        let sink: Sink = Box::new(move |records| {
            *sum.lock().unwrap() += records.len();
            Ok(())
        });
        // A message takes more than its header, so that this is room for all.
        let (sender, mut receiver) = mpsc::channel(wire.len() / 5 + 1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read(wire, sink, sender));
        let messages = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        let bytes = *bytes.lock().unwrap();
        (messages, bytes)
    }

    /// Frames of replies and records by turns.
    fn wire(frames: u64) -> Vec<u8> {
        let mut wire = Vec::new();
        for number in 0..frames {
            let result = Ok(Box::new(Answer::Detached { in_flight: 3 }));
            let message = serde_json::to_vec(&Message::Reply { number, result }).unwrap();
            for (frame_type, payload) in [
                (FrameType::Message, &message[..]),
                (FrameType::Records, &[7; 96][..]),
            ] {
                wire.extend(header(frame_type, payload.len()).unwrap());
                wire.extend(payload);
            }
        }
        wire
    }

    #[test]
    fn what_is_whole_arrives_and_what_is_cut_does_not() {
        let wire = wire(5);
        let (messages, bytes) = heard(&wire[..wire.len() - 1]);
        let numbers: Vec<u64> = messages
            .iter()
            .map(|message| match message {
                Ok(Message::Reply { number, .. }) => *number,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((numbers, bytes), (vec![0, 1, 2, 3, 4], 4 * 96));
    }

    proptest! {
        #[test]
        fn a_damaged_stream_ends_at_its_first_error(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut wire = wire(6);
            for (at, value) in changes {
                let at = at.index(wire.len());
                wire[at] = value;
            }
            wire.truncate(keep.index(wire.len()));
            let (messages, bytes) = heard(&wire);
            prop_assert!(bytes <= wire.len());
            let first_error = messages.iter().position(Result::is_err);
            prop_assert!(first_error.is_none_or(|at| at + 1 == messages.len()), "{:?}", messages);
        }
    }
}
