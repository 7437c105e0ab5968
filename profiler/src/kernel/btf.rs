//! Reads the kernel's BTF: offsets of struct members by name, enumerators, and argument counts of tracepoints.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: answers to look-ups. Pure; malformed input gives errors.
//! aya keeps its own reader private, and no other Rust library for BTF has a permissive licence.
//! Format: <https://docs.kernel.org/bpf/btf.html>.

use std::collections::HashMap;

/// Why BTF could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("the kernel's type information (BTF) does not begin with its magic number")]
    NotBtf,
    #[error("the kernel's type information (BTF) ends in the middle of a type")]
    Truncated,
    #[error("the kernel's type information (BTF) has an unknown kind of type: {0}")]
    UnknownKind(u32),
}

/// Kinds of types, as far as they are looked at (include/uapi/linux/btf.h).
mod kind {
    pub const INT: u32 = 1;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Nested anonymous members are looked into this deep; the kernel's own nest four or five deep.
const MOST_NESTING: u32 = 16;
/// Members that one step of a look-up may pass: `task_struct` has some 300. A struct that contains itself several times
/// over would have no end.
const MOST_MEMBERS: u32 = 1 << 16;

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset from the start of the struct, in bits: bit fields need it.
    pub bits: u32,
    type_id: u32,
}

impl Member {
    /// Offset in whole bytes.
    pub fn bytes(self) -> u32 {
        self.bits / 8
    }
}

#[derive(Clone, Copy)]
struct Type {
    kind: u32,
    /// Members, enumerators or parameters.
    entries: u32,
    /// Members carry the size of a bit field in the top byte of their offset.
    kind_flag: bool,
    size_or_type: u32,
    /// Where the entries begin in the bytes.
    body: usize,
}

/// Types by name.
pub struct Btf<'a> {
    data: &'a [u8],
    strings: usize,
    types: Vec<Type>,
    structs: HashMap<&'a [u8], u32>,
    typedefs: HashMap<&'a [u8], u32>,
}

impl<'a> Btf<'a> {
    /// Indexes the types.
    ///
    /// # Errors
    /// The bytes are not BTF, are cut, or hold a kind of type whose length is not known.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        // magic u16, version u8, flags u8, hdr_len u32, type_off u32, type_len u32, str_off u32, str_len u32
        if data.get(..2) != Some(&0xeb9f_u16.to_ne_bytes()) {
            return Err(BtfError::NotBtf);
        }
        let header = word(data, 4)? as usize;
        let types_at = header.saturating_add(word(data, 8)? as usize);
        let types_end = types_at.saturating_add(word(data, 12)? as usize);
        let strings = header.saturating_add(word(data, 16)? as usize);
        // Type 0 is `void` and has no record.
        let void = Type { kind: 0, entries: 0, kind_flag: false, size_or_type: 0, body: 0 };
        let mut btf =
            Self { data, strings, types: vec![void], structs: HashMap::new(), typedefs: HashMap::new() };
        let mut at = types_at;
        while at < types_end {
            at = btf.index(at)?;
        }
        Ok(btf)
    }

    /// Takes in the type at an offset; returns the offset of the next.
    fn index(&mut self, at: usize) -> Result<usize, BtfError> {
        let info = word(self.data, at + 4)?;
        let ty = Type {
            kind: info >> 24 & 0x1f,
            entries: info & 0xffff,
            kind_flag: info >> 31 != 0,
            size_or_type: word(self.data, at + 8)?,
            body: at + 12,
        };
        let entry_bytes = match ty.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => return self.push(at, ty, 4),
            kind::ARRAY => return self.push(at, ty, 12),
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12,
            kind::ENUM | kind::FUNC_PROTO => 8,
            0..=kind::TYPE_TAG => 0,
            unknown => return Err(BtfError::UnknownKind(unknown)),
        };
        self.push(at, ty, entry_bytes * ty.entries as usize)
    }

    fn push(&mut self, at: usize, ty: Type, body_bytes: usize) -> Result<usize, BtfError> {
        let id = self.types.len() as u32;
        let name = self.string(word(self.data, at)?);
        match ty.kind {
            kind::STRUCT if !name.is_empty() => {
                self.structs.entry(name).or_insert(id);
            }
            kind::TYPEDEF => {
                self.typedefs.entry(name).or_insert(id);
            }
            _ => {}
        }
        self.types.push(ty);
        Ok(ty.body + body_bytes)
    }

    fn string(&self, offset: u32) -> &'a [u8] {
        let text = self.data.get(self.strings.saturating_add(offset as usize)..).unwrap_or_default();
        &text[..text.iter().position(|&byte| byte == 0).unwrap_or(text.len())]
    }

    /// A member of a named struct, also inside anonymous structs and unions; `path` steps into named ones with dots.
    pub fn member(&self, struct_name: &str, path: &str) -> Option<Member> {
        let mut found = Member { bits: 0, type_id: *self.structs.get(struct_name.as_bytes())? };
        for name in path.split('.') {
            let mut left = MOST_MEMBERS;
            let inner = self.member_of(found.type_id, name.as_bytes(), MOST_NESTING, &mut left)?;
            found = Member { bits: found.bits.checked_add(inner.bits)?, type_id: inner.type_id };
        }
        Some(found)
    }

    /// `left`: how many members may still be passed.
    fn member_of(&self, type_id: u32, name: &[u8], depth: u32, left: &mut u32) -> Option<Member> {
        let ty = self.resolved(type_id)?;
        if depth == 0 || !matches!(ty.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        (0..ty.entries as usize).find_map(|index| {
            *left = left.checked_sub(1)?;
            let at = ty.body + index * 12;
            let (name_at, type_id) = (word(self.data, at).ok()?, word(self.data, at + 4).ok()?);
            let offset = word(self.data, at + 8).ok()?;
            let bits = if ty.kind_flag { offset & 0x00ff_ffff } else { offset };
            match self.string(name_at) {
                found if found == name => Some(Member { bits, type_id }),
                b"" => {
                    let inner = self.member_of(type_id, name, depth - 1, left)?;
                    Some(Member { bits: bits.checked_add(inner.bits)?, type_id: inner.type_id })
                }
                _ => None,
            }
        })
    }

    /// Follows typedefs and qualifiers.
    fn resolved(&self, mut type_id: u32) -> Option<Type> {
        for _ in 0..MOST_NESTING {
            let ty = *self.types.get(type_id as usize)?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    type_id = ty.size_or_type;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    /// Size of a named struct in bytes.
    pub fn size_of(&self, struct_name: &str) -> Option<u32> {
        Some(self.types[*self.structs.get(struct_name.as_bytes())? as usize].size_or_type)
    }

    /// Number of arguments that a program on a BTF tracepoint receives: those of `btf_trace_NAME` without its first,
    /// which is the tracepoint's own.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<u32> {
        let typedef = *self.typedefs.get(format!("btf_trace_{name}").as_bytes())?;
        let pointer = self.types.get(self.types[typedef as usize].size_or_type as usize)?;
        let prototype = self.resolved(pointer.size_or_type)?;
        (prototype.kind == kind::FUNC_PROTO).then(|| prototype.entries.saturating_sub(1))
    }

    /// Whether any enumeration has an enumerator of this name: helpers are listed in `enum bpf_func_id`.
    pub fn has_enumerator(&self, name: &str) -> bool {
        self.enumerator(name).is_some()
    }

    /// The value of an enumerator, of the first enumeration that has one of this name.
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        self.types.iter().filter(|ty| ty.kind == kind::ENUM).find_map(|ty| {
            // name, value
            let mut entries = (0..ty.entries as usize).map(|index| ty.body + index * 8);
            let at = entries.find(|&at| {
                word(self.data, at).is_ok_and(|name_at| self.string(name_at) == name.as_bytes())
            })?;
            word(self.data, at + 4).ok()
        })
    }
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = at.checked_add(4).and_then(|end| data.get(at..end)).ok_or(BtfError::Truncated)?;
    Ok(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF of these types, each given as its words, with these strings.
    fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let mut data = 0xeb9f_u16.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        let types_len = types.len() as u32 * 4;
        for value in [24, 0, types_len, types_len, strings.len() as u32].iter().chain(types) {
            data.extend(value.to_ne_bytes());
        }
        data.extend(strings);
        data
    }

    #[test]
    fn a_struct_of_itself_several_times_over_has_an_end() {
        let mut types = vec![1, kind::STRUCT << 24 | 8, 8];
        for _ in 0..8 {
            types.extend([0, 1, 0]);
        }
        // 8^16 members.
        assert_eq!(Btf::parse(&btf(&types, b"\0s\0")).unwrap().member("s", "a"), None);
    }

    /// BTF by hand: `struct outer { int a; union { struct { int b; int c:3; int d:5; } } ; struct inner e }`, where
    /// `struct inner { int x; int y }`.
    fn example() -> Vec<u8> {
        let strings: &[u8] = b"\0int\0outer\0a\0b\0c\0d\0e\0inner\0x\0y\0";
        let name = |text: &str| {
            let with_end = format!("\0{text}\0");
            strings.windows(with_end.len()).position(|part| part == with_end.as_bytes()).unwrap() as u32 + 1
        };
        let mut types: Vec<u32> = vec![];
        let mut ty = |words: &[u32]| types.extend_from_slice(words);
        ty(&[name("int"), kind::INT << 24, 4, 32]); // 1
        ty(&[name("inner"), kind::STRUCT << 24 | 2, 8, name("x"), 1, 0, name("y"), 1, 32]); // 2
        let bit_fields = kind::STRUCT << 24 | 3 | 1 << 31;
        ty(&[0, bit_fields, 8, name("b"), 1, 0, name("c"), 1, (3 << 24) + 32, name("d"), 1, (5 << 24) + 35]); // 3
        ty(&[0, kind::UNION << 24 | 1, 8, 0, 3, 0]); // 4
        ty(&[name("outer"), kind::STRUCT << 24 | 3, 20, name("a"), 1, 0, 0, 4, 32, name("e"), 2, 96]); // 5
        btf(&types, strings)
    }

    #[track_caller]
    fn check(path: &str, bits: u32) {
        let data = example();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.member("outer", path).map(|member| member.bits), Some(bits));
    }

    #[test]
    fn members_are_found_by_name_through_anonymous_and_named_structs() {
        check("a", 0);
        check("b", 32);
        check("c", 64);
        check("d", 67);
        check("e.y", 128);
    }

    #[test]
    fn what_is_missing_is_none() {
        let data = example();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.member("outer", "z"), None);
        assert_eq!(btf.member("nobody", "a"), None);
        assert_eq!(btf.tracepoint_arguments("sched_switch"), None);
        assert_eq!(btf.size_of("inner"), Some(8));
    }

    #[test]
    fn an_enumerator_has_its_value() {
        let data = btf(&[1, kind::ENUM << 24 | 2, 4, 3, 7, 5, 9], b"\0e\0a\0b\0");
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(["a", "b", "c"].map(|name| btf.enumerator(name)), [Some(7), Some(9), None]);
    }

    #[test]
    fn each_cut_is_an_error_or_an_index_without_panic() {
        let data = example();
        for end in 0..data.len() {
            if let Ok(btf) = Btf::parse(&data[..end]) {
                let _ = btf.member("outer", "e.y");
            }
        }
    }
}
