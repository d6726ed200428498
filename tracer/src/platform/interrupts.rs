//! `/proc/interrupts`: the kernel's own count of every interrupt line, against which the traced
//! arrivals are held.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One numbered line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterruptLine {
    /// Arrivals on all CPUs since boot.
    pub count: u64,
    /// Chip, hardware number, trigger and handlers, as the kernel prints them.
    pub description: String,
    /// Handlers on the line.
    pub handlers: Vec<String>,
}

impl InterruptLine {
    /// Whether Xen's event channels bring it: the line's chip is then one of drivers/xen/events/events_base.c in Linux,
    /// "xen-pirq", "xen-dyn" and so on. Where the processor virtualises interrupts, an HVM guest's devices need none.
    #[must_use]
    pub fn is_by_event_channel(&self) -> bool {
        self.description.starts_with("xen-")
    }
}

/// Parses the numbered lines of `/proc/interrupts`, by interrupt number. Lines of other shapes
/// (NMI, LOC and so on) are passed over: they have no handler to trace.
#[must_use]
pub fn parse(text: &str) -> BTreeMap<u32, InterruptLine> {
    let cpus = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .count();
    text.lines()
        .skip(1)
        .filter_map(|line| parse_line(line, cpus))
        .collect()
}

fn parse_line(line: &str, cpus: usize) -> Option<(u32, InterruptLine)> {
    let (number, rest) = line.split_once(':')?;
    let irq = number.trim().parse().ok()?;
    let mut words = rest.split_whitespace();
    let mut count = 0u64;
    for _ in 0..cpus {
        count = count.checked_add(words.next()?.parse().ok()?)?;
    }
    let description: Vec<&str> = words.collect();
    // "IO-APIC 4-edge ttyS0", "PCI-MSIX-0000:00:02.0 1-edge virtio1-req.0, other": the names follow
    // the word that ends in the trigger.
    let trigger = description.iter().position(|word| {
        ["-edge", "-level", "-fasteoi", "-percpu"]
            .iter()
            .any(|t| word.ends_with(t))
            || *word == "Edge"
            || *word == "Level"
    });
    let handlers = trigger
        .map(|at| description[at + 1..].join(" "))
        .unwrap_or_default()
        .split(", ")
        .filter(|name| !name.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    Some((
        irq,
        InterruptLine {
            count,
            description: description.join(" "),
            handlers,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "           CPU0       CPU1
 26:          0         13  IO-APIC   4-edge      ttyS0
 36:          5       5064  PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0
 16:          1          2  IO-APIC  16-fasteoi   ehci_hcd:usb1, snd hda
 58:          7          0   xen-pirq    -msi       eth1
NMI:          0          0   Non-maskable interrupts
ERR:          0
";

    #[test]
    fn numbered_lines_are_summed_over_cpus() {
        let lines = parse(SAMPLE);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[&36].count, 5069);
        assert_eq!(lines[&36].handlers, ["virtio1-req.0"]);
        assert_eq!(lines[&16].handlers, ["ehci_hcd:usb1", "snd hda"]);
    }

    #[test]
    fn lines_of_event_channels_are_told_by_their_chip() {
        let lines = parse(SAMPLE);
        let by_event_channel: Vec<u32> = lines
            .iter()
            .filter_map(|(irq, line)| line.is_by_event_channel().then_some(*irq))
            .collect();
        assert_eq!(by_event_channel, [58]);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
