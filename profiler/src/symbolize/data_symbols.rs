//! Names of variables, for locks that lie in a program's own data.
//!
//! In: an open file and addresses. Out: the variable that each lies in, from the symbol tables of the file itself. Bounded reads
//! of a hostile file.

use std::collections::BTreeMap;
use std::fs::File;

use object::elf;

use super::demangle::readable;
use crate::unwind::{Sections, parse_image};

/// Most bytes of a symbol table that are read: 2.8 million symbols.
const TABLE_BYTES: u64 = 64 << 20;
/// One entry of a symbol table of 64 bits (`Elf64_Sym`).
const SYMBOL_BYTES: usize = 24;
/// Most bytes of the names.
const NAME_BYTES: u64 = 128 << 20;

/// The variables at these distances from the file's first address, as `name` or `name+0x10`.
pub fn variables(file: &File, offsets: &[u64]) -> Vec<Option<String>> {
    let Ok(sections) = Sections::of(file) else { return vec![None; offsets.len()] };
    let first = parse_image(file, 0).map_or(0, |image| image.first_svma);
    let mut found: BTreeMap<u64, String> = BTreeMap::new();
    for (table, names) in [(b".symtab".as_slice(), b".strtab".as_slice()), (b".dynsym", b".dynstr")] {
        let left: Vec<u64> = offsets.iter().copied().filter(|offset| !found.contains_key(offset)).collect();
        if !left.is_empty() {
            look_up(&sections, table, names, first, &left, &mut found);
        }
    }
    offsets.iter().map(|offset| found.get(offset).cloned()).collect()
}

fn look_up(
    sections: &Sections<'_, File>,
    table: &[u8],
    names: &[u8],
    first: u64,
    offsets: &[u64],
    found: &mut BTreeMap<u64, String>,
) -> Option<()> {
    let bytes = sections.head(sections.find(table)?, TABLE_BYTES)?;
    let text = sections.head(sections.find(names)?, NAME_BYTES)?;
    for symbol in bytes.chunks_exact(SYMBOL_BYTES).filter_map(Symbol::parse) {
        let inside = |offset: &&u64| (symbol.value..symbol.end).contains(&first.saturating_add(**offset));
        for &offset in offsets.iter().filter(inside) {
            let Some(name) = name_at(&text, symbol.name as usize) else { continue };
            let behind = first.saturating_add(offset) - symbol.value;
            let name = if behind == 0 { name } else { format!("{name}+{behind:#x}") };
            found.entry(offset).or_insert(name);
        }
    }
    Some(())
}

fn name_at(text: &[u8], at: usize) -> Option<String> {
    let tail = text.get(at..)?;
    let name = &tail[..tail.iter().position(|&byte| byte == 0)?];
    let name = readable(&String::from_utf8_lossy(name));
    (!name.is_empty()).then_some(name)
}

/// A variable of known size.
struct Symbol {
    name: u32,
    value: u64,
    end: u64,
}

impl Symbol {
    /// st_name u32, st_info u8, st_other u8, st_shndx u16, st_value u64, st_size u64; little endian.
    fn parse(entry: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
        let (value, size) = (long(8)?, long(16)?);
        let is_variable = entry.get(4)? & 0xf == elf::STT_OBJECT.0 && size > 0;
        is_variable.then_some(Self { name: word(0)?, value, end: value.saturating_add(size) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A variable of this very program, whose address is known.
    static LOCK: [u64; 4] = [7; 4];

    #[test]
    fn a_variable_of_this_program_is_found_by_its_place() {
        let file = File::open("/proc/self/exe").expect("this program");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("its mappings");
        let start = u64::from_str_radix(maps.split('-').next().expect("a line"), 16).expect("an address");
        let offset = std::hint::black_box(&LOCK).as_ptr() as u64 - start;
        let found = variables(&file, &[offset, offset + 8, 1]);
        let [name, behind, nothing] = &found[..] else { panic!("{found:?}") };
        assert!(name.as_deref().is_some_and(|name| name.ends_with("::LOCK")), "{name:?}");
        assert!(behind.as_deref().is_some_and(|name| name.ends_with("::LOCK+0x8")), "{behind:?}");
        assert_eq!(nothing, &None);
    }

    #[test]
    fn what_is_no_program_has_no_variables() {
        let file = File::open("/proc/self/maps").expect("a file");
        assert_eq!(variables(&file, &[1]), [None]);
    }

    #[test]
    fn a_cut_symbol_is_none() {
        assert!(Symbol::parse(&[0; 10]).is_none());
    }
}
