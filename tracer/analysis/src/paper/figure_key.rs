//! The names of the figures and tables.

use serde::Deserialize;

/// A figure or a table of the paper, or what stands beside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum FigureKey {
    /// Figures 6 to 9: how long a run's reads take.
    #[serde(rename = "figures-6-9-time")]
    DiskTime,
    /// ... how fast that is.
    #[serde(rename = "figures-6-9-throughput")]
    DiskThroughput,
    /// ... how much it varies.
    #[serde(rename = "figures-6-9-variance")]
    DiskVariance,
    /// ... and from the shortest to the longest.
    #[serde(rename = "figures-6-9-range")]
    DiskRange,
    /// Figure 12: throughput out of the measured domain.
    #[serde(rename = "figure-12-transmit")]
    Transmit,
    /// ... and into it.
    #[serde(rename = "figure-12-receive")]
    Receive,
    /// Beside figure 12.
    #[serde(rename = "request-response")]
    RequestResponse,
    /// Table 2: a disk's interrupts.
    #[serde(rename = "table-2")]
    DiskInterrupts,
    /// Table 3: their time.
    #[serde(rename = "table-3")]
    DiskInterruptTime,
    /// Table 4: a sending card's interrupts.
    #[serde(rename = "table-4-transmit")]
    TransmitInterrupts,
    /// ... and a receiving one's.
    #[serde(rename = "table-4-receive")]
    ReceiveInterrupts,
}
