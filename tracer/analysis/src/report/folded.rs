//! Folded stacks: datapath, device and operation, component, stage; weights are nanoseconds.

use std::fmt::Write as _;

use crate::Report;

pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for breakdown in &report.breakdowns {
        for stage in &breakdown.stages {
            let frames = [
                breakdown.datapath.as_str(),
                &format!(
                    "{} {} {}",
                    breakdown.domain, breakdown.device, breakdown.operation
                ),
                stage.component.name(),
                &stage.name(),
            ]
            .map(clean)
            .join(";");
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{frames} {}", stage.figures.sum_ns);
        }
    }
    out
}

/// A frame must hold neither the separator nor a line's end.
pub(super) fn clean(frame: &str) -> String {
    frame.replace(';', ":").replace(['\n', '\r'], " ")
}
