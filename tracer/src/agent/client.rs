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
