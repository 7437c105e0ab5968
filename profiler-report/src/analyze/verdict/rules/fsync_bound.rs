//! `FSYNC_BOUND`: threads wait until what they have written is on the device.

use profiler_common::block_io::operation;
use profiler_common::state;

use crate::analyze::claim::{Claim, claim, decimal, duration, percent};
use crate::analyze::stacks::kernel_paths::Path;
use crate::analyze::verdict::disk_kinds::Kind;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.15;

pub struct FsyncBound;

impl Rule for FsyncBound {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let work = &facts.work;
        let journal = facts.waiting_paths.get(&Path::Journal).copied().unwrap_or(0);
        // Other calls on files wait for the journal too.
        let ns = work.fsync_ns.max(
            journal.min(work.fsync_ns.saturating_add(work.file_wait_ns).saturating_add(work.disk_write_ns)),
        );
        let share = facts.share(ns);
        if share < SHARE || facts.busyness() < 0.3 {
            return Outcome::Clear;
        }
        let mut evidence: Vec<Claim> = calls(facts).into_iter().collect();
        if journal > 0 {
            evidence.push(claim!(
                "waiting for the file system's journal: {} of the working time",
                percent(facts.share(journal))
            ));
        }
        let flushes = facts
            .disks
            .rows
            .iter()
            .filter(|row| matches!(row.operation, operation::DEVICE_FLUSH | operation::WRITE_THROUGH));
        if let Some(row) = flushes.max_by_key(|row| row.total_ns) {
            evidence.push(claim!(
                "the device takes {} (median) and {} (p99) for a {}",
                duration(row.in_device.p50),
                duration(row.in_device.p99),
                operation::NAMES[row.operation as usize]
            ));
        }
        let files: Vec<_> = facts
            .disks
            .files
            .iter()
            .filter(|file| file.state == state::FSYNC && !file.path.is_empty())
            .take(2)
            .collect();
        evidence.extend(files.iter().map(|file| claim!("waits for {}", file.path)));
        let ended = facts.ended_by_disk(Kind::Sync);
        let by_kernel = facts.recording.block_io.waits.iter().any(|wait| {
            wait.state == state::FSYNC && wait.ended_by == profiler_common::block_io::ended_by::KERNEL_THREAD
        });
        let agreement = [
            Agreement::by(facts.pressure(|pressure| pressure.io_some_ns), 0.05, 0.005),
            if by_kernel { Some(Agreement::Agrees) } else { Agreement::by(ended, 0.5, 0.1) },
        ];
        Outcome::Found(Finding {
            id: VerdictId::FsyncBound,
            share,
            sentence: claim!(
                "threads wait {} of their working time for writes to reach the device",
                percent(share)
            ),
            evidence,
            counter_evidence: vec![],
            next_steps: vec![
                claim!(
                    "call fsync less often: commit several changes together; or use a device with a protected write cache"
                ),
                claim!("the `fsync` stacks below show the call"),
            ],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            explains: &[VerdictId::DiskWriteBound],
            precedence: 0.1,
            is_plain: true,
            ..Finding::default()
        })
    }
}

/// How often threads waited in such calls themselves, and for how long.
fn calls(facts: &Facts<'_>) -> Option<Claim> {
    let waits = facts.ledger.account.state(state::FSYNC);
    let each = (waits.count > 0).then(|| waits.ns as f64 / waits.count as f64)?;
    let per_second = waits.count as f64 / (facts.elapsed_ns.max(1) as f64 / 1e9);
    Some(claim!("{} fsync-like waits a second, {} each", decimal(per_second, 0), duration(each)))
}
