//! Known delays on the way of packets, planted one at a time: the tool must name the stage, and how much was
//! added; with nothing planted it must blame nothing. `TRACER_PLANTED_ROUNDS` says how often (once).

use std::path::Path;

use tracer_analysis::{Report, compare::Pair};

use crate::network::{PASSTHROUGH, VIF, assert_joined, report};
use crate::planted::{blamed, hog, rounds};
use crate::support::*;

/// What netem adds to each packet, in milliseconds.
const NETEM_MS: f64 = 50.0;
/// The longest time that the card gathers packets before it interrupts, in microseconds: its driver's most.
const MODERATION_US: u32 = 10_000;
/// How long Dom0's CPU is taken at a time. TCP sends again what has no answer for 200 ms: a copy is on the packets' ways
/// besides, but in no transaction.
const HOG_MS: u32 = 150;
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
    assert_eq!(nothing.verdict.blamed, None, "{nothing:#?}");
}

/// The stage that is blamed must be this one; says how much was added, in milliseconds.
fn blamed_ms(pair: &Pair, stage: (&str, &str)) -> f64 {
    let blamed = blamed(pair);
    assert_eq!((&*blamed.from, &*blamed.to), stage, "{pair:#?}");
    blamed.added_ns / 1e6
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

/// What the load says of its transactions, over all iterations, in milliseconds.
fn transaction_ms(report: &Report) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for iteration in &report.iterations {
        let latency = iteration.latency.unwrap();
        let of_it = latency.count as f64;
        sum += latency.mean_ns * of_it;
        count += of_it;
    }
    sum / count / 1e6
}

/// How much longer packets take to where `last` begins, all stages before it together, in milliseconds.
fn added_until_ms(pair: &Pair, last: &str) -> f64 {
    let before = pair.stages.iter().take_while(|stage| stage.from != last);
    let added = before.filter_map(|stage| stage.part.mean_ns.difference);
    added.sum::<f64>() / 1e6
}

/// Lets the kernel's thread of soft interrupts go before a hog. Asked for and kept waiting, it keeps the interrupts from
/// handling what comes in (`ksoftirqd_running` in kernel/softirq.c): another stage that a hog slows, some of the time.
fn softirqs_before_hog() -> Setting {
    let policy = |of: &str| format!("for thread in $(pgrep ksoftirqd); do chrt {of} $thread; done");
    Setting::new("dom0", &policy("-f -p 60"), policy("-o -p 0"))
}

/// Takes Dom0's CPU from netback's thread. How much that adds, only the load knows: as much as the ways of its request,
/// to Dom0's card, and of the answer take longer.
fn assert_hog_is_named(folder: &Path, first: &Path, first_report: &Report) {
    let scenario = folder.join("hog.toml");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(VIF);
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(&scenario, text + "\n" + &hog(HOG_MS)).unwrap();
    let args = [&RR[..2], &["--set=workload.duration=6s"]].concat();
    let before_hog = softirqs_before_hog();
    let (hogged, hogged_report) = report(folder, "hogged", scenario.to_str().unwrap(), &args);
    drop(before_hog);
    assert_joined(&hogged_report, "B");
    let answer = compared(first, &hogged, "net-rx/vif");
    let of_stage = blamed_ms(&answer, ("dom0.xmit_done", "netback.dequeue"));
    let request = compared(first, &hogged, "net-tx/vif");
    let there = added_until_ms(&request, "dom0.xmit_done");
    let back = answer.total.mean_ns.difference.unwrap() / 1e6;
    eprintln!(
        "hog: {there:.2} ms more there, {back:.2} ms back, {of_stage:.2} ms of it in the stage named"
    );
    let planted = transaction_ms(&hogged_report) - transaction_ms(first_report);
    assert_near("hog", there + back, planted);
}

#[test]
#[ignore = "long: two runs"]
fn a_hog_on_dom0_s_cpu_is_named_by_packets() {
    let _turn = alone();
    let folder = scratch("lab-planted-net-hog");
    let (first, first_report) = report(&folder, "first", VIF, &RR);
    for round in 0..rounds() {
        eprintln!("round {round}");
        assert_hog_is_named(&folder, &first, &first_report);
    }
}

#[test]
fn delays_on_the_way_of_a_virtual_card_are_named_and_without_them_nothing() {
    let _turn = alone();
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
    let _turn = alone();
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
