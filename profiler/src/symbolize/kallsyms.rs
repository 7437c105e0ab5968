//! Names for kernel addresses from `/proc/kallsyms`, with the module that a function belongs to.
//!
//! ```text
//! ffffffff8120a4c0 T vfs_read
//! ffffffffc0a31290 t nf_conntrack_in [nf_conntrack]
//! ffffffffc00a7b74 t bpf_prog_6deef7357e7b4530_filter [bpf]
//! address          kind name          module
//! ```
//! In: the text, which has some hundred thousand lines, and the addresses of interest. Out: their functions or variables. The list
//! is read once and only the symbols next below the addresses are kept. Other threads' BPF programs are in it under
//! their own names, as long as they are loaded.

use std::io::{self, BufRead};

use super::nearest::{Nearest, each_line};

/// Longest line that is read: names have at most 512 bytes (`KSYM_NAME_LEN`), modules 56.
const LINE_BYTES: u64 = 1024;
/// Farthest that an address may lie behind the last symbol before it. There are no sizes in the list, and what lies
/// behind the last function of the kernel, or of a program that is gone, belongs to none. The longest function of a
/// kernel has some 50 KiB.
const REACH: u64 = 1 << 20;

/// Farthest that a lock may lie behind the beginning of its variable: what lies behind the last variable of a section is not its own.
const VARIABLE_REACH: u64 = 4096;

/// The functions at the addresses, parallel to them.
///
/// # Errors
/// Those of the reader.
pub fn functions(list: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let nearest = nearest(list, addresses, |kind| matches!(kind, "t" | "T" | "w" | "W"))?;
    let function = |&address: &u64| {
        let (start, name) = nearest.at(address)?;
        (address - start < REACH).then(|| name.clone())
    };
    Ok(addresses.iter().map(function).collect())
}

/// The variables at the addresses, parallel to them: `tasklist_lock`, `init_files+0x40`. The list has variables only where the kernel
/// is built with `CONFIG_KALLSYMS_ALL`.
///
/// # Errors
/// Those of the reader.
pub fn variables(list: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    let nearest = nearest(list, addresses, |kind| matches!(kind, "b" | "B" | "d" | "D" | "v" | "V"))?;
    let variable = |&address: &u64| {
        let (start, name) = nearest.at(address)?;
        match address - start {
            0 => Some(name.clone()),
            behind => (behind < VARIABLE_REACH).then(|| format!("{name}+{behind:#x}")),
        }
    };
    Ok(addresses.iter().map(variable).collect())
}

fn nearest(
    list: impl BufRead,
    addresses: &[u64],
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<Nearest<String>> {
    let mut nearest = Nearest::to(addresses);
    each_line(list, LINE_BYTES, |line| {
        let parsed = std::str::from_utf8(line).ok().and_then(parse);
        let Some((address, kind, name, module)) = parsed else { return };
        // Of several names at one place the first is as good as the others.
        if is_wanted(kind) && !nearest.has(address) {
            nearest.offer(address, || with_module(name, module));
        }
    })?;
    Ok(nearest)
}

/// Address, kind, name and module. Addresses that are hidden are zero.
fn parse(line: &str) -> Option<(u64, &str, &str, Option<&str>)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|&address| address != 0)?;
    Some((address, words.next()?, words.next()?, words.next()))
}

/// The name as the kernel itself writes it in its traces: the module behind it, in brackets. BPF programs have it in
/// their name already.
fn with_module(name: &str, module: Option<&str>) -> String {
    match module {
        Some(module) if module != "[bpf]" => format!("{name} {module}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
ffffffff81000000 T _stext
ffffffff81000100 t vfs_read
ffffffff81000100 T __vfs_read
ffffffff81000180 D some_data
ffffffffc0000300 t bpf_prog_6deef7357e7b4530_filter\t[bpf]
ffffffffc0000200 t nf_conntrack_in\t[nf_conntrack]
0000000000000000 A fixed_percpu_data
nonsense
";

    #[track_caller]
    fn check(address: u64, expected: Option<&str>) {
        // Among others, because neighbours share what is found.
        let addresses = [0xffff_ffff_c000_0290, address, 0xffff_ffff_8100_0002];
        let names = functions(LIST.as_bytes(), &addresses).expect("read");
        assert_eq!(names[1].as_deref(), expected);
    }

    #[test]
    fn an_address_inside_a_function_has_its_name() {
        check(0xffff_ffff_8100_00ff, Some("_stext"));
    }

    #[test]
    fn of_two_names_at_one_place_the_first_is_taken() {
        check(0xffff_ffff_8100_0104, Some("vfs_read"));
    }

    #[test]
    fn data_is_no_function() {
        check(0xffff_ffff_8100_0190, Some("vfs_read"));
    }

    #[test]
    fn a_function_of_a_module_is_told_with_its_module() {
        check(0xffff_ffff_c000_0200, Some("nf_conntrack_in [nf_conntrack]"));
    }

    #[test]
    fn a_bpf_program_is_told_by_its_name_and_tag() {
        check(0xffff_ffff_c000_0310, Some("bpf_prog_6deef7357e7b4530_filter"));
    }

    #[test]
    fn an_address_before_all_functions_has_no_name() {
        check(0xffff_ffff_80ff_ffff, None);
    }

    #[test]
    fn an_address_far_behind_a_function_belongs_to_none() {
        check(0xffff_ffff_c010_0300, None);
    }

    #[test]
    fn a_lock_in_a_variable_has_its_name() {
        let list =
            "ffffffff82000000 D tasklist_lock\nffffffff82000040 b files_lock\nffffffff82000060 T text\n";
        let addresses =
            [0xffff_ffff_8200_0000_u64, 0xffff_ffff_8200_0048, 0xffff_ffff_8200_2000, 0xffff_8881_0000_0000];
        let names = variables(list.as_bytes(), &addresses).expect("read");
        let names: Vec<_> = names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [Some("tasklist_lock"), Some("files_lock+0x8"), None, None]);
    }

    #[test]
    fn a_line_without_an_end_is_read_in_pieces() {
        let list = "f".repeat(1 << 20) + "\nffffffff81000000 T _stext\n";
        let names = functions(list.as_bytes(), &[0xffff_ffff_8100_0000]).expect("read");
        assert_eq!(names, [Some("_stext".to_owned())]);
    }

    #[test]
    fn every_function_of_this_kernel_has_the_name_that_stands_beside_it() {
        let list = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
        let stands: Vec<(u64, &str)> = list
            .lines()
            .filter_map(parse)
            .filter(|(_, kind, ..)| matches!(*kind, "t" | "T" | "w" | "W"))
            .map(|(address, _, name, _)| (address, name))
            .step_by(97)
            .collect();
        let addresses: Vec<u64> = stands.iter().map(|&(address, _)| address).collect();
        let found = functions(list.as_bytes(), &addresses).expect("read");
        for ((address, name), found) in stands.into_iter().zip(found) {
            let found = found.expect("a name");
            let found = found.split(' ').next().unwrap_or_default();
            // Several names may stand at one address.
            let same = found == name
                || list.contains(&format!("{address:016x} t {found}\n"))
                || list.contains(&format!("{address:016x} T {found}\n"));
            assert!(same, "{address:x}: {name} is called {found}");
        }
    }
}
