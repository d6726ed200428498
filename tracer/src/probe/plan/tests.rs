use std::fs;

use super::*;
use crate::platform::btf_blob::{Blob, Leaf};
use tracer_analysis::datapath::datapath;

/// A kernel with these types, with kprobes, and with these functions.
fn kernel(types: &Blob, functions: &str) -> Kernel {
    let root = tempfile::tempdir().unwrap();
    let list = "sys/kernel/tracing/available_filter_functions";
    for (path, bytes) in [
        ("sys/kernel/btf/vmlinux", types.bytes().as_slice()),
        ("sys/kernel/tracing/kprobe_events", b""),
        (list, functions.as_bytes()),
    ] {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    Kernel::from_root(root.path()).unwrap()
}

/// What becomes of a program of a datapath: what it is put on, or all reasons against its role.
fn planned(kernel: &Kernel, path: &str, program: &str) -> Result<(String, String), String> {
    let path = datapath(path).unwrap();
    let is_of = |probe: &&Probe| probe.bindings.iter().any(|b| b.program == program);
    let role = path.probes().find(is_of).unwrap().role;
    let mut choices = Plan::new(kernel, &[path], false).choices.into_iter();
    let choice = choices
        .find(|choice| choice.otherwise.role == role)
        .unwrap();
    let mut candidates = choice.candidates.into_iter();
    match candidates.find(|candidate| candidate.program == program) {
        Some(found) => Ok((found.binding, found.symbol)),
        None => Err(choice.otherwise.why.join("; ")),
    }
}

#[test]
fn a_member_that_is_too_wide_costs_its_bindings_before_the_verifier_sees_them() {
    let member = Member::HctxQueueNum;
    let of = |bytes| {
        let is_signed = false;
        let types = Blob::new(8).member(member, Leaf::Int { bytes, is_signed });
        planned(
            &kernel(&types, "blkif_queue_rq [xen_blkfront]\n"),
            "disk/vbd",
            "blkfront_queue",
        )
    };
    let found = Ok(("kprobe".to_owned(), "blkif_queue_rq".to_owned()));
    assert_eq!(of(4), found);
    assert_eq!(of(1), found);
    let reason = of(8).unwrap_err();
    assert!(
        reason.contains("blk_mq_hw_ctx")
            && reason.contains("queue_num is an unsigned number of 8 bytes"),
        "{reason}"
    );
}

#[test]
fn a_copy_is_probed_only_where_its_arguments_are_known_to_be_in_place() {
    let copy = "__napi_poll.constprop.0\n__napi_poll.constprop.0.cold\n";
    let of = |types: &Blob, functions| {
        planned(
            &kernel(types, functions),
            "net-rx/native",
            "napi_poll_kprobe",
        )
    };
    let (known, unknown) = (Blob::new(8).function("__napi_poll", 2), Blob::new(8));
    let probed = |symbol: &str| Ok(("kprobe".to_owned(), symbol.to_owned()));
    assert_eq!(of(&known, copy), probed("__napi_poll.constprop.0"));
    assert_eq!(of(&unknown, "__napi_poll\n"), probed("__napi_poll"));
    assert_eq!(
        of(&known, "__napi_poll\n__napi_poll.constprop.0\n"),
        probed("__napi_poll")
    );
    for (types, functions, reason) in [
        (&unknown, copy, "may have other arguments"),
        (
            &Blob::new(8).function("__napi_poll", 1),
            copy,
            "may have other arguments",
        ),
        (
            &known,
            "__napi_poll.isra.0\n__napi_poll.isra.1\n",
            "only as __napi_poll.isra.0, __napi_poll.isra.1",
        ),
        (
            &known,
            "__napi_poll.cold\n__napi_poll.part.0\n",
            "no function __napi_poll to probe",
        ),
    ] {
        let why = of(types, functions).unwrap_err();
        assert!(why.contains(reason), "{why}");
    }
}

#[test]
fn a_copy_is_probed_anyway_by_a_program_that_reads_no_arguments() {
    let functions = "xenvif_tx_action.isra.0 [xen_netback]\n";
    let of = planned(
        &kernel(&Blob::new(8), functions),
        "net/vif-backend",
        "netback_consume",
    );
    assert_eq!(of, Ok(("kprobe".into(), "xenvif_tx_action.isra.0".into())));
}

#[test]
fn fentry_takes_no_copy_and_says_so() {
    let types = Blob::new(8).function("__napi_poll", 2);
    let kernel = kernel(&types, "__napi_poll.constprop.0\n");
    let why = planned(&kernel, "net-rx/native", "napi_poll").unwrap_err();
    assert_eq!(
        why,
        "this kernel has __napi_poll only as __napi_poll.constprop.0"
    );
}
