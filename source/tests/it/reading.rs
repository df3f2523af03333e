//! What is read, and what is not: special files, what vanished, what changed.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use regexctl_source::{
    EntryKind, ErrorKind, Links, Listing, NameSlice, Opened, Read, ReadBuf, Source, SpecialKind,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::helpers::{
    PLENTY, beneath, contents, everything, open, open_dir, open_file, read_name, temp,
};
use crate::listing::list_all;

#[test]
fn files_are_read_whole_or_found_to_be_longer() {
    let (_guard, root) = temp();
    let dir = open_dir(&everything(), &root);
    let mut buf = ReadBuf::with_capacity(1000);
    for len in [0, 1, 999, 1000, 1001, 5000] {
        let bytes: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
        fs::write(root.join("f"), &bytes).expect("writable");
        match read_name(&*dir, "f", &mut buf).expect("it reads") {
            Read::Whole(got) => {
                assert!(len <= 1000, "{len} bytes are whole");
                assert_eq!(buf.filled(got), bytes);
            }
            Read::Longer(file) => {
                assert!(len > 1000, "{len} bytes are longer");
                assert_eq!(buf.filled(1000), &bytes[..1000]);
                assert_eq!(file.size(), Ok(u64::from(len)));
                assert_eq!(contents(&*file), bytes);
                assert_eq!(&file.map().expect("a local file")[..], bytes);
            }
        }
        assert_eq!(dir.file_size(c"f", Links::Refuse), Ok(u64::from(len)));
    }
    assert_eq!(open_file(&everything(), &root.join("f")).size(), Ok(5000));
}

#[test]
fn an_empty_file_is_not_mapped() {
    let (_guard, root) = temp();
    fs::write(root.join("f"), b"").expect("writable");
    assert!(open_file(&everything(), &root.join("f")).map().is_none());
}

#[test]
fn names_are_bytes_and_as_long_as_they_come() {
    let (_guard, root) = temp();
    let long = "n".repeat(255);
    let odd = b"\xff\xfe \n*".as_slice();
    fs::write(root.join(&long), b"long").expect("writable");
    fs::write(root.join(OsStr::from_bytes(odd)), b"odd").expect("writable");
    let source = beneath(&root);
    let dir = open_dir(&source, &root);
    let names = list_all(&*dir, PLENTY);
    assert!(names.contains_key(long.as_bytes()) && names.contains_key(odd));
    let mut buf = ReadBuf::new();
    for (name, bytes) in [(long.as_bytes(), b"long".as_slice()), (odd, b"odd")] {
        let name = CString::new(name).expect("no NUL");
        assert!(matches!(dir.read(&name, &mut buf), Ok(Read::Whole(n)) if buf.filled(n) == bytes));
    }
    let error = read_name(&*dir, &"n".repeat(256), &mut buf).expect_err("too long");
    assert_eq!(error.kind, ErrorKind::TooLong);
}

/// 40 directories of 255-byte names: more than the kernel takes in one path.
#[test]
fn paths_longer_than_path_max() {
    let (_guard, root) = temp();
    let name = CString::new("d".repeat(255)).expect("no NUL");
    let mut path = root.as_os_str().as_bytes().to_vec();
    let mut fd =
        rustix::fs::open(&root, rustix::fs::OFlags::PATH, Mode::empty()).expect("it exists");
    for _ in 0..40 {
        rustix::fs::mkdirat(&fd, &name, Mode::from_raw_mode(0o700)).expect("writable");
        fd = rustix::fs::openat(&fd, &name, rustix::fs::OFlags::PATH, Mode::empty()).expect("made");
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&fd, "f", flags, Mode::from_raw_mode(0o600)).expect("writable");
    rustix::io::write(&file, b"deep").expect("writable");
    rustix::fs::symlinkat("f", &fd, "link").expect("writable");

    for source in [everything(), beneath(&root)] {
        let Ok(Opened::Dir(dir)) = source.open(&path, Links::Refuse) else {
            panic!("the deep directory does not open");
        };
        assert_eq!(list_all(&*dir, PLENTY).len(), 2);
        let mut buf = ReadBuf::new();
        assert!(matches!(
            read_name(&*dir, "f", &mut buf),
            Ok(Read::Whole(4))
        ));
        assert!(matches!(
            dir.open_child(c"link", Links::Follow),
            Ok(Opened::File(_))
        ));
        let link = [path.as_slice(), b"/../", name.to_bytes(), b"/link"].concat();
        let Ok(Opened::File(file)) = source.open(&link, Links::Follow) else {
            panic!("the deep link does not open");
        };
        assert_eq!(contents(&*file), b"deep");
        assert!(matches!(
            source.open(&link, Links::Refuse),
            Ok(Opened::Symlink)
        ));
        assert_eq!(
            source.canonical(&link),
            Ok([path.as_slice(), b"/f"].concat())
        );
    }
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("FIFOs need no rights");
}

#[test]
fn special_files_are_not_opened() {
    let (_guard, root) = temp();
    make_fifo(&root.join("fifo"));
    let _listener = UnixListener::bind(root.join("socket")).expect("writable");
    symlink("fifo", root.join("to-fifo")).expect("writable");
    for source in [everything(), beneath(&root)] {
        let dir = open_dir(&source, &root);
        let kinds = list_all(&*dir, PLENTY);
        assert_eq!(kinds[b"fifo".as_slice()].0, EntryKind::Special);
        assert_eq!(kinds[b"socket".as_slice()].0, EntryKind::Special);
        for (name, kind) in [
            (c"fifo", SpecialKind::Fifo),
            (c"socket", SpecialKind::Socket),
            (c"to-fifo", SpecialKind::Fifo),
        ] {
            let opened = dir.open_child(name, Links::Follow);
            assert!(
                matches!(opened, Ok(Opened::Special(got)) if got == kind),
                "{opened:?}"
            );
        }
        // Even when told that it is a file, reading returns at once.
        let mut buf = ReadBuf::new();
        for name in ["fifo", "socket"] {
            let error = read_name(&*dir, name, &mut buf).expect_err("not a file");
            assert_eq!(error.kind, ErrorKind::Changed, "{name}");
        }
    }
    let opened = open(&everything(), Path::new("/dev/null"), Links::Follow);
    assert!(matches!(
        opened,
        Ok(Opened::Special(SpecialKind::CharDevice))
    ));
    // An endless device in the place of a file is not taken for a large file.
    let dev = open_dir(&everything(), Path::new("/dev"));
    let mut buf = ReadBuf::with_capacity(100);
    let error = read_name(&*dev, "zero", &mut buf).expect_err("a device");
    assert_eq!(error.kind, ErrorKind::Changed);
}

#[test]
fn kernel_file_systems_are_refused_below_roots_only() {
    let everything = everything();
    let restricted = beneath(Path::new("/"));
    for path in ["/proc", "/proc/self/status", "/sys/kernel"] {
        let opened = open(&restricted, Path::new(path), Links::Follow);
        assert!(
            matches!(opened, Ok(Opened::Special(SpecialKind::KernelFs))),
            "{path}: {opened:?}"
        );
    }
    let top = open_dir(&restricted, Path::new("/"));
    let opened = top.open_child(c"proc", Links::Refuse);
    assert!(
        matches!(opened, Ok(Opened::Special(SpecialKind::KernelFs))),
        "{opened:?}"
    );

    // Where it is allowed, a file that comes in pieces is read to its end.
    let dir = open_dir(&everything, Path::new("/proc/self"));
    let mut buf = ReadBuf::with_capacity(1 << 20);
    let Ok(Read::Whole(len)) = read_name(&*dir, "smaps", &mut buf) else {
        panic!("/proc/self/smaps is readable");
    };
    assert!(
        len > 4096,
        "more than one page, in which the kernel writes it: {len}"
    );
    assert!(buf.filled(len).ends_with(b"\n"));
    assert!(
        open_file(&everything, Path::new("/proc/self/smaps"))
            .map()
            .is_none()
    );
}

#[test]
fn what_vanishes_is_not_found() {
    let (_guard, root) = temp();
    fs::create_dir(root.join("d")).expect("writable");
    fs::write(root.join("d/f"), b"x").expect("writable");
    for source in [everything(), beneath(&root)] {
        fs::create_dir_all(root.join("d")).expect("writable");
        let dir = open_dir(&source, &root.join("d"));
        let mut listing = Listing::new();
        dir.list(NameSlice::WHOLE, PLENTY, &mut listing)
            .expect("it lists");
        fs::remove_dir_all(root.join("d")).expect("writable");
        let mut buf = ReadBuf::new();
        let gone = [
            read_name(&*dir, "f", &mut buf).map(drop),
            dir.open_child(c"f", Links::Follow).map(drop),
            dir.list(NameSlice::WHOLE, PLENTY, &mut listing).map(drop),
            open(&source, &root.join("d"), Links::Follow).map(drop),
        ];
        for result in gone {
            assert_eq!(result.map_err(|error| error.kind), Err(ErrorKind::NotFound));
        }
    }
}

#[test]
fn what_is_no_longer_a_file_is_told() {
    let (_guard, root) = temp();
    fs::create_dir(root.join("dir")).expect("writable");
    symlink("dir", root.join("link")).expect("writable");
    let dir = open_dir(&everything(), &root);
    let mut buf = ReadBuf::new();
    for (name, text) in [
        ("dir", "it has become a directory"),
        ("link", "it has become a symbolic link"),
    ] {
        let error = read_name(&*dir, name, &mut buf).expect_err("not a file");
        assert_eq!(
            (error.kind, error.to_string().as_str()),
            (ErrorKind::Changed, text)
        );
    }
}

/// As root nothing is forbidden, so this one needs an ordinary user.
#[test]
fn what_may_not_be_read_is_told() {
    if rustix::process::geteuid().is_root() {
        eprintln!("skipped: root may read everything");
        return;
    }
    let (_guard, root) = temp();
    fs::write(root.join("f"), b"x").expect("writable");
    rustix::fs::chmod(root.join("f"), Mode::empty()).expect("own file");
    let dir = open_dir(&everything(), &root);
    let error = read_name(&*dir, "f", &mut ReadBuf::new()).expect_err("not readable");
    assert_eq!(error.kind, ErrorKind::Permission);
}
