//! Attaches bindings, and remembers which ones the kernel has refused.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf,
    programs::{Program, ProgramError},
};

use crate::probe::{plan::Choice, refusal::Refusal};
use tracer_analysis::recording::bindings::{Planned, Unavailable};

/// A program, and what it was to be attached to.
type Binding = (String, String);

/// What has been attached so far.
pub(super) struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    btf: &'a Btf,
    attached: Vec<Planned>,
    /// For what each was tried first.
    refused: BTreeMap<Binding, String>,
}

impl<'a> Attacher<'a> {
    pub(super) fn new(ebpf: &'a mut Ebpf, btf: &'a Btf) -> Self {
        Self {
            ebpf,
            btf,
            attached: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Attaches the first binding that the kernel takes; two probes may share one. `user` says for what: of a binding that
    /// is refused, the reason is told once, and then for what it was told.
    pub(super) fn attach(&mut self, choice: Choice, user: &str) -> Result<Planned, Unavailable> {
        let mut missing = choice.otherwise;
        for candidate in choice.candidates {
            if let Some(shared) = self.shared(&candidate) {
                return Ok(shared);
            }
            let Planned {
                binding, symbol, ..
            } = &candidate;
            let key = (candidate.program.clone(), symbol.clone());
            let reason = match self.refused.get(&key) {
                Some(first) => format!(", as for {first}"),
                None => match attach_one(self.ebpf, &candidate, self.btf) {
                    Ok(()) => {
                        self.attached.push(candidate.clone());
                        return Ok(candidate);
                    }
                    Err(refusal) => {
                        self.refused.insert(key, user.into());
                        format!(": {}", refusal.words(binding))
                    }
                },
            };
            missing
                .why
                .push(format!("kernel refused {binding} {symbol}{reason}"));
        }
        Err(missing)
    }

    /// The binding that the candidate's program has already, in the candidate's role.
    fn shared(&self, candidate: &Planned) -> Option<Planned> {
        let mut attached = self.attached.iter();
        let other = attached.find(|other| other.program == candidate.program)?;
        Some(Planned {
            role: candidate.role.clone(),
            point: candidate.point.clone(),
            ..other.clone()
        })
    }
}

fn attach_one(ebpf: &mut Ebpf, probe: &Planned, btf: &Btf) -> Result<(), Refusal> {
    let program = ebpf
        .program_mut(&probe.program)
        .ok_or_else(|| Refusal::Loader("not in the eBPF object".into()))?;
    unload(program);
    let symbol = probe.symbol.as_str();
    let result: Result<(), ProgramError> = match program {
        Program::BtfTracePoint(program) => program
            .load(symbol, btf)
            .and_then(|()| program.attach().map(drop)),
        Program::FEntry(program) => program
            .load(symbol, btf)
            .and_then(|()| program.attach().map(drop)),
        Program::FExit(program) => program
            .load(symbol, btf)
            .and_then(|()| program.attach().map(drop)),
        Program::KProbe(program) => program
            .load()
            .and_then(|()| program.attach(symbol, 0).map(drop)),
        _ => {
            let reason = "of a type that the loader does not attach";
            return Err(Refusal::Loader(reason.into()));
        }
    };
    result.map_err(Refusal::from)
}

/// Detaches and unloads a program; its maps stay readable.
fn unload(program: &mut Program) {
    // One that was never loaded cannot be unloaded; that is no failure.
    let _ = match program {
        Program::BtfTracePoint(program) => program.unload(),
        Program::FEntry(program) => program.unload(),
        Program::FExit(program) => program.unload(),
        Program::KProbe(program) => program.unload(),
        _ => Ok(()),
    };
}

/// Detaches every program; the maps stay readable.
pub fn detach(ebpf: &mut Ebpf) {
    ebpf.programs_mut().for_each(|(_, program)| unload(program));
}
