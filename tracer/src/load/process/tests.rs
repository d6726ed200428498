use std::{fs, io::Read as _, net::SocketAddr};

use super::*;
use crate::load::{
    CommandLoad, CpuLoad, DdLoad, IdleLoad, Protocol, ServerLoad, TcpRrLoad, UdpFloodLoad,
    run_stdio,
};
use tracer_analysis::scenario::types::Operation;

const ROLE: &str = "TRACER_LOAD_TEST_ROLE";
const SOON: Duration = Duration::from_secs(2);

/// Makes this test program do as `tracer load` does, before the test harness starts.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTRY: extern "C" fn() = {
    extern "C" fn enter() {
        match std::env::var(ROLE).as_deref() {
            Ok("load") => std::process::exit(run_stdio()),
            // A loader that starts a load, says which, and then is killed.
            Ok("parent") => {
                let spec = cpu();
                let load = spawn_command(this("load"), &spec).unwrap();
                println!("{}", load.pid());
                thread::sleep(Duration::from_secs(60));
            }
            _ => {}
        }
    }
    enter
};

fn this(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    command
}

fn cpu() -> LoadSpec {
    let mut spec = LoadSpec::new(LoadKind::Cpu(CpuLoad { duration_ms: None }));
    spec.cpus = vec![0];
    spec
}

fn go(spec: &LoadSpec) -> RunningLoad {
    spawn_command(this("load"), spec).unwrap()
}

/// Whether a process still does something (a zombie of an adopted child does not).
fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

fn dies_soon(pid: u32) -> bool {
    let deadline = Instant::now() + SOON;
    while lives(pid) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    !lives(pid)
}

#[test]
fn a_result_comes_back() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), vec![1; 65536]).unwrap();
    let spec = LoadSpec::new(LoadKind::Dd(DdLoad {
        target: file.path().to_owned(),
        operation: Operation::Read,
        block_size: 4096,
        count: 16,
        offset: 0,
        direct: false,
        truncate: false,
        allow_device_write: false,
        think: None,
    }));
    let mut load = go(&spec);
    let result = load.wait(SOON).unwrap();
    assert_eq!((result.bytes, result.tids.len()), (65536, 1));
    assert!(result.start_monotonic_ns < result.end_monotonic_ns);
}

#[test]
fn an_error_comes_back_in_its_own_words() {
    let mut spec = LoadSpec::new(LoadKind::Idle(IdleLoad { duration_ms: None }));
    spec.namespace = Some("tracer-none-such".into());
    let error = go(&spec).wait(SOON).unwrap_err().to_string();
    assert!(error.contains("exit status: 3"), "{error}");
    assert!(error.contains("ip netns add tracer-none-such"), "{error}");
    let error = spawn(Path::new("/none/such"), &cpu()).err().unwrap();
    assert!(error.to_string().contains("/none/such"), "{error}");
}

#[test]
fn a_background_load_runs_until_stopped_even_if_its_starter_thread_is_gone() {
    let mut load = thread::spawn(|| go(&cpu())).join().unwrap();
    let error = load.wait(Duration::from_millis(150)).unwrap_err();
    assert!(matches!(error, LoadError::Timeout { .. }), "{error}");
    let affinity = fs::read_dir(format!("/proc/{}/task", load.pid())).unwrap();
    let pinned = affinity.flatten().filter(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.contains("Name:\tload-0") && status.contains("Cpus_allowed_list:\t0\n")
    });
    assert_eq!(pinned.count(), 1);
    let result = load.stop().unwrap();
    assert!(result.operations > 0 && result.duration_ns > 100_000_000);
}

#[test]
fn a_stop_that_comes_at_once_still_gives_a_result() {
    for _ in 0..5 {
        assert_eq!(go(&cpu()).stop().unwrap().tids.len(), 1);
    }
}

#[test]
fn closing_stdin_ends_a_background_load() {
    let mut spec = LoadSpec::new(LoadKind::Idle(IdleLoad { duration_ms: None }));
    spec.stop_when_stdin_closes = true;
    let mut load = go(&spec);
    thread::sleep(Duration::from_millis(50));
    load.stdin = None;
    assert!(load.wait(SOON).unwrap().duration_ns > 0);
}

#[test]
fn dropping_ends_the_child() {
    let load = go(&cpu());
    let pid = load.pid();
    assert!(lives(pid));
    drop(load);
    assert!(!lives(pid));
}

#[test]
fn killing_the_parent_kills_the_child() {
    let mut parent = this("parent").stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut stdout = BufReader::new(parent.stdout.take().unwrap());
    stdout.read_line(&mut text).unwrap();
    let child = text.trim().parse().unwrap();
    assert!(lives(child));
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(dies_soon(child));
    // And it held nothing open.
    assert_eq!(stdout.read_to_string(&mut text).unwrap(), 0);
}

#[test]
fn a_killed_load_takes_its_program_along() {
    let spec = LoadSpec::new(LoadKind::Command(CommandLoad {
        program: "sleep".into(),
        args: vec!["60".into()],
        cwd: None,
        env: [].into(),
    }));
    let mut load = go(&spec);
    let children = format!("/proc/{0}/task", load.pid());
    let find = || {
        let tasks = fs::read_dir(&children).ok()?.flatten();
        let mut lists = tasks.map(|t| fs::read_to_string(t.path().join("children")));
        lists.find_map(|list| list.ok()?.trim().parse::<u32>().ok())
    };
    let deadline = Instant::now() + SOON;
    let mut program = find();
    while program.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
        program = find();
    }
    let Some(program) = program else {
        return eprintln!("SKIPPED: this kernel does not list the children of a process");
    };
    load.signal(Signal::SIGKILL);
    let error = load.wait(SOON).unwrap_err().to_string();
    assert!(error.contains("SIGKILL"), "{error}");
    assert!(dies_soon(program));
}

fn server(protocol: Protocol, namespace: Option<&str>, address: &str) -> RunningLoad {
    let mut spec = LoadSpec::new(LoadKind::Server(ServerLoad {
        protocol,
        address: address.parse().unwrap(),
        port: 0,
        finish_after: None,
    }));
    spec.namespace = namespace.map(str::to_owned);
    go(&spec)
}

#[test]
fn a_sink_reports_what_it_got_when_stopped() {
    let mut sink = server(Protocol::Udp, None, "127.0.0.1");
    let port = sink.ready(SOON).unwrap();
    let flood = LoadSpec::new(LoadKind::UdpFlood(UdpFloodLoad {
        destination: SocketAddr::from(([127, 0, 0, 1], port)),
        size: 18,
        rate: 4000,
        threads: 2,
        duration_ms: Some(100),
    }));
    let sent = go(&flood).wait(SOON).unwrap();
    let got = sink.stop().unwrap();
    assert_eq!(got.extra["senders"], 2);
    let lost = got.extra["lost"].as_u64().unwrap();
    assert_eq!(got.operations + lost, sent.operations);
}

/// Two namespaces joined by veth, removed at the end of the test.
struct Namespaces([String; 2]);

impl Namespaces {
    fn make() -> Option<Self> {
        let names = ["a", "b"].map(|end| format!("trld{}{end}", std::process::id()));
        let these = Self(names);
        let [a, b] = &these.0;
        let script = format!(
            "ip netns add {a} && ip netns add {b} &&
             ip -n {a} link add v0 type veth peer name v0 netns {b} &&
             ip -n {a} addr add 10.213.7.1/24 dev v0 && ip -n {b} addr add 10.213.7.2/24 dev v0 &&
             ip -n {a} link set v0 up && ip -n {b} link set v0 up"
        );
        let made = Command::new("sh").args(["-c", &script]).output().ok()?;
        if made.status.success() {
            return Some(these);
        }
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        eprintln!("SKIPPED: cannot make network namespaces: {why}");
        None
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

#[test]
fn loads_meet_across_namespaces() {
    let Some(namespaces) = Namespaces::make() else {
        return;
    };
    let [a, b] = &namespaces.0;
    let mut server = server(Protocol::Tcp, Some(b), "10.213.7.2");
    let port = server.ready(SOON).unwrap();
    let mut client = LoadSpec::new(LoadKind::TcpRr(TcpRrLoad {
        destination: SocketAddr::from(([10, 213, 7, 2], port)),
        request_size: 1,
        response_size: 1,
        count: Some(100),
        duration_ms: None,
        connect_timeout_ms: 1500,
        think: None,
    }));
    client.namespace = Some(a.clone());
    assert_eq!(go(&client).wait(SOON).unwrap().operations, 100);
    assert_eq!(server.stop().unwrap().operations, 100);
}
