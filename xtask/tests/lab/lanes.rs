//! Which tests run beside which: most of a run, one emulated CPU works and the others wait, so that two labs at a time
//! are nearly twice as fast. Tests whose times are looked at have the machine to themselves.

use std::cell::Cell;
use std::sync::{
    Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};
use std::time::Duration;

use crate::support::*;

/// A shared lab: one test at a time uses it, and it stays up for the next.
struct Lane {
    name: &'static str,
    /// Of labs that a test makes and destroys meanwhile.
    victim: &'static str,
    is_up: Mutex<bool>,
}

impl Lane {
    const fn named(name: &'static str, victim: &'static str) -> Self {
        Self {
            name,
            victim,
            is_up: Mutex::new(false),
        }
    }
}

static LANES: [Lane; 2] = [
    Lane::named("test", "test-victim"),
    Lane::named("test-2", "test-2-victim"),
];

/// Read by tests that may have another beside them, written by those that may not.
static MACHINE: RwLock<()> = RwLock::new(());

thread_local! {
    /// This test's.
    static LANE: Cell<Option<&'static Lane>> = const { Cell::new(None) };
}

enum Machine {
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// A test's lane, until it ends.
pub(crate) struct Turn {
    is_up: MutexGuard<'static, bool>,
    _machine: Machine,
}

impl Turn {
    fn take(machine: Machine) -> Self {
        static FIRST: Once = Once::new();
        FIRST.call_once(|| {
            // What a test run left that was killed would run beside this one.
            all_down();
            // SAFETY: the function takes nothing, and is there until the process ends.
            assert_eq!(unsafe { libc::atexit(down_at_exit) }, 0);
        });
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        loop {
            for lane in LANES.iter().take(cpus) {
                let is_up = match lane.is_up.try_lock() {
                    Ok(is_up) => is_up,
                    // A test failed in it; its lab is up, or comes up with the next command.
                    Err(TryLockError::Poisoned(is_up)) => is_up.into_inner(),
                    Err(TryLockError::WouldBlock) => continue,
                };
                LANE.set(Some(lane));
                return Self {
                    is_up,
                    _machine: machine,
                };
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its lab is up from now to the end of this program.
    fn with_lab(mut self) -> Self {
        if !*self.is_up {
            bring_up();
            *self.is_up = true;
        }
        self
    }
}

/// Waits for a lane, without its lab.
pub(crate) fn turn() -> Turn {
    Turn::take(Machine::Shared(
        MACHINE.read().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// Waits for a lane with its lab.
pub(crate) fn shared() -> Turn {
    turn().with_lab()
}

/// Waits for the whole machine, and a lab.
pub(crate) fn alone() -> Turn {
    Turn::take(Machine::Alone(
        MACHINE.write().unwrap_or_else(PoisonError::into_inner),
    ))
    .with_lab()
}

/// The name of this test's lab.
pub(crate) fn this_lab() -> &'static str {
    lane().name
}

/// The name of a lab that this test may make and destroy.
pub(crate) fn victim() -> &'static str {
    lane().victim
}

fn lane() -> &'static Lane {
    // A test takes its turn first.
    LANE.get().unwrap()
}

/// This test's lab, new. Its first boot and the tracer's build go on at the same time, so that no test's own waiting has
/// minutes of them in it.
pub(crate) fn bring_up() {
    let name = this_lab();
    let output = lab(&["down", "--name", name]);
    assert!(output.status.success(), "{}", text(&output));
    let up = std::thread::spawn(move || lab(&["up", "--name", name]));
    let run = scratch(&format!("lab-first-{name}")).join("run");
    let output = run_small(vec!["run", "--name", name], &run);
    let up = up.join().unwrap();
    assert!(up.status.success(), "{}", text(&up));
    assert!(output.status.success(), "{}", text(&output));
}

fn all_down() {
    for name in LANES.iter().flat_map(|lane| [lane.name, lane.victim]) {
        lab(&["down", "--name", name]);
    }
}

extern "C" fn down_at_exit() {
    // A panic must not cross into the C library; what is left, the next test run removes.
    let _ = std::panic::catch_unwind(all_down);
}

/// Ends the lab of this name, whatever becomes of the test.
pub(crate) struct Down(pub(crate) &'static str);

impl Drop for Down {
    fn drop(&mut self) {
        lab(&["down", "--name", self.0]);
    }
}
