//! From the bytes of a ring record to an [`Event`]. Pure: no I/O, no state; malformed bytes give an error.

use profiler_common::{
    Plain,
    block_io::FileSeen,
    event_kind,
    ledger::{ThreadEnd, ThreadRecord},
    lock::{LockSeen, WAKER_FRAMES, Wake},
    process::ProcessEvent,
    sample::{KERNEL_FRAMES, SampleHeader, SampledWait, SubmittedRequest},
};

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A stack, on or off the CPU.
    Sample(Sample<'a>),
    /// The stack on which that of the same thread's next sample, of the same moment, goes on: a code of
    /// [`profiler_common::sample::other_stack`].
    OtherStack { kind: u32, sample: Sample<'a> },
    /// The final account of a thread.
    ThreadEnd(Box<ThreadRecord>),
    /// A recorded thread forked a process.
    Fork(ProcessEvent),
    /// A recorded process runs a new image.
    Exec(ProcessEvent),
    /// So does one that is not recorded.
    StrangerExec(ProcessEvent),
    /// A file was waited for that had not been before.
    FileSeen(FileSeen),
    /// A thread waits for a lock at a tick.
    LockSeen(LockSeen),
    /// A wait ends.
    Woken(Box<Woken>),
    /// The stack of the thread that ends another's wait for a lock, and the id of that one.
    Release { waiter_tid: u32, sample: Sample<'a> },
    /// The stack that submits a request to a block device.
    Submit { request: SubmittedRequest, sample: Sample<'a> },
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Woken {
    pub wake: Wake,
    /// Kernel addresses of the waker, innermost first.
    pub kernel: Vec<u64>,
}

/// One stack sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    pub header: SampleHeader,
    /// Off the CPU: the wait that it was taken in.
    pub wait: Option<SampledWait>,
    /// Kernel addresses, innermost first.
    pub kernel: Vec<u64>,
    /// Bytes of the user stack, from `header.sp` upward.
    pub stack: &'a [u8],
}

/// Why a record could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("record too short: {bytes} of {needed} bytes")]
    Short { bytes: usize, needed: usize },
    #[error("unknown kind of record: {0}")]
    UnknownKind(u32),
    #[error("a sample claims {claimed} bytes of {what}, which do not fit")]
    TooLong { what: &'static str, claimed: usize },
}

/// Decodes one record.
///
/// # Errors
/// The record is cut, of an unknown kind, or contradicts itself.
pub fn decode(record: &[u8]) -> Result<Event<'_>, DecodeError> {
    match read::<u32>(record)? {
        event_kind::ON_CPU_SAMPLE => Ok(Event::Sample(sample(record)?)),
        event_kind::OFF_CPU_SAMPLE => {
            let sample = sample(record)?;
            Ok(Event::Sample(Sample { wait: Some(sample.header.wait()), ..sample }))
        }
        event_kind::OTHER_STACK => {
            let sample = sample(record)?;
            Ok(Event::OtherStack { kind: sample.header.other_stack(), sample })
        }
        event_kind::THREAD_END => Ok(Event::ThreadEnd(Box::new(read::<ThreadEnd>(record)?.record))),
        event_kind::FORK => Ok(Event::Fork(read(record)?)),
        event_kind::EXEC => Ok(Event::Exec(read(record)?)),
        event_kind::STRANGER_EXEC => Ok(Event::StrangerExec(read(record)?)),
        event_kind::FILE_SEEN => Ok(Event::FileSeen(read(record)?)),
        event_kind::LOCK_SEEN => Ok(Event::LockSeen(read(record)?)),
        event_kind::WAKE => Ok(Event::Woken(Box::new(woken(record)?))),
        event_kind::SUBMIT_SAMPLE => {
            let sample = sample(record)?;
            Ok(Event::Submit { request: sample.header.request(), sample })
        }
        event_kind::RELEASE_SAMPLE => {
            let sample = sample(record)?;
            Ok(Event::Release { waiter_tid: sample.header.waiter(), sample })
        }
        unknown => Err(DecodeError::UnknownKind(unknown)),
    }
}

/// header | kernel frames: `[u64; KERNEL_FRAMES]`, the first `kernel_bytes` valid | user stack: `stack_bytes` bytes
fn sample(record: &[u8]) -> Result<Sample<'_>, DecodeError> {
    let header: SampleHeader = read(record)?;
    let frames_at = size_of::<SampleHeader>();
    let stack_at = frames_at + 8 * KERNEL_FRAMES;
    // A negative length is the helper's error: no kernel frames.
    let kernel_bytes = usize::try_from(header.kernel_bytes).unwrap_or(0);
    if kernel_bytes > 8 * KERNEL_FRAMES {
        return Err(DecodeError::TooLong { what: "kernel frames", claimed: kernel_bytes });
    }
    let short = |needed| DecodeError::Short { bytes: record.len(), needed };
    let frames = record.get(frames_at..frames_at + kernel_bytes).ok_or(short(stack_at))?;
    let stack_end = stack_at + header.stack_bytes as usize;
    let stack = record.get(stack_at..stack_end).ok_or(short(stack_end))?;
    let kernel = frames.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    Ok(Sample { header, wait: None, kernel, stack })
}

/// header | kernel frames: `kernel_bytes` bytes
fn woken(record: &[u8]) -> Result<Woken, DecodeError> {
    let wake: Wake = read(record)?;
    // A negative length is the helper's error: no kernel frames.
    let bytes = usize::try_from(wake.kernel_bytes).unwrap_or(0);
    if bytes > 8 * WAKER_FRAMES {
        return Err(DecodeError::TooLong { what: "kernel frames", claimed: bytes });
    }
    let needed = size_of::<Wake>() + bytes;
    let frames =
        record.get(size_of::<Wake>()..needed).ok_or(DecodeError::Short { bytes: record.len(), needed })?;
    let kernel = frames.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    Ok(Woken { wake, kernel })
}

fn read<T: Plain>(record: &[u8]) -> Result<T, DecodeError> {
    let needed = size_of::<T>();
    let bytes = record.get(..needed).ok_or(DecodeError::Short { bytes: record.len(), needed })?;
    // SAFETY: `bytes` is as long as `T`, of which every bit pattern is a valid value (`Plain`).
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An off-CPU sample by hand: two kernel frames, five bytes of stack.
    fn literal_sample() -> Vec<u8> {
        let mut record = vec![];
        for word in [2_u32, 41, 40, 28] {
            record.extend(word.to_ne_bytes()); // kind, tid, ns_tgid, state
        }
        for word in [7_u64, 0x1000, 0x7fff_0000, 0x7fff_0010, 0] {
            record.extend(word.to_ne_bytes()); // at_ns, ip, sp, fp, lr
        }
        for word in [16_u32, 5, u32::MAX, 3, 2, 9] {
            record.extend(word.to_ne_bytes()); // kernel_bytes, stack_bytes, threshold, and of the wait: seq, repeated_seq, repeats
        }
        record.extend(0xabc_u64.to_ne_bytes()); // lock
        for frame in 0..KERNEL_FRAMES as u64 {
            record.extend((0xffff_0000 + frame).to_ne_bytes());
        }
        record.extend(b"stack");
        record
    }

    #[test]
    fn a_sample_is_read_field_by_field() {
        let record = literal_sample();
        let Ok(Event::Sample(sample)) = decode(&record) else { panic!("not a sample") };
        assert_eq!((sample.header.tid, sample.header.ns_tgid, sample.header.state), (41, 40, 28));
        assert_eq!((sample.header.at_ns, sample.header.ip), (7, 0x1000));
        assert_eq!(sample.wait, Some(SampledWait { seq: 3, repeated_seq: 2, repeats: 9 }));
        assert_eq!(sample.kernel, [0xffff_0000, 0xffff_0001]);
        assert_eq!(sample.stack, b"stack");
    }

    #[test]
    fn what_only_one_kind_has_is_read_by_kind() {
        let record = |kind: u32| {
            let mut record = literal_sample();
            record[..4].copy_from_slice(&kind.to_ne_bytes());
            record
        };
        let on_cpu = record(event_kind::ON_CPU_SAMPLE);
        assert!(matches!(decode(&on_cpu), Ok(Event::Sample(Sample { wait: None, .. }))));
        let other = record(event_kind::OTHER_STACK);
        assert!(matches!(decode(&other), Ok(Event::OtherStack { kind: 3, .. })));
        let release = record(event_kind::RELEASE_SAMPLE);
        assert!(matches!(decode(&release), Ok(Event::Release { waiter_tid: 3, .. })));
        let submit = record(event_kind::SUBMIT_SAMPLE);
        let Ok(Event::Submit { request, .. }) = decode(&submit) else { panic!("not a submission") };
        assert_eq!(request, SubmittedRequest { device: 3, operation: 2, bytes: 9 });
    }

    #[test]
    fn an_exec_is_read_field_by_field() {
        let mut record = vec![];
        for word in [5_u32, 11, 10, 0] {
            record.extend(word.to_ne_bytes());
        }
        record.extend(99_u64.to_ne_bytes());
        record.extend(b"postgres\0\0\0\0\0\0\0\0");
        let Ok(Event::Exec(event)) = decode(&record) else { panic!("not an exec") };
        assert_eq!(
            (event.tid, event.ns_tgid, event.at_ns, &event.comm[..9]),
            (11, 10, 99, &b"postgres\0"[..])
        );
    }

    #[test]
    fn a_cut_record_is_an_error_at_each_length() {
        let record = literal_sample();
        for end in 0..record.len() {
            assert!(matches!(decode(&record[..end]), Err(DecodeError::Short { .. })), "at {end}");
        }
    }

    #[test]
    fn a_helper_error_means_no_kernel_frames() {
        let mut record = literal_sample();
        record[56..60].copy_from_slice(&(-14_i32).to_ne_bytes());
        let Ok(Event::Sample(sample)) = decode(&record) else { panic!("not a sample") };
        assert!(sample.kernel.is_empty());
    }

    #[test]
    fn more_kernel_frames_than_fit_are_refused() {
        let mut record = literal_sample();
        record[56..60].copy_from_slice(&2000_i32.to_ne_bytes());
        assert_eq!(decode(&record), Err(DecodeError::TooLong { what: "kernel frames", claimed: 2000 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(record in proptest::collection::vec(any::<u8>(), 0..3000), kind in 0_u32..8) {
            let _ = decode(&record);
            let mut known = kind.to_ne_bytes().to_vec();
            known.extend(record);
            let _ = decode(&known);
        }
    }
}
