//! The unwind tables of one file, with an index, in the form that framehop takes.

use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian};

use super::Mapping;
use super::index;
use super::section::{Entries, Section};

/// Largest table that is read though it has no index of its own: some 100,000 functions, walked once in a few tens of
/// milliseconds.
pub const INDEXED_BYTES: u64 = 8 << 20;

/// The unwind tables of one file: `.eh_frame`, or `.debug_frame` in that form, and its search table.
#[derive(Clone, Debug)]
pub struct Tables {
    pub(super) frames: Section,
    pub(super) index: Section,
    pub(super) text_svma: u64,
    pub(super) got_svma: u64,
}

/// What a file has of them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub eh_frame: Option<Section>,
    pub eh_frame_hdr: Option<Section>,
    /// Uncompressed.
    pub debug_frame: Option<Vec<u8>>,
    pub text_svma: Option<u64>,
    pub got_svma: Option<u64>,
}

impl Found {
    /// Tables that can be used. Those without an index of their own are given one.
    pub fn tables(self) -> Option<Tables> {
        let text_svma = self.text_svma.unwrap_or(0);
        let bases = |frames: &Section, index_svma| {
            BaseAddresses::default()
                .set_eh_frame(frames.svma)
                .set_eh_frame_hdr(index_svma)
                .set_text(text_svma)
                .set_got(self.got_svma.unwrap_or(0))
        };
        let (frames, index) = match (self.eh_frame, self.debug_frame) {
            (Some(frames), _) => {
                let own = self.eh_frame_hdr.filter(|index| is_usable(index, &bases(&frames, index.svma)));
                let index = own.or_else(|| index::of(&frames, &bases(&frames, frames.svma)))?;
                (frames, index)
            }
            (None, Some(mut bytes)) => {
                index::convert_debug_frame(&mut bytes);
                // Its addresses are absolute, so it may be taken to lie anywhere near the code.
                let frames = Section { svma: text_svma, bytes: bytes.into() };
                let index = index::of(&frames, &bases(&frames, frames.svma))?;
                (frames, index)
            }
            (None, None) => return None,
        };
        Some(Tables { frames, index, text_svma, got_svma: self.got_svma.unwrap_or(0) })
    }
}

/// Whether an index has a search table, and bytes for each of its rows: gimli multiplies their number without a check.
/// A row has at least four bytes.
fn is_usable(index: &Section, bases: &BaseAddresses) -> bool {
    let header = EhFrameHdr::new(&index.bytes, LittleEndian).parse(bases, 8);
    let fits = |rows: Option<usize>| rows.is_some_and(|rows| rows <= index.bytes.len() / 4);
    header.is_ok_and(|header| header.table().is_some_and(|table| fits(table.iter(bases).size_hint().1)))
}

impl Tables {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (self.frames.bytes.len() + self.index.bytes.len()) as u64
    }

    pub(super) fn section(&self) -> Entries<'_> {
        EhFrame::new(&self.frames.bytes, LittleEndian)
    }

    /// Where the sections lie, as gimli wants to know it.
    pub(super) fn bases(&self) -> BaseAddresses {
        BaseAddresses::default()
            .set_eh_frame(self.frames.svma)
            .set_eh_frame_hdr(self.index.svma)
            .set_text(self.text_svma)
            .set_got(self.got_svma)
    }

    /// The tables at the place where a process has mapped the file.
    pub(super) fn module(&self, mapping: &Mapping, bias: u64) -> Module<Arc<[u8]>> {
        let range =
            |section: &Section| Some(section.svma..section.svma.saturating_add(section.bytes.len() as u64));
        let info = ExplicitModuleSectionInfo {
            base_svma: 0,
            // Only the starts are used: the bytes of `.text` serve Mach-O alone.
            text_svma: Some(self.text_svma..self.text_svma),
            got_svma: Some(self.got_svma..self.got_svma),
            eh_frame_svma: range(&self.frames),
            eh_frame: Some(self.frames.bytes.clone()),
            eh_frame_hdr_svma: range(&self.index),
            eh_frame_hdr: Some(self.index.bytes.clone()),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(String::new(), mapping.start..mapping.end, bias, info)
    }
}
