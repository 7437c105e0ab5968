//! Offsets of the few kernel fields that are read, found by name in the running kernel's BTF.

macro_rules! offsets {
    ($($field:ident $meaning:literal;)*) => {
        /// Byte offsets into kernel structs, and into the saved user registers of this architecture.
        ///
        /// [`ABSENT`] marks a field that the running kernel does not have.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets { $(#[doc = $meaning] pub $field: u32,)* }

        impl Offsets {
            /// No field known yet.
            pub const fn absent() -> Self {
                Self { $($field: ABSENT,)* }
            }
        }
    };
}

/// The running kernel does not have the field.
pub const ABSENT: u32 = u32::MAX;

offsets! {
    task_pid "`task_struct.pid`";
    task_tgid "`task_struct.tgid`";
    task_flags "`task_struct.flags`";
    task_state "`task_struct.__state`, or `state` before 5.14";
    task_on_cpu "`task_struct.on_cpu`";
    task_comm "`task_struct.comm`";
    task_stack "`task_struct.stack`";
    task_files "`task_struct.files`";
    task_mm "`task_struct.mm`";
    task_thread_pid "`task_struct.thread_pid`";
    task_group_leader "`task_struct.group_leader`";
    task_in_iowait_byte "byte of `task_struct.in_iowait`, a bit field";
    task_in_iowait_bit "bit of it within that byte";
    task_frozen_byte "byte of `task_struct.frozen` (cgroup v2 freezer), a bit field";
    task_frozen_bit "bit of it within that byte";
    pid_level "`pid.level`";
    pid_numbers "`pid.numbers`";
    upid_bytes "size of `struct upid`";
    upid_nr "`upid.nr`";
    task_fs_base "`task_struct.thread.fsbase`, x86_64 only";
    mm_start_stack "`mm_struct.start_stack`";
    task_cgroups "`task_struct.cgroups`";
    css_set_dfl_cgrp "`css_set.dfl_cgrp`";
    cgroup_level "`cgroup.level`";
    cgroup_ancestor_ids "`cgroup.ancestor_ids`, before 6.1 only";
    files_fdt "`files_struct.fdt`";
    fdt_max_fds "`fdtable.max_fds`";
    fdt_fd "`fdtable.fd`";
    file_inode "`file.f_inode`";
    file_private_data "`file.private_data`";
    file_dentry "`file.f_path.dentry`";
    dentry_name "`dentry.d_name.name`";
    inode_mode "`inode.i_mode`";
    inode_sb "`inode.i_sb`";
    inode_number "`inode.i_ino`";
    sb_magic "`super_block.s_magic`";
    sb_dev "`super_block.s_dev`";
    socket_sk "`socket.sk`";
    sock_family "`sock.__sk_common.skc_family`";
    sock_num "`sock.__sk_common.skc_num`";
    sock_dport "`sock.__sk_common.skc_dport`, in network order";
    sock_daddr "`sock.__sk_common.skc_daddr`";
    sock_v6_daddr "`sock.__sk_common.skc_v6_daddr`";
    request_queue "`request.q`";
    request_disk "`request.rq_disk`, before 5.17 only";
    request_flags "`request.cmd_flags`";
    request_bytes "`request.__data_len`";
    request_sector "`request.__sector`";
    request_bio "`request.bio`";
    request_started "`request.start_time_ns`";
    queue_disk "`request_queue.disk`, since 5.15";
    disk_major "`gendisk.major`";
    disk_first_minor "`gendisk.first_minor`";
    disk_name "`gendisk.disk_name`";
    bio_blkg "`bio.bi_blkg`";
    bio_pages "`bio.bi_io_vec`";
    page_mapping "`page.mapping`";
    mapping_host "`address_space.host`";
    blkg_blkcg "`blkcg_gq.blkcg`";
    blkcg_cgroup "`blkcg.css.cgroup`";
    cgroup_node "`cgroup.kn`";
    node_id "`kernfs_node.id`";
    mm_mmap_lock "`mm_struct.mmap_lock`, or `mmap_sem` before 5.8";
    task_sighand "`task_struct.sighand`";
    sighand_siglock "`sighand_struct.siglock`";
    mutex_owner "`mutex.owner`";
    rwsem_owner "`rw_semaphore.owner`";
    regs_ip "user registers: instruction pointer";
    regs_sp "user registers: stack pointer";
    regs_fp "user registers: frame pointer";
    regs_lr "user registers: link register";
    regs_mode "user registers: what tells a 32-bit program: code segment of x86_64, `pstate` of aarch64";
    regs_syscall "user registers: number of the system call";
    regs_arg0 "user registers: first argument of the system call";
    regs_arg1 "user registers: second argument";
    regs_arg2 "user registers: third argument";
    regs_arg3 "user registers: fourth argument";
    regs_bytes "size of the saved user registers";
}
