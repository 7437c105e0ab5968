//! What the profiler may still do once everything is attached: it gives up privileges and system calls that the rest does
//! not need.
//!
//! In: [`Needs`]. Out: a process that can read its targets' files and write its results, and little else. What a target
//! has made (its files, its maps, its names) is read only after this. Why each capability stays or goes, and why calls are
//! refused as they are, is in docs/decisions/0010-confined-after-attaching.md.

mod calls;
mod capabilities;
mod filter;
pub mod identity;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

pub use capabilities::inherit_nothing as inherit_no_capabilities;
use filter::install_for_keeper;
pub use filter::{Allowed, install};

use rustix::thread::CapabilitySet;

use crate::kernel::{self, Keeper};
use profiler_report::recording::{InstrumentId, Skip, SkipCause};

/// What the rest of the run does beside reading.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Where results are going to be written.
    pub directories: Vec<PathBuf>,
    /// Servers are going to be asked.
    pub network: bool,
    /// The command, which may have to be ended.
    pub command: Option<u32>,
}

/// Gives up everything else, for all threads that there are and will be. `maps_work` tries whether the maps of the kernel
/// programs can still be used. Returns what is missing or could not be given up, for the report.
///
/// # Errors
/// The kernel refuses to take capabilities back. A recording that could not be confined does not begin.
pub fn confine(needs: &Needs, maps_work: impl Fn() -> bool) -> Result<Vec<Skip>> {
    let mut skips = lacking(kernel::effective_capabilities());
    let keeper = Keeper::start()?;
    identity::adopt_invoking_user();
    capabilities::drop_unneeded(&needs.directories, maps_work).context("cannot give up capabilities")?;
    let installed = filter::install(&Allowed { network: needs.network, signalled: needs.command });
    // After the filter of all: it cannot be installed for a thread that has one of its own.
    let installed = installed.and_then(|()| keeper.map_or(Ok(()), |keeper| keeper.lock(install_for_keeper)));
    if let Err(error) = installed {
        let words = format!("{error:#}");
        skips.push(Skip::with_detail(InstrumentId::Profiler, SkipCause::Unconfined, words));
    }
    Ok(skips)
}

/// What the result is going to lack for want of a capability. Names of kernel functions are reported by
/// [`crate::symbolize::KernelSymbols`].
fn lacking(effective: CapabilitySet) -> Vec<Skip> {
    let mut skips = vec![];
    if !effective.contains(CapabilitySet::SYS_ADMIN) && !kernel::is_always_measured() {
        skips.push(Skip::new(InstrumentId::Profiler, SkipCause::RunTimesUnmeasured));
    }
    if !effective.intersects(CapabilitySet::SYS_ADMIN | CapabilitySet::CHECKPOINT_RESTORE) {
        skips.push(Skip::new(InstrumentId::Names, SkipCause::DeletedFilesUnreadable));
    }
    skips
}

/// A capture is another's file too, and reading it takes no capability: those that the program's file gave to a user go. Root
/// keeps them, to write where it is told to.
pub fn drop_what_the_file_gave() {
    if !rustix::process::geteuid().is_root() {
        capabilities::drop_all();
    }
}

/// Gives up the capabilities to read, once all names are known: only results are left to be written.
pub fn drop_the_rest() {
    capabilities::drop_for_results();
}
