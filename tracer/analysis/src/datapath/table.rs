//! The tables: which program binds which trace point to what in the kernel. A new kernel's renamed
//! symbol is one more row.

use tracer_common::{
    member::Member,
    point::{Kind, Point},
};

use crate::datapath::{native, vif, xen};

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

/// A row with one binding to a tracepoint.
pub(super) const fn tracepoint(
    role: &'static str,
    point: Option<Point>,
    intent: Intent,
    aggregate: bool,
    binding: &'static [Binding],
) -> Probe {
    Probe {
        role,
        point,
        intent,
        aggregate,
        bindings: binding,
    }
}

macro_rules! bind {
    ($program:literal, $name:literal / $arguments:literal, [$($member:ident),*]) => {
        Binding {
            program: $program,
            attach: Attach::Tracepoint($name, $arguments),
            needs: &[$(Member::$member),*],
        }
    };
    ($program:literal, fentry $name:literal / $arguments:literal, [$($member:ident),*]) => {
        Binding {
            program: $program,
            attach: Attach::Fentry(Function {
                name: $name,
                arguments: $arguments,
            }),
            needs: &[$(Member::$member),*],
        }
    };
    ($program:literal, fexit $name:literal / $arguments:literal, [$($member:ident),*]) => {
        Binding {
            program: $program,
            attach: Attach::Fexit(Function {
                name: $name,
                arguments: $arguments,
            }),
            needs: &[$(Member::$member),*],
        }
    };
    ($program:literal, kprobe $name:literal / $arguments:literal, [$($member:ident),*]) => {
        Binding {
            program: $program,
            attach: Attach::Kprobe(Function {
                name: $name,
                arguments: $arguments,
            }),
            needs: &[$(Member::$member),*],
        }
    };
    ($program:literal, kretprobe $name:literal) => {
        Binding {
            program: $program,
            attach: Attach::Kretprobe(Function {
                name: $name,
                arguments: 0,
            }),
            needs: &[],
        }
    };
}
pub(super) use bind;

/// Every datapath.
pub const DATAPATHS: &[Datapath] = &[
    native::DISK_NATIVE,
    native::NET_TX_NATIVE,
    native::NET_RX_NATIVE,
    native::IRQ,
    xen::DISK_VBD,
    xen::DISK_VBD_BACKEND,
    xen::DISK_PASSTHROUGH,
    vif::NET_TX_VIF,
    vif::NET_RX_VIF,
    vif::NET_VIF_BACKEND,
    xen::NET_TX_PASSTHROUGH,
    xen::NET_RX_PASSTHROUGH,
];

/// The datapath of this name.
#[must_use]
pub fn datapath(name: &str) -> Option<&'static Datapath> {
    DATAPATHS.iter().find(|path| path.name == name)
}
