//! Which binding of each trace point this kernel offers, and why the others cannot be.

use std::collections::BTreeSet;

use tracer_common::member::{Layout, Member};

use crate::platform::Kernel;
use tracer_analysis::datapath::{
    Datapath,
    table::{Attach, Binding, Function, Intent, Probe},
};
use tracer_analysis::recording::bindings::{Planned, Unavailable};

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
        match symbol(kernel, binding) {
            Ok(symbol) => candidates.push(planned(kernel, probe, binding, symbol)),
            Err(reason) => why.push(reason),
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

fn planned(kernel: &Kernel, probe: &Probe, binding: &Binding, symbol: &str) -> Planned {
    let kind = match binding.attach {
        Attach::Tracepoint(..) => "tp_btf",
        Attach::Fentry(_) => "fentry",
        Attach::Fexit(_) => "fexit",
        Attach::Kprobe(_) => "kprobe",
        Attach::Kretprobe(_) => "kretprobe",
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

/// What a binding attaches to on this kernel, or why it cannot be used.
fn symbol<'a>(kernel: &'a Kernel, binding: &Binding) -> Result<&'a str, String> {
    let symbol = match binding.attach {
        Attach::Tracepoint(name, arguments) => tracepoint(kernel, name, arguments).map(|()| name),
        Attach::Fentry(function) | Attach::Fexit(function) => {
            traceable(kernel, function).map(|()| function.name)
        }
        Attach::Kprobe(function) | Attach::Kretprobe(function) => probeable(kernel, function),
    }?;
    let mut layouts = binding.needs.iter().map(|member| kernel.layout(*member));
    match layouts.find_map(Result::err) {
        Some(error) => Err(error.to_string()),
        None => Ok(symbol),
    }
}

fn tracepoint(kernel: &Kernel, name: &str, arguments: usize) -> Result<(), String> {
    match kernel.types().tracepoint_arguments(name) {
        None => Err(format!("this kernel has no tracepoint {name}")),
        Some(found) if found != arguments => Err(format!(
            "tracepoint {name} has {found} arguments here, not {arguments}"
        )),
        Some(_) => Ok(()),
    }
}

/// fentry finds a function by its name in the kernel's types and by the same one among its symbols, so a copy is out of
/// its reach.
fn traceable(kernel: &Kernel, function: Function) -> Result<(), String> {
    let Function { name, arguments } = function;
    if !kernel.has_traceable_function(name) {
        return Err(match kernel.symbols_of(name)[..] {
            [copy] if copy != name => format!("this kernel has {name} only as {copy}"),
            _ => format!("this kernel has no traceable function {name} (inlined or not there)"),
        });
    }
    match kernel.types().function_arguments(name) {
        Some(found) if found < arguments => Err(format!(
            "function {name} has {found} arguments here, not {arguments}"
        )),
        _ => Ok(()),
    }
}

/// A compiler's copy is taken where the kernel has nothing else of the function and only one of it, and where the program
/// reads none of its arguments, or fewer than the kernel's types say that it has: pahole leaves out of them a function with
/// an argument in another register than the source has it in, so that of a copy only the last ones can be gone.
fn probeable(kernel: &Kernel, function: Function) -> Result<&str, String> {
    let Function { name, arguments } = function;
    if !kernel.has_kprobes() {
        return Err(format!("this kernel has no kprobes, for {name}"));
    }
    let types_know = || {
        kernel
            .function_arguments(name)
            .is_some_and(|found| found > arguments)
    };
    match kernel.symbols_of(name)[..] {
        [] => Err(format!(
            "this kernel has no function {name} to probe (inlined, or its module is not loaded)"
        )),
        [symbol] if symbol == name || arguments == 0 || types_know() => Ok(symbol),
        [copy] => Err(format!("{copy} may have other arguments than {name}")),
        ref copies => Err(format!(
            "this kernel has {name} only as {}",
            copies.join(", ")
        )),
    }
}

/// How the programs are to read each member that this kernel has and they can hold.
#[must_use]
pub fn layouts(kernel: &Kernel) -> Vec<(Member, Layout)> {
    let all = Member::ALL.iter();
    all.filter_map(|member| Some((*member, kernel.layout(*member).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests;
