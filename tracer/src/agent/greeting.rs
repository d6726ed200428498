//! How a session begins. A console channel knows no beginning and no end: what a killed loader or agent
//! has left in it must not be taken for frames. So the loader says a line with a number of its own until
//! the agent answers it; then both say that frames follow. The answers are other words than the loader's:
//! until the agent has opened its terminal and made it raw, that may echo what comes in.
//!
//! ```text
//! loader: tracer-agent hello N     as often as it takes
//! agent:  tracer-agent heard N     for each
//! loader: tracer-agent begin N
//! agent:  tracer-agent begun N
//! ```

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// What comes before the number.
const HELLO: &str = "tracer-agent hello ";
const HEARD: &str = "tracer-agent heard ";
const BEGIN: &str = "tracer-agent begin ";
const BEGUN: &str = "tracer-agent begun ";
/// No line of a greeting is longer.
const LONGEST: usize = 64;
/// How often the loader says hello.
const AGAIN: Duration = Duration::from_secs(1);

/// The agent's side: waits for a loader. `Ok(false)`: there will be none, the stream has ended.
///
/// # Errors
/// If the stream fails.
pub fn wait(input: &mut impl Read, output: &mut impl Write) -> io::Result<bool> {
    let mut greeted = String::new();
    loop {
        let Some(line) = read_line(input)? else {
            return Ok(false);
        };
        if let Some(number) = line.strip_prefix(HELLO) {
            number.clone_into(&mut greeted);
            say(output, HEARD, number)?;
        } else if let Some(number) = line.strip_prefix(BEGIN)
            && number == greeted
        {
            return say(output, BEGUN, number).map(|()| true);
        }
    }
}

fn say(output: &mut impl Write, words: &str, number: &str) -> io::Result<()> {
    output.write_all(format!("\n{words}{number}\n").as_bytes())?;
    output.flush()
}

/// A line as far as it could be one of a greeting's. Byte by byte: frames may follow.
fn read_line(input: &mut impl Read) -> io::Result<Option<String>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() < LONGEST => line.push(byte[0]),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().into()))
}

/// The loader's side: greets until the agent has answered, within `limit`, whatever else comes, and though
/// nothing be taken. Returns what the agent has said since.
///
/// # Errors
/// If the stream ends or fails, or nobody answers.
pub async fn greet(
    input: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
    number: u64,
    limit: Duration,
) -> io::Result<BytesMut> {
    let silent = || {
        let message = format!("no greeting came back within {limit:?}");
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    timeout(limit, greet_on(input, output, number))
        .await
        .map_err(|_| silent())?
}

async fn greet_on(
    input: &mut (impl AsyncRead + Unpin),
    output: &mut (impl AsyncWrite + Unpin),
    number: u64,
) -> io::Result<BytesMut> {
    let line = |words| format!("{words}{number:016x}");
    let mut heard = BytesMut::new();
    loop {
        output
            .write_all(format!("\n{}\n", line(HELLO)).as_bytes())
            .await?;
        output.flush().await?;
        if let Ok(answered) = timeout(AGAIN, expect(input, &mut heard, &line(HEARD))).await {
            break answered?;
        }
    }
    output
        .write_all(format!("\n{}\n", line(BEGIN)).as_bytes())
        .await?;
    output.flush().await?;
    expect(input, &mut heard, &line(BEGUN)).await?;
    Ok(heard)
}

/// Reads until `line` has come; what was before it is dropped.
async fn expect(
    input: &mut (impl AsyncRead + Unpin),
    heard: &mut BytesMut,
    line: &str,
) -> io::Result<()> {
    loop {
        if let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
            let found = heard.split_to(end);
            heard.advance(1);
            if found.trim_ascii() == line.as_bytes() {
                return Ok(());
            }
        } else {
            if heard.len() > LONGEST {
                heard.advance(heard.len() - LONGEST);
            }
            if input.read_buf(heard).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What both sides make of each other, with `junk` in the stream before; and the frames' first bytes
    /// as each side gets them.
    fn meet(to_agent: &[u8], to_loader: Vec<u8>) -> (bool, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut loader, agent) = tokio::net::UnixStream::pair().unwrap();
            loader.write_all(to_agent).await.unwrap();
            let agent = agent.into_std().unwrap();
            agent.set_nonblocking(false).unwrap();
            let thread = std::thread::spawn(move || {
                let (mut input, mut output) = (agent.try_clone().unwrap(), agent);
                output.write_all(&to_loader).unwrap();
                let begun = wait(&mut input, &mut output).unwrap();
                output.write_all(b"frames").unwrap();
                begun
            });
            let (mut input, mut output) = loader.split();
            let mut heard = greet(&mut input, &mut output, 77, Duration::from_secs(20))
                .await
                .unwrap();
            while heard.len() < 6 {
                input.read_buf(&mut heard).await.unwrap();
            }
            (thread.join().unwrap(), heard.to_vec())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn what_was_in_the_stream_before_does_no_harm(
            to_agent in prop::collection::vec(any::<u8>(), 0..400),
            to_loader in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert_eq!(meet(&to_agent, to_loader), (true, b"frames".to_vec()));
        }
    }

    #[test]
    fn an_older_session_s_greeting_is_not_taken_for_this_one_s() {
        let old = b"\ntracer-agent hello 0000000000000001\ntracer-agent begin 0000000000000002\n";
        let older = b"\ntracer-agent begin 0000000000000001\n";
        assert_eq!(meet(old, older.to_vec()), (true, b"frames".to_vec()));
    }

    /// Until the agent has made its terminal raw, what comes in is echoed.
    #[test]
    fn an_echo_is_not_taken_for_an_agent() {
        let line = |words: &str| format!("{words}{:016x}\n", 77);
        let echo = line(HELLO).repeat(3) + &line(BEGIN);
        assert_eq!(meet(b"", echo.into_bytes()), (true, b"frames".to_vec()));
    }

    #[test]
    fn one_that_only_makes_noise_or_takes_nothing_is_not_greeted_for_ever() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let short = Duration::from_millis(100);
            let mut noise = tokio::io::repeat(b'x');
            let greeted = greet(&mut noise, &mut tokio::io::sink(), 1, short).await;
            assert_eq!(greeted.unwrap_err().kind(), io::ErrorKind::TimedOut);
            // Nobody reads at the other end, whose buffer is full.
            let (mut loader, _agent) = tokio::io::duplex(8);
            let (mut input, mut output) = tokio::io::split(&mut loader);
            let greeted = greet(&mut input, &mut output, 1, short).await;
            assert_eq!(greeted.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_stream_that_ends_is_no_loader() {
        assert!(!wait(&mut &b"noise"[..], &mut Vec::new()).unwrap());
    }
}
