//! Requests to block devices: chooses the hooks that the kernel has, attaches them, and reads what the programs sum up.

use anyhow::{Context as _, Result, bail};
use profiler_common::{
    block_io::{FileKey, RequestTotals, Share, ShareKey, WaitKey, Waits},
    offsets::Offsets,
};

use crate::kernel::{Btf, Object, Slots, Table, resolve_requests};

/// Slots for requests under way, where there is room.
pub const SLOTS: u32 = 16_384;
/// And for kinds of them: devices, operations, and whether recorded threads submitted them.
pub const KINDS: u32 = 256;

/// Maps that are of no use without the hooks, with their usual capacities: those of the kernel crate.
pub const MAPS: &[(&str, u32)] = &[
    ("REQUESTS", SLOTS),
    ("REQUEST_TOTALS", KINDS),
    ("TOTALS_TAKEN", KINDS),
    ("REQUEST_SHARES", 4096),
    ("DISK_WAITS", 512),
    ("FILE_WAITS", 2048),
];

/// Room that a map of at most this much has: powers of two stay such.
pub fn room(entries: u32, shift: u32) -> u32 {
    (entries >> shift).max(32)
}

/// The tracepoints without which a request cannot be followed.
const NEEDED: &[&str] = &["block_rq_insert", "block_rq_issue", "block_rq_requeue", "block_rq_complete"];

/// Which variants of the programs fit this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// `block_io_start` (Linux 6.5, 5a80bd075f3bd7c7136c1dbb8fa5a6a6a4dbb6e1) reports arrivals.
    pub has_io_start: bool,
    /// The queue comes first among the arguments, up to 5.10 (a54895fa057c67700270777f7661d8d3c7fda88a; also taken into later
    /// 5.10s). Told by the number of arguments.
    with_queue: bool,
    pub fua_flag: u32,
    pub preflush_flag: u32,
}

impl Hooks {
    /// Chooses them, and adds the offsets that their programs need.
    ///
    /// # Errors
    /// What the kernel lacks.
    pub fn choose(btf: &Btf, offsets: &mut Offsets) -> Result<Self> {
        for hook in NEEDED {
            if btf.tracepoint_arguments(hook).is_none() {
                bail!("this kernel has no tracepoint `{hook}` (CONFIG_BLOCK)");
            }
        }
        let flag = |name: &str| {
            let bit = btf.enumerator(name).filter(|&bit| bit < 32);
            bit.map(|bit| 1 << bit).with_context(|| format!("this kernel has no `{name}`"))
        };
        let hooks = Self {
            has_io_start: btf.tracepoint_arguments("block_io_start").is_some(),
            with_queue: btf.tracepoint_arguments("block_rq_issue") == Some(2),
            fua_flag: flag("__REQ_FUA")?,
            preflush_flag: flag("__REQ_PREFLUSH")?,
        };
        resolve_requests(btf, offsets)?;
        Ok(hooks)
    }

    /// Attaches the programs.
    ///
    /// # Errors
    /// The kernel refuses one.
    pub fn attach(&self, object: &mut Object) -> Result<()> {
        let [insert, issue, requeue] = if self.with_queue {
            ["block_rq_insert_with_queue", "block_rq_issue_with_queue", "block_rq_requeue_with_queue"]
        } else {
            ["block_rq_insert", "block_rq_issue", "block_rq_requeue"]
        };
        // Completions first: a request that is seen to arrive is then also seen to end.
        let mut rows = vec![
            ("block_rq_complete", "block_rq_complete"),
            (issue, "block_rq_issue"),
            (requeue, "block_rq_requeue"),
        ];
        rows.push(if self.has_io_start {
            ("block_io_start", "block_io_start")
        } else {
            (insert, "block_rq_insert")
        });
        rows.into_iter().try_for_each(|row| object.tracepoint(row))
    }
}

/// What the programs have summed up.
#[derive(Default)]
pub struct RequestSums {
    pub totals: Vec<RequestTotals>,
    pub shares: Vec<(ShareKey, Share)>,
    pub waits: Vec<(WaitKey, Waits)>,
    pub files: Vec<(FileKey, Waits)>,
}

/// The maps of attached programs.
pub struct Requests {
    totals: Slots<RequestTotals>,
    /// Slots of `totals` that are in use: few of the 256, which take 5 KiB each to read.
    taken: Table<u32, u32>,
    shares: Table<ShareKey, Share>,
    waits: Table<WaitKey, Waits>,
    files: Table<FileKey, Waits>,
}

impl Requests {
    /// Takes the maps out of the object.
    ///
    /// # Errors
    /// The object has no such map.
    pub fn new(object: &mut Object) -> Result<Self> {
        Ok(Self {
            totals: object.map("REQUEST_TOTALS")?,
            taken: object.map("TOTALS_TAKEN")?,
            shares: object.map("REQUEST_SHARES")?,
            waits: object.map("DISK_WAITS")?,
            files: object.map("FILE_WAITS")?,
        })
    }

    /// All sums so far. With `emptying`, whose requests they were is since the last time.
    ///
    /// # Errors
    /// The kernel refuses to read or to empty a map.
    pub fn sums(&mut self, emptying: bool) -> Result<RequestSums> {
        Ok(RequestSums {
            totals: self.totals()?,
            shares: if emptying { self.take_shares()? } else { self.shares()? },
            waits: self.waits.iter().collect::<Result<_, _>>().context("cannot read the waits for disks")?,
            files: self.files.iter().collect::<Result<_, _>>().context("cannot read the waits for files")?,
        })
    }

    /// Completed requests by device and operation, in the order of their slots: a kind that was there once is always there, at the
    /// same place but for new ones before it.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    fn totals(&self) -> Result<Vec<RequestTotals>> {
        let mut slots =
            self.taken.keys().collect::<Result<Vec<_>, _>>().context("cannot read the kinds of requests")?;
        slots.sort_unstable();
        let all = slots.iter().map(|slot| self.totals.get(slot, 0));
        // A slot may be taken and not yet in use.
        let all = all.filter(|totals| totals.as_ref().map_or(true, |totals| totals.key != 0));
        all.collect::<Result<_, _>>().context("cannot read the requests to block devices")
    }

    fn shares(&self) -> Result<Vec<(ShareKey, Share)>> {
        self.shares.iter().collect::<Result<_, _>>().context("cannot read the requests by process")
    }

    /// Whose requests were completed since the last time. What is added between the reading and the emptying, some
    /// microseconds, is lost to these sums.
    ///
    /// # Errors
    /// The kernel refuses to read or to empty the map.
    fn take_shares(&mut self) -> Result<Vec<(ShareKey, Share)>> {
        let shares = self.shares()?;
        for (key, _) in &shares {
            self.shares.remove(key).context("cannot clear the requests by process")?;
        }
        Ok(shares)
    }
}
