#!/bin/busybox sh
# The guest's first program: loads the modules, finds the disk, and goes over to it.
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /disk
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    name=${module##*/}; name=${name#*-}; name=${name%.ko}
    # 10 ms from the start of a request to its end.
    case $name in
        null_blk) set -- gb=1 irqmode=2 completion_nsec=10000000 ;;
        scsi_debug) set -- ndelay=10000000 dev_size_mb=64 ;;
        *) set -- ;;
    esac
    $bb insmod "$module" "$@" || $bb echo "init: no module $name" > /dev/console
done
tries=0
until [ -n "$disk" ]; do
    for block in /sys/block/*; do
        case $($bb cat "$block/device/serial" "$block/serial" 2>/dev/null) in root*) disk=${block##*/} ;; esac
    done
    tries=$((tries + 1))
    [ $tries -lt 200 ] || { $bb echo "init: no disk" > /dev/console; $bb poweroff -f; }
    [ -n "$disk" ] || $bb sleep 0.1
done
$bb mount -t ext4 "/dev/$disk" /disk
for folder in proc sys dev; do $bb mount --move /$folder /disk/$folder; done
$bb mount -t tmpfs run /disk/run
$bb cp /plan.sh /disk/run/plan.sh
exec $bb switch_root /disk /bin/busybox sh /run/plan.sh
