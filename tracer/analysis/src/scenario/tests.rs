//! What `docs/scenario.md` says of the loads' keys is what the checks allow.

use crate::scenario::{
    Changes,
    types::{Scenario, WorkloadKind},
};

const KINDS: [(&str, WorkloadKind); 6] = [
    ("dd", WorkloadKind::Dd),
    ("tcp-stream", WorkloadKind::TcpStream),
    ("tcp-rr", WorkloadKind::TcpRr),
    ("udp-flood", WorkloadKind::UdpFlood),
    ("cpu", WorkloadKind::Cpu),
    ("command", WorkloadKind::Command),
];

/// The keys that the document gives to some kinds of loads: key, and its column `of`.
fn documented() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../../../docs/scenario.md");
    let (_, section) = text.split_once("## `[workload]`").unwrap();
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    table
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .flat_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let of = cells[2];
            cells[1]
                .split(", ")
                .map(move |key| (key.trim_matches('`'), of))
        })
        .filter(|(_, of)| *of != "all")
        .collect()
}

/// Whether a column `of`, such as `tcp-\*, cpu`, means a kind.
fn means(of: &str, kind: &str) -> bool {
    of.split(", ").any(|one| {
        one.strip_suffix("\\*")
            .map_or(one == kind, |prefix| kind.starts_with(prefix))
    })
}

#[test]
fn the_document_gives_each_key_to_the_kinds_that_take_it() {
    let documented = documented();
    let (scenario, _) = Scenario::parse(
        "schema = 1\nname = \"t\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"cpu\"\nduration = \"1s\"\n[probes]\ndatapaths = [\"irq\"]\n",
        "t.toml",
        Changes::default(),
    )
    .unwrap();
    for (name, kind) in KINDS {
        let (_, taken) = kind.fields();
        for key in scenario.workload.given().keys() {
            let (_, of) = documented
                .iter()
                .find(|(other, _)| other == key)
                .unwrap_or_else(|| panic!("{key} is not documented"));
            assert_eq!(means(of, name), taken.contains(key), "{key} of {name}");
        }
    }
}

const BASE: &str = "schema = 1\nname = \"t\"\n[[domain]]\nname = \"dom0\"\n[workload]\ndomain = \"dom0\"\nkind = \"cpu\"\nduration = \"1s\"\n[run]\niterations = 9\n[probes]\ndatapaths = [\"irq\"]\n[profile.few.run]\niterations = 2\n[[profile.loaded.background]]\nkind = \"cpu\"\ndomain = \"A\"\n[[profile.loaded.domain]]\nname = \"A\"\nagent = \"console\"\n";

#[test]
fn a_profile_is_laid_over_the_rest() {
    let with = |profiles: &[&str]| {
        let profiles: Vec<String> = profiles.iter().map(|name| (*name).to_owned()).collect();
        let overrides = ["run.warm_up=0".to_owned()];
        let changes = Changes {
            profiles: &profiles,
            overrides: &overrides,
        };
        Scenario::parse(BASE, "t.toml", changes)
    };
    let (plain, _) = with(&[]).unwrap();
    assert_eq!((plain.run.iterations, plain.domain.len()), (9, 1));
    let (both, text) = with(&["few", "loaded"]).unwrap();
    assert_eq!((both.run.iterations, both.run.warm_up), (2, 0));
    assert_eq!((both.domain.len(), both.background.len()), (2, 1));
    // What a run keeps says the same without the profiles.
    let (kept, _) = Scenario::parse(&text, "kept.toml", Changes::default()).unwrap();
    assert!(
        kept.profile.is_empty() && kept.background.len() == 1,
        "{text}"
    );
    let error = with(&["fev"]).unwrap_err().to_string();
    assert!(
        error.contains("--profile fev: there is no such profile; it has: few, loaded"),
        "{error}"
    );
}

/// Every scenario that is shipped, with each of its profiles and all of them but the loads' at once.
#[test]
fn shipped_scenarios_are_good_with_each_profile() {
    let mut seen = 0;
    for folder in ["../../scenarios", "../../scenarios/paper"] {
        let files = std::fs::read_dir(folder).unwrap().flatten();
        // The paper's own values lie beside its scenarios, and are none.
        let is_scenario =
            |path: &std::path::PathBuf| path.is_file() && !path.ends_with("published.toml");
        for path in files.map(|file| file.path()).filter(is_scenario) {
            let (plain, _) = Scenario::load(&path, Changes::default()).unwrap();
            for name in plain.profile.keys() {
                // A run for `tracer check` has its own number of iterations, not the quick one's.
                let is_check = name == "check";
                let quick = (name != "quick" && !is_check).then(|| "quick".to_owned());
                let profiles: Vec<String> = quick.into_iter().chain([name.clone()]).collect();
                let changes = Changes {
                    profiles: &profiles,
                    overrides: &[],
                };
                let (scenario, _) = Scenario::load(&path, changes).unwrap();
                let (iterations, usual) = (scenario.run.iterations, plain.run.iterations);
                if is_check {
                    // As many as can show that a stage has become slower (docs/check.md).
                    assert!(iterations >= 8, "{}", path.display());
                } else {
                    assert!(iterations < usual, "{} {name}", path.display());
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 17, "{seen}: the paper's cases");
}

#[test]
fn think_times_that_are_none_are_refused() {
    let with = |time: &str| {
        let dd = format!(
            "kind = \"dd\"\ntarget = \"/x\"\nblock_size = 512\ncount = 1\nthink_time = \"{time}\"\n"
        );
        let text = BASE.replacen("kind = \"cpu\"\nduration = \"1s\"\n", &dd, 1);
        Scenario::parse(&text, "t.toml", Changes::default()).map_err(|error| error.to_string())
    };
    for time in ["1ns", "60min"] {
        with(time).unwrap();
    }
    for time in ["0s", "61min"] {
        let error = with(time).unwrap_err();
        assert!(
            error.contains("workload.think_time") && error.contains("more than 0ns, to 60min"),
            "{error}"
        );
    }
}

#[test]
fn a_load_that_could_not_start_is_refused_before_anything_is_made() {
    let with = |load: &str| {
        let text = BASE.replacen("kind = \"cpu\"\nduration = \"1s\"\n", load, 1);
        Scenario::parse(&text, "t.toml", Changes::default()).map_err(|error| error.to_string())
    };
    for load in [
        "kind = \"tcp-rr\"\nto = \"127.0.0.1\"\ncount = 1\n",
        "kind = \"tcp-rr\"\nto = \"fd77::1\"\nserver = \"dom0\"\ncount = 1\n",
        "kind = \"udp-flood\"\nto = \"10.0.0.2\"\nsize = 64\nduration = \"1s\"\n",
    ] {
        with(load).unwrap();
    }
    for (load, field, why) in [
        (
            "kind = \"tcp-rr\"\nto = \"10.0.0.2\"\ncount = 1\n",
            "workload.server",
            "which of the domains has the address 10.0.0.2",
        ),
        (
            "kind = \"udp-flood\"\nto = \"8.8.8.8\"\nsize = 64\nduration = \"1s\"\n",
            "workload.to",
            "allowed: loopback",
        ),
        (
            "kind = \"udp-flood\"\nto = \"peer\"\nsize = 64\nduration = \"1s\"\n",
            "workload.to",
            "is neither an address",
        ),
        (
            "kind = \"udp-flood\"\nto = \"::1\"\nsize = 64\nrate = 1000000001\nduration = \"1s\"\n",
            "workload.rate",
            "0 to 1000000000",
        ),
        (
            "kind = \"dd\"\ntarget = \"/x\"\nblock_size = \"65MiB\"\ncount = 1\n",
            "workload.block_size",
            "1B to 64MiB",
        ),
        (
            "kind = \"dd\"\ntarget = \"/x\"\nblock_size = 512\n",
            "workload.count",
            "needs a count",
        ),
        (
            "kind = \"tcp-rr\"\nto = \"::1\"\n",
            "workload.duration",
            "needs a duration or a count",
        ),
    ] {
        let error = with(load).unwrap_err();
        assert!(
            error.contains(field) && error.contains(why),
            "{load}: {error}"
        );
    }
}

#[test]
fn what_is_handed_to_the_toolstack_is_neither_an_option_nor_a_number_nor_twice() {
    let guest = |lines: &str| {
        let domain = format!("[[domain]]\nname = \"A\"\nagent = \"console\"\n{lines}\n[workload]");
        let text = BASE.replacen("[workload]", &domain, 1);
        Scenario::parse(&text, "t.toml", Changes::default()).map_err(|error| error.to_string())
    };
    for lines in [
        "",
        "guest = \"web server 2\"",
        "create = \"/etc/xen/a.cfg\"\npci = [\"00:1f.2\"]\nvcpu_pin = [\"0-1,^1\"]\nvcpus = 1",
    ] {
        guest(lines).unwrap();
    }
    for (lines, why) in [
        ("guest = \"7\"", "that is no number"),
        ("guest = \"-a\"", "allowed: a name"),
        ("guest = \"a\\\"\\nmemory=1\"", "allowed: a name"),
        ("guest = \"Domain-0\"", "not Dom0's"),
        ("create = \"-F\"", "is no file"),
        ("pci = [\"00:1f\"]", "is no PCI address"),
        ("vcpu_pin = [\"--help\"]", "is no list of CPUs"),
        ("vcpus = 0", "at least 1"),
        (
            "[[domain]]\nname = \"other\"\nagent = \"ssh:a\"\nguest = \"A\"",
            "same guest",
        ),
    ] {
        let error = guest(lines).unwrap_err();
        assert!(
            error.contains(why) && error.contains("domain."),
            "{lines}: {error}"
        );
    }
}
