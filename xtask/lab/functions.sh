# What Dom0, guests and the native kernel share.

# failed WORDS...: what the boot waits for will not come; whoever boots looks for this line.
failed() {
  echo "LAB-FAILED $name: $*" | tee /dev/kmsg
  return 1
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local tries=$(($1 * 20))
  shift
  while ! "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { failed "$@"; return; }
    sleep 0.05
  done
}

# interface_of MAC: its name.
interface_of() {
  local file
  for file in /sys/class/net/*/address; do
    [ "$(cat "$file")" = "$1" ] && { basename "$(dirname "$file")"; return 0; }
  done
  return 1
}

# use_interface MAC NAME [ADDRESS]: waits for it, names it and brings it up.
use_interface() {
  wait_for 30 interface_of "$1" || return
  local interface=$(interface_of "$1")
  [ "$interface" = "$2" ] || ip link set "$interface" down name "$2"
  ip link set "$2" up
  [ -z "$3" ] || ip address add "$3" dev "$2"
}

# link_disks: each disk by its serial number as /dev/lab/SERIAL, since their order is not certain.
link_disks() {
  local file serial
  mkdir -p /dev/lab
  for file in /sys/block/sd*/device/vpd_pg80; do
    serial=$(tr -cd 'a-z' < "$file")
    file=${file#/sys/block/}
    ln -sf "/dev/${file%%/*}" "/dev/lab/$serial"
  done
}

# wait_for_disks SERIAL...: until they are there, under /dev/lab.
wait_for_disks() {
  local serial
  for serial; do
    wait_for 30 eval "link_disks; test -b /dev/lab/$serial"
  done
}

# make_timed_disk NAME [NS]: a disk of memory under /dev/lab, each request of which takes as long by this kernel's clock.
# Where that counts instructions, the emulator's own disks are of no use: the machine around it serves them.
make_timed_disk() {
  local disk=/sys/kernel/config/nullb/$1 setting
  mkdir -p /dev/lab "$disk" || return
  # irqmode 2: by a timer, not at once. Unless told, it takes 255 sectors a request at most: a read of 128 KiB would be two,
  # of which Linux 6.1 issues the last first, and 6.12 the first: the other waits until that has been copied.
  for setting in queue_mode=2 submit_queues=1 blocksize=512 size=1024 memory_backed=1 irqmode=2 max_sectors=2048 \
    "completion_nsec=${2:-100000}" power=1; do
    echo "${setting#*=}" > "$disk/${setting%%=*}" || return
  done
  # Named by Linux since 6.8, numbered before.
  [ -b "/dev/$1" ] && ln -sf "/dev/$1" "/dev/lab/$1" || ln -sf "/dev/nullb$(cat "$disk/index")" "/dev/lab/$1"
}

# port_of NAME: the device of a virtio-serial port.
port_of() {
  local file
  for file in /sys/class/virtio-ports/*/name; do
    [ "$(cat "$file" 2>/dev/null)" = "$1" ] && { echo "/dev/$(basename "$(dirname "$file")")"; return 0; }
  done
  return 1
}

# Where guests' consoles are written to.
consoles=/var/log/xen/console

# Mounts the folder that the machine running QEMU shares. While it is mounted, that machine cannot be saved.
mount_share() {
  mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=262144 share /share
}

# Finds the folder that the machine running QEMU shares, and the port that announces jobs.
open_share() {
  modprobe virtio_console
  modprobe 9pnet_virtio
  mkdir -p /share
  mount_share
  wait_for 20 port_of lab.jobs
  jobs_port=$(port_of lab.jobs)
  mkdir -p /dev/virtio-ports
  ln -sf "$(port_of tracer-peer)" /dev/virtio-ports/tracer-peer
}

# end_session PID: a job with all that it started, first with what Ctrl-C sends.
end_session() {
  local tries
  pkill -INT -s "$1" || return
  sleep 2
  # A tracer puts back what it changed, and writes what it has.
  for tries in {1..60}; do
    pgrep -x tracer -s "$1" >/dev/null || break
    sleep 1
  done
  pkill -KILL -s "$1"
}

# An interactive shell on a console, again and again.
shell_on() {
  while :; do
    setsid --ctty bash -i <"$1" >"$1" 2>&1
    sleep 0.2
  done
}
