//! A program with half a gigabyte of debug information, as browsers and databases have it, made in about a minute.
//!
//! Compiling that much takes long, so one unit is compiled, with a number of fixed width in each of its names. Each
//! further unit is a copy of its object file with another number in that place: in the symbols, and in the strings that
//! the debug information refers to.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Stands in the unit that is compiled where the copies have their number.
const PLACEHOLDER: &str = "u0000";
/// Functions of one unit. Each has some two kilobytes of debug information, half of it about inlined code.
const FUNCTIONS: usize = 1400;
/// Units. A unit adds about 2.5 MB to the program.
const UNITS: usize = 215;

/// Builds the program below `directory`, unless it is there already. Its name is `big`.
///
/// `big SECONDS` calls functions of all units in turn, so that no two samples in a row are in the same one. The function
/// `work_u0017_5` stands in the file `unit_u0017.c`; `mix_u0017` is inlined into it in three places.
///
/// # Errors
/// The compiler is missing, or the disk is full: about 1.5 GB are needed meanwhile.
pub fn build(directory: &Path) -> Result<PathBuf> {
    let program = directory.join("big");
    if program.exists() {
        return Ok(program);
    }
    let objects = directory.join("big-objects");
    fs::create_dir_all(&objects)?;
    fs::write(objects.join(format!("unit_{PLACEHOLDER}.c")), unit())?;
    fs::write(objects.join("main.c"), main())?;
    cc(&objects, &["-c", "-O1", "-g", &format!("unit_{PLACEHOLDER}.c")])?;
    let template = fs::read(objects.join(format!("unit_{PLACEHOLDER}.o")))?;
    let names: Vec<String> = (1..=UNITS).map(|unit| format!("unit_u{unit:04}.o")).collect();
    for (number, name) in (1..=UNITS).zip(&names) {
        fs::write(objects.join(name), renumbered(&template, &format!("u{number:04}")))?;
    }
    let mut arguments = vec!["-O1", "-g", "-Wl,--build-id", "-o", "../big.partial", "main.c"];
    arguments.extend(names.iter().map(String::as_str));
    cc(&objects, &arguments)?;
    fs::remove_dir_all(&objects)?;
    fs::rename(directory.join("big.partial"), &program)?;
    Ok(program)
}

/// The unit that is compiled.
fn unit() -> String {
    let u = PLACEHOLDER;
    let mut text = format!(
        "struct list_{u} {{ long a, b; struct list_{u} *next; double d[4]; }};\n\
         static inline __attribute__((always_inline)) long mix_{u}(long x, long y)\n\
         {{ long z = x * 31 + y; return z ^ (z >> 7); }}\n"
    );
    for i in 0..FUNCTIONS {
        let length = i % 64 + 1;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "struct row_{u}_{i} {{ int first; struct list_{u} *list; char name[{length}]; }};\n\
             __attribute__((noinline)) static long work_{u}_{i}(long n, struct row_{u}_{i} *row)\n\
             {{\n  long total = n;\n  struct row_{u}_{i} copy = {{ (int)n, 0, \"\" }};\n\
             \x20 for (long i = 0; i < n; i++) {{\n    long part = mix_{u}(total, i);\n\
             \x20   if (part & 1) {{ long odd = mix_{u}(part, i); total += odd; }}\n\
             \x20   else {{ long even = part / 2; total -= mix_{u}(even, total); }}\n  }}\n\
             \x20 if (row) row->list = copy.list;\n  return total + copy.first;\n}}\n"
        );
    }
    let _ = writeln!(text, "long unit_{u}(long which, long n)\n{{\n  switch (which % {FUNCTIONS}) {{");
    for i in 0..FUNCTIONS {
        let _ = writeln!(text, "  case {i}: return work_{u}_{i}(n, 0) + 1;");
    }
    text + "  }\n  return 0;\n}\n"
}

/// The function `main`, which takes the seconds that it is to run for.
fn main() -> String {
    let mut text = String::from("#include <stdlib.h>\n#include <time.h>\n");
    for unit in 1..=UNITS {
        let _ = writeln!(text, "long unit_u{unit:04}(long which, long n);");
    }
    text += "volatile long sink;\n\
             int main(int argc, char **argv)\n{\n  time_t end = time(0) + (argc > 1 ? atoi(argv[1]) : 1);\n\
             \x20 for (long round = 0; time(0) <= end; round++) {\n";
    for unit in 1..=UNITS {
        let _ = writeln!(text, "    sink += unit_u{unit:04}(round * 7 + {unit}, 4000);");
    }
    text + "  }\n}\n"
}

/// The object file with another number in place of the first unit's. The number has the same width.
fn renumbered(object: &[u8], number: &str) -> Vec<u8> {
    let mut copy = object.to_vec();
    let mut at = 0;
    while at + PLACEHOLDER.len() <= copy.len() {
        if copy[at] == b'u' && copy[at..].starts_with(PLACEHOLDER.as_bytes()) {
            copy[at..at + number.len()].copy_from_slice(number.as_bytes());
            at += number.len();
        } else {
            at += 1;
        }
    }
    copy
}

fn cc(directory: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new("cc").args(arguments).current_dir(directory).status();
    let status = status.context("cannot start `cc`\n  try: apt-get install gcc")?;
    ensure!(status.success(), "`cc` failed ({status}) in {}", directory.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_differs_by_its_number_alone() {
        assert_eq!(renumbered(b"work_u0000_1\0u000", "u0042"), b"work_u0042_1\0u000");
    }
}
