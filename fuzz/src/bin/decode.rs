//! Records of the ring: each is refused or decoded, and whatever they say together becomes a valid recording.
//!
//! The input is records one after another, each behind its length (16 bits, little endian). The account in a record of
//! a thread's end also counts as one that is still open at the end of the recording, if its `reserved` word is odd.
#![no_main]

use profiler::collect::{Collector, Cut, Ending, World};
use profiler::decode::{Event, decode};
use profiler::unwind::{Captured, Location, Unwound};
use profiler_common::block_io::FileSeen;
use profiler_report::analyze::Report;
use profiler_report::recording::{Method, Module, Place, StackEnd};

/// Images of the address space that [`Stacks`] makes up.
const IMAGES: u32 = 4;

/// Each word of the stack is a frame.
struct Stacks;

impl World for Stacks {
    fn unwind(&mut self, _: u32, captured: Captured<'_>, _: u64, out: &mut Vec<Location>) -> Unwound {
        let others = [captured.others.goroutine, captured.others.vdso];
        let others = others.into_iter().flatten().map(|other| other.bytes);
        let words = [captured.stack]
            .into_iter()
            .chain(others)
            .flat_map(|stack| stack.as_chunks().0)
            .map(|word| u64::from_le_bytes(*word));
        out.extend([captured.registers.ip].into_iter().chain(words).map(|word| {
            if word % 8 == 0 {
                Location::Unmapped { address: word }
            } else {
                Location::File { image: word as u32 % IMAGES, file_offset: word }
            }
        }));
        Unwound { end: StackEnd::Complete, method: Method::Tables, met_unmapped: false, goroutines: None }
    }
    fn forked(&mut self, _: u32, _: u32, _: u64) {}
    fn ended(&mut self, _: u32) {}
    fn replaced(&mut self, _: u32, _: u64) {}
    fn lock_place(&mut self, _: u32, address: u64) -> Place {
        if address.is_multiple_of(2) { Place::Heap } else { Place::Unknown }
    }
    fn file_path(&mut self, seen: &FileSeen) -> Option<String> {
        (seen.descriptor >= 0).then(|| seen.inode.to_string())
    }
    fn command_line(&mut self, tgid: u32) -> String {
        tgid.to_string()
    }
    fn thread_comm(&mut self, _: u32, tid: u32) -> Option<String> {
        tid.is_multiple_of(2).then(|| tid.to_string())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut collector = Collector::new(0, 1000);
    let mut accounts = vec![];
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (record, tail) = tail.split_at(tail.len().min(u16::from_le_bytes(*length).into()));
        rest = tail;
        if let Ok(Event::ThreadEnd(account)) = decode(record)
            && record[4] % 2 == 1
        {
            accounts.push(*account);
        } else {
            collector.take(record, &mut Stacks);
        }
    }
    collector.take_stranger_execs();
    let modules = vec![Module::default(); IMAGES as usize];
    // The books are cut once before the end, at whatever the accounts say.
    let cut = |at_ns| Cut { at_ns, accounts: accounts.clone(), ..Cut::default() };
    let window = collector.cut(cut(3000), &mut Stacks);
    collector.keep(window);
    let ending = Ending { ended_at_ns: 5000, modules, ..Ending::default() };
    let recording = collector.finish(cut(5000), &ending, &mut Stacks);
    recording.validate().expect("the tables fit together");
    let span = recording.whole();
    Report::over_time(&recording, &span);
});
