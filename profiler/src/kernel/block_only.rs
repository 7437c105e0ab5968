//! Only the programs that follow requests to block devices, for those who watch disks and record no thread.

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
};
use profiler_common::{
    block_io::{RequestTotals, Share, ShareKey},
    config::{Config, Control},
    stat::Stat,
};

use super::{
    ProgramRun, Settings,
    attach::{self, Loaded},
    cost,
    requests::Requests,
    signals, take_map,
};

/// What is counted of requests that could not be followed or told apart. Those that were under way at the start are no loss.
const LOSSES: [Stat; 3] = [Stat::RequestsFull, Stat::RequestTotalsFull, Stat::RequestSharesFull];

/// The attached programs. Dropping them, or the end of this process in any way, detaches them.
pub struct BlockPrograms {
    ebpf: Ebpf,
    requests: Requests,
    stats: PerCpuArray<MapData, u64>,
}

impl BlockPrograms {
    /// Loads and attaches them; they count from here on.
    ///
    /// # Errors
    /// What the kernel lacks or refuses.
    pub fn attach() -> Result<Self> {
        let _held = signals::Held::all().context("cannot hold back signals")?;
        // No thread has an account, and nothing is sent: the maps for that have the least of sizes.
        let settings = Settings {
            config: Config { block_io_only: 1, ..Config::default() },
            sample_hz: 0,
            thread_capacity: 1,
            ring_bytes: 4096,
            only_processes: vec![],
            only_cpus: None,
            block_io: true,
            block_io_shift: 0,
            too_small: None,
        };
        let Loaded { mut ebpf, requests: hooks, .. } = attach::load(&settings)?;
        let mut control: Array<_, Control> = take_map(&mut ebpf, "CONTROL")?.try_into()?;
        control.set(0, Control { stopped: 1, ..Control::default() }, 0)?;
        let types = attach::kernel_types()?;
        hooks
            .and_then(|hooks| attach::requests(&mut ebpf, &types, &hooks))
            .map_err(|why| anyhow!("cannot follow requests to block devices: {why}"))?;
        control.set(0, Control::default(), 0).context("cannot let the kernel programs begin")?;
        Ok(Self {
            requests: Requests::new(&mut ebpf)?,
            stats: take_map(&mut ebpf, "STATS")?.try_into()?,
            ebpf,
        })
    }

    /// Completed requests so far, by device and operation.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn totals(&self) -> Result<Vec<RequestTotals>> {
        self.requests.totals()
    }

    /// Whose requests were completed since the last time.
    ///
    /// # Errors
    /// The kernel refuses to read or to empty the map.
    pub fn take_shares(&mut self) -> Result<Vec<(ShareKey, Share)>> {
        self.requests.take_shares()
    }

    /// How much was lost so far, by its cause.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn losses(&self) -> Result<[(Stat, u64); LOSSES.len()]> {
        let mut losses = LOSSES.map(|stat| (stat, 0));
        for (stat, lost) in &mut losses {
            *lost = self.stats.get(&(*stat as u32), 0).context("cannot read the counters")?.iter().sum();
        }
        Ok(losses)
    }

    /// Run time and run count of each program, as far as the kernel measured them.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn program_runs(&self) -> Result<Vec<ProgramRun>> {
        cost::program_runs(&self.ebpf)
    }
}
