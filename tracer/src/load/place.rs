//! Where a load runs: network namespace, CPUs, threads.

use std::{fs::File, path::Path, thread::ScopedJoinHandle};

use nix::{
    sched::{CloneFlags, CpuSet, sched_setaffinity, setns},
    unistd::{Pid, gettid},
};

use super::{LoadError, Result, Stop};

/// Where `ip netns` keeps the namespaces it made.
const NAMESPACES: &str = "/run/netns";

/// Moves the calling thread into a named network namespace; threads it starts later follow.
pub(crate) fn enter_namespace(name: &str) -> Result<()> {
    let path = Path::new(NAMESPACES).join(name);
    let namespace = File::open(&path).map_err(|source| {
        LoadError::io_advice(
            format!("opening the network namespace {}", path.display()),
            source,
            format!("make it first (ip netns add {name})"),
        )
    })?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| {
        LoadError::io_advice(
            format!("entering the network namespace {name}"),
            errno,
            "this needs root (CAP_SYS_ADMIN)",
        )
    })
}

/// Restricts the calling thread to `cpus`; an empty list leaves it as it is.
pub(crate) fn pin(cpus: &[u32]) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize).map_err(|_| {
            LoadError::invalid(
                "cpus",
                format!("CPU {cpu} is beyond what this system can have"),
            )
        })?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|errno| {
        LoadError::io_advice(
            format!("pinning the load to CPUs {cpus:?}"),
            errno,
            "see /sys/devices/system/cpu/online and the cpuset of this process",
        )
    })
}

/// Pins the calling thread as worker number `index`: round-robin over `cpus`.
pub(crate) fn pin_worker(cpus: &[u32], index: usize) -> Result<()> {
    match cpus.get(index % cpus.len().max(1)) {
        Some(&cpu) => pin(&[cpu]),
        None => Ok(()),
    }
}

/// Makes the calling thread's sleeps end when they should, not up to 50 us later, together with other timers.
pub(crate) fn sleep_exactly() {
    // SAFETY: this prctl only takes a number, and changes only the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) };
}

/// Id of the calling thread.
pub(crate) fn tid() -> u32 {
    u32::try_from(gettid().as_raw()).unwrap_or(0)
}

/// The result of a thread; a panic in it becomes an error.
pub(crate) fn join<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().unwrap_or_else(|_| {
        Err(LoadError::Failed(
            "a thread of the load panicked; please report this as a bug".into(),
        ))
    })
}

/// Runs `work(index)` on `count` pinned threads and returns their results in order. The first
/// failure stops the others and is returned.
pub(crate) fn run_workers<T: Send>(
    count: usize,
    cpus: &[u32],
    stop: &Stop,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<(u32, T)>> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut handles = Vec::with_capacity(count);
        let mut failure = None;
        for index in 0..count {
            let body = move || {
                pin_worker(cpus, index)
                    .and_then(|()| work(index))
                    .map(|value| (tid(), value))
                    .inspect_err(|_| stop.request())
            };
            let started = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn_scoped(scope, body);
            match started {
                Ok(handle) => handles.push(handle),
                Err(source) => {
                    stop.request();
                    failure = Some(LoadError::io("starting a thread of the load", source));
                    break;
                }
            }
        }
        let mut results = Vec::with_capacity(count);
        for handle in handles {
            match join(handle) {
                Ok(result) => results.push(result),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(results), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_worker_stops_the_others() {
        let stop = Stop::default();
        let result = run_workers(3, &[], &stop, |index| {
            if index == 1 {
                return Err(LoadError::Failed("on purpose".into()));
            }
            stop.sleep_until(None);
            Ok(())
        });
        assert_eq!(result.unwrap_err().to_string(), "on purpose");
    }

    #[test]
    fn an_offline_cpu_is_named() {
        let error = std::thread::spawn(|| pin(&[1000])).join().unwrap();
        assert!(error.unwrap_err().to_string().contains("1000"));
    }

    #[test]
    fn a_missing_namespace_is_named() {
        let error = enter_namespace("tracer-none-such").unwrap_err().to_string();
        assert!(error.contains("ip netns add tracer-none-such"), "{error}");
    }
}
