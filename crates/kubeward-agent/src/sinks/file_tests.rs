use std::os::unix::fs::PermissionsExt;

use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use tempfile::TempDir;

use super::*;
use crate::sinks::{LineSink, Pushed};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rotated(path: &Path, size_bytes: u64, keep: u32) -> LineSink<LogFile, u32> {
    LineSink::new(LogFile::append(path, Some(Rotation { size_bytes, keep })).expect("the folder is writable"))
}

fn push(sink: &mut LineSink<LogFile, u32>, line: &str) {
    assert_eq!(sink.push(line.as_bytes(), 0), Pushed::Kept);
}

#[test]
fn create_empties_and_append_continues() {
    let folder = folder();
    let path = folder.path().join("events");
    fs::write(&path, "old\n").expect("the folder is writable");
    let mut sink = LineSink::new(LogFile::append(&path, None).expect("it can be opened"));
    push(&mut sink, "new\n");
    assert!(sink.close().failure.is_none());
    assert_eq!(text(&path), "old\nnew\n");

    let mut sink = LineSink::new(LogFile::create(&path).expect("it can be emptied"));
    push(&mut sink, "newer\n");
    assert!(sink.close().failure.is_none());
    assert_eq!(text(&path), "newer\n");
}

#[test]
fn new_file_of_the_agent_is_for_its_owner_alone() {
    let folder = folder();
    let path = folder.path().join("events");
    LogFile::append(&path, None).expect("the folder is writable");
    assert_eq!(fs::metadata(&path).expect("it exists").permissions().mode() & 0o777, 0o600);
}

#[test]
fn half_line_of_an_earlier_run_is_ended_first() {
    let folder = folder();
    let path = folder.path().join("events");
    fs::write(&path, "old\nha").expect("the folder is writable");
    let mut sink = LineSink::new(LogFile::append(&path, None).expect("it can be opened"));
    push(&mut sink, "new\n");
    assert!(sink.close().failure.is_none());
    assert_eq!(text(&path), "old\nha\nnew\n");
}

#[test]
fn path_that_cannot_be_opened_is_named() {
    let folder = folder();
    let path = folder.path().join("absent").join("events");
    for outcome in [LogFile::append(&path, None), LogFile::create(&path)] {
        let error = outcome.expect_err("the folder does not exist");
        assert!(std::error::Error::source(&error).is_none(), "a chain would say the cause twice");
        let message = error.to_string();
        let expected = format!("cannot open {} for events: No such file or directory (os error 2)", path.display());
        assert_eq!(message, expected);
    }
}

#[test]
fn device_is_written_to_but_never_renamed() {
    let rotation = Some(Rotation { size_bytes: 10, keep: 1 });
    let refused = LogFile::append(Path::new("/dev/full"), rotation).expect_err("a device cannot be rotated");
    assert!(matches!(refused, OutputError::NotRotatable { .. }));
    let mut sink = LineSink::new(LogFile::append(Path::new("/dev/full"), None).expect("it can be opened"));
    push(&mut sink, "one\n");
    assert!(matches!(sink.flush(), Err(OutputError::Full { .. })));
}

#[test]
fn fifo_is_opened_once_and_not_emptied() {
    let folder = folder();
    let path = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("coreutils has mkfifo").success());
    let reading = std::thread::spawn({
        let path = path.clone();
        move || text(&path)
    });
    let mut sink = LineSink::new(LogFile::create(&path).expect("it has a reader"));
    push(&mut sink, "one\n");
    assert!(sink.close().failure.is_none());
    assert_eq!(reading.join().expect("the reader does not panic"), "one\n");
}

#[test]
fn full_files_are_numbered_and_the_oldest_goes() {
    let folder = folder();
    let path = folder.path().join("events");
    let mut sink = rotated(&path, 8, 2);
    for line in ["a1\n", "b2\n", "c3\n", "d4\n", "longer than a file\n", "e5\n", "f6\n", "g7\n"] {
        push(&mut sink, line);
    }
    assert!(sink.close().failure.is_none());
    assert_eq!(text(&path), "g7\n");
    assert_eq!(text(&folder.path().join("events.1")), "e5\nf6\n");
    assert_eq!(text(&folder.path().join("events.2")), "longer than a file\n");
    assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 3);
}

#[test]
fn keeping_none_removes_the_full_file() {
    let folder = folder();
    let path = folder.path().join("events");
    let mut sink = rotated(&path, 6, 0);
    ["a1\n", "b2\n", "c3\n"].into_iter().for_each(|line| push(&mut sink, line));
    assert!(sink.close().failure.is_none());
    assert_eq!(text(&path), "c3\n");
    assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 1);
}

#[test]
fn later_run_goes_on_counting_in_the_same_file() {
    let folder = folder();
    let path = folder.path().join("events");
    for line in ["a1\n", "b2\n", "c3\n"] {
        let mut sink = rotated(&path, 6, 3);
        push(&mut sink, line);
        assert!(sink.close().failure.is_none());
    }
    assert_eq!(text(&path), "c3\n");
    assert_eq!(text(&folder.path().join("events.1")), "a1\nb2\n");
}

#[test]
fn rotation_loses_no_line_and_tears_none() {
    let folder = folder();
    let path = folder.path().join("events");
    let mut sink = rotated(&path, 10_000, 1_000);
    let lines: Vec<String> = (0..20_000).map(|number| format!("line {number} {}\n", "x".repeat(number % 90))).collect();
    for (position, line) in lines.iter().enumerate() {
        push(&mut sink, line);
        if position % 37 == 0 {
            sink.flush().expect("the disk has room");
        }
    }
    assert!(sink.close().failure.is_none());
    let files = fs::read_dir(folder.path()).expect("it can be listed").count();
    let numbered = (1..files).rev().map(|number| folder.path().join(format!("events.{number}")));
    let mut all = String::new();
    for file in numbered.chain([path]) {
        let part = text(&file);
        assert!(part.len() <= 10_000 && part.ends_with('\n'));
        all += &part;
    }
    assert_eq!(all, lines.concat());
}

#[test]
fn failed_rename_keeps_lines_and_what_was_kept_before() {
    let folder = folder();
    let path = folder.path().join("events");
    let numbered = |number: u32| folder.path().join(format!("events.{number}"));
    fs::write(numbered(3), "kept\n").expect("the folder is writable");
    // A folder cannot take the place of a file: 2 does not become 3.
    fs::create_dir(numbered(2)).expect("the folder is writable");
    fs::create_dir(numbered(1)).expect("the folder is writable");
    let mut sink = rotated(&path, 6, 3);
    ["a1\n", "b2\n", "c3\n"].into_iter().for_each(|line| push(&mut sink, line));
    for _ in 0..3 {
        assert!(matches!(sink.flush(), Err(OutputError::Rotate { .. })));
        assert_eq!((text(&path), text(&numbered(3))), ("a1\nb2\n".into(), "kept\n".into()));
    }
    fs::remove_dir_all(numbered(2)).expect("the folder is writable");
    fs::remove_dir_all(numbered(1)).expect("the folder is writable");
    sink.flush().expect("nothing is in the way");
    assert_eq!(
        (text(&path), text(&numbered(1)), text(&numbered(3))),
        ("c3\n".into(), "a1\nb2\n".into(), "kept\n".into())
    );
}

#[test]
fn reopening_follows_a_rename_by_others() {
    let folder = folder();
    let (path, moved) = (folder.path().join("events"), folder.path().join("moved"));
    let mut sink = LineSink::new(LogFile::append(&path, None).expect("the folder is writable"));
    push(&mut sink, "one\n");
    fs::rename(&path, &moved).expect("the folder is writable");
    sink.reopen().expect("the folder is writable");
    push(&mut sink, "two\n");
    assert!(sink.close().failure.is_none());
    assert_eq!((text(&moved), text(&path)), ("one\n".into(), "two\n".into()));
}

/// A small file system of its own, gone with it.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        let folder = folder();
        let options = std::ffi::CString::new(format!("size={size}")).expect("no NUL in it");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), options.as_c_str()).expect("root may mount");
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).expect("it is mounted");
    }
}

#[test]
fn root_full_disk_tears_no_line_and_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount("256k");
    let (path, ballast) = (disk.0.path().join("events"), disk.0.path().join("ballast"));
    fs::write(&ballast, vec![0; 128 << 10]).expect("half the disk is free");
    let mut sink = LineSink::new(LogFile::append(&path, None).expect("the disk is writable"));
    let lines: Vec<String> = (0..1_900).map(|number| format!("line {number:04} {}\n", "x".repeat(93))).collect();
    for (tag, line) in lines.iter().enumerate() {
        assert_eq!(sink.push(line.as_bytes(), tag), Pushed::Kept);
    }
    assert!(matches!(sink.flush(), Err(OutputError::Full { .. })));
    let written = text(&path);
    assert!(written.len() > 100 << 10 && lines.concat().starts_with(&written) && written.ends_with('\n'));

    fs::remove_file(&ballast).expect("it exists");
    sink.flush().expect("there is room again");
    assert_eq!(text(&path), lines.concat());
}

#[test]
fn root_lines_that_stay_unwritten_are_given_back() {
    let disk = SmallDisk::mount("64k");
    let path = disk.0.path().join("events");
    let mut sink = LineSink::new(LogFile::append(&path, None).expect("the disk is writable"));
    let line = format!("{}\n", "x".repeat(999));
    (0..100).for_each(|tag| assert_eq!(sink.push(line.as_bytes(), tag), Pushed::Kept));
    let closed = sink.close();
    let written = text(&path).lines().count();
    assert_eq!(written, 65);
    assert_eq!(closed.unwritten, (65..100).collect::<Vec<_>>());
    assert!(matches!(closed.failure, Some(OutputError::Full { .. })));
}
