//! Sections of a file, as parsers take them.

use std::sync::Arc;

use gimli::{EhFrame, EndianSlice, LittleEndian};

pub type Bytes<'a> = EndianSlice<'a, LittleEndian>;
/// The entries of an unwind table.
pub type Entries<'a> = EhFrame<Bytes<'a>>;

/// One section: its address as the file states it, and its bytes.
#[derive(Clone, Debug)]
pub struct Section {
    pub svma: u64,
    pub bytes: Arc<[u8]>,
}
