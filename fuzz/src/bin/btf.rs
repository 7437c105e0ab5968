//! A kernel's type information: refused, or each look-up ends.
#![no_main]

use profiler::kernel::Btf;

/// What the seed has, some of it behind anonymous members, and what nobody has.
const MEMBERS: [(&str, &str); 7] = [
    ("task_struct", "state"),
    ("task_struct", "tgid"),
    ("task_struct", "frozen"),
    ("task_struct", "nothing"),
    ("dentry", "d_name.name"),
    ("pid", "numbers"),
    ("nobody", "pid"),
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for (name, path) in MEMBERS {
        if let Some(member) = btf.member(name, path) {
            assert_eq!(member.bytes(), member.bits / 8);
            assert!(btf.size_of(name).is_some(), "who has a member is a struct");
        }
    }
    assert!(btf.tracepoint_arguments("sched_switch").is_none_or(|count| count <= 0xffff));
    btf.has_enumerator("bpf_get_task_stack");
});
