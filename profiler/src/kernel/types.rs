//! What the kernel's published types say, without loading anything: for `profiler doctor`.

use std::fs;

use anyhow::Context as _;

use super::{
    btf::Btf,
    object::{KERNEL_BTF, error_line},
    offsets,
    plan::are_maps_charged_to_cgroups,
};

/// What the kernel's published types say; any user may read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Types {
    /// Each field that the programs read is there.
    pub fields: Result<(), String>,
    /// Memory of maps is charged to a cgroup, not to `RLIMIT_MEMLOCK` (Linux 5.11).
    pub maps_charged_to_cgroups: bool,
}

/// Reads the kernel's types.
///
/// # Errors
/// There are none, or they cannot be understood; says which.
pub fn read_types() -> Result<Types, String> {
    let bytes = fs::read(KERNEL_BTF)
        .with_context(|| format!("cannot read {KERNEL_BTF}"))
        .map_err(|error| error_line(&error))?;
    let btf = Btf::parse(&bytes).map_err(|error| error_line(&error.into()))?;
    Ok(Types {
        fields: offsets::resolve(&btf).map(drop).map_err(|error| error_line(&error)),
        maps_charged_to_cgroups: are_maps_charged_to_cgroups(&btf),
    })
}
