//! What the programs and maps cost, from the kernel's own statistics.

use std::{fs, os::fd::OwnedFd};

use anyhow::{Context as _, Result};
use aya::{Ebpf, programs::Program};

use super::keeper;

/// While this lives, the kernel measures each run of each program. That costs two readings of the clock a run, more than
/// some of the programs themselves, so it is done in bursts.
pub struct StatsBurst(
    /// None where the kernel measures all programs all the time.
    #[expect(dead_code, reason = "held for its effect: closing it ends the burst")]
    Option<OwnedFd>,
);

impl StatsBurst {
    /// Begins a burst. None where the kernel cannot (before 5.8), or not for this process.
    pub fn begin() -> Option<Self> {
        match keeper::measure() {
            None if is_always_measured() => Some(Self(None)),
            burst => burst.map(|burst| Self(Some(burst))),
        }
    }
}

/// Whether the machine's owner has the kernel measure the programs of everybody (`kernel.bpf_stats_enabled`), which no capability
/// is needed to make use of.
pub fn is_always_measured() -> bool {
    fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|value| value.trim() == "1")
}

/// Run time of one program since it was loaded, as far as it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramRun {
    pub name: String,
    /// The profiler's process runs it itself.
    pub in_own_time: bool,
    pub run_ns: u64,
    pub runs: u64,
}

/// Of each loaded program.
pub fn program_runs(ebpf: &Ebpf) -> Result<Vec<ProgramRun>> {
    let mut runs = vec![];
    for (name, program) in ebpf.programs() {
        // The variant of `sched_switch` for the other kernels is not loaded.
        if program.fd().is_err() {
            continue;
        }
        let info = program.info().with_context(|| format!("cannot read the statistics of `{name}`"))?;
        let (run_ns, runs_so_far) = (info.run_time().as_nanos() as u64, info.run_count());
        let in_own_time = matches!(program, Program::Iter(_));
        runs.push(ProgramRun { name: name.to_owned(), in_own_time, run_ns, runs: runs_so_far });
    }
    Ok(runs)
}

/// Memory and missed runs, as the kernel reports them for this process's descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapMemory {
    /// Memory of all maps and programs that this process holds, in bytes.
    pub bytes: u64,
    /// Runs that were left out because the program was already running on that CPU.
    pub recursion_misses: u64,
}

impl MapMemory {
    /// Reads `/proc/self/fdinfo`.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn read() -> Result<Self> {
        let mut seen = std::collections::HashSet::new();
        let mut total = Self::default();
        for entry in fs::read_dir("/proc/self/fdinfo").context("cannot read /proc/self/fdinfo")? {
            // A descriptor may close meanwhile: the directory's own does.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            total.add(&text, &mut seen);
        }
        Ok(total)
    }

    fn add(&mut self, fdinfo: &str, seen: &mut std::collections::HashSet<String>) {
        let field = |name: &str| {
            fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        // Links show the id of their program too; only maps and programs have `memlock`.
        let id = match (field("map_id"), field("prog_id")) {
            (Some(id), _) => format!("map {id}"),
            (None, Some(id)) => format!("program {id}"),
            (None, None) => return,
        };
        if field("memlock").is_some() && seen.insert(id) {
            self.bytes += number("memlock");
            self.recursion_misses += number("recursion_misses");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_counts_once_however_many_descriptors_it_has() {
        let (mut total, mut seen) = (MapMemory::default(), std::collections::HashSet::new());
        for _ in 0..2 {
            total.add("pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t7\n", &mut seen);
        }
        total.add("prog_type:\t26\nmemlock:\t8192\nprog_id:\t7\nrecursion_misses:\t3\n", &mut seen);
        total.add("link_type:\ttracing\nprog_id:\t9\n", &mut seen);
        assert_eq!(total, MapMemory { bytes: 12288, recursion_misses: 3 });
    }
}
