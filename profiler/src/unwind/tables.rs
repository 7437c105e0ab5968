//! The unwind tables of one file, checked to be harmless, in the form that framehop takes.

use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use gimli::{BaseAddresses, DebugFrame, EhFrame, EhFrameHdr, LittleEndian};

use super::Mapping;
use super::coverage;

/// Largest table without an index of its own. framehop then builds one for each layout of an address space, of up to
/// half the table's size: 64 layouts of 1 MiB.
pub const INDEXED_BYTES: u64 = 2 << 20;

/// One section: its address as the file states it, and its bytes.
#[derive(Clone, Debug)]
pub struct Section {
    pub svma: u64,
    pub bytes: Arc<[u8]>,
}

/// The unwind tables of one file: `.eh_frame` with or without its index, or `.debug_frame`.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(super) eh_frame: Option<Section>,
    pub(super) eh_frame_hdr: Option<Section>,
    pub(super) debug_frame: Option<Section>,
    pub(super) text_svma: Option<u64>,
    pub(super) got_svma: Option<u64>,
}

impl Tables {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let sections = [&self.eh_frame, &self.eh_frame_hdr, &self.debug_frame];
        sections.into_iter().flatten().map(|section| section.bytes.len() as u64).sum()
    }

    /// Where the sections lie, as gimli wants to know it.
    pub(super) fn bases(&self) -> BaseAddresses {
        let svma = |section: &Option<Section>| section.as_ref().map_or(0, |s| s.svma);
        BaseAddresses::default()
            .set_eh_frame(svma(&self.eh_frame))
            .set_eh_frame_hdr(svma(&self.eh_frame_hdr))
            .set_text(self.text_svma.unwrap_or(0))
            .set_got(self.got_svma.unwrap_or(0))
    }

    /// Tables that can be used without harm, and whether some were too large to be indexed.
    ///
    /// An index without a search table, or with one of more rows than it has bytes for, is dropped, so that framehop
    /// makes its own. What framehop indexes is walked as
    /// a whole here; what has an index is judged entry by entry when it is used, see [`coverage`].
    pub(super) fn checked(mut self) -> (Option<Self>, bool) {
        let bases = self.bases();
        let has_table = |section: &Section| {
            let header = EhFrameHdr::new(&section.bytes, LittleEndian).parse(&bases, 8);
            // gimli multiplies the number of rows without a check. A row has at least four bytes.
            let fits = |rows: Option<usize>| rows.is_some_and(|rows| rows <= section.bytes.len() / 4);
            header.is_ok_and(|header| {
                header.table().is_some_and(|table| fits(table.iter(&bases).size_hint().1))
            })
        };
        self.eh_frame_hdr = self.eh_frame_hdr.filter(has_table);
        if let Some(frames) = &self.eh_frame {
            if self.eh_frame_hdr.is_some() {
                return (Some(self), false);
            }
            let too_large = frames.bytes.len() as u64 > INDEXED_BYTES;
            let harmless =
                !too_large && coverage::all_harmless(&EhFrame::new(&frames.bytes, LittleEndian), &bases);
            return (harmless.then_some(self), too_large);
        }
        self.eh_frame_hdr = None;
        let harmless = self.debug_frame.as_ref().is_some_and(|frames| {
            coverage::all_harmless(&DebugFrame::new(&frames.bytes, LittleEndian), &bases)
        });
        (harmless.then_some(self), false)
    }

    /// The tables at the place where a process has mapped the file.
    pub(super) fn module(&self, mapping: &Mapping, bias: u64) -> Module<Arc<[u8]>> {
        let bytes = |section: &Option<Section>| section.as_ref().map(|s| s.bytes.clone());
        let range = |section: &Option<Section>| {
            section.as_ref().map(|s| s.svma..s.svma.saturating_add(s.bytes.len() as u64))
        };
        let info = ExplicitModuleSectionInfo {
            base_svma: 0,
            // Only the starts are used: the bytes of `.text` serve Mach-O alone.
            text_svma: self.text_svma.map(|svma| svma..svma),
            got_svma: self.got_svma.map(|svma| svma..svma),
            eh_frame_svma: range(&self.eh_frame),
            eh_frame: bytes(&self.eh_frame),
            eh_frame_hdr_svma: range(&self.eh_frame_hdr),
            eh_frame_hdr: bytes(&self.eh_frame_hdr),
            debug_frame: bytes(&self.debug_frame),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(String::new(), mapping.start..mapping.end, bias, info)
    }
}
