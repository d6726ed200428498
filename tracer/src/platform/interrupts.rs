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

/// Chips of the processor's own interrupts in Linux on x86 (arch/x86/kernel/apic, drivers/pci/msi,
/// drivers/iommu), by how their names begin.
const NATIVE_CHIPS: [&str; 4] = ["IO-APIC", "PCI-MSI", "IR-", "DMAR"];

impl InterruptLine {
    /// Whether the processor delivers it itself, as to an HVM guest where it virtualises interrupts, and not one of
    /// Xen's event channels ("xen-pirq", "xen-dyn" and so on). Other chips share out what their parent was brought.
    #[must_use]
    pub fn is_native(&self) -> bool {
        let mut chips = NATIVE_CHIPS.iter();
        chips.any(|chip| self.description.starts_with(chip))
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
 59:          7          0   xen-dyn-lateeoi    -event     vif1.0-q0-tx
 60:          7          0   VMD-MSI 10000:e1:00.0    0-edge      nvme0q0
NMI:          0          0   Non-maskable interrupts
ERR:          0
";

    #[test]
    fn numbered_lines_are_summed_over_cpus() {
        let lines = parse(SAMPLE);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[&36].count, 5069);
        assert_eq!(lines[&36].handlers, ["virtio1-req.0"]);
        assert_eq!(lines[&16].handlers, ["ehci_hcd:usb1", "snd hda"]);
    }

    #[test]
    fn native_lines_are_told_by_their_chip() {
        let lines = parse(SAMPLE);
        let native = lines.iter().filter(|(_, line)| line.is_native());
        let native: Vec<u32> = native.map(|(irq, _)| *irq).collect();
        assert_eq!(native, [16, 26, 36]);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
