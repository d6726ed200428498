//! The two guests, as in the paper: A takes the load, B is measured and has what is passed through.
use super::machine::{CLOCK, PASSED_THROUGH};
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
        passthrough: None,
    },
    Guest {
        name: "B",
        memory_mib: 768,
        mac: "00:16:3e:00:00:02",
        address: network::GUEST_B,
        disk: "measured",
        exchange: "/dev/vdc",
        passthrough: Some(network::PASSTHROUGH),
    },
];

/// The exchange disk in a guest.
pub(super) const EXCHANGE: &str = "/dev/xvdx";

/// The guest of this name.
pub(super) fn find(name: &str) -> Option<&'static Guest> {
    GUESTS.iter().find(|guest| guest.name == name)
}

impl Guest {
    /// Its configuration for `xl create`, with its virtual CPU on the emulated CPU `cpu`.
    ///
    /// By default a guest's RDTSC traps, which slows every clock read: hence `tsc_mode`. Debian's own
    /// hotplug scripts take ten seconds here: hence `script`. The console takes the first channel's place in
    /// xenstore (seen with libxl 4.17): hence one that nobody uses.
    pub(super) fn config(&self, cpu: u32) -> String {
        let Self {
            name,
            memory_mib,
            mac,
            address,
            disk,
            exchange,
            passthrough,
        } = self;
        let mut extra = format!(
            "console=hvc0 lab.role=guest lab.name={name} lab.mac={mac} lab.address={address} lab.disk={disk} \
             lab.root=xvdz lab.modules=xen-blkfront {CLOCK} panic=5 quiet"
        );
        let mut pci = String::new();
        if let Some(address) = passthrough {
            extra += &format!(" lab.passthrough={address} iommu=soft");
            let [nic, controller] = PASSED_THROUGH;
            pci = format!("pci = ['{nic}', '{controller}']\n");
        }
        let block = |vdev: &str, access: &str, target: &str| {
            format!(
                "'format=raw,vdev={vdev},access={access},script=/lab/hotplug-block,target={target}'"
            )
        };
        let disks = [
            block("xvdz", "r", "/dev/vda"),
            block("xvda", "w", &format!("/dev/lab/{disk}")),
            block("xvdx", "w", exchange),
        ]
        .join(", ");
        format!(
            "name = '{name}'\ntype = 'pv'\nkernel = '/lab/guest/vmlinuz'\n\
             ramdisk = '/lab/guest/initrd.gz'\nmemory = {memory_mib}\nvcpus = 1\ncpus = '{cpu}'\n\
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
        let [a, b] = GUESTS.map(|guest| guest.config(2));
        assert!(!a.contains("pci =") && !a.contains("iommu=soft"), "{a}");
        assert!(b.contains("pci = ['0000:00:05.0', '0000:00:06.0']"), "{b}");
        assert!(b.contains("iommu=soft"), "{b}");
    }

    #[test]
    fn no_disk_is_shared_but_the_root() {
        let [a, b] = GUESTS.map(|guest| [guest.disk, guest.exchange]);
        assert!(a.iter().all(|disk| !b.contains(disk)));
    }
}
