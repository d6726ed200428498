//! A host whose CPUs are all wanted.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// One loop for each CPU, until dropped.
pub(super) struct Busy {
    is_over: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

impl Busy {
    pub(super) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let loops = (0..cpus).map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || while !is_over.load(Ordering::Relaxed) {})
        });
        Self {
            loops: loops.collect(),
            is_over,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for one in self.loops.drain(..) {
            // Such a loop cannot panic.
            let _ = one.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loop_ends_with_it() {
        let busy = Busy::start();
        let is_over = Arc::clone(&busy.is_over);
        assert!(!busy.loops.is_empty());
        drop(busy);
        // The loops have let go of it.
        assert_eq!(Arc::strong_count(&is_over), 1);
    }
}
