//! `--version`: what a bug report needs to know of the program.

use std::sync::LazyLock;

use profiler_report::{capture, report};

use crate::kernel;

static LONG: LazyLock<String> = LazyLock::new(|| {
    // Set by `cargo xtask dist`. Asking git at each build would compile the program again after each commit.
    let commit = option_env!("PROFILER_COMMIT").unwrap_or("not known: built by hand");
    format!(
        "{}\ncommit: {commit}\nkernel programs: {}\nformats: capture {}, JSON report {}",
        env!("CARGO_PKG_VERSION"),
        kernel::ORIGIN,
        capture::VERSION,
        report::JSON_VERSION,
    )
});

/// All of it; `-V` has the first line.
pub fn long() -> &'static str {
    &LONG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_programs_are_those_of_the_source() {
        let object = format!("../profiler-object/prebuilt/{}.o.zst", std::env::consts::ARCH);
        let sum = std::process::Command::new("sha256sum").arg(object).output().expect("sha256sum runs");
        let sum = String::from_utf8(sum.stdout).expect("text");
        let hash = sum.split(' ').next().expect("a hash");
        // Whoever compiles them with the program has another one.
        if kernel::ORIGIN.starts_with("prebuilt") {
            assert!(long().contains(hash), "{hash} is not in {}", long());
        }
    }
}
