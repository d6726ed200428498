//! QEMU's command line: the machine that Xen, or the kernel alone, boots on.
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::instance::Config;
use super::{job, network, qmp};

/// Memory of the whole machine and of Dom0, in MiB.
const MEMORY_MIB: u32 = 4096;
const DOM0_MIB: u32 = 1536;

/// Where the agent of the peer host listens, in the lab's folder; Dom0 has it as `tracer-peer` among its
/// virtio ports.
pub(super) const PEER_SOCKET: &str = "peer.sock";

/// Every kernel's clock: the time-stamp counter. Xen measures the emulated one against the emulated timers
/// once a second, and is off by up to 0.8% then: clocks of its making run apart, and jump.
pub(super) const CLOCK: &str = "clocksource=tsc tsc=reliable";

/// PCI addresses of what is passed through.
const NIC_SLOT: &str = "5.0";
const DISK_SLOT: &str = "6.0";
/// A card that Dom0's own driver has until somebody takes it away: it is on no network, or in virtual time on that of the
/// one that is passed through.
const SPARE_SLOT: &str = "c.0";
/// The same, as `xl` names them.
pub(super) const PASSED_THROUGH: [&str; 2] = ["0000:00:05.0", "0000:00:06.0"];
pub(super) const SPARE: &str = "0000:00:0c.0";

/// The disks behind the machine's ports.
#[derive(Clone, Debug)]
pub(super) struct Disks {
    /// Dom0's `sda`: what B reads through a vbd.
    pub(super) measured: PathBuf,
    /// Dom0's `sdb`: A's, for load.
    pub(super) load: PathBuf,
    /// Behind the controller that is passed through.
    pub(super) passed_through: PathBuf,
}

/// How the machine is made.
#[derive(Clone, Debug)]
pub(super) struct Machine<'a> {
    pub(super) image: &'a Image,
    pub(super) disks: &'a Disks,
    /// The lab's folder, for sockets, logs and exchange images.
    pub(super) folder: &'a Path,
    pub(super) config: &'a Config,
}

impl Machine<'_> {
    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut args = Arguments::default();
        self.add_board(&mut args);
        self.add_boot(&mut args);
        self.add_disks(&mut args);
        self.add_network(&mut args);
        self.add_consoles(&mut args);
        args.0
    }

    fn file(&self, name: &str) -> String {
        escaped(&self.folder.join(name))
    }

    fn add_board(&self, args: &mut Arguments) {
        // Without -smap QEMU 7.2 crashes a paravirtual Dom0 at its first instruction.
        args.add("-name tracer-lab -machine q35 -cpu max,-smap");
        match self.config.virtual_time {
            None => args.add("-accel tcg,thread=multi"),
            // Idle time passes at once. Instructions are counted on one thread for all CPUs.
            Some(shift) => args.add(&format!(
                "-accel tcg,thread=single -icount shift={shift},sleep=off"
            )),
        }
        args.add(&format!("-smp {} -m {MEMORY_MIB}", self.config.cpus));
        args.add("-nodefaults -no-user-config -display none -no-reboot");
        // The IOMMU must be named before the devices behind it.
        args.add("-device intel-iommu,intremap=on");
        args.pair("-pidfile", self.folder.join("qemu.pid"));
    }

    /// A multiboot hypervisor takes the kernel and its initial file system as modules, and a comma in
    /// a module's arguments doubled.
    fn add_boot(&self, args: &mut Arguments) {
        let (kernel, initrd) = (self.image.kernel(), self.image.initrd());
        let common = "lab.root=vda lab.modules=virtio_pci:virtio_blk oops=panic panic=5";
        if self.config.native {
            let address = network::DOM0;
            args.pair("-kernel", kernel);
            args.pair("-initrd", initrd);
            args.pair(
                "-append",
                format!(
                    "console=ttyS0 lab.role=native lab.name=native lab.address={address} {common} \
                     {CLOCK} quiet{}",
                    self.config.added.dom0.appended()
                ),
            );
            return;
        }
        let address = network::DOM0;
        let hide = PASSED_THROUGH.join(";");
        // Xen lets timers that are up to 50 us apart expire together, so that a timed disk takes as long.
        let (timed, slop) = match self.config.virtual_time {
            Some(_) => (
                format!("lab.timed=yes lab.cable={} ", network::PEER_PASSTHROUGH),
                " timer_slop=0",
            ),
            None => (String::new(), ""),
        };
        let dom0 = format!(
            "console=hvc0 lab.role=dom0 lab.name=dom0 lab.address={address} lab.hide={hide} {timed}{CLOCK} {common} quiet{}",
            self.config.added.dom0.appended()
        );
        // Without x2apic=0 the interrupts of passed-through devices stop arriving on this machine.
        let xen = format!(
            "console=com1 com1=115200 loglvl=warning guest_loglvl=warning x2apic=0 \
             dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus={} dom0_vcpus_pin{slop}{}",
            self.config.dom0_vcpus,
            self.config.added.xen.appended()
        );
        args.pair("-kernel", self.image.xen());
        args.pair("-append", xen);
        let mut modules = OsString::from(escaped(&kernel));
        modules.push(format!(" {},", dom0.replace(',', ",,")));
        modules.push(escaped(&initrd));
        args.pair("-initrd", modules);
    }

    fn add_disks(&self, args: &mut Arguments) {
        let root = escaped(&self.image.root());
        args.pair(
            "-drive",
            format!("file={root},format=raw,if=none,id=root,readonly=on"),
        );
        args.add("-device virtio-blk-pci,drive=root,addr=9.0");
        for (index, (id, guest)) in [("xa", "A"), ("xb", "B")].into_iter().enumerate() {
            let file = self.file(&format!("exchange-{guest}.img"));
            args.pair(
                "-drive",
                format!("file={file},format=raw,if=none,id={id},cache=writeback"),
            );
            let slot = 10 + index;
            args.add(&format!(
                "-device virtio-blk-pci,drive={id},addr={slot:x}.0"
            ));
        }
        // Writes go to a temporary file that has no name: the contents stay as they are.
        for (id, path, bus) in [
            ("measured", &self.disks.measured, "ide.0"),
            ("load", &self.disks.load, "ide.1"),
            ("passthrough", &self.disks.passed_through, "pt.0"),
        ] {
            if bus == "pt.0" {
                args.add(&format!("-device ich9-ahci,id=pt,addr={DISK_SLOT}"));
            }
            let file = escaped(path);
            args.pair(
                "-drive",
                format!("file={file},format=raw,if=none,id={id},snapshot=on,cache=unsafe"),
            );
            args.add(&format!("-device ide-hd,drive={id},bus={bus},serial={id}"));
        }
    }

    fn add_network(&self, args: &mut Arguments) {
        let tap = |index| format!("tap,ifname=tap{index},script=no,downscript=no");
        // A host outside answers when it does. In virtual time the card that is passed through is wired to the spare one.
        let (passed_through, spare) = match self.config.virtual_time {
            Some(_) => {
                let cable = "hubport,hubid=1".to_owned();
                (cable.clone(), Some(cable))
            }
            None => (tap(1), None),
        };
        let cards = [
            ("4.0", Some(tap(0))),
            (NIC_SLOT, Some(passed_through)),
            (SPARE_SLOT, spare),
        ];
        for (index, (slot, wire)) in cards.into_iter().enumerate() {
            let mac = index + 1;
            let card = format!("-device e1000e,mac=52:54:00:00:00:0{mac},addr={slot}");
            match wire {
                Some(wire) => {
                    args.add(&format!("-netdev {wire},id=n{index}"));
                    args.add(&format!("{card},netdev=n{index}"));
                }
                None => args.add(&card),
            }
        }
    }

    fn add_consoles(&self, args: &mut Arguments) {
        args.pair(
            "-chardev",
            format!("file,id=serial,path={}", self.file("console.log")),
        );
        args.add("-serial chardev:serial");
        args.pair(
            "-qmp",
            format!("unix:{},server=on,wait=off", self.file(qmp::SOCKET)),
        );
        args.add("-device virtio-serial-pci,addr=8.0");
        // A pipe never ends, as a socket does with each client: Dom0 waits for the next line.
        args.pair(
            "-chardev",
            format!("pipe,id=jobs,path={}", self.file(job::PIPE)),
        );
        args.add("-device virtserialport,chardev=jobs,nr=1,name=lab.jobs");
        args.pair(
            "-chardev",
            format!(
                "socket,id=console,path={},server=on,wait=off",
                self.file("console.sock")
            ),
        );
        args.add("-device virtconsole,chardev=console,nr=2,name=lab.console");
        // A tracer's agent on the peer host, whenever there is one.
        args.pair(
            "-chardev",
            format!(
                "socket,id=peer,path={},server=off,reconnect=1",
                self.file(PEER_SOCKET)
            ),
        );
        args.add("-device virtserialport,chardev=peer,nr=3,name=tracer-peer");
        let share = self.file("share");
        args.pair(
            "-fsdev",
            format!("local,id=share,path={share},security_model=none"),
        );
        args.add("-device virtio-9p-pci,fsdev=share,mount_tag=share,addr=7.0");
    }
}

/// QEMU's options take a comma in a value doubled.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[derive(Debug, Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    /// Words without spaces in them.
    fn add(&mut self, words: &str) {
        self.0.extend(words.split_whitespace().map(OsString::from));
    }

    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::command_line::Added;
    use crate::lab::kernel::Kernels;
    use crate::lab::versions::Xen;

    fn arguments(native: bool) -> Vec<String> {
        let image = Image {
            folder: "/cache/image".into(),
        };
        let disks = Disks {
            measured: "/cache/a,b.img".into(),
            load: "/cache/2.img".into(),
            passed_through: "/cache/3.img".into(),
        };
        let config = Config {
            xen: Xen::V4_17,
            kernels: Kernels::all(&"6.1".parse().unwrap()),
            added: Added {
                dom0: "cma=0 isolcpus=1,2".parse().unwrap(),
                xen: "sched=credit".parse().unwrap(),
                ..Added::default()
            },
            cpus: 4,
            dom0_vcpus: 2,
            native,
            virtual_time: None,
        };
        let machine = Machine {
            image: &image,
            disks: &disks,
            folder: Path::new("/labs/one"),
            config: &config,
        };
        let words = machine.arguments().into_iter();
        words.map(|word| word.to_string_lossy().into()).collect()
    }

    fn value<'a>(arguments: &'a [String], option: &str) -> &'a str {
        let at = arguments.iter().position(|word| word == option).unwrap();
        &arguments[at + 1]
    }

    #[test]
    fn xen_takes_kernel_and_initial_file_system_as_modules() {
        let arguments = arguments(false);
        assert_eq!(value(&arguments, "-kernel"), "/cache/image/xen");
        let modules = value(&arguments, "-initrd");
        assert!(modules.starts_with("/cache/image/vmlinuz console=hvc0"));
        assert!(modules.ends_with(",/cache/image/initrd.gz"));
        assert!(
            modules.contains(" quiet cma=0 isolcpus=1,,2,/"),
            "{modules}"
        );
        assert_eq!(modules.matches(',').count(), 3, "{modules}");
        assert!(value(&arguments, "-append").ends_with(" sched=credit"));
    }

    #[test]
    fn iommu_comes_before_the_devices() {
        let arguments = arguments(false);
        let at = |start: &str| {
            let found = arguments.iter().position(|word| word.starts_with(start));
            found.unwrap()
        };
        assert!(at("intel-iommu") < at("e1000e"));
        assert!(at("intel-iommu") < at("ich9-ahci"));
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert!(
            arguments(true)
                .iter()
                .any(|word| word.contains("/cache/a,,b.img"))
        );
    }

    #[test]
    fn native_boots_the_same_kernel_without_xen() {
        let arguments = arguments(true);
        assert_eq!(value(&arguments, "-kernel"), "/cache/image/vmlinuz");
        assert!(value(&arguments, "-append").contains("clocksource=tsc"));
    }
}
