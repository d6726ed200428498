//! The consoles of a lab that boots: shown as they grow where that is wanted, and told when they stand still.
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::guests::GUESTS;
use super::job::Tail;

const POLL: Duration = Duration::from_millis(100);
/// Consoles that say nothing for so long are told of, and again each time it has passed.
const STILL: Duration = Duration::from_secs(60);
/// How many of a console's last lines are told.
const LAST_WORDS: usize = 15;
const LAST: &str = "its last words:";
/// How lines begin, or go on, by which the hypervisor, a kernel or the lab's scripts give up.
const CRASHES: [&str; 4] = [
    "Kernel panic",
    "Panic on CPU",
    "Hardware Dom0 crashed",
    "LAB-FAILED",
];

/// What becomes of a boot's console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Console {
    /// It is kept, and told where it stands still.
    #[default]
    Quiet,
    /// It is shown on stderr, too.
    Shown,
}

/// The line of a console by which something has given up.
pub(super) fn crash(console: &str) -> Option<&str> {
    let is_crash = |line: &&str| CRASHES.iter().any(|crash| line.contains(crash));
    console.lines().find(is_crash).map(str::trim)
}

/// The ends of QEMU's own output and of the machine's console.
pub(super) fn last_words(folder: &Path) -> String {
    let ends = ["qemu.log", "console.log"].map(|name| {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        end_of(&String::from_utf8_lossy(&bytes))
    });
    let ends: Vec<String> = ends.into_iter().filter(|end| !end.is_empty()).collect();
    format!("{LAST}\n{}", ends.join("\n"))
}

/// The end of a console.
pub(super) fn last_lines(text: &str) -> String {
    format!("{LAST}\n{}", end_of(text))
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}

/// How long there has been no new line.
#[derive(Debug, Default)]
struct Stillness {
    /// When the last line came.
    since: Duration,
    /// How often it has been told since.
    told: u32,
}

impl Stillness {
    /// Takes note of new lines, or of none; returns how long it has been still, when that is to be told.
    fn after(&mut self, has_grown: bool, now: Duration) -> Option<Duration> {
        if has_grown {
            *self = Self {
                since: now,
                told: 0,
            };
            return None;
        }
        let still = now.saturating_sub(self.since);
        let due = STILL * (self.told + 1);
        (still >= due).then(|| {
            self.told += 1;
            due
        })
    }
}

/// Whole lines out of what a file grows by.
#[derive(Debug)]
struct Lines {
    /// Whose console: of a guest by its name, of the machine without one.
    of: &'static str,
    tail: Tail,
    /// The beginning of a line that is not whole yet.
    rest: Vec<u8>,
    last: Vec<String>,
}

impl Lines {
    fn more(&mut self) -> Vec<String> {
        let bytes = self.tail.more();
        self.take(&bytes)
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n');
        let whole: Vec<u8> = self.rest.drain(..end.map_or(0, |end| end + 1)).collect();
        let new: Vec<String> = String::from_utf8_lossy(&whole)
            .lines()
            .map(|line| line.trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        self.last.extend_from_slice(&new);
        let surplus = self.last.len().saturating_sub(LAST_WORDS);
        self.last.drain(..surplus);
        new
    }
}

/// All consoles of a lab.
struct Consoles {
    all: Vec<Lines>,
    /// Which of them said something last.
    latest: usize,
    stillness: Stillness,
    console: Console,
}

impl Consoles {
    fn of(folder: &Path, console: Console) -> Self {
        let guests = GUESTS
            .iter()
            .map(|guest| (guest.name, format!("share/guests/guest-{}.log", guest.name)));
        let all = [("", "console.log".to_owned())].into_iter().chain(guests);
        let all = all.map(|(of, file)| Lines {
            of,
            tail: Tail::of(folder.join(file)),
            rest: Vec::new(),
            last: Vec::new(),
        });
        Self {
            all: all.collect(),
            latest: 0,
            stillness: Stillness::default(),
            console,
        }
    }

    fn look(&mut self, now: Duration) {
        let mut has_grown = false;
        for (index, lines) in self.all.iter_mut().enumerate() {
            let new = lines.more();
            if new.is_empty() {
                continue;
            }
            has_grown = true;
            self.latest = index;
            if self.console == Console::Shown {
                let before = if lines.of.is_empty() {
                    String::new()
                } else {
                    format!("{}: ", lines.of)
                };
                new.iter().for_each(|line| eprintln!("{before}{line}"));
            }
        }
        if let Some(still) = self.stillness.after(has_grown, now) {
            eprintln!("{}", self.still(still));
        }
    }

    /// What is said of consoles that stand still.
    fn still(&self, still: Duration) -> String {
        let Lines { of, last, .. } = &self.all[self.latest];
        let of = if of.is_empty() {
            String::new()
        } else {
            format!(" of guest {of}")
        };
        let begin = format!("lab: no new line on a console for {} s", still.as_secs());
        if last.is_empty() {
            return format!("{begin}, and none before");
        }
        format!("{begin}; the last{of}:\n{}", last.join("\n"))
    }
}

/// Looks at the consoles until it is dropped.
pub(super) struct Watch {
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Of the lab in this folder.
    pub(super) fn start(folder: &Path, console: Console) -> Self {
        let has_ended = Arc::new(AtomicBool::new(false));
        let mut consoles = Consoles::of(folder, console);
        let thread = thread::spawn({
            let has_ended = Arc::clone(&has_ended);
            move || {
                let start = Instant::now();
                // What came last is shown, too.
                loop {
                    let is_last = has_ended.load(Ordering::Relaxed);
                    consoles.look(start.elapsed());
                    if is_last {
                        break;
                    }
                    thread::sleep(POLL);
                }
            }
        });
        Self {
            has_ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only looks: that it panicked changes nothing.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn stillness_is_told_after_a_minute_and_each_further_one() {
        let mut stillness = Stillness::default();
        let mut told = Vec::new();
        // A line after 30 s, and one after 220.
        for now in 0..350 {
            let has_grown = now == 30 || now == 220;
            if let Some(still) = stillness.after(has_grown, seconds(now)) {
                told.push((now, still.as_secs()));
            }
        }
        assert_eq!(
            told,
            [(90, 60), (150, 120), (210, 180), (280, 60), (340, 120)]
        );
    }

    #[test]
    fn only_whole_lines_count_and_the_last_are_kept() {
        let mut consoles = Consoles::of(Path::new("/nowhere"), Console::Quiet);
        assert_eq!(
            consoles.still(seconds(60)),
            "lab: no new line on a console for 60 s, and none before"
        );
        let lines = &mut consoles.all[1];
        assert!(lines.take(b"(XEN) Scrubbing").is_empty());
        assert_eq!(
            lines.take(b" Free RAM\r\n\r\nnext\nand"),
            ["(XEN) Scrubbing Free RAM", "next"]
        );
        for number in 0..20 {
            lines.take(format!("{number}\n").as_bytes());
        }
        consoles.latest = 1;
        let said = consoles.still(seconds(120));
        assert!(
            said.starts_with(
                "lab: no new line on a console for 120 s; the last of guest A:\n5\n6\n"
            ),
            "{said}"
        );
        assert!(said.ends_with("\n19"), "{said}");
    }

    #[test]
    fn crash_is_told_by_its_line() {
        let console =
            "booting\r\n[   12.1] Kernel panic - not syncing: VFS: no root\r\n[   12.2] CPU: 0\r\n";
        assert_eq!(
            crash(console),
            Some("[   12.1] Kernel panic - not syncing: VFS: no root")
        );
        assert_eq!(
            crash("(XEN) Panic on CPU 0:\n"),
            Some("(XEN) Panic on CPU 0:")
        );
        assert_eq!(crash("printk: panic=5 on the command line\n"), None);
    }
}
