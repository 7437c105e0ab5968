//! Any recording whose tables fit together, for property tests.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::recording::{
    BlockIo, Broken, Budget, Cost, CpuTime, Debuginfod, Detail, DetailStep, Device, Disk, DiskCounters,
    DiskWait, FileWait, Frame, Group, Held, InstrumentId, KernelCounters, KernelWaits, Lock, Locks, Machine,
    MemoryEvents, Meta, Method, Module, Name, OpenWait, OtherProcess, Party, Peer, Place, Pressure, Process,
    ProcessIo, ProgramCost, Quality, Release, RequestShare, Requests, Sample, Skip, SkipCause, Span, Stack,
    StackEnd, Submitter, Thread, ThreadSum, WaitTimes, Wake,
};

/// Tables of a few rows with any numbers and any text in them. Weights are any finite numbers, also below zero.
pub fn any_span() -> impl Strategy<Value = Span> {
    let tables = (vec(process(), 1..4), vec(module(), 1..4), block_io());
    (any_meta(), tables, quality(), cost()).prop_flat_map(
        |(meta, (processes, modules, block_io), (quality, skipped, debuginfod), (cost, budget))| {
            let threads = vec(thread(processes.len()), 1..6);
            let frames = vec(frame(processes.len(), modules.len()), 1..12);
            (threads, frames, any::<bool>()).prop_flat_map(move |(threads, frames, named)| {
                let base = Span {
                    meta: meta.clone(),
                    processes: processes.clone(),
                    modules: modules.clone(),
                    block_io: block_io.clone(),
                    quality: quality.clone(),
                    skipped: skipped.clone(),
                    debuginfod,
                    cost: cost.clone(),
                    budget: budget.clone(),
                    ..Span::default()
                };
                let names = vec(vec(name(), 0..3), if named { frames.len() } else { 0 });
                (names, vec(stack(frames.len()), 1..6)).prop_flat_map(move |(names, stacks)| {
                    let (base, threads, frames) = (base.clone(), threads.clone(), frames.clone());
                    let (processes, modules) = (base.processes.len(), base.modules.len());
                    let locks = any_locks(processes, modules, threads.len(), stacks.len());
                    let samples = vec(sample(threads.len(), stacks.len()), 0..12);
                    let submitters = vec(submitter(base.block_io.devices.len(), stacks.len()), 0..4);
                    let waits = vec((any::<u32>(), vec((any::<u32>(), any::<u64>()), 0..3)), 0..4);
                    let rest = (samples, submitters, locks, any_machine(), waits);
                    rest.prop_map(move |(samples, submitters, locks, machine, waits)| Span {
                        wait_times: waits
                            .into_iter()
                            .map(|(group, buckets)| WaitTimes { group: group % 8, buckets })
                            .collect(),
                        block_io: BlockIo { submitters, ..base.block_io.clone() },
                        locks,
                        machine,
                        threads: threads.clone(),
                        frames: frames.clone(),
                        names: names.clone(),
                        stacks: stacks.clone(),
                        samples,
                        ..base.clone()
                    })
                })
            })
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

fn index(len: usize) -> impl Strategy<Value = u32> {
    any::<Index>().prop_map(move |index| index.index(len) as u32)
}

fn any_meta() -> impl Strategy<Value = Meta> {
    ((text(), text(), text()), any::<(u64, u64, u64)>(), any::<(u32, u32)>(), option::of(any::<i32>()))
        .prop_map(
            |(
                (target, hostname, kernel_release),
                (unix, start, end),
                (cpus, sample_hz),
                command_exit_code,
            )| Meta {
                profiler_version: "0.1.0".to_owned(),
                target,
                started_unix_ns: unix,
                started_at_ns: start,
                ended_at_ns: end,
                hostname,
                kernel_release,
                architecture: "x86_64".to_owned(),
                cpus,
                sample_hz,
                sample_source: "cycles".to_owned(),
                command_exit_code,
            },
        )
}

fn process() -> impl Strategy<Value = Process> {
    (any::<u32>(), text(), text(), option::of(any::<[u64; 5]>())).prop_map(
        |(tgid, comm, command_line, io)| {
            let io = io.map(|numbers| ProcessIo {
                called_read_bytes: numbers[0],
                called_written_bytes: numbers[1],
                disk_read_bytes: numbers[2],
                dirtied_bytes: numbers[3],
                major_faults: numbers[4],
            });
            Process { tgid, comm, command_line, io }
        },
    )
}

fn module() -> impl Strategy<Value = Module> {
    (text(), vec(any::<u8>(), 0..20)).prop_map(|(path, build_id)| Module { path, build_id })
}

fn thread(processes: usize) -> impl Strategy<Value = ThreadSum> {
    let totals = (vec(any::<u64>(), 0..50), vec(any::<u32>(), 0..50));
    let counters = option::of(any::<[u64; 5]>());
    let numbers = any::<(u32, u64, u64, u32, [bool; 3])>();
    (index(processes), text(), totals, counters, numbers).prop_map(
        |(process, comm, (state_ns, state_count), counters, (tid, from_ns, to_ns, preemptions, flags))| {
            ThreadSum {
                thread: Thread {
                    process,
                    tid,
                    comm,
                    from_ns,
                    to_ns,
                    born_inside: flags[0],
                    ended_inside: flags[1],
                    kernel_thread: flags[2],
                    kernel_counters: counters.map(
                        |[run_ns, run_queue_ns, user_ns, system_ns, elapsed_ns]| KernelCounters {
                            run_ns,
                            run_queue_ns,
                            user_ns,
                            system_ns,
                            elapsed_ns,
                        },
                    ),
                },
                is_present: true,
                elapsed_ns: to_ns.saturating_sub(from_ns),
                state_ns,
                state_count,
                preemptions,
            }
        },
    )
}

fn frame(processes: usize, modules: usize) -> impl Strategy<Value = Frame> {
    prop_oneof![
        any::<u64>().prop_map(|address| Frame::Kernel { address }),
        (index(modules), any::<u64>()).prop_map(|(module, file_offset)| Frame::User { module, file_offset }),
        (index(processes), any::<u64>()).prop_map(|(process, address)| Frame::Unmapped { process, address }),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    (text(), any::<bool>(), text(), any::<u32>()).prop_map(|(function, inlined, file, line)| Name {
        function,
        inlined,
        file,
        line,
    })
}

fn stack(frames: usize) -> impl Strategy<Value = Stack> {
    let end = prop_oneof![
        Just(StackEnd::Complete),
        Just(StackEnd::Cut),
        Just(StackEnd::Broken(Broken::NoUnwindInfo)),
        Just(StackEnd::NoUserStack),
    ];
    let method = prop_oneof![Just(Method::Tables), Just(Method::FramePointers), Just(Method::None)];
    let stack = (vec(index(frames), 0..6), vec(index(frames), 0..6), end, method);
    stack.prop_map(|(kernel, user, end, method)| Stack { kernel, user, end, method })
}

fn sample(threads: usize, stacks: usize) -> impl Strategy<Value = Sample> {
    let weight = proptest::num::f64::NORMAL | proptest::num::f64::NEGATIVE | proptest::num::f64::ZERO;
    (index(threads), 0_u32..60, index(stacks), weight, any::<u32>()).prop_map(
        |(thread, state, stack, weight, count)| Sample { thread, state, stack, lock: None, weight, count },
    )
}

fn skip() -> impl Strategy<Value = Skip> {
    let instruments = [InstrumentId::Ledger, InstrumentId::OnCpu, InstrumentId::Names, InstrumentId::Later];
    let causes = [SkipCause::Refused, SkipCause::LateCpus, SkipCause::FilesChanged, SkipCause::Later];
    (any::<(Index, Index)>(), any::<u64>(), text()).prop_map(move |((instrument, cause), count, detail)| {
        Skip { instrument: *instrument.get(&instruments), cause: *cause.get(&causes), count, detail }
    })
}

fn quality() -> impl Strategy<Value = (Quality, Vec<Skip>, Debuginfod)> {
    (vec((text(), any::<u64>()), 0..4), any::<[u64; 14]>(), any::<u32>(), vec(skip(), 0..3)).prop_map(
        |(kernel_counts, numbers, threads_unseen, skipped)| {
            let quality = Quality {
                kernel_counts,
                threads_unseen,
                offcpu_over_limit: numbers[0],
                offcpu_passes: numbers[1],
                offcpu_passes_missed: numbers[2],
                malformed_records: numbers[3],
                repeats_without_sample: numbers[4],
                recursion_misses: numbers[5],
                samples_over_limit: numbers[6],
                locks_over_limit: numbers[13],
            };
            let debuginfod = Debuginfod {
                asked: numbers[7],
                cached: numbers[8],
                found: numbers[9],
                unknown: numbers[10],
                failed: numbers[11],
                late: numbers[12],
            };
            (quality, skipped, debuginfod)
        },
    )
}

fn cost() -> impl Strategy<Value = (Cost, Budget)> {
    let program = (text(), any::<bool>(), any::<u64>(), any::<u64>());
    let step = (any::<u64>(), 0..Detail::ALL.len(), any::<f64>());
    (vec(program, 0..3), any::<[u64; 5]>(), any::<f64>(), vec(step, 0..3)).prop_map(
        |(programs, numbers, ratio, steps)| {
            let cost = Cost {
                own_cpu_ns: numbers[0],
                rss_bytes: numbers[1],
                kernel_bytes: numbers[2],
                programs: programs
                    .into_iter()
                    .map(|(name, in_own_time, run_ns, runs)| ProgramCost { name, in_own_time, run_ns, runs })
                    .collect(),
                measured_ns: numbers[3],
                ..Cost::default()
            };
            let steps = steps.into_iter().map(|(at_ns, detail, cost_ratio)| DetailStep {
                at_ns,
                detail: Detail::ALL[detail],
                cost_ratio,
            });
            (cost, Budget { startup_ns: numbers[4], ratio, steps: steps.collect() })
        },
    )
}

fn block_io() -> impl Strategy<Value = BlockIo> {
    vec(device(), 1..3).prop_flat_map(|devices| {
        let rows = devices.len();
        (
            any::<bool>(),
            vec(requests(rows), 0..4),
            vec(request_share(rows), 0..4),
            vec(disk_wait(rows), 0..4),
            vec(file_wait(), 0..3),
        )
            // Submitters refer to stacks, and are put in where those are known.
            .prop_map(move |(followed, requests, shares, waits, files)| BlockIo {
                followed,
                devices: devices.clone(),
                requests,
                shares,
                waits,
                files,
                submitters: vec![],
            })
    })
}

fn submitter(devices: usize, stacks: usize) -> impl Strategy<Value = Submitter> {
    (index(stacks), index(devices), 0_u32..9, any::<[u64; 3]>()).prop_map(
        |(stack, device, operation, [samples, count, bytes])| Submitter {
            stack,
            device,
            operation,
            samples,
            count,
            bytes,
        },
    )
}

fn device() -> impl Strategy<Value = Device> {
    let depth = vec(proptest::num::f32::NORMAL | proptest::num::f32::ZERO, 0..4);
    (text(), any::<(u32, u32, bool, u64)>(), option::of(any::<[u64; 11]>()), depth).prop_map(
        |(name, (major, minor, stacked, depth_interval_ns), counters, depth)| Device {
            disk: Disk { major, minor, name, stacked },
            counters: counters.map(|numbers| DiskCounters {
                elapsed_ns: numbers[0],
                reads: numbers[1],
                reads_merged: numbers[2],
                read_bytes: numbers[3],
                writes: numbers[4],
                writes_merged: numbers[5],
                written_bytes: numbers[6],
                discards: numbers[7],
                discarded_bytes: numbers[8],
                flushes: numbers[9],
                busy_ns: numbers[10],
            }),
            depth,
            depth_interval_ns,
        },
    )
}

fn requests(devices: usize) -> impl Strategy<Value = Requests> {
    let histogram = || vec((any::<u32>(), any::<u32>()), 0..4);
    let histograms = (histogram(), histogram(), histogram());
    (index(devices), 0_u32..9, any::<bool>(), any::<[u64; 8]>(), histograms).prop_map(
        |(device, operation, of_target, numbers, (queue, in_device, total))| Requests {
            device,
            operation,
            of_target,
            count: numbers[0],
            bytes: numbers[1],
            errors: numbers[2],
            sequential: numbers[3],
            issued: numbers[4],
            queue_ns: numbers[5],
            device_ns: numbers[6],
            total_ns: numbers[7],
            queue,
            in_device,
            total,
        },
    )
}

fn request_share(devices: usize) -> impl Strategy<Value = RequestShare> {
    (0_u32..4, index(devices), 0_u32..9, text(), any::<bool>(), any::<[u64; 5]>()).prop_map(
        |(kind, device, operation, name, of_target, numbers)| RequestShare {
            kind,
            id: numbers[0],
            name,
            of_target,
            device,
            operation,
            count: numbers[1],
            bytes: numbers[2],
            queue_ns: numbers[3],
            device_ns: numbers[4],
        },
    )
}

fn disk_wait(devices: usize) -> impl Strategy<Value = DiskWait> {
    let codes = (0_u32..60, 0_u32..7, 0_u32..9);
    (codes, option::of(index(devices)), text(), any::<[u64; 4]>()).prop_map(
        |((state, ended_by, operation), device, by, numbers)| DiskWait {
            state,
            ended_by,
            device,
            operation,
            by,
            count: numbers[0],
            blocked_ns: numbers[1],
            queue_ns: numbers[2],
            device_ns: numbers[3],
        },
    )
}

fn file_wait() -> impl Strategy<Value = FileWait> {
    (text(), any::<(u64, u32, u32)>(), 0_u32..60, any::<(u64, u64)>()).prop_map(
        |(path, (inode, major, minor), state, (count, blocked_ns))| FileWait {
            path,
            inode,
            major,
            minor,
            state,
            count,
            blocked_ns,
        },
    )
}

fn party(threads: usize) -> impl Strategy<Value = Party> {
    prop_oneof![
        Just(Party::Nobody),
        index(threads).prop_map(Party::Thread),
        (any::<u32>(), text(), any::<bool>()).prop_map(|(tgid, comm, kernel)| Party::Stranger {
            tgid,
            comm,
            kernel
        }),
    ]
}

fn any_locks(
    processes: usize,
    modules: usize,
    threads: usize,
    stacks: usize,
) -> impl Strategy<Value = Locks> {
    let place = prop_oneof![
        Just(Place::Unknown),
        Just(Place::Heap),
        Just(Place::Kernel),
        (index(modules), any::<u64>()).prop_map(|(module, offset)| Place::Module { module, offset }),
    ];
    let lock = (option::of(index(processes)), any::<u64>(), any::<u32>(), place, text());
    let lock =
        lock.prop_map(|(process, address, kind, place, name)| Lock { process, address, kind, place, name });
    (vec(lock, 1..4), any::<(bool, bool)>()).prop_flat_map(move |(locks, (followed, kernel_followed))| {
        let rows = locks.len();
        let kernel = (index(rows), any::<u32>(), any::<[u64; 3]>()).prop_map(|(lock, kind, numbers)| {
            KernelWaits { lock, kind, count: numbers[0], waited_ns: numbers[1], longest_ns: numbers[2] }
        });
        let held =
            (index(threads), index(rows), party(threads), option::of(0_u32..60), any::<u64>()).prop_map(
                |(waiter, lock, owner, owner_state, ticks)| Held { waiter, lock, owner, owner_state, ticks },
            );
        let peer = option::of(any::<([u8; 4], u16, u16)>()).prop_map(|peer| {
            peer.map(|(address, port, local_port)| Peer { address: address.into(), port, local_port })
        });
        let wake = (
            (
                index(threads),
                0_u32..60,
                option::of(index(rows)),
                party(threads),
                any::<bool>(),
                index(stacks),
            ),
            peer,
            (any::<u64>(), proptest::num::f64::NORMAL, any::<u32>(), vec((0_u32..60, any::<u64>()), 0..3)),
        )
            .prop_map(
                |(
                    (waiter, state, lock, waker, interrupted, stack),
                    peer,
                    (weight_ns, waits, count, meanwhile),
                )| Wake {
                    waiter,
                    state,
                    lock,
                    waker,
                    interrupted,
                    stack,
                    peer,
                    weight_ns,
                    waits,
                    count,
                    meanwhile,
                },
            );
        let release = (index(rows), index(threads), index(stacks), any::<u64>())
            .prop_map(|(lock, holder, stack, weight_ns)| Release { lock, holder, stack, weight_ns });
        let open = (index(threads), index(rows), party(threads), any::<u64>())
            .prop_map(|(waiter, lock, owner, since_ns)| OpenWait { waiter, lock, owner, since_ns });
        (vec(kernel, 0..3), vec(held, 0..4), vec(wake, 0..5), vec(release, 0..3), vec(open, 0..4)).prop_map(
            move |(kernel_waits, held, wakes, releases, open)| Locks {
                followed,
                kernel_followed,
                locks: locks.clone(),
                kernel_waits,
                held,
                wakes,
                releases,
                open,
            },
        )
    })
}

fn any_machine() -> impl Strategy<Value = Machine> {
    fn pressure(numbers: [u64; 6]) -> Pressure {
        Pressure {
            elapsed_ns: numbers[0],
            cpu_some_ns: numbers[1],
            io_some_ns: numbers[2],
            memory_some_ns: numbers[3],
            io_full_ns: numbers[4],
            memory_full_ns: numbers[5],
        }
    }
    let group = (
        text(),
        any::<[u64; 8]>(),
        option::of(proptest::num::f64::POSITIVE),
        option::of(any::<u64>()),
        option::of(any::<[u64; 6]>()),
    )
        .prop_map(|(path, numbers, cpu_limit, memory_limit_bytes, pressures)| Group {
            path,
            elapsed_ns: numbers[0],
            cpu_limit,
            periods: numbers[1],
            throttled_periods: numbers[2],
            throttled_ns: numbers[3],
            memory_limit_bytes,
            memory_bytes: numbers[4],
            memory_limit_hits: numbers[5],
            oom_kills: numbers[6],
            pressure: pressures.map(pressure),
        });
    let cpu = option::of(any::<[u32; 5]>());
    let cpu_time = |numbers: [u32; 5]| CpuTime {
        elapsed_ns: u64::from(numbers[0]),
        busy_ns: u64::from(numbers[1]),
        idle_ns: u64::from(numbers[2]),
        iowait_ns: u64::from(numbers[3]),
        steal_ns: u64::from(numbers[4]),
    };
    let memory = option::of(any::<[u64; 6]>());
    let other = (any::<u32>(), text(), any::<u64>()).prop_map(|(tgid, comm, cpu_ns)| OtherProcess {
        tgid,
        comm,
        cpu_ns,
    });
    (
        cpu,
        option::of(any::<[u64; 6]>()),
        memory,
        option::of(any::<u32>()),
        vec(group, 0..3),
        vec(any::<u16>(), 0..3),
        vec(other, 0..3),
    )
        .prop_map(
            move |(cpu, pressures, memory, allowed_cpus, groups, listening_ports, busiest_others)| Machine {
                cpu: cpu.map(cpu_time),
                pressure: pressures.map(pressure),
                memory: memory.map(|numbers| MemoryEvents {
                    scanned_directly: numbers[0],
                    swapped_in: numbers[1],
                    swapped_out: numbers[2],
                    refaults: numbers[3],
                    dirty_pages: numbers[4],
                    dirty_limit_pages: numbers[5],
                }),
                allowed_cpus,
                allowed_cpu: cpu.map(cpu_time),
                groups,
                listening_ports,
                busiest_others,
            },
        )
}
