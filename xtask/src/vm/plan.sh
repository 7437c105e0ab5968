# Runs in the guest as its first process: sets it up, and then, in front of the tests that are appended below, looks at the
# disks of known delay and at each probe. What it finds goes to the second serial port, one `@@WORD …` a line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true PROFILER=/opt/debug/profiler
exec 3> /dev/ttyS1
stty -F /dev/ttyS1 raw 2>/dev/null
say() { echo "@@$*" >&3; }
# A file, between two marks.
send() { say "begin $1"; cat "$2" >&3; echo >&3; say "end $1"; }

set_up() {
    mount -t tmpfs tmp /tmp
    mkdir -p /dev/pts /dev/shm /dev/mqueue
    mount -t devpts pts /dev/pts
    mount -t tmpfs shm /dev/shm
    mount -t mqueue mqueue /dev/mqueue
    mount -t debugfs debug /sys/kernel/debug
    mount -t tracefs trace /sys/kernel/tracing
    mount -t bpf bpf /sys/fs/bpf
    mount -t cgroup2 cgroup /sys/fs/cgroup
    ln -s /proc/self/fd /dev/fd
    hostname guest
    ip link set lo up
    ulimit -n 65536
} 2>/dev/null

# The serial number or the kind of a disk is what it is known by.
disk_of() {
    for block in /sys/block/*; do
        case $(cat "$block/device/serial" "$block/serial" "$block/device/model" 2>/dev/null) in
            *"$1"*) echo "/dev/${block##*/}"; return ;;
        esac
    done
}

# NAME, what it is set to, DEVICE
disk() {
    if [ ! -b "$3" ]; then say "disk $1 $2 off this kernel has no such disk"; return; fi
    truth=$(timeout 60 /opt/debug/device_read "$3" 50 2>&1 | tail -n 1)
    case $truth in "{"*) say "disk $1 $2 read $truth" ;; *) say "disk $1 $2 off $truth" ;; esac
}

disks() {
    disk null_blk 10 /dev/nullb0
    disk scsi_debug 10 "$(disk_of scsi_debug)"
    disk nvme 10 "$(disk_of slow)"
    disk virtio 20 "$(disk_of throttled)"
    dmsetup create delayed --table "0 131072 delay $(disk_of fast) 0 10" >/dev/null 2>&1
    disk dm-delay 10 /dev/mapper/delayed
}

# Records a program of known stacks, and meanwhile asks the kernel what is attached.
probes() {
    for helper in task_pt_regs get_current_task_btf copy_from_user_task; do
        grep -q "BPF_FUNC_$helper" /sys/kernel/btf/vmlinux && say "helper $helper" && has="$has $helper"
    done
    /opt/debug/deep_stack 20 > /tmp/deep &
    workload=$!
    sleep 1
    "$PROFILER" record -q -p $workload -d 4 -o /tmp/probe.json 2> /tmp/probe.err &
    profiler=$!
    tries=0
    until grep -q link_id /proc/$profiler/fdinfo/* 2>/dev/null || [ $tries -gt 300 ]; do
        sleep 0.1; tries=$((tries + 1))
    done
    sleep 3
    for link in $(grep -l link_id /proc/$profiler/fdinfo/* 2>/dev/null); do
        say "link $(cat "$link" 2>/dev/null | tr -d '\t' | tr '\n' ' ')"
    done
    wait $profiler
    say "recorded $?"
    kill $workload
    send probe.err /tmp/probe.err
    [ -f /tmp/probe.json ] && send probe.json /tmp/probe.json
}

# PROGRAM TEST
test_one() {
    say "test $1 $2"
    started=$(date +%s)
    timeout -s KILL 150 "/opt/debug/deps/$1" --exact "$2" --test-threads=1 > /tmp/output 2>&1
    code=$?
    [ $code = 0 ] || killall -q -9 profiler
    say "tested $1 $2 $code $(($(date +%s) - started))"
    [ $code = 0 ] || { tail -n 60 /tmp/output | cut -c 1-400 > /tmp/last; send output /tmp/last; }
}

# The same for a test that needs stacks of waiting threads.
test_waiting() {
    case $has in
        *copy_from_user_task*) test_one "$1" "$2" ;;
        *) say "unsupported $1 $2 needs stacks of waiting threads, which are off on this kernel" ;;
    esac
}

set_up
say "kernel $(uname -r)"
