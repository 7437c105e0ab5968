//! Capabilities: which stay while targets are recorded and their names looked up.

use std::{io, path::Path, path::PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::identity;

/// To read the maps, files and perf maps of other users' processes, which come and go during the whole recording.
/// `CHECKPOINT_RESTORE` opens the very file that is mapped, also if it was deleted.
const READING: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH).union(CapabilitySet::CHECKPOINT_RESTORE);
/// To write where neither the user nor root without capabilities may, and to give away what root has written.
const WRITING: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::CHOWN);

/// Keeps what reading needs; for results, what a directory asks for; and `BPF` on kernels that refuse the use of maps
/// without it, as those before 5.19 do if `kernel.unprivileged_bpf_disabled` is set.
pub fn drop_unneeded(directories: &[PathBuf], maps_work: impl Fn() -> bool) -> io::Result<()> {
    let had = capabilities(None)?.effective;
    // From the bounding set first: that takes a capability itself. Without it, `PR_SET_NO_NEW_PRIVS` does the same.
    if had.contains(CapabilitySet::SETPCAP) {
        empty_bounding_set();
    }
    // An old kernel has no ambient set.
    let _ = clear_ambient_capability_set();
    let mut keep = had & READING;
    lower_to(keep, had)?;
    for directory in directories {
        keep |= had & needed_to_write(directory);
    }
    if !maps_work() {
        keep |= had & CapabilitySet::BPF;
    }
    lower_to(keep, keep)
}

/// Names are known: nothing is read any more.
pub fn drop_for_results() {
    let Ok(sets) = capabilities(None) else { return };
    let keep = sets.effective & WRITING;
    // Fewer capabilities are never refused.
    let _ = lower_to(keep, keep);
}

/// A command is the user's, and gets nothing at its exec that was given to the profiler; what root's commands have, they have by
/// their user. Between fork and exec: makes system calls alone.
pub fn inherit_nothing() -> io::Result<()> {
    // An old kernel has no ambient set.
    let _ = clear_ambient_capability_set();
    let CapabilitySets { effective, permitted, .. } = capabilities(None)?;
    lower_to(effective, permitted)
}

/// All of them.
pub fn drop_all() {
    // Fewer capabilities are never refused.
    let _ = lower_to(CapabilitySet::empty(), CapabilitySet::empty());
}

fn lower_to(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?)
}

/// What it takes to leave a file in a directory for the user who called sudo, or else for root. Asked with the capabilities
/// of now. In the user's own directories and in shared ones: nothing.
fn needed_to_write(directory: &Path) -> CapabilitySet {
    let may_write = || accessat(CWD, directory, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    let to_give = match identity::as_invoking_user(may_write) {
        Some(true) => return CapabilitySet::empty(),
        Some(false) => CapabilitySet::CHOWN,
        None => CapabilitySet::empty(),
    };
    if may_write() { to_give } else { to_give | CapabilitySet::DAC_OVERRIDE }
}

fn empty_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            // A kernel that does not know it has nothing to take back.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
}
