//! Lines of a maps file: refused, or with fields that make sense.
#![no_main]

use profiler::process::parse_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let Some(parsed) = parse_line(line) else { continue };
        assert!(parsed.start < parsed.end);
        assert!(parsed.path.len() <= line.len(), "unescaping never makes a path longer");
        assert!(!parsed.is_file() || (parsed.inode != 0 && parsed.path.starts_with(b"/")));
        assert!(!(parsed.is_file() && parsed.is_vdso()));
    }
});
