//! Files that are cut short while they are mapped: what was behind their new end reads as zeros.
//!
//! In: work that reads files by mappings. Out: what it returns, and whether a file was cut under it. Without this, the kernel ends
//! a program that reads such a page (SIGBUS); libwayland saves itself from its clients' files in the same way.
//!
//! ```text
//! 7f1c40000000-7f1c60000000 r--s 00000000 fd:00 1234      /srv/app.debug
//! start        end          what for      device inode    path                 /proc/self/maps
//! ```

use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed, compiler_fence};

/// What the mapping of a file has that is to be read: it is shared and cannot be written. A program's own code and
/// constants are mapped as private.
const TO_BE_READ: u32 = u32::from_be_bytes(*b"r--s");

/// Bytes of a page; set before the handler is.
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// This thread reads files that it has mapped.
    static READS: AtomicBool = const { AtomicBool::new(false) };
    /// Mappings of this thread of which the rest was replaced.
    static CUT: AtomicU64 = const { AtomicU64::new(0) };
}

/// Does what reads mapped files, and says whether one was cut short meanwhile: then what was read is of no
/// use. It must not panic, and [`guard`] must have been called.
pub fn reading<T>(read: impl FnOnce() -> T) -> (T, bool) {
    let before = CUT.with(|cut| cut.load(Relaxed));
    READS.with(|reads| reads.store(true, Relaxed));
    // The handler looks at it, in this thread.
    compiler_fence(Ordering::SeqCst);
    let result = read();
    compiler_fence(Ordering::SeqCst);
    READS.with(|reads| reads.store(false, Relaxed));
    (result, CUT.with(|cut| cut.load(Relaxed)) != before)
}

/// Takes care of SIGBUS from now on, for all threads.
pub fn guard() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: takes and returns a number.
        let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        PAGE_BYTES.store(page_bytes as usize, Relaxed);
        // SAFETY: a `sigaction` is made of integers and a pointer that may be null: zero is valid.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
        action.sa_sigaction = handler as usize;
        // On the thread's own stack: it is no overflow of that stack which leads here.
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the action is valid, and its handler calls only what a handler may. It cannot fail for this signal.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    });
}

/// Only calls that are safe in a handler of signals, no allocation, and no lock.
extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with `SA_SIGINFO` the kernel hands over a valid description; of a signal that was sent, the address is some number.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // SAFETY: the C library's own number of this thread, which the interrupted code may be about to read.
    let error = unsafe { *libc::__errno_location() };
    if code == libc::BUS_ADRERR && READS.with(|reads| reads.load(Relaxed)) && put_zeros(address) {
        CUT.with(|cut| cut.fetch_add(1, Relaxed));
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = error };
        return;
    }
    // SAFETY: both take numbers. The signal is blocked until the handler returns, and then ends the program.
    unsafe {
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::raise(libc::SIGBUS);
    }
}

/// Puts zeros in the place of a mapped file, from the page at the address to the end: all of that is gone from the file.
fn put_zeros(address: usize) -> bool {
    let Some(end) = end_of_file(address) else { return false };
    let start = address & !(PAGE_BYTES.load(Relaxed) - 1);
    let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the range lies in one mapping, of a file that this thread is reading: nobody else takes it away. What has references
    // into it sees zeros instead of what it read before, as it may of any file that somebody else writes to.
    let mapped =
        unsafe { libc::mmap(start as *mut libc::c_void, end - start, libc::PROT_READ, flags, -1, 0) };
    mapped != libc::MAP_FAILED
}

/// Where the mapping at an address ends, if it is that of a file to be read.
fn end_of_file(address: usize) -> Option<usize> {
    // SAFETY: a constant path.
    let maps = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if maps < 0 {
        return None;
    }
    let mut line = Line::default();
    let mut bytes = [0_u8; 512];
    let mut found = None;
    while found.is_none() {
        // SAFETY: the buffer is as long as it is said to be.
        let length = unsafe { libc::read(maps, bytes.as_mut_ptr().cast(), bytes.len()) };
        let Some(read) = usize::try_from(length).ok().filter(|&length| length > 0) else { break };
        found = bytes[..read].iter().find_map(|&byte| line.take(byte).filter(|line| line.holds(address)));
    }
    // SAFETY: it was opened above, and nobody else knows it.
    unsafe { libc::close(maps) };
    found.filter(|line| line.permissions == TO_BE_READ && line.has_inode).map(|line| line.end)
}

/// A line of the list of mappings, as far as it was read: it may come in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Line {
    field: usize,
    start: usize,
    end: usize,
    permissions: u32,
    has_inode: bool,
}

impl Line {
    /// Takes the next byte. With the last one of a line, that line.
    fn take(&mut self, byte: u8) -> Option<Self> {
        match (byte, self.field) {
            (b'\n', _) => return Some(mem::take(self)),
            (b' ', _) => self.field += 1,
            (b'-', 0) => (self.start, self.end) = (self.end, 0),
            (b'0'..=b'9', 0) => self.end = self.end << 4 | usize::from(byte - b'0'),
            (b'a'..=b'f', 0) => self.end = self.end << 4 | usize::from(byte - b'a' + 10),
            (_, 1) => self.permissions = self.permissions << 8 | u32::from(byte),
            (b'1'..=b'9', 4) => self.has_inode = true,
            _ => {}
        }
        None
    }

    fn holds(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: (usize, usize, &[u8; 4], bool)) {
        let mut line = Line::default();
        let lines: Vec<Line> = text.bytes().filter_map(|byte| line.take(byte)).collect();
        let (start, end, permissions, has_inode) = expected;
        let permissions = u32::from_be_bytes(*permissions);
        let last = lines.last().expect("a line");
        assert_eq!(
            (last.start, last.end, last.permissions, last.has_inode),
            (start, end, permissions, has_inode)
        );
    }

    #[test]
    fn a_mapped_file_has_an_inode() {
        check(
            "7f1c4000-7f1c6000 r--s 00001000 fd:00 1030     /a file - b\n",
            (0x7f1c_4000, 0x7f1c_6000, b"r--s", true),
        );
    }

    #[test]
    fn memory_without_a_file_has_none_though_it_has_a_name() {
        check(
            "ffff0000-ffff1000 rw-p 00000000 00:00 0          [heap 1]\n",
            (0xffff_0000, 0xffff_1000, b"rw-p", false),
        );
    }

    #[test]
    fn a_line_owes_nothing_to_the_one_before() {
        check(
            "1000-2000 r--s 00000000 fd:00 7 /a\n3000-5000 r-xp 00000000 00:00 0\n",
            (0x3000, 0x5000, b"r-xp", false),
        );
    }
}
