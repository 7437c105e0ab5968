use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn to(path: &Path) -> Destination {
    Destination::File(path.to_owned())
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("readable");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn check_error(result: Result<Written, OutputError>, expected: &str) {
    let error = result.expect_err("must fail").to_string();
    assert!(error.contains(expected), "`{error}` does not contain `{expected}`");
}

#[test]
fn a_file_is_written_whole_and_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.json");
    let written = write(&to(&path), None, |out| out.write_all(b"{}")).expect("writable");
    assert!(written.owner_error.is_none());
    assert_eq!(std::fs::read(&path).expect("there"), b"{}");
    assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_failure_half_way_keeps_the_older_file_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.json");
    std::fs::write(&path, "older").expect("writable");
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let result = write(&to(&path), None, |out| out.write_all(b"half").and(Err(full)));
    check_error(result, "no space left; no partial file was kept\n  try: free some space");
    assert_eq!(std::fs::read(&path).expect("still there"), b"older");
    assert_eq!(names_in(directory.path()), ["out.json"]);
}

#[test]
fn a_file_system_that_fills_up_is_told_and_left_clean() {
    let directory = tempfile::tempdir().expect("a directory");
    if directory.path().metadata().expect("there").uid() != 0 {
        return eprintln!("skipped: only root can mount a small tmpfs");
    }
    let _mounted = SmallTmpfs::mount(directory.path());
    let path = directory.path().join("out.prof");
    check_error(write(&to(&path), None, |out| out.write_all(&vec![1; 1 << 20])), "no space left");
    assert_eq!(names_in(directory.path()), [""; 0]);
}

#[test]
fn a_device_is_written_in_place() {
    check_error(write(&to(Path::new("/dev/full")), None, |out| out.write_all(b"x")), "no space left");
    write(&to(Path::new("/dev/null")), None, |out| out.write_all(b"x")).expect("takes everything");
    assert!(!Path::new("/dev/null").metadata().expect("there").is_file());
}

#[test]
fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("no/such/out.json");
    let expected = format!("the directory `{}/no/such` does not exist", directory.path().display());
    check_error(write(&to(&path), None, |_| Ok(())), &expected);
}

#[test]
fn a_directory_as_file_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    check_error(write(&to(directory.path()), None, |_| Ok(())), "it is a directory");
}

#[test]
fn a_directory_that_refuses_files_is_named() {
    // Root may write everywhere but in procfs.
    let result = write(&to(Path::new("/proc/self/out.json")), None, |_| Ok(()));
    check_error(result, "cannot write `/proc/self/out.json`: ");
    let denied = classify(Path::new("/root/x"), io::ErrorKind::PermissionDenied.into());
    assert!(denied.to_string().contains("you may not write to the directory `/root`"));
}

#[test]
fn the_file_belongs_to_the_user_who_called_sudo_or_says_why_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("out.json");
    let owner = Owner { uid: 12_345, gid: 12_346 };
    let written = write(&to(&path), Some(owner), |_| Ok(())).expect("written in any case");
    let metadata = path.metadata().expect("there");
    match written.owner_error {
        None => assert_eq!((metadata.uid(), metadata.gid()), (12_345, 12_346)),
        Some(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
    }
}

/// A directory in which anyone may make files, as `/tmp` is.
fn shared_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let shared = std::fs::Permissions::from_mode(0o1777);
    std::fs::set_permissions(directory.path(), shared).expect("it is ours");
    directory
}

#[test]
fn a_link_to_a_file_is_replaced_and_what_it_leads_to_stays() {
    let directory = shared_directory();
    let [path, other] = ["out.json", "other"].map(|name| directory.path().join(name));
    std::fs::write(&other, "precious").expect("writable");
    symlink(&other, &path).expect("a link");
    write(&to(&path), None, |out| out.write_all(b"{}")).expect("writable");
    assert!(path.symlink_metadata().expect("there").is_file());
    assert_eq!(std::fs::read(&other).expect("there"), b"precious");
}

#[test]
fn a_link_to_a_device_is_followed_only_where_not_anyone_could_make_it() {
    let directory = shared_directory();
    let path = directory.path().join("out.json");
    symlink("/dev/full", &path).expect("a link");
    write(&to(&path), None, |out| out.write_all(b"{}")).expect("a file of our own");
    assert!(path.symlink_metadata().expect("there").is_file());
    let own = tempfile::tempdir().expect("a directory");
    let path = own.path().join("out.json");
    symlink("/dev/full", &path).expect("a link");
    check_error(write(&to(&path), None, |out| out.write_all(b"{}")), "no space left");
}

#[test]
fn somebody_elses_fifo_in_a_shared_directory_is_not_written_to() {
    let directory = shared_directory();
    let path = directory.path().join("out.json");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("start");
    assert!(made.success());
    // With a reader, so that opening does not wait.
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("a FIFO");
    write(&to(&path), None, |out| out.write_all(b"x")).expect("our own FIFO");
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_err() {
        return eprintln!("skipped: only root can make a FIFO of another user");
    }
    check_error(write(&to(&path), None, |out| out.write_all(b"x")), "cannot write");
}

#[test]
fn sudo_is_believed_only_with_two_numbers() {
    assert_eq!(Owner::of_sudo(Some("1000"), Some("100")), Some(Owner { uid: 1000, gid: 100 }));
    assert_eq!(Owner::of_sudo(Some("1000"), None), None);
    assert_eq!(Owner::of_sudo(Some("-1"), Some("0")), None);
}

#[test]
fn a_minus_is_standard_output() {
    assert_eq!(Destination::parse(OsStr::new("-")), Destination::Stdout);
    assert_eq!(Destination::parse(OsStr::new("./-")), to(Path::new("./-")));
}

/// A file system of 64 KiB, unmounted when dropped.
struct SmallTmpfs(PathBuf);

impl SmallTmpfs {
    fn mount(directory: &Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let status = std::process::Command::new("mount").args(mount).arg(directory).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot mount a tmpfs");
        Self(directory.to_owned())
    }
}

impl Drop for SmallTmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}
