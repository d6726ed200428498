//! Known delays on the way of packets, planted one at a time: the tool must name the stage, and how much was
//! added; with nothing planted it must blame nothing. `TRACER_PLANTED_ROUNDS` says how often (once).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::network::{PASSTHROUGH, VIF, assert_joined, report};
use crate::planted::{hog, rounds};
use crate::support::*;

/// What netem adds to each packet, in milliseconds.
const NETEM_MS: f64 = 50.0;
/// The longest time that the card gathers packets before it interrupts, in microseconds: its driver's most.
const MODERATION_US: u32 = 10_000;
/// How far the time found may be from what was planted.
const TOLERANCE: f64 = 0.1;

/// Requests and responses of one byte, one at a time.
const RR: [&str; 3] = [
    "--iterations=5",
    "--profile=rr",
    "--set=workload.duration=2s",
];
/// Packets at an even rate.
const UDP: [&str; 3] = [
    "--iterations=5",
    "--profile=udp",
    "--set=workload.duration=2s",
];

/// A queue whose packets are held back.
fn netem(domain: &'static str, interface: &str) -> Setting {
    let set = format!(
        "modprobe sch_netem; tc qdisc replace dev {interface} root netem delay {NETEM_MS}ms"
    );
    Setting::new(domain, &set, format!("tc qdisc del dev {interface} root"))
}

fn assert_nothing_blamed(first: &Path, second: &Path, datapath: &str) {
    let nothing = compared(first, second, datapath);
    assert_eq!(nothing["verdict"]["blamed"], Value::Null, "{nothing:#}");
}

/// The stage that is blamed must be this one; says how much was added, in milliseconds.
fn blamed_ms(pair: &Value, stage: (&str, &str)) -> f64 {
    let blamed = &pair["verdict"]["blamed"];
    let ends = (blamed["from"].as_str(), blamed["to"].as_str());
    assert_eq!(ends, (Some(stage.0), Some(stage.1)), "{pair:#}");
    blamed["added_ns"].as_f64().unwrap() / 1e6
}

fn assert_near(what: &str, found_ms: f64, planted_ms: f64) {
    eprintln!("{what}: {planted_ms:.2} ms planted, {found_ms:.2} ms found");
    assert!(
        (found_ms / planted_ms - 1.0).abs() < TOLERANCE,
        "{what}: {found_ms} ms"
    );
}

/// A queue that is slowed, and what must be said of it.
struct SlowQueue<'a> {
    domain: &'static str,
    interface: &'a str,
    datapath: &'static str,
    stage: (&'static str, &'static str),
}

impl SlowQueue<'_> {
    fn assert_named(&self, folder: &Path, first: &Path, scenario: &str) {
        let queue = netem(self.domain, self.interface);
        let name = format!("slow-{}", self.interface);
        let (slow, slow_report) = report(folder, &name, scenario, &RR);
        drop(queue);
        if scenario == VIF {
            assert_joined(&slow_report, "B");
        }
        let found = blamed_ms(&compared(first, &slow, self.datapath), self.stage);
        assert_near(self.interface, found, NETEM_MS);
    }
}

/// How far it may be from what Dom0's scheduler says of netback's thread, whose wakings for other things than a packet,
/// such as room on the ring, are in that, too.
const TOLERANCE_OF_WAITS: f64 = 0.25;

/// How long netback's thread that copies packets to guest B has waited for a CPU, and how often, by Dom0's scheduler.
fn waits_of_netback() -> (f64, f64) {
    let script = "comm=$(grep -l \"^vif$(xl domid B).0-q0-gues\" /proc/[0-9]*/comm) && cat ${comm%comm}schedstat";
    let printed = printed("dom0", script);
    let figures: Vec<f64> = printed
        .split_whitespace()
        .map(|figure| figure.parse().unwrap())
        .collect();
    (figures[1], figures[2])
}

/// A run, and how long netback's thread waited in it, on average, in milliseconds.
fn run_with_waits(folder: &Path, name: &str, scenario: &str, args: &[&str]) -> (PathBuf, f64) {
    let before = waits_of_netback();
    let (run, of_run) = report(folder, name, scenario, args);
    let after = waits_of_netback();
    assert_joined(&of_run, "B");
    (run, (after.0 - before.0) / (after.1 - before.1) / 1e6)
}

/// Takes Dom0's CPU from netback's thread. By how much, only the scheduler knows.
fn assert_hog_is_named(folder: &Path, first: &Path, first_wait_ms: f64) {
    let scenario = folder.join("hog.toml");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(VIF);
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(&scenario, text + "\n" + &hog()).unwrap();
    let args = [&RR[..2], &["--set=workload.duration=6s"]].concat();
    let (hogged, wait_ms) = run_with_waits(folder, "hogged", scenario.to_str().unwrap(), &args);
    let answer = compared(first, &hogged, "net-rx/vif");
    let found = blamed_ms(&answer, ("dom0.xmit_done", "netback.dequeue"));
    let planted = wait_ms - first_wait_ms;
    eprintln!("hog: {planted:.2} ms of waiting for a CPU, {found:.2} ms found");
    assert!((found / planted - 1.0).abs() < TOLERANCE_OF_WAITS);
}

#[test]
#[ignore = "long: two runs"]
fn a_hog_on_dom0_s_cpu_is_named_by_packets() {
    let _turn = shared();
    let folder = scratch("lab-planted-net-hog");
    let (first, first_wait_ms) = run_with_waits(&folder, "first", VIF, &RR);
    for round in 0..rounds() {
        eprintln!("round {round}");
        assert_hog_is_named(&folder, &first, first_wait_ms);
    }
}

#[test]
fn delays_on_the_way_of_a_virtual_card_are_named_and_without_them_nothing() {
    let _turn = shared();
    let folder = scratch("lab-planted-vif");
    let (first, _) = report(&folder, "first", VIF, &RR);
    let (second, _) = report(&folder, "second", VIF, &RR);
    for datapath in ["net-tx/vif", "net-rx/vif"] {
        assert_nothing_blamed(&first, &second, datapath);
    }
    let vif = printed("dom0", "echo vif$(xl domid B).0");
    let queues = [
        // Without netem a packet passes no queueing discipline, or an idle one by: there is no `dom0.dequeue`.
        SlowQueue {
            domain: "dom0",
            interface: &vif,
            datapath: "net-rx/vif",
            stage: ("dom0.queue", "dom0.xmit"),
        },
        // The bridge's port to the network.
        SlowQueue {
            domain: "dom0",
            interface: "eth0",
            datapath: "net-tx/vif",
            stage: ("dom0.queue", "dom0.xmit"),
        },
    ];
    for round in 0..rounds() {
        eprintln!("round {round}");
        for queue in &queues {
            queue.assert_named(&folder, &first, VIF);
        }
    }
}

/// A card that gathers what it has sent tells of it late: on average after half of the time.
fn assert_moderation_is_named(folder: &Path, first: &Path) {
    let usecs = |usecs: u32| format!("ethtool -C eth1 rx-usecs {usecs}");
    let before = printed("B", "ethtool -c eth1 | awk '/^rx-usecs:/ { print $2 }'");
    let moderation = Setting::new("B", &usecs(MODERATION_US), usecs(before.parse().unwrap()));
    let (gathered, _) = report(folder, "gathered", PASSTHROUGH, &UDP);
    drop(moderation);
    let pair = compared(first, &gathered, "net-tx/passthrough");
    // Without moderation most completions are found while the card is polled anyway, with no upcall.
    let found = blamed_ms(&pair, ("net.xmit_done", "softirq.entry"));
    let half_ms = f64::from(MODERATION_US) / 2e3;
    eprintln!("moderation of {MODERATION_US} us: {found:.2} ms found");
    // The emulated card's timer is late where the host is busy.
    let expected = 0.8 * half_ms..1.5 * half_ms;
    assert!(expected.contains(&found), "{found} ms");
}

#[test]
#[ignore = "long: five runs"]
fn delays_on_the_way_of_a_passed_through_card_are_named_and_without_them_nothing() {
    let _turn = shared();
    let folder = scratch("lab-planted-card");
    let (first, _) = report(&folder, "first", PASSTHROUGH, &RR);
    let (second, _) = report(&folder, "second", PASSTHROUGH, &RR);
    for datapath in ["net-tx/passthrough", "net-rx/passthrough"] {
        assert_nothing_blamed(&first, &second, datapath);
    }
    let (udp, _) = report(&folder, "udp", PASSTHROUGH, &UDP);
    let queue = SlowQueue {
        domain: "B",
        interface: "eth1",
        datapath: "net-tx/passthrough",
        // Without netem an idle queueing discipline is passed by.
        stage: ("net.queue", "net.xmit"),
    };
    for round in 0..rounds() {
        eprintln!("round {round}");
        queue.assert_named(&folder, &first, PASSTHROUGH);
        assert_moderation_is_named(&folder, &udp);
    }
}
