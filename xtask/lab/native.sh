# The same kernel, disks and network cards without Xen.
. /lab/functions.sh
for module in bridge ahci sd_mod e1000e loop; do modprobe $module; done
open_share
use_interface 52:54:00:00:00:01 eth0 "$address"
wait_for_disks measured load passthrough
serve() {
  shell_on /dev/hvc0 &
  /lab/serve-jobs "$jobs_port"
}
