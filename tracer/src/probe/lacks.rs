//! What programs do without on some kernels, and what that costs.

use tracer_common::{
    member::Member,
    point::{Kind, Point},
};

use crate::platform::{Kernel, symbols};
use tracer_analysis::{datapath::Datapath, recording::bindings::Unavailable};

/// Where a domain of Xen finds what became of its virtual CPUs' time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Runstate {
    /// Address of the per-CPU variable `xen_runstate` (drivers/xen/time.c).
    pub(super) variable: u64,
    /// Address of the array by which per-CPU variables are found.
    pub(super) per_cpu_offset: u64,
}

impl Runstate {
    /// Looks it up on a kernel that runs on Xen.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn find(kernel: &Kernel) -> Result<Self, String> {
        let layout = kernel.layout(Member::RunstateTime);
        layout.map_err(|error| error.to_string())?;
        match symbols::addresses(kernel.root(), ["xen_runstate", "__per_cpu_offset"]) {
            [Some(variable), Some(per_cpu_offset)] => Ok(Self {
                variable,
                per_cpu_offset,
            }),
            _ => Err("/proc/kallsyms does not tell where xen_runstate is (kernel.kptr_restrict is 2, or no CONFIG_KALLSYMS_ALL)".into()),
        }
    }

    /// As [`Self::find`]; `None` where there is none.
    pub(super) fn of(kernel: &Kernel) -> Option<Self> {
        kernel.is_xen().then(|| Self::find(kernel).ok()).flatten()
    }
}

/// What is lost of these datapaths since this kernel does not have an optional member, or does not tell where it is.
pub(super) fn lacks(kernel: &Kernel, datapaths: &[&Datapath]) -> Vec<Unavailable> {
    let optional = Member::ALL.iter().filter(|member| member.is_optional());
    optional
        .filter_map(|member| lack(kernel, datapaths, *member))
        .collect()
}

fn lack(kernel: &Kernel, datapaths: &[&Datapath], member: Member) -> Option<Unavailable> {
    let serves = || {
        let mut datapaths = datapaths.iter();
        datapaths.any(|path| path.kind == Some(Kind::Blkback))
    };
    let (role, point, why) = match member {
        Member::RunstateTime if kernel.is_xen() => (
            "time that Xen gave to others",
            Point::VcpuOff,
            Runstate::find(kernel).err()?,
        ),
        Member::TaskRunDelay if serves() => (
            "time that blkback's thread waited for a CPU amid its work",
            Point::BlkbackPreempted,
            kernel.layout(member).err()?.to_string(),
        ),
        _ => return None,
    };
    Some(Unavailable {
        role: role.into(),
        point: Some(point.name().into()),
        required: false,
        why: vec![why],
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::platform::btf_blob::{Blob, Leaf};
    use tracer_analysis::datapath::{DATAPATHS, datapath};

    /// A kernel on Xen with these types.
    fn kernel(types: &Blob) -> (tempfile::TempDir, Kernel) {
        let root = tempfile::tempdir().unwrap();
        let symbols = "0000000000012340 d xen_runstate\nffffffff82000000 D __per_cpu_offset\n";
        for (path, bytes) in [
            ("sys/kernel/btf/vmlinux", types.bytes().as_slice()),
            ("sys/hypervisor/type", b"xen\n"),
            ("proc/kallsyms", symbols.as_bytes()),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let kernel = Kernel::from_root(root.path()).unwrap();
        (root, kernel)
    }

    fn lacked(kernel: &Kernel, path: &str) -> Vec<(Option<String>, String)> {
        let lacks = lacks(kernel, &[datapath(path).unwrap()]).into_iter();
        lacks
            .map(|lack| (lack.point, lack.why.join("; ")))
            .collect()
    }

    #[test]
    fn every_optional_member_that_is_missing_is_told_with_its_point() {
        let (_root, kernel) = kernel(&Blob::new(8).member(Member::TaskRunDelay, Leaf::Absent));
        let all: Vec<&Datapath> = DATAPATHS.iter().collect();
        let optional = Member::ALL.iter().filter(|member| member.is_optional());
        assert_eq!(lacks(&kernel, &all).len(), optional.count());
        let [run_delay, runstate] = &lacked(&kernel, "disk/vbd-backend")[..] else {
            panic!("not two");
        };
        assert_eq!(run_delay.0.as_deref(), Some("blkback.preempted"));
        assert!(
            run_delay.1.contains("has no member sched_info.run_delay"),
            "{}",
            run_delay.1
        );
        assert_eq!(runstate.0.as_deref(), Some("vcpu.off"));
        assert!(
            runstate.1.contains("no struct vcpu_runstate_info"),
            "{}",
            runstate.1
        );
        assert_eq!(
            lacked(&kernel, "disk/native").len(),
            1,
            "no thread of blkback's"
        );
    }

    #[test]
    fn nothing_is_lacking_where_the_kernel_has_it_all() {
        let delay = Leaf::Int {
            bytes: 8,
            is_signed: false,
        };
        let types = Blob::new(8).member(Member::TaskRunDelay, delay);
        let (_root, kernel) = kernel(&types.member(Member::RunstateTime, Leaf::Array(4)));
        assert_eq!(lacked(&kernel, "disk/vbd-backend"), []);
        let runstate = Runstate::of(&kernel).unwrap();
        let found = (runstate.variable, runstate.per_cpu_offset);
        assert_eq!(found, (0x12340, 0xffff_ffff_8200_0000));
    }
}
