//! Makes what a table lacks: a search table, and for `.debug_frame` the form of `.eh_frame`.
//!
//! So there is one kind of table after this, and one index a file, however many processes have mapped it.

use gimli::{BaseAddresses, CieOrFde, CommonInformationEntry, EhFrame, LittleEndian, UnwindSection};

use super::section::{Bytes, Section};

/// `.eh_frame_hdr`: version, then the encodings of the address of `.eh_frame` (absolute, 8 bytes), of the number of rows
/// (4 bytes), and of the rows (signed, 4 bytes, relative to the index itself).
const ENCODINGS: [u8; 4] = [1, 0x04, 0x03, 0x3b];

/// An index of `frames`, which is taken to lie at the same address. Entries behind one that cannot be read are left out.
pub fn of(frames: &Section, bases: &BaseAddresses) -> Option<Section> {
    let section = EhFrame::new(&frames.bytes, LittleEndian);
    let mut entries = section.entries(bases);
    let mut rows: Vec<(i32, i32)> = vec![];
    // Entries mostly share the one before them.
    let mut known: Option<CommonInformationEntry<Bytes<'_>>> = None;
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let parsed = partial.parse(|section, bases, offset| match &known {
            Some(cie) if cie.offset() == offset.0 => Ok(cie.clone()),
            _ => section.cie_from_offset(bases, offset).inspect(|cie| known = Some(cie.clone())),
        });
        // Linkers leave entries of functions that they have dropped, at address zero.
        let Some(entry) = parsed.ok().filter(|entry| entry.initial_address() != 0) else { continue };
        let start = i32::try_from(entry.initial_address().wrapping_sub(frames.svma).cast_signed());
        if let (Ok(start), Ok(offset)) = (start, i32::try_from(entry.offset())) {
            rows.push((start, offset));
        }
    }
    if rows.is_empty() {
        return None;
    }
    rows.sort_unstable();
    rows.dedup_by_key(|(start, _)| *start);
    let head = [ENCODINGS.as_slice(), &frames.svma.to_le_bytes(), &(rows.len() as u32).to_le_bytes()];
    let rows = rows.iter().flat_map(|(start, entry)| [start.to_le_bytes(), entry.to_le_bytes()]);
    let bytes = head.into_iter().flatten().copied().chain(rows.flatten()).collect();
    Some(Section { svma: frames.svma, bytes })
}

/// Changes a `.debug_frame` into the form of `.eh_frame`: entries refer to their CIE backward from themselves, and a CIE
/// of version 4 loses its two sizes. Ends at the first entry that has no place there.
///
/// ```text
/// length: 4   CIE: 0xffff_ffff → 0               version   augmentation…   4: address size   segment size   …
/// length: 4   FDE: offset of its CIE → distance   …
/// ```
pub fn convert_debug_frame(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = word(bytes, at).map(|length| length as usize) {
        let id_at = at + 4;
        let end = id_at.saturating_add(length);
        let id = word(bytes, id_at).filter(|_| length >= 4 && end <= bytes.len());
        let converted = id.is_some_and(|id| match id {
            u32::MAX => convert_cie(&mut bytes[id_at..end]),
            cie => match (id_at as u64).checked_sub(u64::from(cie)).map(u32::try_from) {
                Some(Ok(distance)) if distance > 0 => {
                    bytes[id_at..id_at + 4].copy_from_slice(&distance.to_le_bytes());
                    true
                }
                _ => false,
            },
        });
        if !converted {
            // Zero is the length at which `.eh_frame` ends.
            let end = bytes.len().min(at + 4);
            return bytes[at..end].fill(0);
        }
        at = end;
    }
}

/// From the id on. False for a CIE that cannot be converted: with other sizes, or with a segment.
fn convert_cie(entry: &mut [u8]) -> bool {
    entry[..4].fill(0);
    let Some(version) = entry.get_mut(4) else { return false };
    if *version != 4 {
        return true;
    }
    *version = 3;
    // An augmentation would come with data that is laid out in another way.
    if entry.get(5..8) != Some(&[0, 8, 0]) {
        return false;
    }
    // What is left over at the end are two instructions that do nothing.
    entry.copy_within(8.., 6);
    let end = entry.len();
    entry[end - 2..].fill(0);
    true
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
