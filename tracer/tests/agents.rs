//! Agents behind a socket that do not last, on this machine's own kernel: the rest of the run goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod support;

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use support::{alone, assert_nothing_attached, may_trace, scenario, tracer};

/// The measured load here, and a second domain whose agent is behind `socket`.
fn text(socket: &Path) -> String {
    let socket = socket.display();
    format!(
        "schema = 1\nname = \"t\"\n[[domain]]\nname = \"native\"\n[[domain]]\nname = \"guest\"\nagent = \"unix:{socket}\"\n[[resource]]\nname = \"disk\"\nkind = \"loop\"\nsize = \"4MiB\"\n[workload]\ndomain = \"native\"\nkind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 200\ndirect = true\n[run]\niterations = 3\nwarm_up = 0\npause = \"1s\"\n[probes]\ndatapaths = [\"disk/native\"]\nmax_lost_percent = 100\n"
    )
}

/// An agent that listens on a socket, until it is dropped.
struct Agent(Child);

impl Agent {
    fn listen(socket: &Path) -> Self {
        let child = tracer().args(["agent", "--socket"]).arg(socket).spawn();
        let agent = Self(child.unwrap());
        let start = Instant::now();
        while !socket.exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "no socket");
            thread::sleep(Duration::from_millis(20));
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the scenario, and does something to the agent in the second iteration: exit code, what was said, and
/// the report.
fn run_with(
    folder: &Path,
    socket: &Path,
    meanwhile: impl FnOnce(),
) -> (i32, String, serde_json::Value) {
    let log = folder.join("stderr");
    let child = tracer()
        .args(["run", "--json", "--out"])
        .arg(folder.join("run"))
        .arg(scenario(folder, &text(socket)))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let start = Instant::now();
    while !said().contains("iteration 2 of") {
        assert!(start.elapsed() < Duration::from_secs(120), "{}", said());
        thread::sleep(Duration::from_millis(20));
    }
    meanwhile();
    let output = child.wait_with_output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), said(), report)
}

fn assert_gone_on((code, said, report): (i32, String, serde_json::Value), why: &str) {
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("going on without domain guest") && said.contains(why),
        "{said}"
    );
    assert!(
        report["partial"].as_str().unwrap().contains(why),
        "{report:#}"
    );
    assert_eq!(report["iterations"].as_array().unwrap().len(), 3, "{said}");
    assert_nothing_attached();
}

#[test]
fn a_killed_agent_ends_its_own_part_of_the_run() {
    if !may_trace("a_killed_agent_ends_its_own_part_of_the_run") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let agent = Agent::listen(&socket);
    let outcome = run_with(folder.path(), &socket, || drop(agent));
    assert_gone_on(outcome, "the agent of domain guest is gone");
}

/// Passes bytes on until it is time for others, or the stream ends.
fn pump(mut from: UnixStream, mut to: UnixStream, is_time: &AtomicBool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if is_time.load(Ordering::Relaxed) {
            bytes.fill(0xa5);
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn an_agent_that_turns_hostile_ends_its_own_part_of_the_run() {
    if !may_trace("an_agent_that_turns_hostile_ends_its_own_part_of_the_run") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let [behind, between]: [PathBuf; 2] =
        ["behind", "between"].map(|name| folder.path().join(name));
    let _agent = Agent::listen(&behind);
    let listener = UnixListener::bind(&between).unwrap();
    let is_time = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_time);
    let middle = thread::spawn(move || {
        let (loader, _) = listener.accept().unwrap();
        let agent = UnixStream::connect(behind).unwrap();
        let (to_agent, from_loader) = (agent.try_clone().unwrap(), loader.try_clone().unwrap());
        let never = AtomicBool::new(false);
        let there = thread::spawn(move || pump(from_loader, to_agent, &never));
        pump(agent, loader, &flag);
        there.join().unwrap();
    });
    let outcome = run_with(folder.path(), &between, || {
        is_time.store(true, Ordering::Relaxed);
    });
    middle.join().unwrap();
    assert_gone_on(outcome, "the other side does not speak this protocol");
}

#[test]
fn a_socket_without_an_agent_is_told_before_anything_is_attached() {
    if !may_trace("a_socket_without_an_agent_is_told_before_anything_is_attached") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let output = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["run", "--out"])
        .arg(folder.path().join("run"))
        .arg(scenario(folder.path(), &text(&socket)))
        .output()
        .unwrap();
    let said = support::words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("tracer agent --socket") && said.contains("domain guest"),
        "{said}"
    );
    assert_nothing_attached();
}
