//! `MEMORY_PRESSURE`: threads free memory themselves, or read back what was taken from them.

use crate::analyze::claim::{Claim, bytes, claim, percent};
use crate::analyze::stacks::kernel_paths::Path;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::recording::Group;

const SHARE: f64 = 0.05;
/// With this much pressure, page faults that wait for the disk are for pages that had been there before.
const PRESSURE: f64 = 0.05;

/// So many limit hits, pages read back or read again say something; fewer are chance.
const MANY: u64 = 100;
/// Ways through the kernel that free memory or read back what was taken.
const DIRECT: [Path; 3] = [Path::Reclaim, Path::Compaction, Path::SwapIn];

pub struct MemoryPressure;

impl Rule for MemoryPressure {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let signs = Signs::of(facts);
        let share = facts.share(signs.direct_ns.max(signs.again_ns));
        if share < SHARE || !signs.is_short && facts.share(signs.direct_ns) < 2.0 * SHARE {
            return Outcome::Clear;
        }
        let next_step = if let Some(group) = signs.group.filter(|group| group.memory_limit_hits > 0) {
            claim!("raise the memory limit of {}, or reduce what the program uses", group.path)
        } else {
            claim!("add memory, or find the largest user: `ps --sort=-rss`")
        };
        Outcome::Found(Finding {
            id: VerdictId::MemoryPressure,
            share,
            sentence: claim!(
                "memory is short: {} of the working time is spent freeing it or reading pages again",
                percent(share)
            ),
            evidence: signs.evidence(facts),
            counter_evidence: vec![],
            next_steps: vec![next_step],
            max_gain: gain(share),
            agreement: signs.agreement(facts),
            samples: None,
            explains: &[
                VerdictId::DiskReadBound,
                VerdictId::DiskWriteBound,
                VerdictId::CpuBound,
                VerdictId::CpuSingleThread,
                VerdictId::LockKernel,
            ],
            precedence: 0.4,
            ..Finding::default()
        })
    }
}

/// What speaks of memory, in the threads' time and in the machine's counters.
struct Signs<'a> {
    /// Shares of the time in which some task, and all, waited for memory (PSI).
    some: Option<f64>,
    full: Option<f64>,
    /// Of the control groups with a limit, the one that met it most often.
    group: Option<&'a Group>,
    /// The machine or the group is short of memory.
    is_short: bool,
    /// Time of the working threads in [`DIRECT`] ways.
    direct_ns: u64,
    /// Their time in which pages were read again; 0 where memory is not short.
    again_ns: u64,
    /// Pages that were read again, on the machine.
    refaults: u64,
}

impl<'a> Signs<'a> {
    fn of(facts: &Facts<'a>) -> Self {
        let some = facts.pressure(|pressure| pressure.memory_some_ns);
        let groups = facts.machine.groups.iter().filter(|group| group.memory_limit_bytes.is_some());
        let group = groups.max_by_key(|group| group.memory_limit_hits);
        let hits = group.map_or(0, |group| group.memory_limit_hits);
        let memory = facts.machine.memory;
        let (refaults, swapped) = memory.map_or((0, 0), |memory| (memory.refaults, memory.swapped_in));
        let is_short = some.is_some_and(|some| some >= PRESSURE) || hits > MANY || swapped > MANY;
        // Of a machine or group that is short of memory, what has to be read again counts too.
        let reads_again = is_short && (refaults > MANY || swapped > MANY);
        let reads = facts.work.page_fault_io_ns.saturating_add(facts.work.disk_read_ns);
        Self {
            some,
            full: facts.pressure(|pressure| pressure.memory_full_ns),
            group,
            is_short,
            direct_ns: facts.paths_ns(&DIRECT),
            again_ns: if reads_again { reads } else { 0 },
            refaults,
        }
    }

    fn evidence(&self, facts: &Facts<'_>) -> Vec<Claim> {
        let of_work = |ns: u64| percent(facts.share(ns));
        let mut evidence = vec![];
        for path in DIRECT {
            let ns = facts.paths_ns(&[path]);
            if facts.share(ns) >= 0.01 {
                evidence.push(claim!("{}: {} of the working time", path.words(), of_work(ns)));
            }
        }
        if self.again_ns > self.direct_ns {
            evidence.push(claim!(
                "pages read again: {} of the working time, {} pages on the machine",
                of_work(self.again_ns),
                self.refaults
            ));
        }
        let pressure =
            |some| claim!("pressure: some task waited for memory for {} of the time", percent(some));
        evidence.extend(self.some.map(pressure));
        if let Some(group) = self.group.filter(|group| group.memory_limit_hits > 0) {
            evidence.push(claim!(
                "control group {} reached its limit of {} {} times, and uses {}",
                group.path,
                bytes(group.memory_limit_bytes.unwrap_or(0)),
                group.memory_limit_hits,
                bytes(group.memory_bytes)
            ));
        }
        evidence
    }

    fn agreement(&self, facts: &Facts<'_>) -> Vec<Agreement> {
        let agrees_or = |agrees: bool, or: Agreement| if agrees { Agreement::Agrees } else { or };
        let sources = [
            Agreement::by(self.some, PRESSURE, 0.005),
            Agreement::by(self.full, 0.01, 0.0),
            self.group.map(|group| agrees_or(group.memory_limit_hits > 0, Agreement::Silent)),
            facts.machine.memory.map(|memory| {
                let is_short = memory.scanned_directly > 0 || memory.refaults > 0 || memory.swapped_in > 0;
                agrees_or(is_short, Agreement::Contradicts)
            }),
        ];
        sources.into_iter().flatten().collect()
    }
}
