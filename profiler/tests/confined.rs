//! What the filter of system calls refuses, and that everything else still works behind it: tried in a process of its own,
//! which is this program again.

use std::{fs, io, process::Command, thread};

use profiler::confine::{Allowed, install};

/// Runs one of the tests below that are ignored otherwise, and returns what it printed.
#[track_caller]
fn in_a_process_of_its_own(test: &str) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.args(["--exact", test, "--ignored", "--nocapture"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// A call that would do nothing without the filter either, but fail for another reason.
#[track_caller]
fn check(name: &str, call: libc::c_long, arguments: [i64; 4], expected: i32) {
    let [a, b, c, d] = arguments;
    // SAFETY: each of the calls that are tried has an argument that makes it fail before it does anything.
    let result = unsafe { libc::syscall(call, a, b, c, d, 0, 0) };
    let error = io::Error::last_os_error().raw_os_error();
    assert_eq!((result, error), (-1, Some(expected)), "{name}");
}

#[test]
fn calls_of_an_attacker_are_not_permitted() {
    in_a_process_of_its_own("child_tries_what_is_refused");
}

#[test]
#[ignore = "restricts its process: run by the test above"]
fn child_tries_what_is_refused() {
    install(&Allowed::default()).expect("installed");
    let refused = |name: &str, call, arguments| check(name, call, arguments, libc::EPERM);
    // As a thread made later, too.
    for in_thread in [false, true] {
        let all = move || {
            refused("execve", libc::SYS_execve, [0; 4]);
            refused("execveat", libc::SYS_execveat, [-1, 0, 0, 0]);
            refused("ptrace", libc::SYS_ptrace, [-1, -1, 0, 0]);
            refused("process_vm_writev", libc::SYS_process_vm_writev, [-1, 0, 0, 0]);
            refused("process_vm_readv", libc::SYS_process_vm_readv, [-1, 0, 0, 0]);
            refused("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0, 0]);
            refused("mount", libc::SYS_mount, [0; 4]);
            refused("umount2", libc::SYS_umount2, [0, -1, 0, 0]);
            refused("chroot", libc::SYS_chroot, [0; 4]);
            refused("setns", libc::SYS_setns, [-1, 0, 0, 0]);
            refused("unshare", libc::SYS_unshare, [1, 0, 0, 0]);
            refused("init_module", libc::SYS_init_module, [0; 4]);
            refused("finit_module", libc::SYS_finit_module, [-1, 0, 0, 0]);
            refused("kexec_load", libc::SYS_kexec_load, [0, 0, 0, -1]);
            refused("reboot", libc::SYS_reboot, [0; 4]);
            refused("perf_event_open", libc::SYS_perf_event_open, [0; 4]);
            refused("io_uring_setup", libc::SYS_io_uring_setup, [0; 4]);
            refused("setresuid", libc::SYS_setresuid, [-1, -1, -1, 0]);
            refused("fchownat", libc::SYS_fchownat, [-1, 0, 0, 0]);
            refused("BPF_PROG_LOAD", libc::SYS_bpf, [5, 0, 0, 0]);
            refused("BPF_MAP_CREATE", libc::SYS_bpf, [0, 0, 0, 0]);
            refused("BPF_LINK_CREATE", libc::SYS_bpf, [28, 0, 0, 0]);
            refused("BPF_PROG_GET_FD_BY_ID", libc::SYS_bpf, [13, 0, 0, 0]);
            refused("TIOCSTI", libc::SYS_ioctl, [-1, 0x5412, 0, 0]);
        };
        if in_thread { thread::spawn(all).join().expect("all refused") } else { all() }
    }
}

#[test]
fn calls_that_are_not_known_are_as_if_they_were_not_there() {
    in_a_process_of_its_own("child_tries_what_is_unknown");
}

#[test]
#[ignore = "restricts its process: run by the test above"]
fn child_tries_what_is_unknown() {
    install(&Allowed::default()).expect("installed");
    let missing = |name: &str, call, arguments| check(name, call, arguments, libc::ENOSYS);
    missing("clone3", libc::SYS_clone3, [0; 4]);
    missing("clone in a user namespace", libc::SYS_clone, [libc::CLONE_NEWUSER as i64 | 1 << 62, 0, 0, 0]);
    missing("socket without servers to ask", libc::SYS_socket, [-1, -1, 0, 0]);
    missing("kill without a command", libc::SYS_kill, [std::process::id() as i64, 0, 0, 0]);
    missing("a number that no call has", 4000, [0; 4]);
}

#[test]
fn what_a_recording_goes_on_with_still_works() {
    in_a_process_of_its_own("child_does_what_is_allowed");
}

#[test]
#[ignore = "restricts its process: run by the test above"]
fn child_does_what_is_allowed() {
    let command = Command::new("sleep").arg("60").spawn().expect("a command, started before");
    let allowed = Allowed { network: true, signalled: Some(command.id()) };
    install(&allowed).expect("installed");
    // A map by a descriptor that there is not: refused by the kernel, and not by the filter.
    check("BPF_MAP_LOOKUP_ELEM", libc::SYS_bpf, [1, 0, 0, 0], libc::EINVAL);
    check("an ioctl that types nothing", libc::SYS_ioctl, [-1, 0, 0, 0], libc::EBADF);
    check("another process", libc::SYS_kill, [std::process::id() as i64, 0, 0, 0], libc::ENOSYS);
    // SAFETY: takes numbers. The process is our child and was not waited for.
    assert_eq!(unsafe { libc::kill(command.id() as i32, libc::SIGKILL) }, 0);
    let mut command = command;
    command.wait().expect("its end");
    std::net::UdpSocket::bind("127.0.0.1:0").expect("the network");
    assert!(fs::read_to_string("/proc/self/maps").expect("a file").contains("[stack]"));
    let directory = tempfile::tempdir().expect("a directory");
    let mut file = tempfile::NamedTempFile::new_in(&directory).expect("a file");
    io::Write::write_all(&mut file, b"text").expect("written");
    file.as_file().sync_all().expect("synced");
    file.persist(directory.path().join("a")).expect("renamed");
    let threads: Vec<_> = (0..8).map(|number| thread::spawn(move || vec![number; 1 << 20].len())).collect();
    assert!(threads.into_iter().all(|thread| thread.join().is_ok_and(|length| length == 1 << 20)));
    assert!(thread::spawn(|| panic!("told with a backtrace")).join().is_err());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        drop(interrupt.expect("a signal"));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    });
}
