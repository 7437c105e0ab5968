//! Finds the offsets of the kernel fields that are read, by name, with their renames.

use anyhow::{Context as _, Result, bail};
use profiler_common::offsets::{ABSENT, Offsets};

use super::btf::{Btf, Member};

/// Resolves each field.
///
/// # Errors
/// A field without which the ledger cannot work is missing; says which.
pub fn resolve(btf: &Btf) -> Result<Offsets> {
    let need = |name: &str, path: &str| {
        btf.member(name, path).map(Member::bytes).with_context(|| {
            format!("the kernel's type information (BTF) has no field `{path}` in `struct {name}`")
        })
    };
    let task = |path: &str| need("task_struct", path);
    let (task_in_iowait_byte, task_in_iowait_bit) = bit(btf, "task_struct", "in_iowait");
    let (task_frozen_byte, task_frozen_bit) = bit(btf, "task_struct", "frozen");
    Ok(Offsets {
        task_pid: task("pid")?,
        task_tgid: task("tgid")?,
        task_flags: task("flags")?,
        // Renamed in 5.14 (2f064a59a11ff9bc22e52e9678bc601404c7cb34).
        task_state: task("__state").or_else(|_| task("state"))?,
        task_on_cpu: task("on_cpu")?,
        task_comm: task("comm")?,
        task_stack: task("stack")?,
        task_files: task("files")?,
        task_mm: task("mm")?,
        task_thread_pid: task("thread_pid")?,
        task_group_leader: task("group_leader")?,
        task_in_iowait_byte,
        task_in_iowait_bit,
        task_frozen_byte,
        task_frozen_bit,
        pid_level: need("pid", "level")?,
        pid_numbers: need("pid", "numbers")?,
        upid_bytes: btf
            .size_of("upid")
            .context("the kernel's type information (BTF) has no `struct upid`")?,
        upid_nr: need("upid", "nr")?,
        task_fs_base: btf.member("task_struct", "thread.fsbase").map_or(ABSENT, Member::bytes),
        mm_start_stack: need("mm_struct", "start_stack")?,
        task_cgroups: task("cgroups")?,
        css_set_dfl_cgrp: need("css_set", "dfl_cgrp")?,
        cgroup_level: need("cgroup", "level")?,
        // Since 6.1 (7f203bc89eb66d6afde7eae91347fc0352090cc3) the struct points to the ancestors instead.
        cgroup_ancestor_ids: need("cgroup", "ancestor_ids").unwrap_or(ABSENT),
        files_fdt: need("files_struct", "fdt")?,
        fdt_max_fds: need("fdtable", "max_fds")?,
        fdt_fd: need("fdtable", "fd")?,
        file_inode: need("file", "f_inode")?,
        file_private_data: need("file", "private_data")?,
        file_dentry: need("file", "f_path.dentry")?,
        dentry_name: need("dentry", "d_name.name").or_else(|_| need("dentry", "__d_name.name"))?,
        inode_mode: need("inode", "i_mode")?,
        inode_sb: need("inode", "i_sb")?,
        inode_number: need("inode", "i_ino")?,
        sb_dev: need("super_block", "s_dev")?,
        sb_magic: need("super_block", "s_magic")?,
        socket_sk: need("socket", "sk")?,
        sock_family: need("sock", "__sk_common.skc_family")?,
        ..registers()
    })
}

/// Adds the fields of requests to block devices.
///
/// # Errors
/// One without which no request can be followed is missing; says which. The offsets are left as they are then.
pub fn resolve_requests(btf: &Btf, offsets: &mut Offsets) -> Result<()> {
    let may = |name: &str, path: &str| btf.member(name, path).map_or(ABSENT, Member::bytes);
    let need = |name: &str, path: &str| match may(name, path) {
        ABSENT => bail!("the kernel's type information (BTF) has no field `{path}` in `struct {name}`"),
        offset => Ok(offset),
    };
    // Gone since 5.17 (f3fa33acca9f0058157214800f68b10d8e71ab7a), when the queue already told it.
    let request_disk = may("request", "rq_disk");
    *offsets = Offsets {
        request_queue: need("request", "q")?,
        request_disk,
        request_flags: need("request", "cmd_flags")?,
        request_bytes: need("request", "__data_len")?,
        request_sector: need("request", "__sector")?,
        request_bio: need("request", "bio")?,
        request_started: need("request", "start_time_ns")?,
        queue_disk: if request_disk == ABSENT { need("request_queue", "disk")? } else { ABSENT },
        disk_major: need("gendisk", "major")?,
        disk_first_minor: need("gendisk", "first_minor")?,
        disk_name: may("gendisk", "disk_name"),
        // Where one of these is missing (a kernel without cgroups for block devices), nothing is charged to cgroups or files.
        bio_blkg: may("bio", "bi_blkg"),
        bio_pages: may("bio", "bi_io_vec"),
        page_mapping: may("page", "mapping"),
        mapping_host: may("address_space", "host"),
        blkg_blkcg: may("blkcg_gq", "blkcg"),
        blkcg_cgroup: may("blkcg", "css.cgroup"),
        cgroup_node: may("cgroup", "kn"),
        node_id: may("kernfs_node", "id"),
        ..*offsets
    };
    Ok(())
}

/// Adds the fields of locks. What is missing is not known of them: their names, or their owners.
pub fn resolve_locks(btf: &Btf, offsets: &mut Offsets) {
    let may = |name: &str, path: &str| btf.member(name, path).map_or(ABSENT, Member::bytes);
    let mmap_lock = btf.member("mm_struct", "mmap_lock").or_else(|| btf.member("mm_struct", "mmap_sem"));
    *offsets = Offsets {
        mm_mmap_lock: mmap_lock.map_or(ABSENT, Member::bytes),
        task_sighand: may("task_struct", "sighand"),
        sighand_siglock: may("sighand_struct", "siglock"),
        mutex_owner: may("mutex", "owner"),
        rwsem_owner: may("rw_semaphore", "owner"),
        sock_num: may("sock", "__sk_common.skc_num"),
        sock_dport: may("sock", "__sk_common.skc_dport"),
        sock_daddr: may("sock", "__sk_common.skc_daddr"),
        sock_v6_daddr: may("sock", "__sk_common.skc_v6_daddr"),
        ..*offsets
    };
}

/// A bit field as byte and bit; absent if the kernel does not have it.
fn bit(btf: &Btf, struct_name: &str, path: &str) -> (u32, u32) {
    btf.member(struct_name, path).map_or((ABSENT, ABSENT), |member| (member.bits / 8, member.bits % 8))
}

/// `struct pt_regs` of x86_64 (arch/x86/include/asm/ptrace.h): part of the system-call interface, never changed.
#[cfg(target_arch = "x86_64")]
fn registers() -> Offsets {
    Offsets {
        regs_ip: 128,
        regs_sp: 152,
        regs_fp: 32,
        regs_mode: 136,
        regs_syscall: 120,
        regs_arg0: 112,
        regs_arg1: 104,
        regs_arg2: 96,
        regs_arg3: 56,
        regs_bytes: 168,
        ..Offsets::absent()
    }
}

/// `struct pt_regs` of aarch64 (arch/arm64/include/asm/ptrace.h): x0 to x30, sp, pc, pstate, orig_x0, syscallno.
#[cfg(target_arch = "aarch64")]
fn registers() -> Offsets {
    Offsets {
        regs_ip: 256,
        regs_sp: 248,
        regs_fp: 29 * 8,
        regs_lr: 30 * 8,
        regs_mode: 264,
        regs_syscall: 280,
        regs_arg0: 272,
        regs_arg1: 8,
        regs_arg2: 16,
        regs_arg3: 24,
        regs_bytes: 336,
        ..Offsets::absent()
    }
}
