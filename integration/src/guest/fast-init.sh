#!/bin/sh
# PID 1 of a fast guest: mounts, runs /do.sh, sends /out as a compressed tar through the second serial port, powers off.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/
echo 'init runs'
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /out
mount -t tracefs tracefs /sys/kernel/tracing
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
/bin/sh /do.sh
echo $? > /out/.status
dmesg > /out/.dmesg
stty -F /dev/ttyS1 raw
tar -C /out -cz . > /dev/ttyS1
poweroff -f
