use std::{
    io::Write as _,
    os::unix::net::{UnixListener, UnixStream},
    sync::Mutex,
    thread,
    time::Instant,
};

use proptest::prelude::*;

use super::*;
use crate::agent::protocol::Survey;
use tracer_analysis::recording::{
    bindings::Bindings,
    host::HostFacts,
    snapshot::{IrqCount, Snapshot},
};

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
    runtime.block_on(read(
        wire,
        BytesMut::new(),
        sink,
        sender,
        Limits {
            heard: Arc::default(),
            most_message_bytes: MOST_MESSAGE_BYTES,
        },
    ));
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

/// A frame with a message in it.
fn framed(message: &Message) -> Vec<u8> {
    let payload = serde_json::to_vec(message).unwrap();
    let mut frame = header(FrameType::Message, payload.len()).unwrap().to_vec();
    frame.extend(payload);
    frame
}

/// What a loader makes of an agent on a socket that greets, says hello, and then does as `act` has it: the
/// error of its first question, that of a second, and how long both took.
fn asked(
    act: impl FnOnce(&mut UnixStream) -> std::io::Result<()> + Send + 'static,
) -> (String, String, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut output = stream.try_clone().unwrap();
        assert!(greeting::wait(&mut stream, &mut output).unwrap());
        let hello = Message::Hello(Box::new(Hello {
            protocol: VERSION,
            version: String::new(),
            host: HostFacts::default(),
            clock: None,
        }));
        stream.write_all(&framed(&hello)).unwrap();
        // The loader may be gone before it is done.
        let _ = act(&mut stream);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        let sink: Sink = Box::new(|_| Ok(()));
        let address = Address::Unix(path);
        let limit = Duration::from_secs(20);
        let (mut client, _) = Client::start("B", &address, Path::new("/"), None, sink, limit)
            .await
            .unwrap();
        let start = Instant::now();
        let limit = Duration::from_millis(50);
        let mut errors = Vec::new();
        for _ in 0..2 {
            let asked = client.ask(Action::Snapshot, limit).await;
            errors.push(format!("{:#}", asked.unwrap_err()));
        }
        let took = start.elapsed();
        client.end().await;
        (errors.remove(0), errors.remove(0), took)
    });
    agent.join().unwrap();
    outcome
}

fn assert_ends(outcome: (String, String, Duration), why: &str) {
    let (first, second, took) = outcome;
    assert!(first.contains(why), "{first}");
    assert_eq!(first, second);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn an_agent_that_sends_a_byte_now_and_then_is_given_up() {
    let outcome = asked(|stream| {
        let beats = header(FrameType::Heartbeat, 0).unwrap();
        for byte in beats.iter().cycle().take(1000) {
            stream.write_all(&[*byte])?;
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    assert_ends(outcome, "did not answer in 50ms");
}

#[test]
fn an_agent_that_never_ends_a_frame_is_given_up() {
    let outcome = asked(|stream| {
        stream.write_all(&header(FrameType::Records, 1 << 20).unwrap())?;
        stream.write_all(&[0; 1000])?;
        thread::sleep(Duration::from_millis(300));
        Ok(())
    });
    assert_ends(outcome, "did not answer in 50ms");
}

#[test]
fn an_agent_that_answers_other_questions_for_ever_is_given_up() {
    let outcome = asked(|stream| {
        let result = Ok(Box::new(Answer::Running));
        let other = framed(&Message::Reply { number: 0, result }).repeat(500);
        loop {
            stream.write_all(&other)?;
        }
    });
    let (first, second, took) = outcome;
    assert!(
        first.contains("did not answer") || first.contains("says too much"),
        "{first}"
    );
    assert!(
        second == first && took < Duration::from_secs(20),
        "{second} {took:?}"
    );
}

#[test]
fn an_agent_that_sends_garbage_is_given_up() {
    let outcome = asked(|stream| {
        stream.write_all(&[0xff; 4000])?;
        thread::sleep(Duration::from_millis(300));
        Ok(())
    });
    assert_ends(outcome, "the other side does not speak this protocol");
}

#[test]
fn an_agent_that_says_no_end_of_messages_is_stopped() {
    let long = framed(&Message::Failed("x".repeat(1 << 20)));
    let limits = Limits {
        heard: Arc::default(),
        most_message_bytes: 3 << 20,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (sender, mut receiver) = mpsc::channel(16);
    let wire = long.repeat(5);
    let sink: Sink = Box::new(|_| Ok(()));
    runtime.block_on(read(&wire[..], BytesMut::new(), sink, sender, limits));
    let messages: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
    assert_eq!(messages.len(), 3);
    let last = messages[2].as_ref().unwrap_err().to_string();
    assert!(last.contains("says too much"), "{last}");
}

/// A message of each kind with something in each field.
fn messages() -> Vec<Message> {
    let pair = tracer_analysis::clock::Pair {
        tsc: 5,
        monotonic_ns: 3,
        half_width: 1,
    };
    let irq = IrqCount {
        name: "ahci".into(),
        time_hist: vec![(3, 4)],
        ..IrqCount::default()
    };
    let snapshot = Snapshot {
        counters: [("emitted".to_owned(), 7)].into(),
        irqs: vec![irq],
        proc_before: [(9, 1)].into(),
        native_irqs: [9].into(),
        clock: Some(pair),
        clocks: vec![pair],
        ..Snapshot::default()
    };
    let survey = Survey {
        interfaces: vec![(2, "eth0".into())],
        ..Survey::default()
    };
    let answers = [
        Answer::Snapshot(snapshot),
        Answer::Surveyed(survey),
        Answer::Attached(Bindings::default()),
        Answer::Detached { in_flight: 1 },
    ];
    let replies = answers.into_iter().map(|answer| Message::Reply {
        number: 1,
        result: Ok(Box::new(answer)),
    });
    replies.chain([Message::Failed("x".into())]).collect()
}

/// Puts another value in place of one of those in a JSON value; says whether there is one with this number.
fn put(value: &mut serde_json::Value, at: &mut usize, new: &serde_json::Value) -> bool {
    if *at == 0 {
        *value = new.clone();
        return true;
    }
    *at -= 1;
    match value {
        serde_json::Value::Array(all) => all.iter_mut().any(|inner| put(inner, at, new)),
        serde_json::Value::Object(all) => all.values_mut().any(|inner| put(inner, at, new)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn a_message_with_any_field_made_another_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0usize..40, prop::sample::select(vec![
            serde_json::json!(null),
            serde_json::json!(-1),
            serde_json::json!(u64::MAX),
            serde_json::json!(1e300),
            serde_json::json!("\u{1b}[2J\n"),
            serde_json::json!([]),
            serde_json::json!({"": []}),
            serde_json::json!([[[[0, 1], [1]], 65536]]),
        ])), 0..4),
    ) {
        let all = messages();
        let mut value = serde_json::to_value(which.get(&all)).unwrap();
        for (mut at, new) in changes {
            put(&mut value, &mut at, &new);
        }
        let payload = serde_json::to_vec(&value).unwrap();
        let mut wire = header(FrameType::Message, payload.len()).unwrap().to_vec();
        wire.extend(payload);
        let (messages, _) = heard(&wire);
        prop_assert_eq!(messages.len(), 1);
        let said = match &messages[0] {
            Ok(Message::Failed(text)) => text.replace('\n', ""),
            // Here a control character is an escape.
            Ok(message) => serde_json::to_string(message).unwrap().replace("\\u00", "\u{1b}"),
            Err(error) => format!("{error:#}"),
        };
        prop_assert!(!said.contains(char::is_control), "{:?}", said);
    }
}
