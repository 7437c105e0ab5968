//! Sentences of what is off or degraded.

use super::numbers::{count, plural};
use crate::recording::{InstrumentId, Skip, SkipCause};

/// What a recording lacks, as a sentence without its end. A detail in it is hostile still: each format escapes for itself.
pub fn sentence(skip: &Skip) -> String {
    let detail = &skip.detail;
    let these = |what: &str| format!("{} {what}", count(skip.count));
    let files = |what: &str| format!("{} {what}", plural(skip.count, "file"));
    match skip.cause {
        SkipCause::Refused => format!("{}: {detail}", without(skip.instrument)),
        SkipCause::CyclesUnsafe => by_clock("unsafe in virtual machines"),
        SkipCause::NoCycles => by_clock("not available"),
        SkipCause::LateCpus => format!(
            "no stacks on CPUs that came online after the start (online: {detail}); their time is exact and uses the \
             stacks of the other CPUs"
        ),
        SkipCause::ThreadsOverLimit => format!(
            "only {} threads fit into {detail} of kernel memory (--kernel-memory); others are counted as \
             `threads_full`",
            skip.count
        ),
        SkipCause::UnreadableFiles => these("mapped files could not be read (no names in them)"),
        SkipCause::WithoutTables => these("images have too many unwind tables, so frame pointers are used"),
        SkipCause::NotKeptOpen => these("mapped files were not kept open (no names if deleted)"),
        SkipCause::ImagesOverLimit => {
            these("mappings exceed the limit of images (no module for their frames)")
        }
        SkipCause::MappingsOverLimit => these("executable mappings exceed the limit of a process"),
        SkipCause::ProcessesForgotten => these("processes were dropped (too many)"),
        SkipCause::MappingsLost => {
            these("mapping events lost (ring full): short-lived processes may have stacks without names")
        }
        SkipCause::PerfMapsNotKept => these("perf maps were not kept open (no names if their process ended)"),
        SkipCause::DebugInfoTooLarge => {
            files(&format!("without lines: more than {detail} of debug information decompressed"))
        }
        SkipCause::DebugInfoElsewhere => files("without lines: debug information refers to another file"),
        SkipCause::FilesChanged => files("without names: changed since first read"),
        SkipCause::FilesTruncated => files("without names: truncated while being read"),
        SkipCause::NoKallsyms => {
            "kernel functions have no names: this kernel has no /proc/kallsyms".to_owned()
        }
        SkipCause::KernelAddressesHidden => addresses_hidden(detail),
        SkipCause::RunTimesUnmeasured => {
            format!("run time of the kernel programs not measured: {}", why_unmeasured())
        }
        SkipCause::DeletedFilesUnreadable => {
            "deleted or replaced libraries cannot be read (cap_checkpoint_restore is missing)".to_owned()
        }
        SkipCause::Unconfined => format!("system calls are not restricted ({detail})"),
        SkipCause::Unfinished => {
            "the recording is incomplete (the profiler was killed, or the machine stopped): this \
                                  is its last checkpoint, without names"
                .to_owned()
        }
        SkipCause::Sentence => detail.clone(),
        SkipCause::Later => format!("a cause that this version does not know ({detail})"),
    }
}

/// Why the kernel programs' run time is not known, where that was [`SkipCause::RunTimesUnmeasured`].
pub fn why_unmeasured() -> &'static str {
    "this process lacks cap_sys_admin"
}

/// What a report lacks without an instrument.
fn without(instrument: InstrumentId) -> &'static str {
    match instrument {
        InstrumentId::OnCpu => "no stacks of running threads",
        InstrumentId::OffCpu => "no stacks of waiting threads on this kernel",
        InstrumentId::BlockIo => "disk requests are not followed",
        InstrumentId::Locks => "kernel lock contention is not followed",
        InstrumentId::Mappings => "mappings are only read from /proc, sometimes too late",
        other => other.name(),
    }
}

fn by_clock(why: &str) -> String {
    format!(
        "sampling by CPU clock instead of hardware cycles ({why}); code with interrupts disabled is not sampled"
    )
}

fn addresses_hidden(kptr_restrict: &str) -> String {
    let fix = if kptr_restrict == "2" {
        "`sudo sysctl kernel.kptr_restrict=1`"
    } else {
        "run as root, or with the capability cap_syslog"
    };
    format!(
        "kernel functions have no names: kernel.kptr_restrict = {kptr_restrict} hides addresses; try: {fix}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(skip: &Skip, expected: &str) {
        assert_eq!(sentence(skip), expected);
    }

    #[test]
    fn a_refusal_says_what_is_lacking_and_what_the_kernel_said() {
        check(
            &Skip::with_detail(InstrumentId::BlockIo, SkipCause::Refused, "no BTF"),
            "disk requests are not followed: no BTF",
        );
    }

    #[test]
    fn hidden_even_from_root_names_the_sysctl() {
        let hidden =
            |value: &str| Skip::with_detail(InstrumentId::Names, SkipCause::KernelAddressesHidden, value);
        assert!(sentence(&hidden("2")).ends_with("try: `sudo sysctl kernel.kptr_restrict=1`"));
        assert!(sentence(&hidden("1")).ends_with("cap_syslog"));
    }

    #[test]
    fn files_are_counted() {
        let files = |count| Skip { count, ..Skip::new(InstrumentId::Names, SkipCause::FilesTruncated) };
        check(&files(1), "1 file without names: truncated while being read");
        check(&files(2), "2 files without names: truncated while being read");
    }

    #[test]
    fn a_sentence_of_an_earlier_capture_stays_as_it_was() {
        check(&Skip::sentence("no disks today".to_owned()), "no disks today");
    }

    #[test]
    fn what_lacks_an_instrument_without_words_has_its_name() {
        check(&Skip::with_detail(InstrumentId::Later, SkipCause::Refused, "EPERM"), "later: EPERM");
    }
}
