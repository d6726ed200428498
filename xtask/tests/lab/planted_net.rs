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

/// A setting of a domain that is put back.
struct Setting {
    domain: &'static str,
    undo: String,
}

impl Setting {
    fn new(domain: &'static str, set: &str, undo: String) -> Self {
        printed(domain, set);
        Self { domain, undo }
    }

    /// A queue whose packets are held back.
    fn netem(domain: &'static str, interface: &str) -> Self {
        Self::new(
            domain,
            &format!(
                "modprobe sch_netem; tc qdisc replace dev {interface} root netem delay {NETEM_MS}ms"
            ),
            format!("tc qdisc del dev {interface} root"),
        )
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        exec(self.domain, &self.undo);
    }
}

/// Two runs with nothing planted, of which nothing may be blamed; the first of them.
fn nothing_planted(folder: &Path, scenario: &str, args: &[&str], datapath: &str) -> PathBuf {
    let (first, _) = report(folder, "first", scenario, args);
    let (second, _) = report(folder, "second", scenario, args);
    let nothing = compared(&first, &second, datapath);
    assert_eq!(nothing["verdict"]["blamed"], Value::Null, "{nothing:#}");
    first
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

/// netem on one queue after the other.
fn assert_slow_queue_is_named(
    what: &str,
    scenario: &str,
    (domain, interface): (&'static str, &str),
    datapath: &str,
    stage: (&str, &str),
) {
    let folder = scratch(&format!("lab-planted-{what}"));
    let first = nothing_planted(&folder, scenario, &RR, datapath);
    for round in 0..rounds() {
        eprintln!("round {round}");
        let queue = Setting::netem(domain, interface);
        let (slow, slow_report) = report(&folder, &format!("slow-{round}"), scenario, &RR);
        drop(queue);
        if scenario == VIF {
            assert_joined(&slow_report, "B");
        }
        let found = blamed_ms(&compared(&first, &slow, datapath), stage);
        assert_near(what, found, NETEM_MS);
    }
}

#[test]
fn a_slow_queue_of_a_guest_s_interface_is_named() {
    let _turn = shared();
    let vif = printed("dom0", "echo vif$(xl domid B).0");
    // Without netem the interface has no queueing discipline, and so no `dom0.dequeue`.
    let stage = ("dom0.queue", "dom0.xmit");
    assert_slow_queue_is_named("vif", VIF, ("dom0", &vif), "net-rx/vif", stage);
}

#[test]
fn a_slow_queue_of_the_bridge_s_port_to_the_network_is_named() {
    let _turn = shared();
    let stage = ("dom0.queue", "dom0.dequeue");
    assert_slow_queue_is_named("port", VIF, ("dom0", "eth0"), "net-tx/vif", stage);
}

#[test]
fn a_slow_queue_of_a_passed_through_card_is_named() {
    let _turn = shared();
    let stage = ("net.queue", "qdisc.dequeue");
    let card = ("B", "eth1");
    assert_slow_queue_is_named("card", PASSTHROUGH, card, "net-tx/passthrough", stage);
}

/// What the load says of its transactions, over all iterations, in milliseconds.
fn transaction_ms(report: &Value) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for iteration in report["iterations"].as_array().unwrap() {
        let latency = &iteration["latency"];
        let of_it = latency["count"].as_f64().unwrap();
        sum += latency["mean_ns"].as_f64().unwrap() * of_it;
        count += of_it;
    }
    sum / count / 1e6
}

#[test]
fn a_hog_on_dom0_s_cpu_is_named_by_packets() {
    let _turn = shared();
    let folder = scratch("lab-planted-net-hog");
    let with_hog = folder.join("hog.toml");
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(VIF));
    std::fs::write(&with_hog, text.unwrap() + "\n" + &hog()).unwrap();
    let args = [&RR[..2], &["--set=workload.duration=6s"]].concat();
    let (quick, quick_report) = report(&folder, "quick", VIF, &args);
    for round in 0..rounds() {
        eprintln!("round {round}");
        let name = format!("hogged-{round}");
        let (hogged, hogged_report) = report(&folder, &name, with_hog.to_str().unwrap(), &args);
        assert_joined(&hogged_report, "B");
        // What waits for a CPU is netback's thread.
        let pair = compared(&quick, &hogged, "net-rx/vif");
        let found = blamed_ms(&pair, ("dom0.xmit_done", "netback.dequeue"));
        let planted = transaction_ms(&hogged_report) - transaction_ms(&quick_report);
        assert_near("hog", found, planted);
    }
}

/// A card that gathers what it has sent tells of it late: on average after half of the time.
#[test]
fn interrupt_moderation_of_a_passed_through_card_is_named() {
    let _turn = shared();
    let folder = scratch("lab-planted-moderation");
    let datapath = "net-tx/passthrough";
    let first = nothing_planted(&folder, PASSTHROUGH, &UDP, datapath);
    for round in 0..rounds() {
        eprintln!("round {round}");
        let usecs = |usecs: u32| format!("ethtool -C eth1 rx-usecs {usecs}");
        let before = printed("B", "ethtool -c eth1 | awk '/^rx-usecs:/ { print $2 }'");
        let moderation = Setting::new("B", &usecs(MODERATION_US), usecs(before.parse().unwrap()));
        let (gathered, _) = report(&folder, &format!("gathered-{round}"), PASSTHROUGH, &UDP);
        drop(moderation);
        let pair = compared(&first, &gathered, datapath);
        let found = blamed_ms(&pair, ("net.xmit_done", "evtchn.upcall"));
        let half_ms = f64::from(MODERATION_US) / 2e3;
        eprintln!("moderation of {MODERATION_US} us: {found:.2} ms found");
        assert!(
            (0.5 * half_ms..2.0 * half_ms).contains(&found),
            "{found} ms"
        );
    }
}
