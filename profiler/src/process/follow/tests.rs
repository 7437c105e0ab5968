//! A process that never was: its layout comes from what is told of it alone, its files from our own.

use std::borrow::Cow;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::process::{Limits, MapsLine};
use crate::unwind::{Captured, Location, Registers};
use profiler_report::recording::{Broken, StackEnd};

const NOBODY: u32 = u32::MAX - 1;
const BASE: u64 = 0x10_0000;

/// A whole file, mapped as code.
fn line(path: &str, start: u64) -> MapsLine<'static> {
    let metadata = std::fs::metadata(path).expect("the file");
    MapsLine {
        start,
        end: start + 0x1000,
        executable: true,
        offset: 0x1000,
        device: (libc::major(metadata.dev()), libc::minor(metadata.dev())),
        inode: metadata.ino(),
        generation: 0,
        path: Cow::Owned(path.as_bytes().to_vec()),
        deleted: false,
    }
}

fn tell(processes: &mut Processes, at_ns: u64, what: What) {
    processes.changed(LayoutChange { tgid: NOBODY, at_ns, what });
}

/// The file in which a sample at this moment finds this address.
fn place(processes: &mut Processes, address: u64, at_ns: u64) -> Option<String> {
    let mut out = Vec::new();
    let registers = Registers { ip: address, sp: 0x1000, fp: 0, lr: 0 };
    let end = processes.unwind(NOBODY, Captured::new(registers, &[0; 64]), at_ns, &mut out).end;
    if end == StackEnd::Broken(Broken::ProcessGone) {
        return None;
    }
    match out[0] {
        Location::File { image, file_offset } => {
            assert_eq!(file_offset, address - BASE + 0x1000);
            Some(processes.images()[image as usize].path.clone())
        }
        Location::Unmapped { .. } => Some("no file".to_owned()),
    }
}

/// Symbolic links are not followed by the kernel's paths either.
fn real(path: &str) -> String {
    std::fs::canonicalize(path).expect("a real path").to_str().expect("plain").to_owned()
}

fn programs() -> [String; 2] {
    ["/bin/sleep", "/bin/cat"].map(real)
}

#[test]
fn a_process_that_lives_shorter_than_a_tick_is_known_by_what_was_told() {
    let [sleep, _] = programs();
    let mut processes = Processes::new(Limits::default());
    tell(&mut processes, 10, What::Exec);
    tell(&mut processes, 11, What::Mapped(line(&sleep, BASE)));
    assert_eq!(place(&mut processes, BASE + 8, 20), Some(sleep));
}

#[test]
fn a_sample_meets_the_layout_of_its_moment() {
    let [sleep, cat] = programs();
    let mut processes = known(&sleep);
    // Unloaded, and another library loaded in its place.
    tell(&mut processes, 30, What::Mapped(line(&cat, BASE)));
    assert_eq!(place(&mut processes, BASE + 8, 29), Some(sleep));
    assert_eq!(place(&mut processes, BASE + 8, 30), Some(cat));
}

#[test]
fn an_exec_leaves_nothing_of_what_was_mapped_before() {
    let [sleep, _] = programs();
    let mut processes = known(&sleep);
    tell(&mut processes, 20, What::Exec);
    processes.replaced(NOBODY, 21);
    assert_eq!(place(&mut processes, BASE + 8, 25), Some("no file".to_owned()));
}

#[test]
fn until_an_exec_is_over_a_sample_meets_the_old_program() {
    let [sleep, cat] = programs();
    let mut processes = known(&sleep);
    tell(&mut processes, 20, What::Exec);
    tell(&mut processes, 21, What::Mapped(line(&cat, BASE)));
    assert_eq!(place(&mut processes, BASE + 8, 22), Some(sleep));
    processes.replaced(NOBODY, 23);
    assert_eq!(place(&mut processes, BASE + 8, 24), Some(cat));
}

#[test]
fn an_exec_whose_end_is_never_told_is_over_after_a_second() {
    let [sleep, cat] = programs();
    let mut processes = known(&sleep);
    tell(&mut processes, 20, What::Exec);
    tell(&mut processes, 21, What::Mapped(line(&cat, BASE)));
    assert_eq!(place(&mut processes, BASE + 8, KEPT_NS), Some(sleep));
    assert_eq!(place(&mut processes, BASE + 8, KEPT_NS + 21), Some(cat));
}

/// A process that has mapped this file.
fn known(path: &str) -> Processes {
    let mut processes = Processes::new(Limits::default());
    tell(&mut processes, 10, What::Exec);
    tell(&mut processes, 11, What::Mapped(line(path, BASE)));
    processes.replaced(NOBODY, 12);
    processes
}

#[test]
fn without_an_exec_nothing_is_made_of_an_unknown_process() {
    let [sleep, _] = programs();
    let mut processes = Processes::new(Limits::default());
    tell(&mut processes, 11, What::Mapped(line(&sleep, BASE)));
    assert_eq!(place(&mut processes, BASE + 8, 20), None);
}

#[test]
fn a_child_has_what_its_parent_had_at_the_fork() {
    let [sleep, cat] = programs();
    let (parent, mut processes) = (NOBODY - 1, Processes::new(Limits::default()));
    let tell_parent = |processes: &mut Processes, at_ns, what| {
        processes.changed(LayoutChange { tgid: parent, at_ns, what });
    };
    tell_parent(&mut processes, 10, What::Exec);
    tell_parent(&mut processes, 11, What::Mapped(line(&sleep, BASE)));
    tell_parent(&mut processes, 30, What::Mapped(line(&cat, BASE)));
    processes.replaced(parent, 12);
    processes.forked(parent, NOBODY, 20);
    assert_eq!(place(&mut processes, BASE + 8, 40), Some(sleep));
}

#[test]
fn a_child_of_a_parent_that_was_never_looked_at_has_its_mappings() {
    let mut processes = Processes::new(Limits::default());
    processes.forked(std::process::id(), NOBODY, 10);
    let code = place as *const () as u64;
    let mut out = Vec::new();
    let registers = Registers { ip: code, sp: 0x1000, fp: 0, lr: 0 };
    processes.unwind(NOBODY, Captured::new(registers, &[0; 64]), 20, &mut out);
    assert!(matches!(out[0], Location::File { .. }), "{out:?}");
}

#[test]
fn a_process_that_has_ended_is_not_mistaken_for_the_next_with_its_id() {
    let [sleep, _] = programs();
    let mut processes = known(&sleep);
    assert_eq!(place(&mut processes, BASE + 8, 12), Some(sleep));
    processes.ended(NOBODY);
    assert_eq!(place(&mut processes, BASE + 8, 20), None);
}

#[test]
fn after_a_loss_layouts_are_read_anew_and_the_loss_is_counted() {
    let mut processes = Processes::new(Limits::default());
    let own = std::process::id();
    processes.refresh(own, 10).expect("own maps");
    processes.changed(LayoutChange { tgid: 0, at_ns: 20, what: What::Lost(3) });
    processes.know(own, 30);
    assert_eq!(processes.by_tgid[&own].read_at_ns, 30);
    processes.know(own, 40);
    assert_eq!(processes.by_tgid[&own].read_at_ns, 30);
    assert_eq!(processes.counts().changes_lost, 3);
}

#[test]
fn another_file_with_the_same_path_and_number_is_not_taken() {
    let directory = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let path = directory.path().join("program");
    std::fs::copy("/bin/sleep", &path).expect("a copy");
    let path = path.to_str().expect("plain");
    let mut processes = Processes::new(Limits::default());
    let mapped = MapsLine { generation: u64::from(u32::MAX), ..line(path, BASE) };
    tell(&mut processes, 10, What::Exec);
    tell(&mut processes, 11, What::Mapped(mapped));
    assert_eq!(place(&mut processes, BASE + 8, 20), Some(path.to_owned()));
    let image = processes.images().iter().find(|image| image.path == path).expect("the image");
    // Where the file system tells generations (ext4, xfs and btrfs do), nothing was read.
    let tells = super::super::open::generation(&std::fs::File::open(path).expect("the file")).is_some();
    assert_eq!(image.file.is_none(), tells);
}
