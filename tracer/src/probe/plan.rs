//! Which binding of each trace point this kernel offers, and why the others cannot be.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracer_common::member::{MISSING, Member, TABLE_LEN};

use crate::{
    datapath::{
        Datapath,
        table::{Attach, Binding, Intent, Probe},
    },
    platform::Kernel,
};

/// A trace point that will be attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What it does.
    pub role: String,
    /// The point that it stamps.
    pub point: Option<String>,
    /// The eBPF program.
    pub program: String,
    /// `tp_btf`, `fentry`, `fexit`, `kprobe` or `kretprobe`.
    pub binding: String,
    /// The tracepoint or function.
    pub symbol: String,
    /// The module that has the function; none: the kernel itself.
    #[serde(default)]
    pub module: Option<String>,
}

/// A trace point that cannot be attached on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unavailable {
    /// What it would do.
    pub role: String,
    /// The point that it would stamp.
    pub point: Option<String>,
    /// Whether the datapath cannot be traced without it.
    pub required: bool,
    /// Why, for each binding.
    pub why: Vec<String>,
}

/// A probe and the bindings that this kernel seems to offer, best first.
#[derive(Clone, Debug)]
pub struct Choice {
    /// To be tried in this order; the kernel may still refuse one.
    pub candidates: Vec<Planned>,
    /// What is known of it should none of them work.
    pub otherwise: Unavailable,
}

/// What to attach for some datapaths on one kernel.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One for each probe, in the datapaths' order.
    pub choices: Vec<Choice>,
}

impl Plan {
    /// Chooses bindings. In aggregate mode only the probes that it needs.
    #[must_use]
    pub fn new(kernel: &Kernel, datapaths: &[&Datapath], aggregate: bool) -> Self {
        let mut seen = BTreeSet::new();
        let choices = datapaths
            .iter()
            .flat_map(|path| path.probes())
            .filter(|probe| !aggregate || probe.aggregate)
            .filter(|probe| seen.insert((probe.role, probe.bindings[0].program)))
            .map(|probe| choose(kernel, probe))
            .collect();
        Self { choices }
    }
}

fn choose(kernel: &Kernel, probe: &Probe) -> Choice {
    let mut candidates = Vec::new();
    let mut why = Vec::new();
    for binding in probe.bindings {
        match obstacle(kernel, binding) {
            None => candidates.push(planned(kernel, probe, binding)),
            Some(reason) => why.push(reason),
        }
    }
    let otherwise = Unavailable {
        role: probe.role.into(),
        point: probe.point.map(|point| point.name().into()),
        required: probe.intent == Intent::Required,
        why,
    };
    Choice {
        candidates,
        otherwise,
    }
}

fn planned(kernel: &Kernel, probe: &Probe, binding: &Binding) -> Planned {
    let (kind, symbol) = match binding.attach {
        Attach::Tracepoint(name, _) => ("tp_btf", name),
        Attach::Fentry(name) => ("fentry", name),
        Attach::Fexit(name) => ("fexit", name),
        Attach::Kprobe(name) => ("kprobe", name),
        Attach::Kretprobe(name) => ("kretprobe", name),
    };
    Planned {
        role: probe.role.into(),
        point: probe.point.map(|point| point.name().into()),
        program: binding.program.into(),
        binding: kind.into(),
        symbol: symbol.into(),
        module: kernel.module_of(symbol).map(str::to_owned),
    }
}

/// Why a binding cannot be used on this kernel, if so.
fn obstacle(kernel: &Kernel, binding: &Binding) -> Option<String> {
    match binding.attach {
        Attach::Tracepoint(name, arguments) => match kernel.types().tracepoint_arguments(name) {
            None => return Some(format!("this kernel has no tracepoint {name}")),
            Some(found) if found != arguments => {
                return Some(format!(
                    "tracepoint {name} has {found} arguments here, not {arguments}"
                ));
            }
            Some(_) => {}
        },
        Attach::Fentry(name) | Attach::Fexit(name) if !kernel.has_traceable_function(name) => {
            return Some(format!(
                "this kernel has no traceable function {name} (inlined or not there)"
            ));
        }
        Attach::Kprobe(name) | Attach::Kretprobe(name) if !kernel.has_kprobes() => {
            return Some(format!("this kernel has no kprobes, for {name}"));
        }
        Attach::Kprobe(name) | Attach::Kretprobe(name) if !kernel.has_probeable_function(name) => {
            return Some(format!(
                "this kernel has no function {name} to probe (inlined, or its module is not loaded)"
            ));
        }
        Attach::Fentry(_) | Attach::Fexit(_) | Attach::Kprobe(_) | Attach::Kretprobe(_) => {}
    }
    binding
        .needs
        .iter()
        .find_map(|member| kernel.offset_of(*member).err())
        .map(|error| error.to_string())
}

/// The offset table for this kernel.
#[must_use]
pub fn offsets(kernel: &Kernel) -> [u32; TABLE_LEN] {
    let mut table = [MISSING; TABLE_LEN];
    for member in Member::ALL {
        if let Ok(offset) = kernel.offset_of(*member) {
            table[*member as usize] = offset;
        }
    }
    table
}
