//! The real programs in the real kernel: every kind of load, both modes, conservation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod support;

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::{
    socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, listen, recv,
        setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};

use support::{
    alone, assert_conserved, assert_nothing_attached, clean_run, disk, has, may_trace, run,
};

#[test]
fn every_read_of_a_loop_device_becomes_a_span() {
    if !may_trace("every_read_of_a_loop_device_becomes_a_span") {
        return;
    }
    let _alone = alone();
    let workload =
        "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 2003\ndirect = true";
    let report = clean_run(&disk(
        workload,
        "/var/tmp",
        "[run]\niterations = 1\nwarm_up = 1",
    ));
    assert_conserved(&report);
    let breakdown = report["breakdowns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["device"].as_str().unwrap().starts_with("loop"))
        .unwrap();
    let seen = breakdown["total"]["count"].as_u64().unwrap();
    assert_eq!(seen, 2003);
    assert_eq!(breakdown["bytes"].as_u64().unwrap(), seen * 4096);
    assert_eq!(report["domains"][0]["counters"]["ring_full"], 0);
    assert_nothing_attached();
}

/// A loop device with one partition; gone when dropped.
struct PartitionedLoop {
    device: String,
}

impl PartitionedLoop {
    fn new(file: &tempfile::NamedTempFile) -> Self {
        const SECTORS: u32 = 64 << 11;
        const START: u32 = 2048;
        let linux = 0x83;
        let mut entry = [0, 0, 0, 0, linux, 0, 0, 0].to_vec();
        entry.extend(START.to_le_bytes());
        entry.extend((SECTORS - START).to_le_bytes());
        file.as_file().set_len(u64::from(SECTORS) * 512).unwrap();
        file.as_file().write_all_at(&entry, 446).unwrap();
        file.as_file().write_all_at(&[0x55, 0xaa], 510).unwrap();
        let output = Command::new("losetup")
            .args(["--find", "--show", "--partscan"])
            .arg(file.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", support::words(&output));
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { device }
    }

    /// Its partition, once its node is there; says so if nobody makes one. `partx` reads the table where the kernel
    /// cannot.
    fn partition(&self, test: &str) -> Option<String> {
        let partition = format!("{}p1", self.device);
        let start = Instant::now();
        while !Path::new(&partition).exists() {
            if start.elapsed() > Duration::from_secs(5) {
                eprintln!("SKIPPED {test}: nobody makes nodes for partitions of loop devices here");
                return None;
            }
            let _ = Command::new("partx")
                .args(["--update", &self.device])
                .output();
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(partition)
    }
}

impl Drop for PartitionedLoop {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .args(["--detach", &self.device])
            .status();
    }
}

#[test]
fn every_read_of_a_partition_is_the_partitions() {
    let test = "every_read_of_a_partition_is_the_partitions";
    if !may_trace(test) || !has("losetup", test) || !has("partx", test) {
        return;
    }
    let _alone = alone();
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    let disk = PartitionedLoop::new(&file);
    let Some(partition) = disk.partition(test) else {
        return;
    };
    let report = clean_run(&format!(
        "schema = 1\nname = \"test\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"dd\"\ntarget = \"{partition}\"\nblock_size = \"4KiB\"\ncount = 503\ndirect = true\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"disk/native\"]\nmax_lost_percent = 10\n"
    ));
    assert_conserved(&report);
    let name = partition.strip_prefix("/dev/").unwrap();
    let breakdown = report["breakdowns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["device"] == name)
        .unwrap_or_else(|| panic!("{:#}", report["breakdowns"]));
    assert_eq!(breakdown["total"]["count"], 503);
    assert_eq!(breakdown["bytes"], 503 * 4096);
    assert_nothing_attached();
}

/// The kernel gives the memory of a read's bio to the next read as soon as the device is done, and the reader may wait
/// for its CPU for long after that.
#[test]
fn readers_who_share_a_cpu_and_a_file_are_all_followed() {
    let test = "readers_who_share_a_cpu_and_a_file_are_all_followed";
    if !may_trace(test) || !has("taskset", test) {
        return;
    }
    let _alone = alone();
    let readers = "for reader in 1 2 3 4; do taskset --cpu-list 0 dd if=\"$0\" of=/dev/null bs=4k count=1000 iflag=direct & done; wait";
    let report = clean_run(&format!(
        "schema = 1\nname = \"test\"\n[[domain]]\nname = \"native\"\n[[resource]]\nname = \"file\"\nkind = \"file\"\nsize = \"8MiB\"\ndirectory = \"/var/tmp\"\n[workload]\nkind = \"command\"\nprogram = \"sh\"\nargs = [\"-c\", '{readers}', \"@file\"]\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"disk/native\"]\nmax_lost_percent = 10\n"
    ));
    assert_conserved(&report);
    let domain = &report["domains"][0];
    let [spans, lost] = ["spans", "lost"].map(|key| domain[key].as_u64().unwrap());
    assert!(
        spans >= 3990 && lost <= 10,
        "{lost} lost, {spans} on record"
    );
}

#[test]
fn flushes_of_a_partition_are_followed() {
    let test = "flushes_of_a_partition_are_followed";
    if !may_trace(test) || !has("losetup", test) || !has("partx", test) {
        return;
    }
    let _alone = alone();
    let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
    let disk = PartitionedLoop::new(&file);
    let Some(partition) = disk.partition(test) else {
        return;
    };
    let write = "for write in $(seq 20); do dd if=/dev/zero of=\"$0\" bs=4k count=1 oflag=direct conv=fsync; done";
    let report = clean_run(&format!(
        "schema = 1\nname = \"test\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"command\"\nprogram = \"sh\"\nargs = [\"-c\", '{write}', \"{partition}\"]\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"disk/native\"]\ndevices = [\"{partition}\"]\nmax_lost_percent = 10\n"
    ));
    assert_conserved(&report);
    let name = partition.strip_prefix("/dev/").unwrap();
    let mut breakdowns = report["breakdowns"].as_array().unwrap().iter();
    let flushes = breakdowns
        .find(|b| b["device"] == name && b["operation"] == "flush")
        .unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!(flushes["total"]["count"], 20);
    assert_eq!(report["domains"][0]["counters"]["flushes_merged"], 0);
}

#[test]
fn writes_and_flushes_are_told_apart() {
    if !may_trace("writes_and_flushes_are_told_apart") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload = "kind = \"dd\"\ntarget = \"@disk\"\noperation = \"write\"\nblock_size = \"64KiB\"\ncount = 200\ndirect = true";
    let report = run(
        folder.path(),
        &disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0"),
    );
    assert_conserved(&report);
    assert!(
        report["breakdowns"]
            .as_array()
            .unwrap()
            .iter()
            .any(|b| b["operation"] == "write"),
        "{report:#}"
    );
}

#[test]
fn aggregate_mode_counts_what_spans_would_be() {
    if !may_trace("aggregate_mode_counts_what_spans_would_be") {
        return;
    }
    let _alone = alone();
    let workload =
        "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 3000\ndirect = true";
    let text =
        disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 1") + "mode = \"aggregate\"\n";
    let report = clean_run(&text);
    assert_conserved(&report);
    let breakdown = report["breakdowns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["device"].as_str().unwrap().starts_with("loop"))
        .unwrap();
    assert_eq!(breakdown["approximate"], true);
    let seen = breakdown["total"]["count"].as_u64().unwrap();
    assert_eq!(seen, 3000);
}

fn net(workload: &str) -> String {
    format!(
        "schema = 1\nname = \"net\"\n[[domain]]\nname = \"native\"\n[[resource]]\nname = \"link\"\nkind = \"veth\"\nleft = {{ address = \"10.91.0.1/24\" }}\nright = {{ address = \"10.91.0.2/24\" }}\n[workload]\nfrom = \"@link.left\"\nto = \"@link.right\"\n{workload}\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"net-tx/native\", \"net-rx/native\"]\n"
    )
}

#[test]
fn every_packet_of_a_tcp_conversation_is_followed() {
    let test = "every_packet_of_a_tcp_conversation_is_followed";
    if !may_trace(test) || !has("ip", test) {
        return;
    }
    let _alone = alone();
    let report = clean_run(&net("kind = \"tcp-rr\"\ncount = 2003"));
    assert_conserved(&report);
    for path in ["net-tx/native", "net-rx/native"] {
        let breakdown = report["breakdowns"]
            .as_array()
            .unwrap()
            .iter()
            .find(|b| b["datapath"] == path)
            .unwrap();
        let seen = breakdown["total"]["count"].as_u64().unwrap();
        assert!(
            (3966..=4008).contains(&seen),
            "{path}: {seen} of 4006 packets"
        );
    }
    assert_nothing_attached();
}

#[test]
fn a_stream_and_a_flood_are_followed() {
    let test = "a_stream_and_a_flood_are_followed";
    if !may_trace(test) || !has("ip", test) {
        return;
    }
    let _alone = alone();
    for workload in [
        "kind = \"tcp-stream\"\nduration = \"500ms\"",
        "kind = \"udp-flood\"\nsize = 64\nrate = 2000\nduration = \"500ms\"",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let report = run(folder.path(), &net(workload));
        assert_conserved(&report);
        let domain = &report["domains"][0];
        assert!(domain["lost_share"].as_f64().unwrap() < 0.01, "{domain:#}");
        assert_eq!(report["breakdowns"].as_array().unwrap().len(), 2);
    }
}

/// A listener whose queue of connections is full, so that the kernel drops what else asks for one.
struct Full {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: TcpStream,
}

impl Full {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            address,
            _listener: listener,
            _waiting: TcpStream::connect(address).unwrap(),
        }
    }

    /// Asks again and again: each time TCP does so once more after a second, for want of an answer.
    fn ask_until(&self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let asked = TcpStream::connect_timeout(&self.address, Duration::from_millis(1500));
            assert!(asked.is_err(), "its queue is full");
        }
    }
}

/// Says that it is over when it is dropped, as by a test that fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn segments_sent_again_are_counted_where_the_port_is_followed() {
    if !may_trace("segments_sent_again_are_counted_where_the_port_is_followed") {
        return;
    }
    let _alone = alone();
    let full = Full::new();
    let is_over = AtomicBool::new(false);
    let sent_again = thread::scope(|scope| {
        scope.spawn(|| full.ask_until(&is_over));
        let _ended = Ended(&is_over);
        [full.address.port(), 1].map(|port| {
            let report = clean_run(&format!(
                "schema = 1\nname = \"again\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"command\"\nprogram = \"sleep\"\nargs = [\"4\"]\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"net-tx/native\"]\nports = [{port}]\n"
            ));
            report["domains"][0]["counters"]["retransmitted"].as_u64().unwrap()
        })
    });
    assert!((1..=4).contains(&sent_again[0]), "{sent_again:?}");
    assert_eq!(sent_again[1], 0);
}

/// Reads every packet of this machine until it is over, as dhclient or tcpdump do; says when it has begun.
fn sniff_until(is_over: &AtomicBool, sniffs: &mpsc::Sender<()>) {
    let all = SockProtocol::EthAll;
    let flags = SockFlag::empty();
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
    let often = TimeVal::milliseconds(100);
    setsockopt(&socket, ReceiveTimeout, &often).unwrap();
    sniffs.send(()).unwrap();
    let mut packet = [0; 128];
    while !is_over.load(Ordering::Relaxed) {
        let _ = recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty());
    }
}

/// Sends packets to a port where nobody listens, until it is over.
fn send_until(is_over: &AtomicBool, port: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let _ = socket.send_to(b"anybody?", ("127.0.0.1", port));
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_sniffer_is_not_taken_for_the_reader() {
    if !may_trace("a_sniffer_is_not_taken_for_the_reader") {
        return;
    }
    let _alone = alone();
    let is_over = AtomicBool::new(false);
    let port = {
        let nobodys = UdpSocket::bind("127.0.0.1:0").unwrap();
        nobodys.local_addr().unwrap().port()
    };
    let report = thread::scope(|scope| {
        let (sender, sniffs) = mpsc::channel();
        scope.spawn({
            let is_over = &is_over;
            move || sniff_until(is_over, &sender)
        });
        scope.spawn(|| send_until(&is_over, port));
        let _ended = Ended(&is_over);
        sniffs.recv().unwrap();
        let folder = tempfile::tempdir().unwrap();
        run(
            folder.path(),
            &format!(
                "schema = 1\nname = \"sniffed\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"command\"\nprogram = \"sleep\"\nargs = [\"1\"]\n[run]\niterations = 1\nwarm_up = 0\n[probes]\ndatapaths = [\"net-rx/native\"]\nports = [{port}]\n"
            ),
        )
    });
    let dropped = report["domains"][0]["counters"]["dropped"].as_u64();
    assert!(dropped.unwrap() >= 100, "{report:#}");
    // The sniffer has been told of each, and no socket of the packet's own.
    let breakdowns = report["breakdowns"].as_array().unwrap().iter();
    let mut stages = breakdowns.flat_map(|breakdown| breakdown["stages"].as_array().unwrap());
    assert!(
        stages.all(|stage| stage["to"] != "sock.ready"),
        "{report:#}"
    );
}

#[test]
fn a_background_load_runs_meanwhile() {
    if !may_trace("a_background_load_runs_meanwhile") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload = "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 500\ndirect = true\n[[background]]\nkind = \"cpu\"\ncpus = [0]";
    let report = run(
        folder.path(),
        &disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0"),
    );
    assert_conserved(&report);
}

#[test]
fn the_same_run_gives_the_same_report_again() {
    if !may_trace("the_same_run_gives_the_same_report_again") {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let workload =
        "kind = \"dd\"\ntarget = \"@disk\"\nblock_size = \"4KiB\"\ncount = 300\ndirect = true";
    let first = run(
        folder.path(),
        &disk(workload, "/var/tmp", "[run]\niterations = 1\nwarm_up = 0"),
    );
    let again = support::tracer()
        .args(["report", "--format", "json"])
        .arg(folder.path().join("run"))
        .output()
        .unwrap();
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(first, again);
    for format in ["text", "folded", "svg", "html", "perfetto"] {
        let output = support::tracer()
            .args(["report", "--format", format])
            .arg(folder.path().join("run"))
            .output()
            .unwrap();
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{format}: {}",
            support::words(&output)
        );
    }
}
