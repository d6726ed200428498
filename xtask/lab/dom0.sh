# Dom0: the toolstack's daemons, a bridge for the guests' interfaces, and the devices to pass through
# kept away from Dom0's own drivers.
. /lab/functions.sh
hidden=""
for device in ${hide//;/ }; do hidden+="($device)"; done
modprobe xen-pciback hide="$hidden"
for module in xenfs xen-gntdev xen-gntalloc xen-evtchn xen-privcmd xen-blkback xen-netback bridge ahci sd_mod e1000e loop; do
  modprobe $module
done
mount -t xenfs xenfs /proc/xen
open_share
version=$(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor)
bin=/usr/lib/xen-$version/bin
export PATH=$bin:$PATH
mkdir -p $consoles /var/log/xen /var/lib/xen
touch $consoles/guest-{A,B,C}.log
$bin/xenstored --pid-file /run/xenstored.pid
wait_for 30 xenstore-read /
$bin/xen-init-dom0
$bin/xenconsoled --log=guest --log-dir=$consoles --pid-file /run/xenconsoled.pid
ip link add xenbr0 type bridge
ip link set xenbr0 up
ip address add "$address" dev xenbr0
use_interface 52:54:00:00:00:01 eth0
ip link set eth0 master xenbr0
# In virtual time the passed-through card's peer is Dom0, by a cable.
[ -z "$cable" ] || use_interface 52:54:00:00:00:03 eth1 "$cable"
if [ -n "$timed" ]; then
  modprobe null_blk nr_devices=0
  mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
  for disk in measured load; do make_timed_disk $disk || failed "the timed disk $disk (null_blk) could not be made"; done
else
  wait_for_disks measured load
fi
serve() {
  for guest in A B; do /lab/guest-relay $guest & done
  shell_on /dev/hvc1 &
  /lab/serve-jobs "$jobs_port"
}
