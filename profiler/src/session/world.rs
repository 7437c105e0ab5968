//! What the collector asks of live processes, answered from `/proc`.

use std::{fs, io::Read as _};

use crate::{
    collect::World,
    process::Processes,
    unwind::{Location, Registers, Unwound},
};

/// A command line is kept up to this length.
const MOST_COMMAND_BYTES: u64 = 4096;

/// The processes as they are now.
pub struct LiveWorld<'a> {
    pub processes: &'a mut Processes,
}

impl World for LiveWorld<'_> {
    fn unwind(
        &mut self,
        tgid: u32,
        registers: Registers,
        stack: &[u8],
        now_ns: u64,
        out: &mut Vec<Location>,
    ) -> Unwound {
        self.processes.unwind(tgid, registers, stack, now_ns, out)
    }

    fn forked(&mut self, parent: u32, child: u32) {
        self.processes.forked(parent, child);
    }

    fn replaced(&mut self, tgid: u32, now_ns: u64) {
        self.processes.replaced(tgid, now_ns);
    }

    fn command_line(&mut self, tgid: u32) -> String {
        let mut bytes = vec![];
        if let Ok(file) = fs::File::open(format!("/proc/{tgid}/cmdline")) {
            // What was read before an error (the process ends) is still true.
            let _ = file.take(MOST_COMMAND_BYTES).read_to_end(&mut bytes);
        }
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        text.trim_end().to_owned()
    }

    fn thread_comm(&mut self, tgid: u32, tid: u32) -> Option<String> {
        let bytes = fs::read(format!("/proc/{tgid}/task/{tid}/comm")).ok()?;
        Some(String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned())
    }
}
