# Runs in the guest as its first process: sets it up, looks at the disks of known delay and at each probe, and then goes
# through the tests, which are appended at the end. What it finds goes to the second serial port, one `@@WORD …` a line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true PROFILER=/opt/debug/profiler PROFILER_TESTS_GUEST=1
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
    mount -t configfs config /sys/kernel/config
    ln -s /proc/self/fd /dev/fd
    hostname guest
    ip link set lo up
    ulimit -n 65536
} 2>/dev/null

# The serial number or the kind of a disk is what it is known by.
disk_of() {
    for block in /sys/block/*; do
        device=/dev/${block##*/}
        # Of a disk with several paths, each path has a name too, but no device.
        [ -b "$device" ] || continue
        case $(cat "$block/device/serial" "$block/serial" "$block/device/model" 2>/dev/null) in
            *"$1"*) echo "$device"; return ;;
        esac
    done
}

# The tests' files lie on a disk in memory of which each request takes 1 ms: never done before the reader waits for it.
set_up_scratch() {
    # Newer kernels name the disk after the folder, older ones number it: both give nullb1.
    scratch=/sys/kernel/config/nullb/nullb1
    # The image has it, but not where the new /tmp hides it.
    mkdir -p "$TESTS_DISK"
    mkdir $scratch && echo 192 > $scratch/size && echo 1 > $scratch/memory_backed && echo 2 > $scratch/irqmode &&
        echo 1000000 > $scratch/completion_nsec && echo 1 > $scratch/power &&
        mke2fs /dev/nullb1 > /dev/null && mount -t ext4 /dev/nullb1 "$TESTS_DISK"
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
    dmsetup create delayed --noudevsync --table "0 131072 delay $(disk_of fast) 0 10" > /tmp/output 2>&1 ||
        say "note dmsetup: $(tail -n 1 /tmp/output)"
    disk dm-delay 10 /dev/dm-0
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
    # What it attaches last are the rings in which perf tells of mappings.
    until grep -q perf_event /proc/$profiler/maps || [ $tries -gt 300 ]; do
        sleep 0.1; tries=$((tries + 1))
    done
    sleep 1
    for link in $(grep -l link_id /proc/$profiler/fdinfo/* 2>/dev/null); do
        say "link $(cat "$link" 2>/dev/null | tr -d '\t' | tr '\n' ' ')"
    done
    wait $profiler
    say "recorded $?"
    kill $workload
    send probe.err /tmp/probe.err
    [ -f /tmp/probe.json ] && send probe.json /tmp/probe.json
}

# The programs are others where threads enter the recording at first sight.
targets() {
    /opt/debug/deep_stack 1000 > /tmp/deep &
    workload=$!
    "$PROFILER" record -q -p $workload --stack-bytes 16k -d 1 -o /tmp/small.json 2> /tmp/target.err
    code=$?
    kill $workload
    grep -s 'no stacks of waiting threads' /tmp/small.json >> /tmp/target.err && code=1
    send small.err /tmp/target.err
    say "target small $code"
    mkdir -p /sys/fs/cgroup/probe
    "$PROFILER" record -q -a -d 1 -o /tmp/all.json 2> /tmp/target.err
    code=$?
    # Done, but nobody used a CPU when a sample was due.
    [ $code != 4 ] || code=0
    send all.err /tmp/target.err
    say "target all $code"
    "$PROFILER" record -q --cgroup /sys/fs/cgroup/probe -d 3 -o /tmp/cgroup.json 2> /tmp/target.err &
    profiler=$!
    # It is in the group before its first switch, but nobody told the profiler of it.
    sh -c 'echo $$ > /sys/fs/cgroup/probe/cgroup.procs; exec /opt/debug/spin 1 60' > /tmp/spin &
    wait $profiler
    code=$?
    [ $code != 0 ] || grep -q '"spin-0"' /tmp/cgroup.json || echo "its process is not recorded" > /tmp/target.err
    send cgroup.err /tmp/target.err
    grep -q . /tmp/target.err && code=1
    say "target cgroup $code"
    killall -q -9 spin
}

# PROGRAM TEST: a failure is tried once more, as an emulated CPU is sometimes too slow for a test of timing; both tries are told.
test_one() { try_one "$1" "$2" || try_one "$1" "$2"; }

try_one() {
    say "test $1 $2"
    started=$(date +%s)
    timeout -s KILL 150 "/opt/debug/deps/$1" --exact "$2" --include-ignored --test-threads=1 > /tmp/output 2>&1
    code=$?
    [ $code = 0 ] || killall -q -9 profiler
    say "tested $1 $2 $code $(($(date +%s) - started))"
    [ $code = 0 ] || { { grep -A 2 'panicked at' /tmp/output; tail -n 40 /tmp/output; } | cut -c 1-400 > /tmp/last; send output /tmp/last; }
    return $code
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
set_up_scratch > /tmp/output 2>&1 || say "note no scratch disk: $(tail -n 1 /tmp/output)"
disks
probes
targets
