//! What the collector asks of live processes, answered from `/proc` and from what the kernel reports of
//! mappings.

use std::{fs, os::unix::fs::MetadataExt as _};

use profiler_common::block_io::FileSeen;

use super::Target;
use crate::{
    collect::World,
    host::{monotonic_ns, online_cpus},
    instruments::mappings::MappingEvents,
    process::{Processes, read_arguments},
    unwind::{Captured, Location, Unwound},
};
use profiler_report::recording::{Meta, Place};

/// What does not change during the recording.
pub fn meta(target: &Target) -> Meta {
    let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Meta {
        profiler_version: env!("CARGO_PKG_VERSION").to_owned(),
        target: target.to_string(),
        hostname: line("/proc/sys/kernel/hostname"),
        kernel_release: line("/proc/sys/kernel/osrelease"),
        architecture: std::env::consts::ARCH.to_owned(),
        cpus: online_cpus(),
        ..Meta::default()
    }
}

/// The processes at each moment of the recording.
pub struct LiveWorld {
    pub processes: Processes,
    /// None where the kernel does not report mappings.
    mappings: Option<MappingEvents>,
    /// No process can join the recorded ones: what strangers map is of no interest.
    is_fixed: bool,
    /// Up to when mappings were taken in.
    told_until_ns: u64,
}

impl LiveWorld {
    /// Nothing known yet.
    pub fn new(processes: Processes, mappings: Option<MappingEvents>, is_fixed: bool) -> Self {
        Self { processes, mappings, is_fixed, told_until_ns: 0 }
    }

    /// Kernel memory of what reports mappings.
    pub fn mapping_bytes(&self) -> u64 {
        self.mappings.as_ref().map_or(0, MappingEvents::bytes)
    }

    /// Takes in what happened before `at_ns`, so that a record of that moment meets the layout of that moment.
    fn hear(&mut self, at_ns: u64) {
        if at_ns <= self.told_until_ns {
            return;
        }
        self.told_until_ns = monotonic_ns();
        if let Some(mappings) = &mut self.mappings {
            let mut changes = Vec::new();
            let of_interest = |tgid| !self.is_fixed || self.processes.knows(tgid);
            mappings.drain(of_interest, |change| changes.push(change));
            for change in changes {
                self.processes.changed(change);
            }
        }
    }

    /// The records up to now have been taken in: so are mappings, while their processes most likely still live.
    pub fn settle(&mut self) {
        let now_ns = monotonic_ns();
        self.hear(now_ns);
        self.processes.settle(now_ns);
    }
}

impl World for LiveWorld {
    fn unwind(&mut self, tgid: u32, captured: Captured<'_>, at_ns: u64, out: &mut Vec<Location>) -> Unwound {
        self.hear(at_ns);
        self.processes.unwind(tgid, captured, at_ns, out)
    }

    fn forked(&mut self, parent: u32, child: u32, at_ns: u64) {
        self.hear(at_ns);
        self.processes.forked(parent, child, at_ns);
    }

    fn replaced(&mut self, tgid: u32, at_ns: u64) {
        self.hear(at_ns);
        self.processes.replaced(tgid, at_ns);
    }

    fn ended(&mut self, tgid: u32) {
        self.processes.ended(tgid);
    }

    fn command_line(&mut self, tgid: u32) -> String {
        read_arguments(tgid).replace('\0', " ").trim_end().to_owned()
    }

    fn file_path(&mut self, seen: &FileSeen) -> Option<String> {
        let descriptor = format!("/proc/{}/fd/{}", seen.ns_tgid, seen.descriptor);
        let path = fs::read_link(&descriptor).ok()?;
        // The number of the device is not compared: file systems like btrfs show another one than their own.
        let is_same = fs::metadata(&descriptor).is_ok_and(|file| file.ino() == seen.inode);
        is_same.then(|| path.to_string_lossy().into_owned())
    }

    fn lock_place(&mut self, tgid: u32, address: u64) -> Place {
        self.processes.data_place(tgid, address)
    }

    fn thread_comm(&mut self, tgid: u32, tid: u32) -> Option<String> {
        let bytes = fs::read(format!("/proc/{tgid}/task/{tid}/comm")).ok()?;
        Some(String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).into_owned())
    }
}
