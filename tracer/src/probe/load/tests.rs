use std::path::Path;

use aya::programs::Program;
use tracer_common::member::{Holds, form};

use super::*;
use crate::{
    platform::Kernel,
    probe::{
        Plan,
        attach::request_to_attach,
        attacher::{Attacher, detach},
        plan,
    },
};
use tracer_analysis::datapath::{DATAPATHS, Datapath};

fn request() -> Request {
    request_to_attach(DATAPATHS)
}

/// This kernel, if a test may load programs into it; says so if not.
fn this_kernel(test: &str) -> Option<Kernel> {
    let kernel = Kernel::from_root(Path::new("/")).ok();
    if !nix::unistd::geteuid().is_root() || kernel.is_none() {
        eprintln!("SKIPPED {test}: needs root and a kernel with BTF");
        return None;
    }
    kernel
}

/// A layout as of a kernel whose number is narrower than this one's.
fn narrower(member: Member, layout: Layout, bytes: u32, sign: u32) -> Layout {
    let Holds::Number { bytes: held } = member.holds() else {
        return layout;
    };
    let here = match layout.form {
        0 => held,
        form => form & !form::SIGNED,
    };
    let form = if bytes < here {
        bytes | sign
    } else {
        layout.form
    };
    Layout { form, ..layout }
}

/// Programs of bindings to tracepoints that the kernel does not take with such layouts, and why; and how many it takes.
fn refused(kernel: &Kernel, btf: &Btf, layouts: &[(Member, Layout)]) -> (Vec<String>, usize) {
    let mut ebpf = load(btf, &request(), layouts, None).unwrap();
    let mut refused = Vec::new();
    let mut taken = 0;
    let all: Vec<&Datapath> = DATAPATHS.iter().collect();
    let mut attacher = Attacher::new(&mut ebpf, btf);
    for mut choice in Plan::new(kernel, &all, false).choices {
        choice
            .candidates
            .retain(|candidate| candidate.binding == "tp_btf");
        if choice.candidates.is_empty() {
            continue;
        }
        match attacher.attach(choice, "") {
            Ok(_) => taken += 1,
            Err(missing) => refused.extend(missing.why),
        }
    }
    // Where nothing can be probed, the verifier still has its say.
    for (name, program) in ebpf.programs_mut() {
        if let Program::KProbe(program) = program
            && let Err(error) = program.load()
        {
            refused.push(format!("{name}: {error}"));
        }
    }
    detach(&mut ebpf);
    (refused, taken)
}

#[test]
fn this_kernel_takes_every_program_by_whatever_width_a_number_has() {
    let Some(kernel) =
        this_kernel("this_kernel_takes_every_program_by_whatever_width_a_number_has")
    else {
        return;
    };
    let btf = types().unwrap();
    let here = plan::layouts(&kernel);
    for (bytes, sign) in [
        (8, 0),
        (1, 0),
        (1, form::SIGNED),
        (2, 0),
        (2, form::SIGNED),
        (4, 0),
        (4, form::SIGNED),
    ] {
        let layouts: Vec<_> = here
            .iter()
            .map(|(member, layout)| (*member, narrower(*member, *layout, bytes, sign)))
            .collect();
        let (refused, taken) = refused(&kernel, &btf, &layouts);
        assert!(refused.is_empty(), "{bytes} bytes, {sign}: {refused:#?}");
        assert!(taken > 20, "{taken}");
    }
}

#[test]
fn what_the_verifier_says_of_a_misread_member_is_told_once() {
    let Some(kernel) = this_kernel("what_the_verifier_says_of_a_misread_member_is_told_once")
    else {
        return;
    };
    let btf = types().unwrap();
    let mut layouts = plan::layouts(&kernel);
    let is_pid = |member: &Member| *member == Member::TaskPid;
    let pid = layouts
        .iter_mut()
        .find(|(member, _)| is_pid(member))
        .unwrap();
    pid.1.offset = 1 << 16;
    let mut ebpf = load(&btf, &request(), &layouts, None).unwrap();
    let mut attacher = Attacher::new(&mut ebpf, &btf);
    let mut why_for = |path: &'static Datapath| {
        let mut choices = Plan::new(&kernel, &[path], false).choices.into_iter();
        let choice = choices
            .find(|choice| choice.otherwise.role == "waiting task runs")
            .unwrap();
        attacher
            .attach(choice, path.name)
            .unwrap_err()
            .why
            .join("; ")
    };
    let [first, second] =
        ["disk/native", "net-rx/native"].map(|name| why_for(datapath(name).unwrap()));
    let start = "kernel refused tp_btf sched_switch";
    assert!(
        first.starts_with(&format!("{start}: EACCES, verifier: ")),
        "{first}"
    );
    assert_eq!(second, format!("{start}, as for disk/native"));
}
