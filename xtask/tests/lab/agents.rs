//! Ways to guests' agents, guests that misbehave, and runs that cannot begin.

use std::fs::{self, File};

use tracer_analysis::Report;

use crate::support::*;

/// B's reads, followed through both kernels; A is traced, too. Both agents are reached as `a` and `b` say.
fn scenario(a: &str, b: &str) -> String {
    format!(
        r#"
schema = 1
name = "agents"

[[domain]]
name = "dom0"

[[domain]]
name = "A"
agent = "{a}"

[[domain]]
name = "B"
agent = "{b}"

[workload]
domain = "B"
kind = "dd"
target = "/dev/xvda"
block_size = "16KiB"
count = 300
direct = true

[run]
iterations = 2
warm_up = 0

[probes]
datapaths = ["disk/vbd"]
"#
    )
}

/// Runs it, and does something to it once it is in its first iteration; its code, what it said, its report.
fn run_with(
    name: &str,
    scenario: &str,
    meanwhile: impl FnOnce(),
) -> (Option<i32>, String, Option<Report>) {
    let folder = scratch(name);
    let file = folder.join("scenario.toml");
    fs::write(&file, scenario).unwrap();
    let (out, stderr) = (folder.join("run"), folder.join("stderr"));
    let mut args = vec!["run", "--name", this_lab(), file.to_str().unwrap(), "--out"];
    args.extend([out.to_str().unwrap(), "--", "--json"]);
    let mut run = command(&args)
        .stdout(File::create(folder.join("stdout")).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&stderr).unwrap();
    while run.try_wait().unwrap().is_none() && !said().contains("iteration 1 of") {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    meanwhile();
    let code = run.wait().unwrap().code();
    let report = serde_json::from_slice(&fs::read(folder.join("stdout")).unwrap());
    (code, said(), report.ok())
}

/// That both iterations of B's reads were followed, whatever became of A.
fn assert_followed(report: Option<&Report>, said: &str) {
    let report = report.unwrap_or_else(|| panic!("no report: {said}"));
    let joined = join(domain(report, "B")).joined;
    assert!(joined >= 594, "{joined} of 600: {said}");
    assert_eq!(printed("dom0", "bpftool prog list"), "", "{said}");
}

/// Guests with an ssh server that lets Dom0's root in, and B's agent behind a socket that ssh brings to Dom0.
fn open_doors() {
    let key = printed(
        "dom0",
        "mkdir -p -m 700 ~/.ssh; [ -f ~/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519; \
         cat ~/.ssh/id_ed25519.pub",
    );
    for guest in ["A", "B"] {
        let serve = format!(
            "mkdir -p /run/sshd; mkdir -p -m 700 ~/.ssh; echo '{key}' > ~/.ssh/authorized_keys; \
             pgrep -x sshd > /dev/null || /usr/sbin/sshd"
        );
        printed(guest, &serve);
    }
    printed(
        "B",
        "setsid sh -c 'while :; do tracer agent --socket /run/agent.sock; sleep 1; done' < /dev/null > /dev/null 2>&1 &",
    );
    printed(
        "dom0",
        "for guest in 10.77.0.21 10.77.0.22; do ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new root@$guest true; done; \
         rm -f /run/b.sock; ssh -f -N -L /run/b.sock:/run/agent.sock root@10.77.0.22 < /dev/null > /dev/null 2>&1",
    );
}

/// What a tracer in Dom0 says of a scenario that it cannot begin.
fn refused(domain: &str, environment: &str, scenario: &str) -> String {
    let script = format!(
        "cd /tmp && cat > wrong.toml <<'END'\n{scenario}\nEND\nrm -rf wrong; {environment} /usr/local/bin/tracer run wrong.toml --out wrong"
    );
    let output = exec(domain, &script);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn agents_are_reached_over_ssh_and_a_socket_or_it_is_said_why_not() {
    let _turn = shared();
    open_doors();
    let ssh = "ssh:root@10.77.0.21";
    let (code, said, report) = run_with("lab-ssh", &scenario(ssh, "unix:/run/b.sock"), || ());
    assert_eq!(code, Some(0), "{said}");
    assert_followed(report.as_ref(), &said);
    for (a, why) in [
        ("ssh:root@10.77.0.99", "No route to host"),
        ("ssh:nobody@10.77.0.21", "must be among the authorized keys"),
        ("ssh:root@10.77.0.10", "ssh"),
        (
            "unix:/run/nobody.sock",
            "tracer agent --socket /run/nobody.sock",
        ),
        ("console:nothing", "channel = ["),
    ] {
        let said = refused("dom0", "", &scenario(a, "console"));
        assert!(
            said.contains(why) && said.contains("domain A"),
            "{a}: {said}"
        );
    }
    printed("A", "mv /usr/local/bin/tracer /root/tracer");
    let said = refused("dom0", "", &scenario(ssh, "console"));
    printed("A", "mv /root/tracer /usr/local/bin/tracer");
    assert!(said.contains("tracer is not installed there"), "{said}");
    assert_eq!(printed("dom0", "bpftool prog list"), "");
}

#[test]
fn run_that_cannot_begin_says_why_and_leaves_nothing() {
    let _turn = shared();
    let drivers = "for device in /sys/bus/pci/devices/*; do echo $device $(readlink $device/driver); done; xl list | wc -l";
    let before = printed("dom0", drivers);
    let good = scenario("console", "console");
    // A guest has the tracer from its first run on.
    if !exec("A", "test -x /usr/local/bin/tracer").status.success() {
        let (code, said, _) = run_with("lab-first-of-a", &good, || ());
        assert_eq!(code, Some(0), "{said}");
    }
    let with = |line: &str| {
        good.replacen(
            "agent = \"console\"\n",
            &format!("agent = \"console\"\n{line}\n"),
            1,
        )
    };
    for (scenario, why) in [
        (good.replace("\"A\"", "\"Z\""), "no guest \"Z\" runs"),
        (good.replace("\"A\"", "\"B\""), "is there twice"),
        (
            good.replace("domain = \"B\"", "domain = \"X\""),
            "there is no domain \"X\"",
        ),
        (with("pci = [\"1f.2\"]"), "no PCI address"),
        (with("pci = [\"0000:00:1e.7\"]"), "there is no PCI device"),
        (
            with("create = \"/nowhere.cfg\""),
            "there is no file /nowhere.cfg",
        ),
        (
            with("pci = [\"0000:00:0c.0\"]\ncreate = \"/share/guests/A.cfg\""),
            "runs already",
        ),
        (with("vcpu_pin = [\"1\", \"1\"]"), "1 virtual CPUs"),
        (with("vcpu_pin = [\"77\"]"), "vcpu-pin"),
        (with("guest = \"B\""), "same guest"),
    ] {
        let said = refused("dom0", "", &scenario);
        assert!(said.contains(why), "{why}: {said}");
    }
    // A guest has xl, but nobody to talk to.
    for (domain, environment, why) in [
        ("A", "", "xl list"),
        ("dom0", "PATH=/nowhere", "cannot run xl"),
    ] {
        let said = refused(domain, environment, &good);
        assert!(
            said.contains(why) && said.contains("is this Dom0?"),
            "{said}"
        );
    }
    assert_eq!(printed("dom0", drivers), before);
    assert_eq!(printed("dom0", "ls /run/tracer 2>/dev/null || true"), "");
}

#[test]
fn paused_guest_ends_its_own_part_of_the_run_and_a_second_run_is_refused() {
    let _turn = shared();
    let good = scenario("console", "console");
    let (code, said, report) = run_with("lab-paused", &good, || {
        printed("dom0", "xl pause A");
        let said = refused("dom0", "", &good);
        assert!(said.contains("another `tracer run` uses"), "{said}");
    });
    printed("dom0", "xl unpause A");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("going on without domain A"), "{said}");
    assert_followed(report.as_ref(), &said);
    // Its agent hears the end, or nothing for half a minute.
    wait_until(|| printed("A", "bpftool prog list").is_empty());
}

#[test]
fn guest_whose_agent_is_replaced_by_garbage_ends_its_own_part_of_the_run() {
    let _turn = shared();
    let noise = "pkill -KILL -f '^/usr/local/bin/tracer [a]gent'; timeout 20 cat /dev/urandom > $(cat /run/agent.tty) || true";
    printed(
        "A",
        "pgrep -a -f '^/usr/local/bin/tracer [a]gent' | sed 's/.* //' > /run/agent.tty",
    );
    let (code, said, report) = run_with("lab-garbage", &scenario("console", "console"), || {
        printed("A", noise);
    });
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("going on without domain A"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
    assert_followed(report.as_ref(), &said);
    // The lab is usable: the next run reaches an agent again.
    let (code, said, report) =
        run_with("lab-after-garbage", &scenario("console", "console"), || ());
    assert_eq!(code, Some(0), "{said}");
    assert_followed(report.as_ref(), &said);
}
