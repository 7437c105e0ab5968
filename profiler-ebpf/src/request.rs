//! The only reader of `struct request`, and of what leads from it to its disk, its cgroup and its file.
//!
//! Like a task, a request comes as a BTF-typed argument, so its fields are loaded directly; a load through a pointer that is
//! stale or null reads zero. What lies behind untyped pointers is read by the helper.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel as probe_read_raw;
use profiler_common::{
    block_io::{DISK_NAME_BYTES, device, operation},
    offsets::ABSENT,
};

use crate::{
    config, offset,
    task::{self, load},
};

/// Low bits of `request.cmd_flags`: the operation (`REQ_OP_MASK`, include/linux/blk_types.h).
const OPERATION_MASK: u32 = 0xff;
/// Operations, with the same numbers since 4.10 (`enum req_op`).
const OP_READ: u32 = 0;
const OP_WRITE: u32 = 1;
const OP_FLUSH: u32 = 2;
const OP_DISCARD: u32 = 3;
/// Commands of a driver or of a program to the device, which are no input or output of data: 32 to 35 (`REQ_OP_SCSI_IN`, gone
/// since 5.17, to `REQ_OP_DRV_OUT`).
const OP_PASSED_THROUGH: core::ops::RangeInclusive<u32> = 32..=35;

/// A pointer to a `struct request` that the verifier knows as one.
#[derive(Clone, Copy)]
pub struct Request(*const u8);

/// As [`task::probe`], of what may be null or may lack the field.
#[inline(always)]
fn probe<T: Copy>(base: u64, offset: u32) -> Option<T> {
    if base == 0 || offset == ABSENT { None } else { task::probe(base, offset) }
}

impl Request {
    /// Wraps a request argument of a BTF tracepoint.
    #[inline(always)]
    pub fn new(pointer: *const u8) -> Self {
        Self(pointer)
    }

    /// Tells this request from any other that is under way.
    #[inline(always)]
    pub fn identity(self) -> u64 {
        self.0 as u64
    }

    /// The lower half of [`Request::identity`]. That one is a pointer to the verifier, with which nothing can be computed; a copy of 32
    /// bits is a number to it.
    #[inline(always)]
    pub fn number(self) -> u32 {
        let number: u64;
        #[cfg(target_arch = "bpf")]
        // SAFETY: a copy from register to register.
        unsafe {
            core::arch::asm!("w0 = w1", in("r1") self.0, lateout("r0") number, options(pure, nomem, nostack));
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            number = self.0 as u64;
        }
        number as u32
    }

    #[inline(always)]
    fn disk_struct(self) -> *const u8 {
        if offset!(request_disk) == ABSENT {
            load(load(self.0, offset!(request_queue)), offset!(queue_disk))
        } else {
            load(self.0, offset!(request_disk))
        }
    }

    /// The disk that it goes to; 0 if there is none.
    #[inline(always)]
    pub fn disk(self) -> u32 {
        let disk = self.disk_struct();
        device(load(disk, offset!(disk_major)), load(disk, offset!(disk_first_minor)))
    }

    /// Copies the disk's name.
    ///
    /// # Safety
    /// `to` points to `DISK_NAME_BYTES` writable bytes.
    #[inline(always)]
    pub unsafe fn read_disk_name(self, to: *mut [u8; DISK_NAME_BYTES]) {
        if offset!(disk_name) == ABSENT {
            return;
        }
        // SAFETY: the destination by the caller's word; the helper checks the source.
        unsafe {
            let from = self.disk_struct().add(offset!(disk_name) as usize);
            probe_read_raw(to.cast(), DISK_NAME_BYTES as u32, from.cast());
        }
    }

    /// Whether it is passed through to the device, and so no input or output of data.
    #[inline(always)]
    pub fn is_passed_through(self) -> bool {
        OP_PASSED_THROUGH.contains(&(load::<u32>(self.0, offset!(request_flags)) & OPERATION_MASK))
    }

    /// What it does, as a code of [`operation`].
    #[inline(always)]
    pub fn operation(self) -> u32 {
        let flags: u32 = load(self.0, offset!(request_flags));
        match flags & OPERATION_MASK {
            OP_READ => operation::READ,
            OP_WRITE if flags & config!(preflush_flag) != 0 && self.remaining_bytes() == 0 => {
                operation::FLUSH
            }
            OP_WRITE if flags & config!(fua_flag) != 0 => operation::WRITE_THROUGH,
            OP_WRITE => operation::WRITE,
            OP_FLUSH => operation::DEVICE_FLUSH,
            OP_DISCARD => operation::DISCARD,
            _ => operation::OTHER,
        }
    }

    /// Bytes that are not done yet.
    #[inline(always)]
    pub fn remaining_bytes(self) -> u32 {
        load(self.0, offset!(request_bytes))
    }

    /// The first of its sectors, of 512 bytes, that are not done yet.
    #[inline(always)]
    pub fn sector(self) -> u64 {
        load(self.0, offset!(request_sector))
    }

    /// When the kernel allocated it, CLOCK_MONOTONIC; 0 if nobody wanted to know.
    #[inline(always)]
    pub fn allocated_ns(self) -> u64 {
        load(self.0, offset!(request_started))
    }

    /// Kernel id of the cgroup that its first part is charged to; 0 if the kernel does not tell. Typed all the way: helper
    /// calls would take as long as the rest of a request's arrival.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        if offset!(bio_blkg) == ABSENT
            || offset!(blkg_blkcg) == ABSENT
            || offset!(blkcg_cgroup) == ABSENT
            || offset!(cgroup_node) == ABSENT
            || offset!(node_id) == ABSENT
        {
            return 0;
        }
        let bio: *const u8 = load(self.0, offset!(request_bio));
        let group: *const u8 = load(bio, offset!(bio_blkg));
        let of_controller: *const u8 = load(group, offset!(blkg_blkcg));
        let cgroup: *const u8 = load(of_controller, offset!(blkcg_cgroup));
        let node: *const u8 = load(cgroup, offset!(cgroup_node));
        load(node, offset!(node_id))
    }

    /// The file of its first page: number of the inode, device of its file system.
    #[inline(always)]
    pub fn file(self) -> Option<(u64, u32)> {
        let pages: u64 = probe(load(self.0, offset!(request_bio)), offset!(bio_pages))?;
        // The first field of `struct bio_vec` is its page.
        let page: u64 = probe(pages, 0)?;
        let mapping: u64 = probe(page, offset!(page_mapping))?;
        // The low bits tell pages that belong to no file (`PAGE_MAPPING_ANON`, `PAGE_MAPPING_MOVABLE`).
        if mapping & 3 != 0 {
            return None;
        }
        let inode: u64 = probe(mapping, offset!(mapping_host))?;
        let number: u64 = probe(inode, offset!(inode_number))?;
        let super_block: u64 = probe(inode, offset!(inode_sb))?;
        Some((number, probe(super_block, offset!(sb_dev))?))
    }
}
