//! Burns CPU time, one pinned thread a CPU.

use std::{hint::black_box, thread, time::Instant};

use crate::load::{Cpu, LoadResult, Until, now_ns, process};

/// Turns between two looks at the clock.
const TURNS: u64 = 4096;

pub(super) fn burn(cpu: &Cpu, cpus: &[u32]) -> anyhow::Result<LoadResult> {
    process::say_ready()?;
    let start_ns = now_ns();
    let places: Vec<Vec<u32>> = if cpus.is_empty() {
        vec![Vec::new()]
    } else {
        cpus.iter().map(|cpu| vec![*cpu]).collect()
    };
    let until = cpu.until;
    let threads: Vec<_> = places
        .into_iter()
        .map(|place| thread::spawn(move || burn_one(until, &place)))
        .collect();
    let mut operations = 0;
    for thread in threads {
        operations += thread
            .join()
            .map_err(|_| anyhow::anyhow!("a burning thread died"))??;
    }
    Ok(LoadResult {
        start_ns,
        end_ns: now_ns(),
        operations,
        ..LoadResult::default()
    })
}

fn burn_one(until: Until, place: &[u32]) -> anyhow::Result<u64> {
    process::pin(place)?;
    let start = Instant::now();
    let mut turns = 0u64;
    loop {
        for turn in 0..TURNS {
            black_box(turn.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        turns += TURNS;
        let done = match until {
            Until::Count(count) => turns >= count,
            Until::Elapsed(limit) => start.elapsed() >= limit,
            Until::Stopped => false,
        };
        if done || process::stopped() {
            return Ok(turns);
        }
    }
}
