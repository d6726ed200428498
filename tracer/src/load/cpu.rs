//! The CPU burner (the paper's `stress`): one busy thread a CPU.

use std::hint::black_box;

use nix::{sched::sched_getaffinity, unistd::Pid};

use super::{Context, CpuLoad, LoadError, Outcome, Result, Stop, monotonic_ns, per_second, place};

/// Rounds of arithmetic in one loop: some tens of microseconds between two looks at the clock.
const ROUNDS: u64 = 20_000;

pub(crate) fn run(load: &CpuLoad, context: &Context<'_>) -> Result<Outcome> {
    let cpus = if context.cpus.is_empty() {
        allowed_cpus()?
    } else {
        context.cpus.to_vec()
    };
    let start_ns = monotonic_ns();
    let deadline_ns = load.duration_ms.map(|ms| start_ns + ms * 1_000_000);
    let done = place::run_workers(cpus.len(), &cpus, context.stop, |_| {
        Ok(burn(context.stop, deadline_ns))
    })?;
    let end_ns = monotonic_ns();
    let mut outcome = Outcome {
        start_ns,
        end_ns,
        operations: done.iter().map(|(_, loops)| loops).sum(),
        tids: done.iter().map(|(tid, _)| *tid).collect(),
        ..Outcome::default()
    };
    outcome.extra("cpus", cpus);
    outcome.extra(
        "loops_of_thread",
        done.iter().map(|(_, loops)| *loops).collect::<Vec<_>>(),
    );
    outcome.extra(
        "loops_per_second",
        per_second(outcome.operations, end_ns - start_ns),
    );
    Ok(outcome)
}

/// The CPUs that this thread may run on.
fn allowed_cpus() -> Result<Vec<u32>> {
    let set = sched_getaffinity(Pid::from_raw(0))
        .map_err(|errno| LoadError::io("asking for the CPUs of this process", errno))?;
    let allowed = (0..nix::sched::CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
    Ok(allowed.filter_map(|cpu| u32::try_from(cpu).ok()).collect())
}

fn burn(stop: &Stop, deadline_ns: Option<u64>) -> u64 {
    let mut loops = 0;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while !stop.is_requested() && deadline_ns.is_none_or(|end| monotonic_ns() < end) {
        for _ in 0..ROUNDS {
            state = black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .rotate_left(17),
            );
        }
        loops += 1;
    }
    loops
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::load::{Control, LoadKind, LoadSpec, run_with};

    /// The line of /proc that says where a thread may run.
    fn allowed_of(tid: u32) -> String {
        let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list:"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Threads of this process whose name says that they burn.
    fn burners(cpu: u32) -> usize {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let tids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
        tids.filter(|&tid: &u32| {
            let name = fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
            name.is_ok_and(|name| name.starts_with("load-")) && allowed_of(tid) == cpu.to_string()
        })
        .count()
    }

    #[test]
    fn burns_on_the_cpu_it_was_given_until_stopped() {
        let cpu = *allowed_cpus().unwrap().last().unwrap();
        let mut spec = LoadSpec::new(LoadKind::Cpu(CpuLoad { duration_ms: None }));
        spec.cpus = vec![cpu];
        let control = Control::stdout();
        let stop = control.stop.clone();
        let load = std::thread::spawn(move || run_with(&spec, &control));
        std::thread::sleep(Duration::from_millis(100));
        assert!(burners(cpu) >= 1);
        stop.request();
        let result = load.join().unwrap().unwrap();
        assert!(result.operations > 0);
        assert_eq!(result.tids.len(), 1);
        assert_eq!(result.extra["cpus"], serde_json::json!([cpu]));
    }

    #[test]
    fn takes_every_allowed_cpu_if_none_is_listed() {
        let spec = LoadSpec::new(LoadKind::Cpu(CpuLoad {
            duration_ms: Some(30),
        }));
        let result = run_with(&spec, &Control::stdout()).unwrap();
        assert_eq!(result.tids.len(), allowed_cpus().unwrap().len());
        assert!(result.duration_ns >= 30_000_000);
    }
}
