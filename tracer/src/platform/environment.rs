//! What a scenario wants of the machine against what is so: frequency governor, turbo, idle states,
//! SMT, clock source, CPUs.

use std::{fs, path::Path};

use tracer_analysis::recording::environment::{Finding, Verdict};
use tracer_analysis::scenario::Scenario;

/// `hint` says what to do, with `{}` for what is wanted.
fn finding(what: &str, wanted: Option<String>, actual: Option<String>, hint: &str) -> Finding {
    let verdict = match (&wanted, &actual) {
        (None, _) => Verdict::Note,
        (_, None) => Verdict::Unknown,
        (Some(wanted), Some(actual)) if wanted == actual => Verdict::Ok,
        _ => Verdict::Differs,
    };
    let differs = wanted.as_deref().filter(|_| verdict == Verdict::Differs);
    Finding {
        what: what.into(),
        hint: differs.map(|wanted| hint.replace("{}", wanted)),
        wanted,
        actual: actual.unwrap_or_else(|| "the machine does not say".into()),
        verdict,
    }
}

fn on_off(value: bool) -> String {
    if value { "on".into() } else { "off".into() }
}

/// Compares the machine under `root` with what the scenario wants.
#[must_use]
pub fn check(scenario: &Scenario, root: &Path) -> Vec<Finding> {
    let read = |path: &str| {
        fs::read_to_string(root.join(path))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let wants = &scenario.environment;
    let cpu = scenario.workload.cpus.first().copied().unwrap_or(0);
    let cpufreq = "sys/devices/system/cpu/cpufreq";
    let turbo = read("sys/devices/system/cpu/intel_pstate/no_turbo")
        .map(|off| off == "0")
        .or_else(|| read(&format!("{cpufreq}/boost")).map(|on| on == "1"));
    let mut findings = vec![
        finding(
            "CPU frequency governor",
            wants.governor.clone(),
            read(&format!(
                "sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
            )),
            "cpupower frequency-set -g {}",
        ),
        finding(
            "turbo",
            wants.turbo.map(on_off),
            turbo.map(on_off),
            "write to /sys/devices/system/cpu/intel_pstate/no_turbo or .../cpufreq/boost",
        ),
        deepest_idle_state(wants.max_cstate, cpu, root),
        finding(
            "SMT",
            wants.smt.map(on_off),
            read("sys/devices/system/cpu/smt/active").map(|active| on_off(active == "1")),
            "echo {} > /sys/devices/system/cpu/smt/control",
        ),
        finding(
            "clock source",
            wants.clocksource.clone(),
            read("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            "echo {} > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
    ];
    findings.push(pinning(
        scenario,
        read("sys/devices/system/cpu/online").as_deref(),
    ));
    findings.extend(isolation(
        scenario,
        read("sys/devices/system/cpu/isolated").as_deref(),
    ));
    findings
}

/// Whether the workload's CPUs are kept free of other tasks, if the scenario speaks of it.
fn isolation(scenario: &Scenario, isolated: Option<&str>) -> Option<Finding> {
    let wanted = scenario.environment.isolated?;
    let isolated = cpu_list(isolated.unwrap_or(""));
    let cpus = &scenario.workload.cpus;
    let all = !cpus.is_empty() && cpus.iter().all(|cpu| isolated.contains(cpu));
    Some(finding(
        "workload's CPUs isolated",
        Some(on_off(wanted)),
        Some(on_off(all)),
        if wanted {
            "boot with isolcpus= naming the workload's CPUs"
        } else {
            "boot without isolcpus= of the workload's CPUs"
        },
    ))
}

/// The deepest idle state that is not disabled, by its number.
fn deepest_idle_state(wanted: Option<u32>, cpu: u32, root: &Path) -> Finding {
    let folder = root.join(format!("sys/devices/system/cpu/cpu{cpu}/cpuidle"));
    let deepest = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            fs::read_to_string(entry.path().join("disable"))
                .is_ok_and(|disabled| disabled.trim() == "0")
        })
        .filter_map(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .strip_prefix("state")?
                .parse::<u32>()
                .ok()
        })
        .max();
    let mut found = finding(
        "deepest idle state",
        wanted.map(|state| state.to_string()),
        deepest.map(|state| state.to_string()),
        "disable deeper states in /sys/devices/system/cpu/cpu*/cpuidle/state*/disable, or boot with intel_idle.max_cstate=",
    );
    // A shallower one than allowed is as good.
    if let (Some(wanted), Some(deepest)) = (wanted, deepest)
        && deepest <= wanted
    {
        found.verdict = Verdict::Ok;
        found.hint = None;
    }
    found
}

fn pinning(scenario: &Scenario, online: Option<&str>) -> Finding {
    let cpus: Vec<u32> = std::iter::once(&scenario.workload)
        .chain(&scenario.background)
        .flat_map(|load| load.cpus.iter().copied())
        .collect();
    let online = online.map(cpu_list).unwrap_or_default();
    let missing: Vec<String> = cpus
        .iter()
        .filter(|cpu| !online.contains(cpu))
        .map(ToString::to_string)
        .collect();
    let wanted = (!cpus.is_empty()).then(|| format!("CPUs {cpus:?} online"));
    let actual = if missing.is_empty() {
        wanted.clone().unwrap_or_else(|| "no load is pinned".into())
    } else {
        format!("offline or absent: {}", missing.join(", "))
    };
    finding(
        "pinning",
        wanted,
        Some(actual),
        "choose CPUs that /sys/devices/system/cpu/online lists",
    )
}

/// The numbers of a list such as `0-3,8`. Numbers over 4095 are left out.
fn cpu_list(text: &str) -> Vec<u32> {
    text.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((
                first.trim().parse::<u32>().ok()?,
                last.trim().parse::<u32>().ok()?.min(4095),
            ))
        })
        .flat_map(|(first, last)| first..=last)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(environment: &str) -> Scenario {
        let text = format!(
            "schema = 1\nname = \"t\"\n[[domain]]\nname = \"native\"\n[workload]\nkind = \"cpu\"\nduration = \"1s\"\ncpus = [1]\n[probes]\ndatapaths = [\"irq\"]\n[environment]\n{environment}"
        );
        Scenario::parse(
            &text,
            "t.toml",
            tracer_analysis::scenario::Changes::default(),
        )
        .unwrap()
        .0
    }

    fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn each_wish_is_held_against_the_machine() {
        let root = fixture(&[
            ("sys/devices/system/cpu/online", "0-1\n"),
            (
                "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
                "powersave\n",
            ),
            ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state0/disable", "0\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state1/disable", "0\n"),
            ("sys/devices/system/cpu/cpu1/cpuidle/state2/disable", "1\n"),
        ]);
        let scenario = scenario(
            "governor = \"performance\"\nturbo = false\nmax_cstate = 1\nsmt = false\nisolated = true",
        );
        let findings = check(&scenario, root.path());
        let verdict = |what: &str| findings.iter().find(|f| f.what == what).unwrap().verdict;
        assert_eq!(verdict("CPU frequency governor"), Verdict::Differs);
        assert_eq!(verdict("turbo"), Verdict::Ok);
        assert_eq!(verdict("deepest idle state"), Verdict::Ok);
        assert_eq!(verdict("SMT"), Verdict::Unknown);
        assert_eq!(verdict("clock source"), Verdict::Note);
        assert_eq!(verdict("pinning"), Verdict::Ok);
        assert_eq!(verdict("workload's CPUs isolated"), Verdict::Differs);
    }

    #[test]
    fn cpu_lists_are_read() {
        assert_eq!(cpu_list("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), [0u32; 0]);
        assert_eq!(cpu_list("nonsense,3-1"), [0u32; 0]);
    }
}
