//! Files in the forms that linkers leave: tables without an index, in `.debug_frame`, compressed; Go's function table.

use std::io::Write;

use super::*;
use crate::runtimes::go::{Outermost, Place, outermost};
use crate::unwind::compressed::{Compression, TooLong, expand};
use crate::unwind::index;
use crate::unwind::tables::Found;

/// `.debug_frame` of one CIE of this version and one FDE of the function at `start`.
fn debug_frame(version: u8, start: u64) -> Vec<u8> {
    let sizes: &[u8] = if version == 4 { &[8, 0] } else { &[] };
    let mut cie =
        [&[0xff, 0xff, 0xff, 0xff, version, 0], sizes, &[1, 0x78, 16, 0x0c, 7, 8, 0x90, 1]].concat();
    cie.resize(cie.len().next_multiple_of(8), 0);
    let length = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
    // DW_CFA_def_cfa_offset 32.
    let fde = [[0; 4].as_slice(), &start.to_le_bytes(), &0x100_u64.to_le_bytes(), &[0x0e, 32, 0, 0]].concat();
    [length(&cie).as_slice(), &cie, &length(&fde), &fde].concat()
}

fn tables(debug_frame: Vec<u8>) -> Option<Tables> {
    Found { debug_frame: Some(debug_frame), text_svma: Some(0x1000), ..Found::default() }.tables()
}

/// The rule of the function: 32 bytes up to its caller.
#[track_caller]
fn check_debug_frame(tables: Option<Tables>, usable: bool) {
    assert_eq!(tables.is_some(), usable);
    let Some(tables) = tables else { return };
    let mut image = parse_image(elf(&[], None).as_slice(), 0).expect("an image");
    image.tables = Some(tables);
    let image = Arc::new(image);
    let mapping = Mapping { start: BASE, end: BASE + FILE_BYTES as u64, file_offset: 0, image: Some(0) };
    let mut unwinder = Unwinder::new([mapping].into(), |_| Some(image.clone()));
    if cfg!(target_arch = "x86_64") {
        let (frames, unwound) =
            run(&mut unwinder, FUNCTION, 0, &bytes(&[1, 2, 3, BASE + 0x1050, 0, 0, 0, 0]));
        assert_eq!((frames.len(), unwound.end), (2, StackEnd::Complete));
    }
}

#[test]
fn a_debug_frame_of_each_version_is_used() {
    for version in [1, 3, 4] {
        check_debug_frame(tables(debug_frame(version, 0x1000)), true);
    }
}

#[test]
fn a_dropped_function_has_no_entry() {
    check_debug_frame(tables(debug_frame(3, 0)), false);
}

#[test]
fn what_is_no_debug_frame_is_not_used() {
    for bytes in [vec![], vec![0xff; 3], vec![0xff; 64], vec![0; 64], debug_frame(3, 0x1000)[..30].to_vec()] {
        check_debug_frame(tables(bytes), false);
    }
}

#[test]
fn an_entry_before_a_damaged_one_is_kept() {
    let mut bytes = debug_frame(3, 0x1000);
    bytes.extend([0xff; 40]);
    check_debug_frame(tables(bytes), true);
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// `Elf64_Chdr`, which claims a length that nobody believes.
fn compressed(kind: u32, stream: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), [0; 4].as_slice(), &[0xff; 8], &[0; 8], stream].concat()
}

#[test]
fn compressed_sections_are_expanded_up_to_a_bound() {
    let plain = debug_frame(3, 0x1000);
    let zstd = zstd::bulk::compress(&plain, 1).expect("memory");
    let gnu = [b"ZLIB".as_slice(), &[0xff; 8], &zlib(&plain)].concat();
    let forms = [
        (compressed(1, &zlib(&plain)), Compression::Header),
        (compressed(2, &zstd), Compression::Header),
        (gnu, Compression::Gnu),
    ];
    for (bytes, compression) in forms {
        let length = plain.len() as u64;
        assert_eq!(expand(&bytes, compression, length), Ok(Some(plain.clone())));
        assert_eq!(expand(&bytes, compression, length - 1), Err(TooLong));
    }
}

#[test]
fn damaged_compression_gives_nothing() {
    let cut = compressed(1, &zlib(&debug_frame(3, 0x1000))[..20]);
    for bytes in [vec![], vec![0; 23], compressed(3, &[0; 64]), compressed(2, &[7; 64]), cut] {
        assert_eq!(expand(&bytes, Compression::Header, 1 << 20), Ok(None));
    }
}

/// `.gopclntab` of Go 1.20 with these functions, 0x40 bytes each from 0x1000 on.
fn go_table(names: &[&str]) -> Vec<u8> {
    let all_names: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
    let header = 8 + 8 * 8;
    let table = header + all_names.len();
    let fields = [names.len(), 0, 0x1000, header, table, table, table, table];
    let mut bytes = vec![0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    bytes.extend(fields.iter().flat_map(|&field| (field as u64).to_le_bytes()));
    bytes.extend(&all_names);
    let descriptions = 8 * names.len() + 4;
    for index in 0..names.len() {
        bytes.extend((0x40 * index as u32).to_le_bytes());
        bytes.extend(((descriptions + 8 * index) as u32).to_le_bytes());
    }
    bytes.extend((0x40 * names.len() as u32).to_le_bytes());
    let mut name = 0;
    for (index, own) in names.iter().enumerate() {
        bytes.extend((0x40 * index as u32).to_le_bytes());
        bytes.extend((name as u32).to_le_bytes());
        name += own.len() + 1;
    }
    bytes
}

fn place(bytes: &[u8]) -> Place {
    Place { file: 0..bytes.len() as u64, text_svma: 0 }
}

#[test]
fn the_outermost_functions_of_go_are_found_by_name() {
    let bytes =
        go_table(&["main.main", "runtime.goexit", "runtime.goexit1", "runtime.systemstack.abi0", "z"]);
    assert_eq!(
        outermost(bytes.as_slice(), &place(&bytes)),
        [(0x1040..0x1080, Outermost::First), (0x10c0..0x1100, Outermost::Switched)]
    );
}

#[test]
fn a_damaged_function_table_gives_nothing() {
    let whole = go_table(&["main.main", "runtime.goexit"]);
    for length in 0..whole.len() {
        let bytes = &whole[..length];
        assert!(outermost(bytes, &place(bytes)).len() <= 1);
    }
    let mut huge = whole.clone();
    huge[8..16].fill(0xff);
    assert!(outermost(huge.as_slice(), &place(&huge)).is_empty());
    // Where the functions stand, at the end of the address space; found by the fuzzer.
    let mut far = whole;
    far[64..72].copy_from_slice(&(u64::MAX - 2).to_le_bytes());
    assert!(outermost(far.as_slice(), &place(&far)).is_empty());
}

proptest! {
    #[test]
    fn any_debug_frame_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut converted = bytes.clone();
        index::convert_debug_frame(&mut converted);
        prop_assert_eq!(converted.len(), bytes.len());
        let _ = tables(bytes);
    }

    #[test]
    fn any_damage_to_a_function_table_is_survived(damage in prop::collection::vec((0..160_usize, any::<u8>()), 1..8)) {
        let mut bytes = go_table(&["main.main", "runtime.goexit", "runtime.mcall"]);
        for (at, byte) in damage {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let _ = outermost(bytes.as_slice(), &place(&bytes));
    }
}
