//! The two guests, as in the paper: A takes the load, B is measured and has what is passed through. And one
//! that is not up before a run creates it.
use super::command_line::Words;
use super::machine::{CLOCK, PASSED_THROUGH, SPARE};
use super::network;

/// A paravirtual guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    /// As `xl` has it.
    pub(super) name: &'static str,
    memory_mib: u32,
    mac: &'static str,
    address: &'static str,
    /// Dom0's disk behind its `xvda`, under `/dev/lab`, where it is in the guest, too.
    disk: &'static str,
    /// Dom0's disk for exchanging files with it, which is the guest's `xvdx`.
    pub(super) exchange: &'static str,
    /// Devices that are passed through.
    pci: &'static [&'static str],
    /// The passed-through card's address, for the guest that has PCI devices.
    passthrough: Option<&'static str>,
}

pub(super) const GUESTS: [Guest; 2] = [
    Guest {
        name: "A",
        memory_mib: 640,
        mac: "00:16:3e:00:00:01",
        address: network::GUEST_A,
        disk: "load",
        exchange: "/dev/vdb",
        pci: &[],
        passthrough: None,
    },
    Guest {
        name: "B",
        memory_mib: 768,
        mac: "00:16:3e:00:00:02",
        address: network::GUEST_B,
        disk: "measured",
        exchange: "/dev/vdc",
        pci: &PASSED_THROUGH,
        passthrough: Some(network::PASSTHROUGH),
    },
];

/// The one for scenarios with `create`. It finds the tracer on a disk, and shares A's, which it only reads.
const CREATED: Guest = Guest {
    name: "C",
    memory_mib: 512,
    mac: "00:16:3e:00:00:03",
    address: network::GUEST_C,
    disk: "load",
    exchange: TRACER,
    pci: &[SPARE],
    passthrough: None,
};

/// The tracer as a block device of Dom0, once `offer-tracer` has made it.
const TRACER: &str = "/dev/lab/tracer";

/// The configurations of all guests, with their virtual CPUs on emulated CPUs of their own from `first` of
/// `cpus` on; that which a run creates may use every one. `added` goes to their kernels' command lines.
pub(super) fn configs(first: u32, cpus: u32, added: &Words) -> Vec<(&'static str, String)> {
    let placed = GUESTS.iter().zip(first..);
    let placed =
        placed.map(|(guest, cpu)| (guest.name, guest.config(&(cpu % cpus).to_string(), added)));
    placed
        .chain([(CREATED.name, CREATED.config("all", added))])
        .collect()
}

/// The exchange disk in a guest.
pub(super) const EXCHANGE: &str = "/dev/xvdx";

/// The guest of this name.
pub(super) fn find(name: &str) -> Option<&'static Guest> {
    GUESTS.iter().find(|guest| guest.name == name)
}

impl Guest {
    /// Its configuration for `xl create`, with its virtual CPU on the emulated CPUs `cpus`.
    ///
    /// By default a guest's RDTSC traps, which slows every clock read: hence `tsc_mode`. Debian's own
    /// hotplug scripts take ten seconds here: hence `script`. The console takes the first channel's place in
    /// xenstore (seen with libxl 4.17): hence one that nobody uses.
    fn config(&self, cpus: &str, added: &Words) -> String {
        let Self {
            name,
            memory_mib,
            mac,
            address,
            disk,
            exchange,
            pci,
            passthrough,
        } = self;
        let mut extra = format!(
            "console=hvc0 lab.role=guest lab.name={name} lab.mac={mac} lab.address={address} lab.disk={disk} \
             lab.root=xvdz lab.modules=xen-blkfront {CLOCK} panic=5 quiet"
        );
        if let Some(address) = passthrough {
            extra += &format!(" lab.passthrough={address} iommu=soft");
        } else if !pci.is_empty() {
            extra += " lab.card=yes iommu=soft";
        }
        extra += &added.appended();
        let pci = if pci.is_empty() {
            String::new()
        } else {
            format!("pci = ['{}']\n", pci.join("', '"))
        };
        let (access, exchange_name) = if *exchange == TRACER {
            ("r", "xvdt")
        } else {
            ("w", "xvdx")
        };
        let block = |vdev: &str, access: &str, target: &str| {
            format!(
                "'format=raw,vdev={vdev},access={access},script=/lab/hotplug-block,target={target}'"
            )
        };
        let disks = [
            block("xvdz", "r", "/dev/vda"),
            block("xvda", access, &format!("/dev/lab/{disk}")),
            block(exchange_name, access, exchange),
        ]
        .join(", ");
        format!(
            "name = '{name}'\ntype = 'pv'\nkernel = '/lab/guest/vmlinuz'\n\
             ramdisk = '/lab/guest/initrd.gz'\nmemory = {memory_mib}\nvcpus = 1\ncpus = '{cpus}'\n\
             extra = '{extra}'\ndisk = [{disks}]\n\
             vif = ['mac={mac},bridge=xenbr0,script=/lab/hotplug-vif']\n\
             channel = ['name=lost,connection=pty', 'name=lab,connection=pty', 'name=tracer,connection=pty']\n{pci}\
             tsc_mode = 'native'\non_crash = 'destroy'\non_reboot = 'destroy'\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_guest_has_pci_devices() {
        let [a, b] = GUESTS.map(|guest| guest.config("2", &Words::default()));
        assert!(!a.contains("pci =") && !a.contains("iommu=soft"), "{a}");
        assert!(b.contains("pci = ['0000:00:05.0', '0000:00:06.0']"), "{b}");
        assert!(b.contains("iommu=soft"), "{b}");
    }

    #[test]
    fn what_a_run_creates_only_reads_and_gets_the_spare_card() {
        let configs = configs(1, 4, &"nokaslr".parse().unwrap());
        assert!(configs.iter().all(|(_, text)| text.contains(" nokaslr'")));
        let (name, c) = &configs[2];
        assert_eq!(*name, "C");
        assert!(c.contains("pci = ['0000:00:0c.0']"), "{c}");
        assert!(c.contains("cpus = 'all'") && !c.contains("access=w"), "{c}");
        assert!(configs[1].1.contains("cpus = '2'"), "{}", configs[1].1);
    }

    #[test]
    fn no_disk_is_shared_but_the_root() {
        let [a, b] = GUESTS.map(|guest| [guest.disk, guest.exchange]);
        assert!(a.iter().all(|disk| !b.contains(disk)));
    }
}
