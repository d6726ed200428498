//! Guests' packets through both kernels, and those of a passed-through card, from a tracer in Dom0.

use std::path::{Path, PathBuf};

use tracer_analysis::{Breakdown, Report};

use crate::backends::Remade;
use crate::support::*;

/// A small run; returns its report.
pub(crate) fn report(
    folder: &Path,
    name: &str,
    scenario: &str,
    args: &[&str],
) -> (PathBuf, Report) {
    let out = folder.join(name);
    let _ = std::fs::remove_dir_all(&out);
    let mut all = vec!["run", "--name", this_lab(), scenario, "--out"];
    all.extend([out.to_str().unwrap(), "--", "--json"]);
    all.extend(args);
    let output = lab(&all);
    assert!(output.status.success(), "{}", text(&output));
    (out, printed_report(&output))
}

const QUICK: [&str; 3] = [
    "--iterations=1",
    "--set=run.warm_up=0",
    "--set=workload.duration=1s",
];

fn breakdown<'a>(report: &'a Report, domain: &str, datapath: &str) -> &'a Breakdown {
    let mut breakdowns = report.breakdowns.iter();
    let found = breakdowns.find(|b| b.domain == domain && b.datapath == datapath);
    found.unwrap_or_else(|| panic!("{domain} has no {datapath}: {report:#?}"))
}

/// At least 99 of 100 packets were followed through both kernels, and no clock was broken.
pub(crate) fn assert_joined(report: &Report, name: &str) {
    let guest = domain(report, name);
    let join = join(guest);
    let unjoined: u64 = join.unjoined.values().sum();
    assert!(join.joined >= 100, "{guest:#?}");
    assert!(join.joined >= 99 * unjoined, "{guest:#?}");
    assert_clock(guest);
}

/// Nearly all packets passed these points.
fn assert_passed(breakdown: &Breakdown, points: &[&str]) {
    let count = breakdown.total.count;
    for point in points {
        let passed = passed(breakdown, point);
        assert!(
            passed * 100 >= count * 95,
            "{point}: {passed} of {count}: {breakdown:#?}"
        );
    }
}

pub(crate) const VIF: &str = "scenarios/nic-vif.toml";
pub(crate) const PASSTHROUGH: &str = "scenarios/nic-passthrough.toml";

#[test]
fn packets_of_a_virtual_card_are_followed_through_both_kernels_both_ways() {
    let _turn = shared();
    let folder = scratch("lab-vif");
    let args = [&QUICK[..], &["--profile=rr"]].concat();
    let (_, report) = report(&folder, "rr", VIF, &args);
    assert_joined(&report, "B");
    let sent = breakdown(&report, "B", "net-tx/vif");
    assert_adds_up(sent);
    assert_passed(
        sent,
        &[
            "net.xmit",
            "dom0.receive",
            "dom0.queue",
            "dom0.xmit",
            "dom0.tx_complete",
        ],
    );
    let received = breakdown(&report, "B", "net-rx/vif");
    assert_adds_up(received);
    assert_passed(
        received,
        &[
            "dom0.receive",
            "netback.dequeue",
            "napi.gro_receive",
            "sock.ready",
        ],
    );
}

#[test]
fn a_stream_is_followed_each_way() {
    let _turn = shared();
    let folder = scratch("lab-vif-stream");
    for (name, datapath, profile) in [
        ("send", "net-tx/vif", None),
        ("receive", "net-rx/vif", Some("--profile=receive")),
    ] {
        let args = [&QUICK[..], profile.as_slice()].concat();
        let (_, report) = report(&folder, name, VIF, &args);
        assert_joined(&report, "B");
        assert_adds_up(breakdown(&report, "B", datapath));
    }
}

#[test]
fn packets_from_guest_to_guest_are_followed_in_both() {
    let _turn = shared();
    let folder = scratch("lab-guest-to-guest");
    // Two guests at a time: on a busy machine a second has less than fifty round trips.
    let args = [
        "--iterations=1",
        "--set=run.warm_up=0",
        "--set=workload.duration=3s",
        "--profile=guest-to-guest",
        "--profile=rr",
    ];
    let (_, report) = report(&folder, "run", VIF, &args);
    for guest in ["A", "B"] {
        assert_joined(&report, guest);
        let sent = breakdown(&report, guest, "net-tx/vif");
        assert_adds_up(sent);
        assert_passed(sent, &["dom0.receive", "netback.dequeue"]);
        let received = breakdown(&report, guest, "net-rx/vif");
        assert_adds_up(received);
        assert_passed(received, &["dom0.queue", "netback.dequeue", "sock.ready"]);
    }
}

#[test]
fn packets_of_a_passed_through_card_are_followed_from_dom0() {
    let _turn = shared();
    let folder = scratch("lab-nic-passthrough");
    let args = [&QUICK[..], &["--profile=rr"]].concat();
    let (_, report) = report(&folder, "run", PASSTHROUGH, &args);
    for datapath in ["net-tx/passthrough", "net-rx/passthrough"] {
        let breakdown = breakdown(&report, "B", datapath);
        assert!(breakdown.total.count >= 50, "{breakdown:#?}");
        assert_adds_up(breakdown);
    }
    let sent = breakdown(&report, "B", "net-tx/passthrough");
    // Its completion comes along with an answer's interrupt, more often than with one of its own.
    assert_passed(sent, &["net.xmit", "net.xmit_done", "net.tx_complete"]);
    // A received packet's way begins with the upcall.
    let received = breakdown(&report, "B", "net-rx/passthrough");
    assert_passed(received, &["irq.entry", "napi.poll", "sock.ready"]);
    assert_eq!(received.stages[0].from, "evtchn.upcall");
}

/// A request and a response at a time, over IPv6; each iteration is another connection, on either queue.
const OVER_IPV6: &str = r#"
schema = 1
name = "ipv6"
[[domain]]
name = "dom0"
[[domain]]
name = "A"
agent = "console"
[[domain]]
name = "peer"
agent = "console:/dev/virtio-ports/tracer-peer"
datapaths = []
[workload]
domain = "A"
kind = "tcp-rr"
to = "fd77::1"
server = "peer"
duration = "500ms"
[run]
iterations = 8
warm_up = 0
[probes]
datapaths = ["net-tx/vif", "net-rx/vif"]
"#;

/// Packets that either queue of guest A's card has taken from the guest, as netback counts its ring.
fn sent_by_queue() -> Vec<u64> {
    let consumed = "cd /sys/kernel/debug/xen-netback/vif$(xl domid A).0 && \
                    for queue in io_ring_q?; do awk '/req prod/ { print $6; exit }' $queue; done";
    let printed = printed("dom0", consumed);
    printed.lines().map(|line| line.parse().unwrap()).collect()
}

/// The front end asks for as many as the guest has CPUs, unless it is told.
const TWO_QUEUES: &str = "s/^extra = '/&xen_netfront.max_queues=2 /";

#[test]
fn packets_over_ipv6_are_followed_on_each_of_two_queues() {
    let _turn = shared();
    let _guest = Remade::with(TWO_QUEUES);
    printed("A", "ip address add fd77::21/64 dev eth0 nodad");
    printed(
        "peer",
        "ip address replace fd77::1/64 dev tap0 nodad; ip -6 route show dev tap0",
    );
    let before = sent_by_queue();
    let folder = scratch("lab-ipv6");
    let scenario = folder.join("ipv6.toml");
    std::fs::write(&scenario, OVER_IPV6).unwrap();
    let (_, report) = report(&folder, "run", scenario.to_str().unwrap(), &[]);
    let after = sent_by_queue();
    assert_eq!((before.len(), after.len()), (2, 2));
    for (before, after) in before.iter().zip(&after) {
        assert!(after - before >= 10, "{before} and {after}");
    }
    assert_joined(&report, "A");
    for datapath in ["net-tx/vif", "net-rx/vif"] {
        assert_adds_up(breakdown(&report, "A", datapath));
    }
}
