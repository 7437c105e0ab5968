//! What a wait, or work, in the kernel is for, by the functions of its stack: what the ledger's states cannot
//! distinguish.

/// Ways through the kernel that mean something to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// Frees memory for itself.
    Reclaim,
    /// Makes room for large pages.
    Compaction,
    /// Reads back what had been swapped out.
    SwapIn,
    /// Is held up because too much is dirty.
    WriteThrottle,
    /// Waits for a request to be free, or for its turn by a limit, before any request exists.
    RequestTag,
    IoThrottle,
    /// Waits while a device's queue is frozen.
    QueueFreeze,
    /// Waits for the journal of its file system.
    Journal,
}

impl Path {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Self::Reclaim => "freeing memory",
            Self::Compaction => "compacting memory",
            Self::SwapIn => "reading swapped pages",
            Self::WriteThrottle => "throttled because too many pages are dirty",
            Self::RequestTag => "waiting for a free request slot of the device",
            Self::IoThrottle => "throttled by an I/O limit",
            Self::QueueFreeze => "waiting for a frozen queue",
            Self::Journal => "waiting for the file system's journal",
        }
    }
}

/// Beginnings of kernel functions. The first row of which a function is on the stack counts.
const BY_FUNCTION: &[(&[&str], Path)] = &[
    (
        &[
            "try_to_free_pages",
            "try_to_free_mem_cgroup_pages",
            "do_try_to_free_pages",
            "shrink_node",
            "shrink_lruvec",
            "mem_cgroup_handle_over_high",
            "__alloc_pages_direct_reclaim",
            "reclaim_throttle",
            "throttle_direct_reclaim",
        ],
        Path::Reclaim,
    ),
    (&["try_to_compact_pages", "compact_zone", "__alloc_pages_direct_compact"], Path::Compaction),
    (
        &["do_swap_page", "swap_readpage", "swap_read_folio", "swapin_readahead", "swap_cluster_readahead"],
        Path::SwapIn,
    ),
    (&["balance_dirty_pages", "wait_for_writeback_inodes"], Path::WriteThrottle),
    (
        &[
            "blk_throtl_",
            "tg_dispatch",
            "blkcg_maybe_throttle",
            "iocg_",
            "ioc_rqos_throttle",
            "iolatency_throttle",
            "blkcg_iolatency_throttle",
            "wbt_wait",
            "__wbt_wait",
            "rq_qos_wait",
        ],
        Path::IoThrottle,
    ),
    (&["blk_mq_get_tag", "__blk_mq_get_tag", "sbitmap_queue"], Path::RequestTag),
    (&["blk_queue_enter", "__bio_queue_enter", "blk_mq_freeze_queue_wait"], Path::QueueFreeze),
    (
        &["jbd2_", "xlog_", "xfs_log_", "btrfs_commit_transaction", "wait_current_trans", "btrfs_sync_log"],
        Path::Journal,
    ),
];

/// The way of a stack, by its kernel functions.
pub fn path<'a>(functions: &(impl Iterator<Item = &'a str> + Clone)) -> Option<Path> {
    let is_on_it = |prefixes: &[&str]| {
        functions.clone().any(|function| prefixes.iter().any(|prefix| function.starts_with(prefix)))
    };
    BY_FUNCTION.iter().find(|(prefixes, _)| is_on_it(prefixes)).map(|&(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(functions: &[&str], expected: Option<Path>) {
        assert_eq!(path(&functions.iter().copied()), expected);
    }

    #[test]
    fn a_way_is_known_by_any_of_its_functions() {
        check(
            &["io_schedule_timeout", "balance_dirty_pages", "generic_perform_write"],
            Some(Path::WriteThrottle),
        );
        check(&["schedule", "jbd2_log_wait_commit", "ext4_sync_file"], Some(Path::Journal));
        check(&["io_schedule", "blk_mq_get_tag", "submit_bio"], Some(Path::RequestTag));
        check(&["folio_wait_bit_common", "do_swap_page", "handle_mm_fault"], Some(Path::SwapIn));
    }

    #[test]
    fn reclaim_that_writes_is_reclaim() {
        check(
            &["rq_qos_wait", "submit_bio", "shrink_folio_list", "shrink_lruvec", "do_user_addr_fault"],
            Some(Path::Reclaim),
        );
    }

    #[test]
    fn a_plain_read_has_no_such_way() {
        check(&["io_schedule", "folio_wait_bit_common", "filemap_read"], None);
    }
}
