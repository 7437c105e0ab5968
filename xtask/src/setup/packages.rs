//! Debian packages: which are missing, and installing them without starting what they bring.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Result;

use crate::command::{self, as_root};

/// A package, and the end of the sentence "it is needed …".
pub struct Package {
    pub name: &'static str,
    pub why: &'static str,
    /// The systemd unit that it enables, if it is a server.
    unit: Option<&'static str>,
}

const fn tool(name: &'static str, why: &'static str) -> Package {
    Package { name, why, unit: None }
}

const fn server(name: &'static str, why: &'static str, unit: &'static str) -> Package {
    Package { name, why, unit: Some(unit) }
}

/// A compiler that brings `core` for the BPF target, so that no nightly is needed.
pub const COMPILER: &[Package] = &[
    tool("rustc-web", "to compile the kernel programs"),
    tool("cargo-web", "to compile the kernel programs"),
    tool("libstd-rust-web-dev-bpf", "as the kernel programs' standard library"),
];

/// What bpf-linker is built with.
pub const LLVM: &[Package] = &[
    tool("llvm-22-dev", "to build bpf-linker"),
    tool("libpolly-22-dev", "to build bpf-linker"),
    tool("g++", "to build bpf-linker"),
];

/// Real servers and their loads, which tests and benchmarks run.
pub const SERVERS: &[Package] = &[
    tool("postgresql-contrib", "as the load on postgresql (pgbench)"),
    server("postgresql", "as a real server to record", "postgresql.service"),
    server("redis-server", "as a real server to record", "redis-server.service"),
    tool("redis-tools", "as the load on redis (redis-benchmark)"),
    server("nginx-light", "as a real server to record", "nginx.service"),
    tool("wrk", "as the load on nginx"),
];

/// What the tests run, beside `profiler` itself.
pub const TESTS: &[Package] = &[
    tool("g++", "to build the fuzzer's engine"),
    tool("xz-utils", "to make a compressed symbol table"),
    tool("bpftool", "to see that nothing stays in the kernel"),
    tool("linux-perf", "to compare the ledger with"),
    tool("libxml2-utils", "to check that flamegraphs are well-formed (xmllint)"),
    tool("qemu-system-x86", "to run other kernels, and for the libraries of a newer QEMU"),
    tool("busybox-static", "as the tools of those kernels' guests"),
    tool("dmsetup", "to make a slow disk in the guests"),
    tool("e2fsprogs", "to make the guests' disk (mke2fs)"),
    tool("binutils", "to strip the guests' programs (objcopy)"),
];

/// What checks what is handed out.
pub const DIST: &[Package] = &[tool("lintian", "to check the Debian package")];

/// What the benchmarks compare with.
pub const BENCH: &[Package] = &[
    tool("libbpf-tools", "to compare with (offcputime, biolatency)"),
    tool("bpftrace", "to compare with"),
    tool("linux-perf", "to compare with"),
    tool("fio", "as a load on the disk"),
    tool("stress-ng", "as a load on the scheduler"),
    tool("sysbench", "as a load on locks"),
    tool("gcc", "to compile programs whose stacks are judged"),
    tool("g++", "to compile programs whose stacks are judged, and as a load"),
    tool("golang-go", "to compile a program whose stacks are judged"),
    tool("nodejs", "to run a program whose stacks are judged"),
    tool("python3-minimal", "to run a program whose stacks are judged"),
    tool("binutils", "to read symbol tables (nm, readelf)"),
    tool("libc6-dbg", "for the name of the function in which threads begin"),
];

/// What compiles and runs programs for aarch64 here, beside a Rust compiler.
pub const CROSS: &[Package] = &[
    tool("gcc-aarch64-linux-gnu", "to compile C code and to link for aarch64"),
    tool("libc6-dev-arm64-cross", "to compile C code and to link for aarch64"),
    tool("qemu-user-static", "to run unit tests of aarch64"),
];

/// Installs those that are missing. Where there is no apt-get it says what is missing and goes on.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let can_install = command::on_path("apt-get");
    eprintln!("xtask: {}", if can_install { "installing" } else { "no apt-get; please install by hand" });
    for package in &missing {
        eprintln!("         {:<24} needed {}", package.name, package.why);
    }
    if !can_install {
        return Ok(());
    }
    install(&missing)?;
    keep_disabled(&missing)
}

/// Can apt-get install this package? Asks the mirror for its lists once when the package is unknown.
pub fn is_offered(name: &str) -> bool {
    if !command::on_path("apt-get") {
        return false;
    }
    let known = || {
        let policy = command::answer(Command::new("apt-cache").args(["policy", name])).unwrap_or_default();
        has_candidate(&policy)
    };
    if known() {
        return true;
    }
    if let Err(error) = refresh() {
        eprintln!("xtask: going on with the package lists as they are: {error:#}");
    }
    known()
}

fn missing(packages: &[Package]) -> Vec<&Package> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Package} ${db:Status-Status}\n"]);
    // It fails when it does not know a name, and still prints the others.
    let output = query.args(packages.iter().map(|package| package.name)).output();
    let status =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let installed = installed(&status);
    packages.iter().filter(|package| !installed.contains(package.name)).collect()
}

/// Takes lines of `NAME STATUS`.
fn installed(status: &str) -> BTreeSet<&str> {
    status.lines().filter_map(|line| line.strip_suffix(" installed")).collect()
}

/// Takes what `apt-cache policy NAME` prints: nothing for an unknown name, else a line `Candidate: VERSION`.
fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.is_some_and(|version| version != "(none)")
}

const APT_GET: [&str; 5] =
    ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"];

/// Refreshes apt's lists, once in a run at most. Tells whether it was now.
fn refresh() -> Result<bool> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Relaxed) {
        return Ok(false);
    }
    command::run(as_root("env", "to refresh the package lists")?.args(APT_GET).arg("update"))?;
    Ok(true)
}

/// Runs its arguments while Debian's policy for starting services says no, and takes that policy away again on any
/// exit. A policy that the machine already has is left alone.
const WITHOUT_STARTING: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
"$@"
"#;

/// Installs, and tries a second time with fresh lists: stale ones name files that the mirror no longer has.
fn install(missing: &[&Package]) -> Result<()> {
    let has_servers = missing.iter().any(|package| package.unit.is_some());
    if has_servers {
        eprintln!("       (the servers are neither started nor enabled: the tests start their own)");
    }
    let once = || {
        let mut install = as_root("env", "to install packages")?;
        if has_servers {
            install.args(["sh", "-c", WITHOUT_STARTING, "without-starting", "env"]);
        }
        install.args(APT_GET).args(["install", "-y", "--no-install-recommends"]);
        command::run(install.args(missing.iter().map(|package| package.name)))
    };
    match once() {
        Err(_) if refresh()? => once(),
        result => result,
    }
}

/// A server's package enables it for the next boot; undo that for those installed just now.
fn keep_disabled(installed: &[&Package]) -> Result<()> {
    let units: Vec<_> = installed.iter().filter_map(|package| package.unit).collect();
    if units.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    command::run(
        as_root("systemctl", "to keep the servers disabled")?.args(["disable", "--quiet"]).args(units),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fully_installed_packages_count() {
        let status = "fio installed\nwrk config-files\nbpftool not-installed\nlibz1 unpacked\n";
        assert_eq!(installed(status), BTreeSet::from(["fio"]));
    }

    #[track_caller]
    fn check_candidate(policy: &str, expected: bool) {
        assert_eq!(has_candidate(policy), expected);
    }

    #[test]
    fn a_package_with_a_version_is_offered() {
        check_candidate("wrk:\n  Installed: (none)\n  Candidate: 4.1.0-3+b2\n  Version table:\n", true);
    }

    #[test]
    fn a_package_known_by_name_only_is_not_offered() {
        check_candidate("sudo:\n  Installed: (none)\n  Candidate: (none)\n", false);
    }

    #[test]
    fn an_unknown_package_is_not_offered() {
        check_candidate("", false);
    }

    /// Runs `command` as the script runs apt-get, with the policy (its `$0`) in a scratch folder; no root needed.
    #[track_caller]
    fn check_policy(name: &str, theirs: bool, command: &str, exit_code: i32) {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let policy = folder.join("policy-rc.d");
        if theirs {
            std::fs::write(&policy, "theirs").unwrap();
        }
        let script = WITHOUT_STARTING.replace("/usr/sbin/policy-rc.d", policy.to_str().unwrap());
        let mut sh = Command::new("sh");
        let status = sh.args(["-c", &script, "without-starting", "sh", "-c", command]).arg(&policy).status();
        let left = policy.exists();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((status.unwrap().code(), left), (Some(exit_code), theirs));
    }

    #[test]
    fn the_policy_says_action_forbidden_and_is_taken_away() {
        check_policy("forbids", false, r#""$0""#, 101);
    }

    #[test]
    fn the_policy_is_taken_away_after_a_failure() {
        check_policy("failure", false, "exit 100", 100);
    }

    #[test]
    fn the_policy_is_taken_away_after_a_signal() {
        check_policy("signal", false, "kill -TERM $PPID; sleep 0.1", 143);
    }

    #[test]
    fn a_policy_of_the_machine_is_left() {
        check_policy("theirs", true, "exit 0", 0);
    }
}
