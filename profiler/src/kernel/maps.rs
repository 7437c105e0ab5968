//! Kinds of maps of the kernel programs, by what they are for.

use aya::maps::{Array, HashMap, MapData, PerCpuArray};

/// Values by key.
pub type Table<K, V> = HashMap<MapData, K, V>;
/// Values by number, from 0 on.
pub type Slots<V> = Array<MapData, V>;
/// The same, with a value for each CPU.
pub type SlotsByCpu<V> = PerCpuArray<MapData, V>;
