//! The throughput of tracer's own stream against that of iperf3, which goes the same way in turn with it.
//!
//! How fast an emulated guest sends depends on what else this machine does: on a busy one, streams of three seconds
//! differed by a factor of six, whichever tool made them. So the way is given a rate that the guest reaches in any case.

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use tracer_analysis::recording::load::LoadResult;

use crate::network::{VIF, report};
use crate::support::*;

/// How far the medians may be from each other.
const TOLERANCE: f64 = 0.05;
/// Each round has a stream of either.
const ROUNDS: usize = 3;
const SECONDS: u64 = 5;
/// Bytes of a call, of both.
const MESSAGE: u64 = 16 << 10;
/// What the guest's card may send; and little of it waits in a socket, where one tool counts it and the other does not.
const SLOW: &str =
    "modprobe sch_tbf && tc qdisc replace dev eth0 root tbf rate 2mbit burst 16kb latency 200ms
sysctl -qw net.ipv4.tcp_wmem='4096 16384 32768'";

/// The peer host, from the guests, and the ports of both servers there.
const PEER: &str = "10.77.0.1";
const OURS: u16 = 5301;
const IPERF3: u16 = 5302;

/// A program on the peer host, ended when dropped.
struct Server(Child);

impl Server {
    /// Of a script of one command, which bash becomes.
    fn start(script: &str) -> Self {
        let mut server = command(&["exec", "--name", this_lab(), "peer", "--", script]);
        Self(server.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A load as `tracer load` reads it.
fn load(kind: &Value) -> String {
    format!("load <<< '{}'", json!({"kind": kind}))
}

/// A slow card, until dropped.
fn slow_card() -> Setting {
    let before = printed("B", "sysctl -n net.ipv4.tcp_wmem");
    let undo = format!("tc qdisc del dev eth0 root; sysctl -qw net.ipv4.tcp_wmem='{before}'");
    Setting::new("B", SLOW, undo)
}

/// Bits a second as they arrive at the peer host.
fn our_stream() -> f64 {
    let stream = json!({
        "type": "tcp-stream", "destination": format!("{PEER}:{OURS}"), "message_size": MESSAGE,
        "duration_ms": SECONDS * 1000, "connect_timeout_ms": 20_000,
    });
    let result = printed("B", &format!("tracer {}", load(&stream)));
    let result: LoadResult = serde_json::from_str(&result).unwrap();
    result.extra["bits_per_second"].as_f64().unwrap()
}

fn iperf3_stream() -> f64 {
    let client = format!("iperf3 -c {PEER} -p {IPERF3} -t {SECONDS} -l {MESSAGE} -J");
    let result: Value = serde_json::from_str(&printed("B", &client)).unwrap();
    let received = &result["end"]["sum_received"]["bits_per_second"];
    received.as_f64().unwrap_or_else(|| panic!("{result:#}"))
}

fn median(mut values: [f64; ROUNDS]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[ROUNDS / 2]
}

#[test]
#[ignore = "long: six streams"]
fn a_stream_is_told_to_be_as_fast_as_iperf3_s() {
    let _turn = alone();
    let folder = scratch("lab-agreement-net");
    // No datapath in any domain: a run of the load alone. It brings the tracer into the guest, too.
    let (_, alone) = report(
        &folder,
        "alone",
        VIF,
        &[
            "--iterations=1",
            "--set=run.warm_up=0",
            "--set=workload.duration=1s",
            "--set=domain.dom0.datapaths=[]",
            "--set=domain.B.datapaths=[]",
        ],
    );
    assert!(alone.breakdowns.is_empty(), "{alone:#?}");
    let rate = &alone.iterations[0].extra["bits_per_second"];
    assert!(rate.as_f64().unwrap() > 0.0, "{alone:#?}");

    let _iperf3 = Server::start(&format!("exec iperf3 -s -p {IPERF3}"));
    let server = json!({"type": "server", "protocol": "tcp", "address": PEER, "port": OURS});
    let tracer = tracer().get_program().display().to_string();
    let server = format!("exec {tracer} {}", load(&server));
    let _ours = Server::start(&server);
    let _slow = slow_card();
    // Ours tries to connect for a while, and so waits for both servers.
    let rounds: [(f64, f64); ROUNDS] = std::array::from_fn(|_| (our_stream(), iperf3_stream()));
    for (ours, iperf3) in rounds {
        eprintln!(
            "tracer {:.3} Mbit/s, iperf3 {:.3} Mbit/s",
            ours / 1e6,
            iperf3 / 1e6
        );
    }
    let (ours, iperf3) = (median(rounds.map(|r| r.0)), median(rounds.map(|r| r.1)));
    assert!(
        (ours / iperf3 - 1.0).abs() <= TOLERANCE,
        "{ours} bit/s, iperf3 {iperf3} bit/s"
    );
}
