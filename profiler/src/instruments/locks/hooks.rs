//! Locks: attaches the kernel's own account of contention, where it has one, and reads what the programs sum up.

use anyhow::{Context as _, Result};
use profiler_common::{
    lock::{KernelLockKey, KernelLockWaits, contention, lock_name},
    offsets::Offsets,
};

use crate::kernel::{Btf, MapReader, Object, Table, resolve_locks};

/// The tracepoints of contention, since Linux 5.19 (16edd9b511a13e7760ed4b92ba4e39bacda5c86f).
const NEEDED: &[&str] = &["contention_begin", "contention_end"];

/// Maps that are of no use without these probes.
pub const MAPS: &[&str] = &["KERNEL_LOCKS"];

/// Adds the offsets that the probes need.
///
/// # Errors
/// The kernel does not report contention.
pub fn resolve(btf: &Btf, offsets: &mut Offsets) -> Result<()> {
    resolve_locks(btf, offsets);
    for hook in NEEDED {
        btf.tracepoint_arguments(hook)
            .with_context(|| format!("this kernel has no tracepoint `{hook}` (Linux 5.19)"))?;
    }
    Ok(())
}

/// Attaches the programs. The end first: who is seen to begin is then also seen to end.
///
/// # Errors
/// The kernel refuses one.
pub fn attach(object: &mut Object) -> Result<()> {
    ["contention_end", "contention_begin"].into_iter().try_for_each(|hook| object.tracepoint((hook, hook)))
}

/// What the programs have summed up.
pub struct KernelLocks {
    map: Table<KernelLockKey, KernelLockWaits>,
    reader: MapReader,
}

impl KernelLocks {
    /// Takes the map out of the object, and makes the places for locks that will have none of their own.
    ///
    /// # Errors
    /// The object has no such map, or the kernel refuses its change.
    pub fn new(object: &mut Object) -> Result<Self> {
        let mut map: Table<_, _> = object.map("KERNEL_LOCKS")?;
        for kind in 0..=contention::MASK {
            map.insert(
                KernelLockKey { lock: 0, kind, name: lock_name::NONE },
                KernelLockWaits::default(),
                0,
            )?;
        }
        Ok(Self { map, reader: object.reader })
    }

    /// Waits by lock so far.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn sums(&self) -> Result<Vec<(KernelLockKey, KernelLockWaits)>> {
        let mut all =
            self.reader.entries(&self.map).context("cannot read the waits for locks of the kernel")?;
        all.retain(|(_, waits)| waits.count > 0);
        Ok(all)
    }
}
