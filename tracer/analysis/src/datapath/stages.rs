//! What passes between two points that a request passed one after the other: whose time it is, blktrace's letters, and
//! words where the names of the points do not say it. Everything that is known of a stage is a row here.

use tracer_common::point::Point;

use crate::datapath::component::Component;

/// A stage, or several of one meaning.
#[derive(Debug)]
struct Row {
    /// The points that it begins at; none: any.
    from: &'static [Point],
    /// The points that it ends at; none: any.
    to: &'static [Point],
    /// Whose time it is.
    component: Component,
    /// blktrace's letter pair, where there is one.
    letters: Option<&'static str>,
    /// What passes, in words, where the names of its ends do not say it.
    meaning: Option<&'static str>,
}

/// What is known of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whose time it is.
    pub component: Component,
    /// blktrace's letter pair, where there is one.
    pub letters: Option<&'static str>,
    /// What passes, in words, where the names of its ends do not say it.
    pub meaning: Option<&'static str>,
}

impl Stage {
    /// The stage from one point to the next that the request passed.
    #[must_use]
    pub fn between(from: Point, to: Point) -> Self {
        let row = row(from, to);
        Self {
            component: row.component,
            letters: row.letters,
            meaning: row.meaning,
        }
    }
}

/// The first row that fits: the last one fits everything.
fn row(from: Point, to: Point) -> &'static Row {
    let fits = |points: &[Point], point| points.is_empty() || points.contains(&point);
    let mut rows = STAGES.iter();
    let is_it = |row: &&Row| fits(row.from, from) && fits(row.to, to);
    rows.find(is_it).unwrap_or(&UNKNOWN)
}

macro_rules! rows {
    ($($from:tt => $to:tt: $component:ident $(($letters:literal))? $(, $meaning:literal)?;)*) => {
        &[$(Row {
            from: rows!(@points $from),
            to: rows!(@points $to),
            component: Component::$component,
            letters: rows!(@text $($letters)?),
            meaning: rows!(@text $($meaning)?),
        }),*]
    };
    (@points any) => { &[] };
    (@points [$($point:ident)*]) => { &[$(Point::$point),*] };
    (@points $point:ident) => { &[Point::$point] };
    (@text) => { None };
    (@text $text:literal) => { Some($text) };
}

/// Two points that are on no datapath in this order.
static UNKNOWN: Row = Row {
    from: &[],
    to: &[],
    component: Component::Driver,
    letters: None,
    meaning: None,
};

/// From the top: the first row that fits counts. Rows of single stages stand before those that gather what is left where
/// points between are not traced.
static STAGES: &[Row] = rows! {
    // Time that others took.
    VcpuOff => VcpuOn: Hypervisor, "a virtual CPU waiting for a physical one";
    BlkbackPreempted => BlkbackResumed: Dom0Scheduling,
        "blkback's thread, amid its work, waiting for a CPU of Dom0 that another task has";

    // A packet from or to a guest's virtual card: between the domains.
    NetfrontNotify => Dom0Upcall: EventChannel, "the notification on its way to Dom0";
    NetfrontNotify => [Dom0Irq Dom0Softirq Dom0Poll]: EventChannel;
    NetbackNotify => EvtchnUpcall: EventChannel, "the notification on its way to the guest";
    Dom0TxComplete => EvtchnUpcall: EventChannel, "the answer's notification on its way to the guest";
    Dom0XmitDone => EvtchnUpcall: EventChannel;
    NetbackNotify => [IrqEntry SoftirqEntry]: EventChannel;
    // Nobody had to be told: the other side was at the ring already.
    NetXmit => Dom0Receive: Ring, "on the ring, where netback finds it by itself, and netback's copy";
    NetXmit => [Dom0Upcall Dom0Irq Dom0Softirq Dom0Poll NetbackConsume]: Ring;
    NetbackNotify => [NapiPoll NapiGroReceive NetifReceive]: Ring;
    // In Dom0.
    [NetfrontNotify Dom0Poll] => NetbackConsume: Backend;
    NetfrontNotify => NetifRx: Backend;
    NetbackConsume => Dom0Gro: Backend;
    NetbackConsume => Dom0Receive: Backend, "netback copying and mapping what the guest sends";
    NetfrontNotify => Dom0Receive: Backend;
    NetbackDequeue => NetbackNotify: Backend, "netback copying to the guest's pages";
    [NetbackDequeue NetbackNotify] => any: Backend;
    Dom0XmitDone => NetbackDequeue: Dom0Scheduling, "netback's thread waiting for a CPU of Dom0, or busy";
    Dom0Xmit => NetbackDequeue: Dom0Scheduling;
    [NetifRx Dom0Irq Dom0Softirq] => [Dom0Upcall Dom0Irq Dom0Softirq Dom0Poll]: Dom0Interrupt;
    [Dom0Irq Dom0Softirq Dom0Poll] => [Dom0Gro Dom0Receive]: Driver;
    Dom0Xmit => Dom0XmitDone: Driver;
    Dom0Receive => Dom0Queue: Dom0NetworkStack, "Dom0's bridge";
    Dom0Queue => Dom0Dequeue: Dom0NetworkStack, "waiting in the queueing discipline of a device of Dom0";
    [Dom0Gro Dom0Receive Dom0Queue Dom0Dequeue] => any: Dom0NetworkStack;
    Dom0XmitDone => Dom0TxComplete: Device, "the card of Dom0 sending";
    Dom0Xmit => Dom0TxComplete: Device;
    [Dom0Xmit Dom0XmitDone Dom0TxComplete] => any: Interrupt;

    // A block request, down to the driver.
    BlkQueue => BlkGetrq: BlockLayer ("Q2G");
    BlkQueue => BlkInsert: BlockLayer ("Q2I");
    BlkQueue => BlkIssue: BlockLayer ("Q2D");
    BlkQueue => BlkComplete: Device ("Q2C");
    BlkGetrq => BlkInsert: BlockLayer ("G2I");
    BlkGetrq => BlkIssue: BlockLayer ("G2D");
    BlkInsert => BlkIssue: BlockLayer ("I2D"), "waiting in the I/O scheduler or for the driver";
    BlkIssue => BlkComplete: Device ("D2C");

    // A guest's virtual disk: to its backend, through Dom0, and back.
    BlkIssue => [BlkfrontPush Dom0Upcall BlkbackInterrupt BlkbackRun BlkbackConsume]: Ring;
    BlkfrontPush => Dom0Upcall: EventChannel, "the notification on its way to Dom0";
    BlkfrontPush => BlkbackInterrupt: EventChannel;
    BlkfrontPush => BlkbackRun: Dom0Scheduling, "blkback's thread waiting for a CPU of Dom0";
    // Without an interrupt of its own: it lay there until blkback came to it.
    BlkfrontPush => BlkbackConsume: Ring, "lying on the ring while blkback is busy";
    BlkfrontPush => any: Backend;
    Dom0Upcall => any: EventChannel;
    BlkbackInterrupt => BlkbackRun: Dom0Scheduling, "blkback's thread waiting for a CPU of Dom0";
    BlkbackInterrupt => BlkbackConsume: Dom0Scheduling;
    BlkbackRun => BlkbackConsume: Backend, "blkback finding the request on the ring";
    BlkbackConsume => BlkbackSubmit: Backend, "blkback mapping the guest's pages";
    BlkbackComplete => BlkbackResponse: Backend, "blkback unmapping the guest's pages";
    any => [BlkbackConsume BlkbackSubmit BlkbackResponse]: Backend;
    BlkbackResponse => EvtchnUpcall: EventChannel, "the answer's notification on its way to the guest";
    BlkbackResponse => any: EventChannel;
    BlkbackSubmit => Dom0Issue: Dom0BlockLayer, "Dom0's block layer on the way down";
    Dom0Complete => any: Dom0BlockLayer;
    [BlkbackSubmit Dom0Issue] => any: Device;
    [Dom0Irq Dom0Softirq] => any: Dom0Interrupt;
    BlkbackComplete => any: Backend;
    EvtchnUpcall => any: EventChannel;

    // The device, its interrupt, and up to the reader.
    [BlkIssue NetXmit NetXmitDone] => EvtchnUpcall: Device;
    BlkIssue => [IrqEntry SoftirqEntry]: Device;
    any => [BlkGetrq BlkInsert BlkRequeue BlkIssue]: BlockLayer;
    [IrqEntry SoftirqEntry] => [SoftirqEntry BlkComplete NetTxComplete]: Interrupt;
    any => BlkComplete: Device;
    BlkComplete => SchedWaking: BlockLayer;
    SockReady => SchedWaking: NetworkStack;
    SchedWaking => SchedSwitch: Scheduler, "the reader waiting for a CPU";
    any => [SchedSwitch SchedWaking]: Scheduler;

    // A packet through a domain's own stack.
    NetXmit => NetfrontNotify: Ring;
    SockSend => NetQueue: NetworkStack;
    NetQueue => [QdiscDequeue NetXmit]: Qdisc;
    QdiscDequeue => NetXmit: Qdisc;
    [NetXmit NetfrontNotify] => NetXmitDone: Driver;
    [NetXmit NetXmitDone] => [IrqEntry SoftirqEntry NetTxComplete]: Device;
    NetifRx => [EvtchnUpcall IrqEntry SoftirqEntry]: Interrupt;
    [IrqEntry SoftirqEntry] => NapiPoll: Interrupt;
    any => NapiGroReceive: Driver;
    any => [NetifReceive SockReady]: NetworkStack;

    // Points between are not traced: of several steps the one that takes longest as a rule.
    [BlkQueue BlkGetrq BlkInsert BlkRequeue] => BlkfrontPush: BlockLayer;
    [BlkQueue BlkGetrq BlkInsert BlkRequeue BlkIssue] => [EvtchnUpcall IrqEntry SoftirqEntry]: Device;
    [BlkQueue BlkGetrq BlkInsert BlkRequeue BlkIssue] => any: Backend;
    [BlkbackInterrupt BlkbackRun BlkbackConsume] => any: Backend;
    SockSend => [QdiscDequeue NetXmit NetfrontNotify NetXmitDone]: NetworkStack;
    [NetQueue QdiscDequeue] => [NetfrontNotify NetXmitDone]: Qdisc;
    [SockSend NetQueue QdiscDequeue NetXmit NetfrontNotify] => [EvtchnUpcall IrqEntry SoftirqEntry NetTxComplete]: Device;
    [SockSend NetQueue QdiscDequeue NetXmit NetfrontNotify] => any: Backend;
    [NetifRx Dom0Poll NetbackConsume] => [Dom0Gro Dom0Receive Dom0Queue Dom0Dequeue Dom0Xmit Dom0XmitDone]: Dom0NetworkStack;
    [NetifRx Dom0Poll] => NapiPoll: Interrupt;
    [NetifRx Dom0Poll NetbackConsume] => any: Backend;
};

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fmt::Write as _};

    use super::*;
    use crate::datapath::DATAPATHS;

    /// The stages that were meant; `TRACER_BLESS=1` writes it anew, for `git diff` to show.
    const MEANT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/datapath/stages.txt");

    /// Every two points that a datapath's request can pass one after the other, as a kernel leaves points out and requests
    /// pass some by: a line each.
    fn listed() -> String {
        let mut pairs = BTreeSet::new();
        for datapath in DATAPATHS {
            let points = datapath.points();
            for (at, from) in points.iter().enumerate() {
                pairs.extend(points[at + 1..].iter().map(|to| (*from, *to)));
            }
        }
        let mut text = String::new();
        for (from, to) in pairs {
            let stage = Stage::between(from, to);
            let (component, letters) = (stage.component.name(), stage.letters.unwrap_or("-"));
            let meaning = stage.meaning.unwrap_or("-");
            let (from, to) = (from.name(), to.name());
            writeln!(text, "{from} | {to} | {component} | {letters} | {meaning}").unwrap();
        }
        text
    }

    #[test]
    fn every_stage_of_every_datapath_has_the_row_that_was_meant() {
        let now = listed();
        if std::env::var_os("TRACER_BLESS").is_some() {
            std::fs::write(MEANT, &now).unwrap();
        }
        let meant = std::fs::read_to_string(MEANT).unwrap();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (is, was) = (lines(&now), lines(&meant));
        let (more, less): (Vec<_>, Vec<_>) =
            (is.difference(&was).collect(), was.difference(&is).collect());
        assert!(
            more.is_empty() && less.is_empty(),
            "now {more:#?}, meant {less:#?}"
        );
    }

    #[test]
    fn no_way_between_two_points_of_a_datapath_is_unknown() {
        for datapath in DATAPATHS {
            let points = datapath.points();
            for (at, from) in points.iter().enumerate() {
                for to in &points[at + 1..] {
                    let is_known = !std::ptr::eq(row(*from, *to), &raw const UNKNOWN);
                    assert!(is_known, "{}: {from:?} to {to:?}", datapath.name);
                }
            }
        }
    }

    #[test]
    fn every_row_is_the_first_that_fits_some_stage() {
        let all = || Point::ALL.into_iter();
        let pairs = all().flat_map(|from| all().map(move |to| (from, to)));
        let hit: BTreeSet<*const Row> = pairs.map(|(from, to)| &raw const *row(from, to)).collect();
        for row in STAGES {
            assert!(hit.contains(&(&raw const *row)), "never hit: {row:?}");
        }
    }
}
