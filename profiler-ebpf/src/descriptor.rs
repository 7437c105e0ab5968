//! What do a thread's descriptors refer to? The only reader of the kernel's files, inodes and sockets.

use profiler_common::offsets::ABSENT;

use crate::{
    classify::FileKind,
    offset,
    task::{Task, load, probe},
};

/// Magic numbers of the kernel's internal file systems (include/uapi/linux/magic.h). Asked before the file type,
/// because anonymous inodes carry `S_IFREG` since 6.16 and no type before.
const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;
const S_IFMT: u16 = 0o170_000;

/// The `struct file` behind a descriptor.
#[inline(always)]
fn file(task: Task, descriptor: i32) -> Option<u64> {
    let files: *const u8 = load(task.as_ptr().cast(), offset!(task_files));
    if files.is_null() {
        return None;
    }
    let table: *const u8 = load(files, offset!(files_fdt));
    if table.is_null() {
        return None;
    }
    if descriptor as u32 >= load::<u32>(table, offset!(fdt_max_fds)) {
        return None;
    }
    let slots: u64 = load(table, offset!(fdt_fd));
    probe(slots + u64::from(descriptor as u32) * 8, 0)
}

/// The file behind a descriptor: number of the inode, device of its file system.
#[inline(always)]
pub fn file_of(task: Task, descriptor: i32) -> Option<(u64, u32)> {
    let inode: u64 = probe(file(task, descriptor)?, offset!(file_inode))?;
    let super_block: u64 = probe(inode, offset!(inode_sb))?;
    Some((probe(inode, offset!(inode_number))?, probe(super_block, offset!(sb_dev))?))
}

/// The other end of an internet socket.
#[derive(Clone, Copy)]
pub struct Peer {
    pub family: u16,
    pub local_port: u16,
    pub port: u16,
    pub address: [u8; 16],
}

/// The other end of the socket behind a descriptor; none if it is no internet socket.
#[inline(always)]
pub fn peer_of(task: Task, descriptor: i32) -> Option<Peer> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let (num, dport, daddr) = (offset!(sock_num), offset!(sock_dport), offset!(sock_daddr));
    if num == ABSENT || dport == ABSENT || daddr == ABSENT {
        return None;
    }
    let file = file(task, descriptor)?;
    let inode: u64 = probe(file, offset!(file_inode))?;
    if probe::<u16>(inode, offset!(inode_mode))? & S_IFMT != 0o140_000 {
        return None;
    }
    let socket: u64 = probe(file, offset!(file_private_data))?;
    let sock: u64 = probe(socket, offset!(socket_sk))?;
    let family: u16 = probe(sock, offset!(sock_family))?;
    let mut address = [0_u8; 16];
    match family {
        AF_INET => {
            let four: [u8; 4] = probe(sock, daddr)?;
            address[0] = four[0];
            address[1] = four[1];
            address[2] = four[2];
            address[3] = four[3];
        }
        AF_INET6 if offset!(sock_v6_daddr) != ABSENT => address = probe(sock, offset!(sock_v6_daddr))?,
        _ => return None,
    }
    Some(Peer { family, local_port: probe(sock, num)?, port: u16::from_be(probe(sock, dport)?), address })
}

/// What kind of file a descriptor refers to.
#[inline(always)]
pub fn file_kind(task: Task, descriptor: i32) -> Option<FileKind> {
    let file = file(task, descriptor)?;
    let inode: u64 = probe(file, offset!(file_inode))?;
    Some(match probe::<u16>(inode, offset!(inode_mode))? & S_IFMT {
        0o010_000 => FileKind::Pipe,
        0o020_000 => FileKind::CharacterDevice,
        0o060_000 => FileKind::Block,
        0o140_000 => socket_kind(file)?,
        _ => regular_or_anonymous(file, inode)?,
    })
}

#[inline(always)]
fn socket_kind(file: u64) -> Option<FileKind> {
    let socket: u64 = probe(file, offset!(file_private_data))?;
    let sock: u64 = probe(socket, offset!(socket_sk))?;
    Some(match probe::<u16>(sock, offset!(sock_family))? {
        1 => FileKind::UnixSocket,
        2 | 10 => FileKind::InternetSocket,
        _ => FileKind::OtherSocket,
    })
}

#[inline(always)]
fn regular_or_anonymous(file: u64, inode: u64) -> Option<FileKind> {
    let super_block: u64 = probe(inode, offset!(inode_sb))?;
    if probe::<u64>(super_block, offset!(sb_magic))? != ANON_INODE_FS_MAGIC {
        return Some(FileKind::Regular);
    }
    let dentry: u64 = probe(file, offset!(file_dentry))?;
    let name: u64 = probe(dentry, offset!(dentry_name))?;
    Some(match &probe::<[u8; 8]>(name, 0)? {
        b"[eventfd" => FileKind::Eventfd,
        b"[timerfd" => FileKind::Timerfd,
        b"[signalf" => FileKind::Signalfd,
        b"[eventpo" => FileKind::Epoll,
        b"[io_urin" => FileKind::IoUring,
        b"inotify\0" | b"[fanotif" | b"[userfau" | b"[perf_ev" => FileKind::Notification,
        _ => FileKind::Unknown,
    })
}
