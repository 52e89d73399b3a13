#!/bin/sh
# The initramfs of a guest with systemd: makes one root of the disks and of the files given to this guest.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 'init runs'
while read -r module; do insmod "/modules/$module"; done < /modules/order
tries=0
while [ ! -b /dev/vdc ] && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
mount -t ext4 -o rw /dev/vda /mnt
mount -t ext4 -o ro /dev/vdb /mnt/lib/modules
tar -C /mnt -xf /dev/vdc
# The host's libraries fill what the guest lacks, and never replace its own.
if [ -d /mnt/host-libraries ]; then
    cd /mnt/host-libraries
    find . -type f | while read -r library; do
        [ -e "/mnt/$library" ] || { mkdir -p "/mnt/${library%/*}"; cp "$library" "/mnt/$library"; }
    done
    cd /
fi
umount /proc /sys
exec switch_root /mnt /sbin/init
