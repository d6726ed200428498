//! The paper's figures and tables, from runs.

use crate::paper::{
    case::{Case, Workload},
    figure_key::FigureKey,
    published::Published,
    runs::Runs,
    samples::{self, Sample},
    statistics::{self, Estimate},
};

/// What is made of the iterations' figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Mean,
    Variance,
    Range,
}

impl FigureKey {
    /// All, in the page's order.
    pub const ALL: [Self; 11] = [
        Self::DiskTime,
        Self::DiskThroughput,
        Self::DiskVariance,
        Self::DiskRange,
        Self::Transmit,
        Self::Receive,
        Self::RequestResponse,
        Self::DiskInterrupts,
        Self::DiskInterruptTime,
        Self::TransmitInterrupts,
        Self::ReceiveInterrupts,
    ];

    /// The key in files, and the CSV file's name.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::DiskTime => "figures-6-9-time",
            Self::DiskThroughput => "figures-6-9-throughput",
            Self::DiskVariance => "figures-6-9-variance",
            Self::DiskRange => "figures-6-9-range",
            Self::Transmit => "figure-12-transmit",
            Self::Receive => "figure-12-receive",
            Self::RequestResponse => "request-response",
            Self::DiskInterrupts => "table-2",
            Self::DiskInterruptTime => "table-3",
            Self::TransmitInterrupts => "table-4-transmit",
            Self::ReceiveInterrupts => "table-4-receive",
        }
    }

    /// The heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::DiskTime => "Figures 6 to 9: time of a run's disk reads",
            Self::DiskThroughput => "Figures 6 to 9: throughput of disk reads",
            Self::DiskVariance => "Figures 6 to 9: variance of a run's time",
            Self::DiskRange => "Figures 6 to 9: longest less shortest run",
            Self::Transmit => "Figure 12: network throughput, transmit",
            Self::Receive => "Figure 12: network throughput, receive",
            Self::RequestResponse => "Beside figure 12: a byte out, a byte back (not in the paper)",
            Self::DiskInterrupts => "Table 2: interrupts a run, disk",
            Self::DiskInterruptTime => "Table 3: time an interrupt, disk",
            Self::TransmitInterrupts => "Table 4: interrupts a run, network, transmit",
            Self::ReceiveInterrupts => "Table 4: interrupts a run, network, receive",
        }
    }

    /// The unit of its values.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::DiskTime | Self::DiskRange => "s",
            Self::DiskThroughput => "MB/s",
            Self::DiskVariance => "s^2",
            Self::Transmit | Self::Receive => "Mbit/s",
            Self::RequestResponse => "1/s",
            Self::DiskInterruptTime => "us",
            Self::DiskInterrupts | Self::TransmitInterrupts | Self::ReceiveInterrupts => {
                "interrupts"
            }
        }
    }

    /// Whether the paper has it.
    #[must_use]
    pub const fn is_in_paper(self) -> bool {
        !matches!(self, Self::RequestResponse)
    }

    /// What its cases measure.
    #[must_use]
    pub const fn workload(self) -> Workload {
        match self {
            Self::Transmit | Self::TransmitInterrupts => Workload::Transmit,
            Self::Receive | Self::ReceiveInterrupts => Workload::Receive,
            Self::RequestResponse => Workload::RequestResponse,
            _ => Workload::Disk,
        }
    }

    /// Its cases, in order.
    pub fn cases(self) -> impl Iterator<Item = Case> {
        Case::all().filter(move |case| case.workload == self.workload())
    }

    const fn statistic(self) -> Statistic {
        match self {
            Self::DiskVariance => Statistic::Variance,
            Self::DiskRange => Statistic::Range,
            _ => Statistic::Mean,
        }
    }

    const fn sample(self) -> Sample {
        match self {
            Self::DiskTime | Self::DiskVariance | Self::DiskRange => Sample::Seconds,
            Self::DiskThroughput => Sample::MegabytesPerSecond,
            Self::Transmit | Self::Receive => Sample::MegabitsPerSecond,
            Self::RequestResponse => Sample::TransactionsPerSecond,
            Self::DiskInterruptTime => Sample::InterruptMicroseconds,
            Self::DiskInterrupts | Self::TransmitInterrupts | Self::ReceiveInterrupts => {
                Sample::Interrupts
            }
        }
    }

    /// Whether the amount of work of a run is in it.
    const fn grows_with_work(self) -> bool {
        matches!(self.sample(), Sample::Seconds | Sample::Interrupts)
    }

    /// Whether its values are of interrupts.
    #[must_use]
    pub const fn is_of_interrupts(self) -> bool {
        matches!(
            self.sample(),
            Sample::Interrupts | Sample::InterruptMicroseconds
        )
    }
}

/// A figure or table.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Which.
    pub key: FigureKey,
    /// Its cases, those that were not run, too.
    pub bars: Vec<Bar>,
}

/// One case of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// The case.
    pub case: Case,
    /// Our value, or why there is none.
    pub ours: Result<Estimate, String>,
    /// The paper's, if it was given.
    pub published: Option<f64>,
    /// Ours over the paper's, where these are of the same amount of work.
    pub ratio: Option<f64>,
    /// What a reader must know of our value.
    pub notes: Vec<String>,
}

impl Figure {
    /// Draws it up.
    pub(super) fn new(key: FigureKey, runs: &Runs, published: &Published) -> Self {
        Self {
            key,
            bars: key
                .cases()
                .map(|case| bar(key, case, runs, published))
                .collect(),
        }
    }
}

fn bar(key: FigureKey, case: Case, runs: &Runs, published: &Published) -> Bar {
    let published = published.value(key, case);
    let Some(run) = runs.get(case) else {
        return Bar {
            case,
            ours: Err("not run".into()),
            published,
            ratio: None,
            notes: Vec::new(),
        };
    };
    let report = &run.input.report;
    let ours = estimate(key, case, runs);
    let mut notes: Vec<String> = run.doubts();
    let other_amount = key.grows_with_work() && !samples::is_papers_amount(report, case);
    if other_amount {
        notes.push("a run of another size than the paper's".into());
    }
    if key.is_of_interrupts()
        && let Ok(handlers) = samples::device_interrupts(report, case)
    {
        let names = handlers
            .iter()
            .map(|handler| format!("{}: {} (irq {})", handler.domain, handler.name, handler.irq));
        notes.extend(names);
    }
    let value = ours.as_ref().ok().map(|ours| ours.value);
    let both = value.zip(published).filter(|_| !other_amount);
    Bar {
        case,
        ratio: both
            .filter(|(_, published)| *published > 0.0)
            .map(|(ours, published)| ours / published)
            .filter(|ratio| ratio.is_finite()),
        ours,
        published,
        notes,
    }
}

/// The value of a case in a figure.
///
/// # Errors
/// Says why there is none.
pub(super) fn estimate(key: FigureKey, case: Case, runs: &Runs) -> Result<Estimate, String> {
    let run = runs.get(case).ok_or("not run")?;
    let samples = samples::samples(&run.input.report, case, key.sample())?;
    let estimate = match key.statistic() {
        Statistic::Mean => statistics::mean(&samples),
        Statistic::Variance => statistics::variance(&samples),
        Statistic::Range => statistics::range(&samples),
    };
    estimate.ok_or_else(|| "it has too few iterations, or is damaged".into())
}
