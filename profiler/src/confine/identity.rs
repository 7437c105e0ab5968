//! Whose files the results are: those of the user who called sudo.
//!
//! The profiler stays root for what only root may read. Results are created as the invoking user, so that the kernel itself
//! keeps them from landing where that user may not write.

use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Who is to own the files that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

impl Owner {
    /// The user who called sudo, from the values of `SUDO_UID` and `SUDO_GID`; none if either is not a number.
    pub fn of_sudo(uid: Option<&str>, gid: Option<&str>) -> Option<Self> {
        Some(Self { uid: uid?.parse().ok()?, gid: gid?.parse().ok()? })
    }

    /// [`Owner::of_sudo`] from this process's environment.
    pub fn from_environment() -> Option<Self> {
        Self::of_sudo(std::env::var("SUDO_UID").ok().as_deref(), std::env::var("SUDO_GID").ok().as_deref())
    }
}

/// Makes the invoking user this process's real user and its groups ours, so that [`as_invoking_user`] works later without
/// any capability. It stays effectively root.
pub fn adopt_invoking_user() {
    let Some(user) = invoking_user() else { return };
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let name = std::env::var("SUDO_USER").ok();
    let groups: Vec<Gid> = groups(name.as_deref(), user.gid).into_iter().map(Gid::from_raw).collect();
    // Where one is refused (a container without `SETUID` or `SETGID`), results are written as root and given away.
    let _ = set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, Gid::ROOT, Gid::ROOT))
        .and_then(|()| set_thread_res_uid(uid, Uid::ROOT, Uid::ROOT));
}

/// Who called sudo, if this process is root and was called by another user.
fn invoking_user() -> Option<Owner> {
    let owner = Owner::from_environment()?;
    (rustix::process::geteuid().is_root() && owner.uid != 0).then_some(owner)
}

/// Does something as the invoking user. None if there is none, or this process cannot become it.
pub fn as_invoking_user<T>(work: impl FnOnce() -> T) -> Option<T> {
    let user = invoking_user()?;
    let _guard = ActingAs::user(user)?;
    Some(work())
}

/// While it lives, this thread meets files as another user.
struct ActingAs;

impl ActingAs {
    fn user(user: Owner) -> Option<Self> {
        // The group first: a user that may do neither may not change it back.
        set_file_ids(user.uid, user.gid);
        let guard = Self;
        (file_ids() == (user.uid, user.gid)).then_some(guard)
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        set_file_ids(0, 0);
    }
}

/// Both calls return what was before and never an error: whether they worked is asked by [`file_ids`].
fn set_file_ids(uid: u32, gid: u32) {
    // SAFETY: both take numbers, and change this thread alone.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}

/// An id that there cannot be changes nothing.
fn file_ids() -> (u32, u32) {
    // SAFETY: both take numbers, and change nothing.
    unsafe {
        (
            libc::syscall(libc::SYS_setfsuid, u32::MAX) as u32,
            libc::syscall(libc::SYS_setfsgid, u32::MAX) as u32,
        )
    }
}

/// All groups of a user: the one that is given, if the user has no name or no entry.
pub fn groups(user: Option<&str>, gid: u32) -> Vec<u32> {
    /// `NGROUPS_MAX` of Linux is 65,536; nobody has more than a few dozen.
    const MOST: usize = 1024;
    let Some(user) = user.and_then(|user| std::ffi::CString::new(user).ok()) else { return vec![gid] };
    let mut groups = vec![0; MOST];
    let mut count = MOST as libc::c_int;
    // SAFETY: the array has room for `count` groups.
    let result = unsafe { libc::getgrouplist(user.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
    if result < 0 {
        return vec![gid];
    }
    groups.truncate(count as usize);
    groups
}
