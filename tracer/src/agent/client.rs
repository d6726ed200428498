//! The loader's side of an agent: finds it, sends commands, takes replies and records.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow, bail};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Child,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    agent::{
        frame::{Decoder, FrameType, header},
        greeting,
        printable::message,
        protocol::{Action, Answer, Command, Message, VERSION},
        transport::{Output, Transport, connect},
    },
    platform::guest::Guest,
};
use tracer_analysis::{recording::host::Hello, scenario::address::Address};

/// How long an agent may take to say hello once it has been found.
const HELLO_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an agent may take to end once its input is closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an agent behind a terminal hears that the loader is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What an agent may send in one run: no guest shall fill the disk of its host.
const MOST_BYTES: u64 = 8 << 30;
/// What a guest's agent may send besides records: it is read into memory whole for a report.
const MOST_MESSAGE_BYTES: u64 = 128 << 20;
/// Messages that wait to be read; an agent that obeys sends one for each command.
const WAITING: usize = 4;
/// An agent that is about to answer sends at least so many bytes within the time that it has, and has that
/// time over again at most so often: a guest that sends a byte now and then must not keep the run for ever.
const SLOWEST_BYTES: u64 = 16 << 10;
const MOST_TURNS: u32 = 30;

/// Where an agent's records go. An error ends the run for this domain.
pub type Sink = Box<dyn FnMut(Bytes) -> anyhow::Result<()> + Send>;

/// An agent.
pub struct Client {
    /// The domain's name, for messages.
    domain: String,
    child: Option<Child>,
    output: Arc<Mutex<Option<Output>>>,
    messages: mpsc::Receiver<anyhow::Result<Message>>,
    reader: JoinHandle<()>,
    heartbeat: Option<JoinHandle<()>>,
    /// Bytes that it has sent.
    heard: Arc<AtomicU64>,
    number: u64,
    /// Why it will not answer any more.
    gone: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Finds a domain's agent, or starts it, and waits for its hello; at most `limit` for a first sign.
    ///
    /// # Errors
    /// If there is no way to it, or it does not say hello in this protocol's version.
    pub async fn start(
        domain: &str,
        address: &Address,
        exe: &Path,
        guest: Option<&Guest>,
        sink: Sink,
        limit: Duration,
    ) -> anyhow::Result<(Self, Hello)> {
        let Transport {
            mut input,
            mut output,
            mut child,
            errors,
            has_end,
        } = connect(address, exe, guest)
            .await
            .with_context(|| format!("cannot reach the agent of domain {domain}"))?;
        let greeted = greeting::greet(&mut input, &mut output, nonce(), limit).await;
        let early = match greeted {
            Ok(early) => early,
            Err(error) => {
                let advice = match errors {
                    Some(errors) => errors.advice(child.as_mut()).await,
                    None => address.advice(),
                };
                let unanswered = format!(
                    "the agent of domain {domain} does not answer over {address}: {advice}"
                );
                return Err(anyhow::Error::new(error).context(unanswered));
            }
        };
        let (sender, messages) = mpsc::channel(WAITING);
        let heard = Arc::new(AtomicU64::new(0));
        let most_message_bytes = match address {
            Address::Local => MOST_BYTES,
            _ => MOST_MESSAGE_BYTES,
        };
        let limits = Limits {
            heard: Arc::clone(&heard),
            most_message_bytes,
        };
        let reader = tokio::spawn(read(input, early, sink, sender, limits));
        let output = Arc::new(Mutex::new(Some(output)));
        let heartbeat = (!has_end).then(|| tokio::spawn(beat(Arc::clone(&output))));
        let mut client = Self {
            domain: domain.into(),
            child,
            output,
            messages,
            reader,
            heartbeat,
            heard,
            number: 0,
            gone: None,
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
    /// If the agent could not do it, is gone, or sends next to nothing for longer than `limit`. An agent
    /// that did not answer once is not asked again.
    pub async fn ask(&mut self, action: Action, limit: Duration) -> anyhow::Result<Answer> {
        if let Some(why) = &self.gone {
            bail!("{why}");
        }
        match self.exchange(action, limit).await {
            Ok(result) => result.map_err(|error| anyhow!("domain {}: {error}", self.domain)),
            Err(error) => {
                self.gone = Some(format!("{error:#}"));
                Err(error)
            }
        }
    }

    /// A command and its reply; an error if there is none to come.
    async fn exchange(
        &mut self,
        action: Action,
        limit: Duration,
    ) -> anyhow::Result<Result<Answer, String>> {
        let number = self.send(action, limit).await?;
        for _ in 0..MOST_TURNS {
            let before = self.heard.load(Ordering::Relaxed);
            if let Ok(answer) = timeout(limit, self.reply(number)).await {
                return answer;
            }
            // A console channel is slow: what is on its way counts.
            let heard = self.heard.load(Ordering::Relaxed) - before;
            if heard < SLOWEST_BYTES {
                break;
            }
        }
        bail!(
            "the agent of domain {} did not answer in {limit:?}",
            self.domain
        )
    }

    /// Sends a command; returns its number.
    async fn send(&mut self, action: Action, limit: Duration) -> anyhow::Result<u64> {
        self.number += 1;
        let number = self.number;
        let payload = serde_json::to_vec(&Command { number, action })?;
        let mut bytes = header(FrameType::Message, payload.len())?.to_vec();
        bytes.extend(payload);
        match timeout(limit, write(&self.output, &bytes)).await {
            Ok(Ok(())) => Ok(number),
            Ok(Err(_)) => bail!("the agent of domain {} is gone", self.domain),
            Err(_) => bail!(
                "the agent of domain {} took no command in {limit:?}",
                self.domain
            ),
        }
    }

    async fn reply(&mut self, wanted: u64) -> anyhow::Result<Result<Answer, String>> {
        let domain = &self.domain;
        loop {
            let message = self.messages.recv().await;
            let message = message.ok_or_else(|| anyhow!("the agent of domain {domain} is gone"))?;
            match message.with_context(|| format!("domain {domain}"))? {
                Message::Reply { number, result } if number == wanted => {
                    return Ok(result.map(|answer| *answer));
                }
                // The answer to a command that was given up.
                Message::Reply { .. } => {}
                Message::Failed(error) => bail!("domain {domain}: {error}"),
                Message::Hello(_) => bail!("the agent of domain {domain} began anew"),
            }
        }
    }

    /// Closes the agent's input and waits for its end, so that nothing stays attached.
    pub async fn end(mut self) {
        if let Some(heartbeat) = self.heartbeat.take() {
            // Where the stream has no end, it must be said, even to one that does not answer: it may hear.
            if self.gone.is_some() {
                let _ = self.send(Action::End, END_TIMEOUT).await;
            } else {
                let _ = self.ask(Action::End, END_TIMEOUT).await;
            }
            heartbeat.abort();
        }
        drop(self.output.lock().await.take());
        if let Some(mut child) = self.child.take()
            && timeout(END_TIMEOUT, child.wait()).await.is_err()
        {
            let _ = child.kill().await;
        }
        if timeout(END_TIMEOUT, &mut self.reader).await.is_err() {
            self.reader.abort();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(heartbeat) = self.heartbeat.take() {
            heartbeat.abort();
        }
    }
}

/// Tells this session's greeting from those of others.
fn nonce() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ns = since.map_or(0, |since| since.as_nanos() as u64);
    ns ^ (u64::from(std::process::id()) << 44)
}

async fn write(output: &Mutex<Option<Output>>, bytes: &[u8]) -> std::io::Result<()> {
    let mut output = output.lock().await;
    let output = output.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
    output.write_all(bytes).await?;
    output.flush().await
}

/// Says again and again that the loader is there.
async fn beat(output: Arc<Mutex<Option<Output>>>) {
    while let Ok(frame) = header(FrameType::Heartbeat, 0)
        && write(&output, &frame).await.is_ok()
    {
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// How much an agent may say.
struct Limits {
    /// Bytes that it has sent, of at most [`MOST_BYTES`].
    heard: Arc<AtomicU64>,
    /// Bytes of messages that it may send.
    most_message_bytes: u64,
}

/// Reads frames until the stream ends or fails. Agents are not trusted: what is none of the protocol
/// ends it, and so does too much of it.
async fn read(
    mut stream: impl AsyncRead + Unpin,
    early: BytesMut,
    mut sink: Sink,
    sender: mpsc::Sender<anyhow::Result<Message>>,
    mut limits: Limits,
) {
    let mut decoder = Decoder::default();
    *decoder.buffer() = early;
    loop {
        let frame = match decoder.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => match stream.read_buf(decoder.buffer()).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let sum = limits.heard.fetch_add(count as u64, Ordering::Relaxed);
                    if sum > MOST_BYTES {
                        let error = anyhow!("its agent has sent more than {MOST_BYTES} bytes");
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                    continue;
                }
            },
            Err(error) => {
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        };
        let result = match frame.frame_type {
            FrameType::Heartbeat => continue,
            FrameType::Records => match sink(frame.payload) {
                Ok(()) => continue,
                Err(error) => Err(error),
            },
            FrameType::Message => {
                let left = limits
                    .most_message_bytes
                    .checked_sub(frame.payload.len() as u64);
                limits.most_message_bytes = left.unwrap_or(0);
                match left {
                    Some(_) => message(&frame.payload),
                    None => Err(anyhow!("its agent says too much besides records")),
                }
            }
        };
        let failed = result.is_err();
        if sender.send(result).await.is_err() || failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
