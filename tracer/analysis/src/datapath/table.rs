//! What tables say: which program binds which trace point to what in the kernel. A new kernel's renamed
//! symbol is one more row.

use tracer_common::{
    member::Member,
    point::{Kind, Point},
};

/// What a program attaches to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A BTF tracepoint and the number of its arguments, which changed over time for some.
    Tracepoint(&'static str, usize),
    /// The entry of a function of the kernel itself: BTF of modules is out of aya's reach.
    Fentry(Function),
    /// The return of a function of the kernel itself.
    Fexit(Function),
    /// The entry of a function, of a module too; or of a compiler's copy of it.
    Kprobe(Function),
    /// The return of a function, of a module too; or of a compiler's copy of it.
    Kretprobe(Function),
}

/// A function of the kernel or of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name in the source.
    pub name: &'static str,
    /// How many of its arguments must be where the source has them: up to the last one that the program reads.
    pub arguments: usize,
}

/// One way to bind a trace point.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The program's name in the eBPF object.
    pub program: &'static str,
    /// What it attaches to.
    pub attach: Attach,
    /// Members that it reads, all but those that it can do without ([`Member::is_optional`]).
    pub needs: &'static [Member],
}

/// How much a datapath depends on a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Without it the datapath cannot be traced.
    Required,
    /// Without it some stages are missing or joined.
    Optional,
}

/// One probe of a datapath: its bindings in order of preference; the first that the kernel offers
/// is taken.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What it does, for `tracer probes`.
    pub role: &'static str,
    /// The trace point that it stamps, if it stamps one.
    pub point: Option<Point>,
    /// Whether the datapath needs it.
    pub intent: Intent,
    /// Whether aggregate mode attaches it, too.
    pub aggregate: bool,
    /// The bindings.
    pub bindings: &'static [Binding],
}

/// The other domain's part of a datapath.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// The datapath that follows the same requests there.
    pub datapath: &'static str,
    /// The points of the whole way.
    pub points: &'static [Point],
}

/// A datapath: an ordered list of probes.
#[derive(Clone, Copy, Debug)]
pub struct Datapath {
    /// The name in scenarios and reports.
    pub name: &'static str,
    /// What it follows.
    pub summary: &'static str,
    /// What its records are; none: it has none.
    pub kind: Option<Kind>,
    /// How its requests go on in the domain of their backend, if they have one.
    pub backend: Option<Backend>,
    /// The probes, in lists that datapaths share.
    pub probes: &'static [&'static [Probe]],
}

impl Datapath {
    /// The points of its spans, in the order in which a request passes them.
    #[must_use]
    pub fn points(&self) -> &'static [Point] {
        match (self.backend, self.kind) {
            (Some(backend), _) => backend.points,
            (None, Some(kind)) => kind.points(),
            (None, None) => &[],
        }
    }

    /// Every probe.
    pub fn probes(&self) -> impl Iterator<Item = &'static Probe> {
        self.probes.iter().copied().flatten()
    }
}

/// A row: `INTENT [aggregated], ROLE [, POINT];`, then its bindings, a line each:
/// `PROGRAM: KIND NAME / ARGUMENTS [MEMBERS];`.
macro_rules! probe {
    ($intent:ident $($aggregated:ident)?, $role:literal $(, $point:ident)?;
     $($program:literal: $kind:ident $name:literal / $arguments:literal [$($member:ident)*];)+) => {
        $crate::datapath::table::Probe {
            role: $role,
            point: probe!(@point $($point)?),
            intent: $crate::datapath::table::Intent::$intent,
            aggregate: probe!(@aggregate $($aggregated)?),
            bindings: &[$($crate::datapath::table::Binding {
                program: $program,
                attach: probe!(@attach $kind $name $arguments),
                needs: &[$(tracer_common::member::Member::$member),*],
            }),+],
        }
    };
    (@point) => { None };
    (@point $point:ident) => { Some(tracer_common::point::Point::$point) };
    (@aggregate) => { false };
    (@aggregate aggregated) => { true };
    (@attach tracepoint $name:literal $arguments:literal) => {
        $crate::datapath::table::Attach::Tracepoint($name, $arguments)
    };
    (@attach fentry $name:literal $arguments:literal) => {
        $crate::datapath::table::Attach::Fentry(probe!(@function $name $arguments))
    };
    (@attach fexit $name:literal $arguments:literal) => {
        $crate::datapath::table::Attach::Fexit(probe!(@function $name $arguments))
    };
    (@attach kprobe $name:literal $arguments:literal) => {
        $crate::datapath::table::Attach::Kprobe(probe!(@function $name $arguments))
    };
    (@attach kretprobe $name:literal $arguments:literal) => {
        $crate::datapath::table::Attach::Kretprobe(probe!(@function $name $arguments))
    };
    (@function $name:literal $arguments:literal) => {
        $crate::datapath::table::Function { name: $name, arguments: $arguments }
    };
}
pub(super) use probe;
