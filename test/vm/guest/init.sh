#!/bin/sh
# The first process of the virtual machine. The kernel's command line says what is wanted: berth.cgroup=v1|v2|systemd
# (version 2, made by systemd as the first process) and berth.files=comma,separated. The root moves from the initramfs to a tmpfs first, since containers change theirs.
export PATH=/bin HOME=/
if [ ! -e /moved ]; then
  mount -t tmpfs -o size=80% tmpfs /newroot
  for part in bin usr lib lib64 etc berth modules init run-tests.sh environment; do [ -e /$part ] && cp -a /$part /newroot/; done
  mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/tmp /newroot/run /newroot/mnt /newroot/root
  touch /newroot/moved
  exec switch_root /newroot /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
while read -r module; do insmod /modules/$module; done </modules/order
ip link set lo up
cgroup=v2
for word in $(cat /proc/cmdline); do
  case $word in
    berth.cgroup=*) cgroup=${word#*=} ;;
    berth.files=*) echo "${word#*=}" | tr , ' ' >/run/files ;;
  esac
done
if [ $cgroup = systemd ]; then
  exec /lib/systemd/systemd --log-level=warning
elif [ $cgroup = v2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs tmpfs /sys/fs/cgroup
  for name in cpu cpuacct cpuset memory pids devices freezer blkio hugetlb; do
    mkdir /sys/fs/cgroup/$name && mount -t cgroup -o $name cgroup /sys/fs/cgroup/$name || rmdir /sys/fs/cgroup/$name
  done
fi
exec sh /run-tests.sh
