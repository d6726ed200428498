# A paravirtual guest: its interfaces and disks, passed through or not, and two channels to Dom0.
. /lab/functions.sh
for module in xen-netfront xen-blkfront loop; do modprobe $module; done
use_interface "$mac" eth0 "$address"
if [ -n "$passthrough" ]; then
  for module in xen-pcifront ahci sd_mod e1000e; do modprobe $module; done
  use_interface 52:54:00:00:00:02 eth1 "$passthrough"
  wait_for_disks passthrough
fi
[ -z "$card" ] || for module in xen-pcifront e1000e; do modprobe $module; done
mkdir -p /dev/lab
ln -s /dev/xvda "/dev/lab/$disk"
# terminal_of NAME: that of a channel. The kernel numbers them in their order, after the console.
terminal_of() {
  local index number=0
  for index in 1 2 3 4; do
    found=$(xenstore-read "device/console/$index/name" 2>/dev/null) || continue
    number=$((number + 1))
    [ "$found" = "$1" ] && { echo "/dev/hvc$number"; return 0; }
  done
  return 1
}
wait_for 30 terminal_of tracer
serve() {
  local jobs=$(terminal_of lab) agent=$(terminal_of tracer)
  while :; do /lab/guest-agent "$agent"; sleep 0.2; done &
  while :; do /lab/guest-jobs "$jobs"; sleep 0.2; done &
  shell_on /dev/hvc0
}
