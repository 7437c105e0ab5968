//! Builds the program with half a gigabyte of debug information in the directory that is named, and prints its path.

use std::path::Path;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).context("no directory\n  try: big_program DIRECTORY")?;
    println!("{}", profiler_tests::big_program::build(Path::new(&directory))?.display());
    Ok(())
}
