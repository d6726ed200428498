//! What the running kernel takes of every datapath. The kernel alone knows: each program is attached for a
//! moment, once for all the datapaths that share it, since attaching patches the kernel's code.

use serde::Serialize;

use crate::{
    platform::Kernel,
    probe::{
        AttachError, Plan,
        attach::request_to_attach,
        attacher::{Attacher, detach},
        lacks::lacks,
        load::{load, types},
        plan,
    },
};
use tracer_analysis::{
    datapath::Datapath,
    recording::bindings::{Planned, Unavailable},
};

/// One datapath on this kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Surveyed {
    /// Its name.
    pub name: &'static str,
    /// What it follows.
    #[serde(skip)]
    pub summary: &'static str,
    /// Whether it can be traced: none of its required probes is missing.
    pub traceable: bool,
    /// Probes with the binding that was found, in the datapath's order.
    pub attached: Vec<Planned>,
    /// Probes without.
    pub unavailable: Vec<Unavailable>,
}

/// Asks the kernel.
///
/// # Errors
/// If it refuses the eBPF object or its maps.
pub fn survey(kernel: &Kernel, datapaths: &[&Datapath]) -> Result<Vec<Surveyed>, AttachError> {
    let request = request_to_attach(datapaths.iter().copied());
    // Its programs only attach, and see nothing.
    let btf = types()?;
    let mut ebpf = load(&btf, &request, &plan::layouts(kernel), None)?;
    let mut attacher = Attacher::new(&mut ebpf, &btf);
    let surveyed = datapaths
        .iter()
        .map(|path| {
            let (mut attached, mut unavailable) = (Vec::new(), Vec::new());
            for choice in Plan::new(kernel, &[path], false).choices {
                match attacher.attach(choice, path.name) {
                    Ok(probe) => attached.push(probe),
                    Err(missing) => unavailable.push(missing),
                }
            }
            unavailable.extend(lacks(kernel, &[path]));
            Surveyed {
                name: path.name,
                summary: path.summary,
                traceable: unavailable.iter().all(|missing| !missing.required),
                attached,
                unavailable,
            }
        })
        .collect();
    detach(&mut ebpf);
    Ok(surveyed)
}
