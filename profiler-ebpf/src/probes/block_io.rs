//! What do block devices do, and for whom?
//!
//! A request is followed from its first arrival to its completion, known by its address: what is merged into it later changes
//! nothing about when it came.

use core::ffi::c_void;

use profiler_common::{
    block_io::{
        self, Completion, SLOTS_A_KIND, SLOTS_A_REQUEST, Share, ShareKey, TotalsKey, operation, share_key,
        submitter,
    },
    histogram::{self, BUCKETS},
    stat::Stat,
};

use super::{
    ledger::{Account, now_ns},
    submits::sample_submitter,
};
use crate::{
    atomic::{add, increment},
    config,
    emit::count,
    maps::{self, COMPLETIONS, REQUEST_SHARES, REQUEST_TOTALS, REQUESTS, TOTALS_TAKEN},
    request::Request,
    stack::opaque,
    task::{PF_KTHREAD, Task, current_comm},
};

#[inline(always)]
unsafe fn count_in(counts: *mut [u32; BUCKETS], ns: u64) {
    let index = histogram::index(ns) as usize;
    if index < BUCKETS {
        // SAFETY: by the caller's word and the check above.
        unsafe { increment(counts.cast::<u32>().add(index)) };
    }
}

/// A request arrives, before it is merged or queued. The current thread submits it.
///
/// # Safety
/// `context` is that of the program.
#[inline(always)]
pub unsafe fn on_start(context: *mut c_void, request: Request) -> Option<()> {
    if maps::optional_stopped() {
        return None;
    }
    let new = arrive(request, now_ns(), 0, true)?;
    // SAFETY: the context by the caller's word; the request has arrived.
    unsafe { sample_submitter(context, request, new) }
}

/// A request is put into its queue, by the thread that submits it. Looked at only where the kernel does not tell arrivals:
/// there it is given to the device by whoever runs the queue.
///
/// # Safety
/// `context` is that of the program.
#[inline(always)]
pub unsafe fn on_insert(context: *mut c_void, request: Request) -> Option<()> {
    if maps::optional_stopped() || followed(request).is_some() {
        return None;
    }
    // A request that finds no room is tried again when it is issued, and counted then.
    let new = arrive(request, allocated_or(request, now_ns()), 0, false)?;
    // SAFETY: the context by the caller's word; the request has arrived.
    unsafe { sample_submitter(context, request, new) }
}

/// The slot of a request that is under way.
#[inline(always)]
fn followed(request: Request) -> Option<*mut block_io::Request> {
    let first = block_io::first_slot(request.number(), config!(request_mask));
    for step in 0..SLOTS_A_REQUEST {
        let slot = REQUESTS.get_ptr_mut((first + step) & config!(request_mask))?;
        // SAFETY: non-null pointer into the map; nobody else writes the slot of this request now.
        unsafe {
            if (*slot).identity == request.identity() {
                return if (*slot).arrived_ns != 0 { Some(slot) } else { None };
            }
            // No slot becomes unused again.
            if (*slot).identity == 0 {
                return None;
            }
        }
    }
    None
}

/// A slot for a request that arrives: the one that it had the last time, or else the first of its slots that is free. Two CPUs that
/// take the same one at once, both for the first time, lose one of the two requests; its completion counts as unseen.
#[inline(always)]
fn slot_for(request: Request) -> Option<*mut block_io::Request> {
    const NONE: u32 = u32::MAX;
    let first = block_io::first_slot(request.number(), config!(request_mask));
    let mut free = NONE;
    for step in 0..SLOTS_A_REQUEST {
        let index = (first + step) & config!(request_mask);
        let slot = REQUESTS.get_ptr_mut(index)?;
        // SAFETY: non-null pointer into the map.
        unsafe {
            if (*slot).identity == request.identity() {
                return Some(slot);
            }
            if free == NONE && (*slot).arrived_ns == 0 {
                free = index;
            }
            if (*slot).identity == 0 {
                break;
            }
        }
    }
    if free == NONE { None } else { REQUESTS.get_ptr_mut(free) }
}

/// When a request was allocated, if the kernel keeps that.
#[inline(always)]
fn allocated_or(request: Request, now: u64) -> u64 {
    let allocated = if config!(has_io_start) != 0 { 0 } else { request.allocated_ns() };
    if allocated == 0 || allocated > now { now } else { allocated }
}

/// A request is given to its device. What was not seen to arrive does so now: flushes that the kernel makes itself, and
/// everything on kernels that do not tell. Where the kernel tells, a request that is not known here was under way before, or there was
/// no room for it: when it arrived is not known.
///
/// # Safety
/// `context` is that of the program.
#[inline(always)]
pub unsafe fn on_issue(context: *mut c_void, request: Request) -> Option<()> {
    if maps::optional_stopped() {
        return None;
    }
    let now = now_ns();
    if let Some(known) = followed(request) {
        // SAFETY: non-null pointer into the map; nobody else has this request now.
        unsafe { (*known).issued_ns = now };
        return Some(());
    }
    let is_flush = matches!(request.operation(), operation::FLUSH | operation::DEVICE_FLUSH);
    if config!(has_io_start) != 0 && !is_flush {
        return None;
    }
    let new = arrive(request, allocated_or(request, now), now, true)?;
    if config!(has_io_start) != 0 {
        return None;
    }
    // Without a scheduler requests are issued at once, and never put into a queue.
    // SAFETY: the context by the caller's word; the request has arrived.
    unsafe { sample_submitter(context, request, new) }
}

/// A request goes back into the queue: its time in the device begins when it is given to it again.
#[inline(always)]
pub fn on_requeue(request: Request) -> Option<()> {
    let known = followed(request)?;
    // SAFETY: non-null pointer into the map; nobody else has this request now.
    unsafe { (*known).issued_ns = 0 };
    Some(())
}

/// Follows a request from now on, if there is room.
///
/// Its slot comes first, and what follows reads the request there: the verifier does not follow what lies in maps, and so goes
/// through the rest once, and not once for each operation, submitter and way out of the search. (`block_rq_issue` and
/// `block_rq_insert`: 16 s each to load on an emulated 5.10 otherwise.)
#[inline(always)]
fn arrive(
    request: Request,
    arrived_ns: u64,
    issued_ns: u64,
    is_counted: bool,
) -> Option<*mut block_io::Request> {
    let device = request.disk();
    if device == 0 || request.is_passed_through() {
        return None;
    }
    let Some(slot) = slot_for(request) else {
        if is_counted {
            count(Stat::RequestsFull);
        }
        return None;
    };
    let task = Task::current();
    let tid = task.tid();
    let is_member = config!(block_io_only) == 0 && Account::of(task, tid).is_some();
    let member = if is_member { submitter::MEMBER } else { 0 };
    let of_kernel = if task.flags() & PF_KTHREAD != 0 { submitter::KERNEL_THREAD } else { 0 };
    let (sector, bytes) = (request.sector(), request.remaining_bytes());
    let new = block_io::Request {
        identity: request.identity(),
        arrived_ns,
        issued_ns,
        cgroup: request.cgroup(),
        device,
        operation: request.operation(),
        tid,
        tgid: task.tgid(),
        submitter: member | of_kernel,
        sequential: 0,
        totals_slot: 0,
        reserved: 0,
        comm: current_comm(),
    };
    // SAFETY: non-null pointers into maps. Nobody else has this request now; two CPUs that submit to a disk at once are not in
    // sequence anyway.
    unsafe {
        *slot = new;
        let operation = (&raw const (*slot).operation).read_volatile();
        let submitter = (&raw const (*slot).submitter).read_volatile();
        let key = TotalsKey { device, operation, of_members: submitter & submitter::MEMBER };
        let of_kind = totals_slot(request, key);
        (*slot).totals_slot = of_kind;
        if let Some(totals) = REQUEST_TOTALS.get_ptr_mut(of_kind) {
            (*slot).sequential = u32::from((*totals).next_sector == sector && bytes != 0);
            (*totals).next_sector = sector + u64::from(bytes >> 9);
        }
        if submitter & submitter::KERNEL_THREAD != 0 && operation == operation::WRITE {
            written_back(request, device, bytes);
        }
    }
    Some(slot)
}

/// A thread of the kernel writes what others have dirtied: at its arrival the request's pages still tell of which file.
#[inline(always)]
fn written_back(request: Request, device: u32, bytes: u32) -> Option<()> {
    let (inode, file_system) = request.file()?;
    let key = ShareKey {
        id: inode,
        kind: share_key::WRITTEN_BACK_FILE,
        of: file_system,
        device,
        operation: operation::WRITE,
    };
    let part = Share {
        count: 1,
        bytes: u64::from(bytes),
        // Not zeroes to the compiler, which would call `memset` for them.
        queue_ns: opaque(0) as u64,
        device_ns: opaque(0) as u64,
        submitter: submitter::KERNEL_THREAD,
        reserved: 0,
        comm: current_comm(),
    };
    add_share(&key, part);
    Some(())
}

/// The slot of the sums of a kind; a number beyond all slots if there is no room.
#[inline(always)]
fn totals_slot(request: Request, key: TotalsKey) -> u32 {
    const NONE: u32 = u32::MAX;
    let (packed, first) = (key.packed(), key.first_slot(config!(totals_mask)));
    for step in 0..SLOTS_A_KIND {
        let index = (first + step) & config!(totals_mask);
        let Some(totals) = REQUEST_TOTALS.get_ptr_mut(index) else { return NONE };
        // SAFETY: non-null pointer into the map.
        unsafe {
            if (*totals).key == packed {
                return index;
            }
            // BPF_NOEXIST: another CPU may be as far.
            if (*totals).key == 0 && TOTALS_TAKEN.insert(index, 1, 1).is_ok() {
                request.read_disk_name(&raw mut (*totals).disk_name);
                (*totals).key = packed;
                return index;
            }
        }
    }
    NONE
}

/// A request, or its first `bytes` bytes, is done. Runs in an interrupt, or wherever the driver completes: the current thread
/// has nothing to do with it.
#[inline(always)]
pub fn on_complete(request: Request, has_failed: bool, bytes: u32) -> Option<()> {
    if maps::optional_stopped() {
        return None;
    }
    if request.is_passed_through() {
        return None;
    }
    let Some(known) = followed(request) else {
        // A write with flushes around it is told twice, the second time without bytes.
        if bytes != 0 {
            count(Stat::RequestsUnseen);
        }
        return None;
    };
    // SAFETY: non-null pointer into the map; nobody else has this request now. Copied before its slot is given up.
    let done = unsafe { *known };
    let totals = REQUEST_TOTALS.get_ptr_mut(done.totals_slot);
    let is_part = bytes < request.remaining_bytes();
    if let Some(totals) = totals {
        // SAFETY: non-null pointer into the map.
        unsafe { add(&raw mut (*totals).bytes, u64::from(bytes)) };
    } else if !is_part {
        count(Stat::RequestTotalsFull);
    }
    if is_part {
        return None;
    }
    let now = now_ns();
    let total_ns = now.saturating_sub(done.arrived_ns);
    // A flush that was asked for never reaches the device itself.
    let was_issued = done.issued_ns != 0;
    let device_ns = if was_issued { now.saturating_sub(done.issued_ns) } else { 0 };
    let queue_ns = if was_issued { done.issued_ns.saturating_sub(done.arrived_ns) } else { 0 };
    // SAFETY: non-null pointers into maps.
    unsafe {
        (*known).arrived_ns = 0;
        if let Some(totals) = totals {
            add(&raw mut (*totals).count, 1);
            count_in(&raw mut (*totals).total, total_ns);
            if was_issued {
                add(&raw mut (*totals).queue_ns, queue_ns);
                add(&raw mut (*totals).device_ns, device_ns);
                count_in(&raw mut (*totals).queue, queue_ns);
                count_in(&raw mut (*totals).device, device_ns);
            } else {
                add(&raw mut (*totals).unissued, 1);
                add(&raw mut (*totals).unissued_ns, total_ns);
            }
            if has_failed {
                add(&raw mut (*totals).errors, 1);
            }
            if done.sequential != 0 {
                add(&raw mut (*totals).sequential, 1);
            }
        }
    }
    shared_out(&done, u64::from(bytes), queue_ns, device_ns);
    if config!(block_io_only) != 0 {
        return Some(());
    }
    let completion = COMPLETIONS.get_ptr_mut(0)?;
    let present = Completion {
        at_ns: now,
        queue_ns,
        device_ns: if was_issued { device_ns } else { total_ns },
        tid: done.tid,
        device: done.device,
        operation: done.operation,
        submitter: done.submitter,
        current: Task::current().tid(),
        reserved: 0,
        comm: done.comm,
    };
    // SAFETY: non-null pointer to this CPU's own value.
    unsafe { *completion = present };
    Some(())
}

/// Adds a completed request to those of its process and cgroup.
#[inline(always)]
fn shared_out(done: &block_io::Request, bytes: u64, queue_ns: u64, device_ns: u64) {
    let part = Share {
        count: 1,
        bytes,
        queue_ns,
        device_ns,
        submitter: done.submitter,
        reserved: 0,
        comm: done.comm,
    };
    let key = ShareKey {
        id: done.cgroup,
        kind: share_key::OWNER,
        of: done.tgid,
        device: done.device,
        operation: done.operation,
    };
    add_share(&key, part);
}

#[inline(always)]
fn add_share(key: &ShareKey, part: Share) {
    let Some(known) = REQUEST_SHARES.get_ptr_mut(key) else {
        // BPF_NOEXIST. Two CPUs that are first at once lose one of the two, which is as rare as it is small.
        if REQUEST_SHARES.insert(key, part, 1).is_err() {
            count(Stat::RequestSharesFull);
        }
        return;
    };
    // SAFETY: non-null pointer into the map.
    unsafe {
        add(&raw mut (*known).count, part.count);
        add(&raw mut (*known).bytes, part.bytes);
        add(&raw mut (*known).queue_ns, part.queue_ns);
        add(&raw mut (*known).device_ns, part.device_ns);
        // The first request of a target may have arrived before its threads had accounts.
        if (*known).submitter & part.submitter != part.submitter {
            (*known).submitter |= part.submitter;
        }
    }
}
