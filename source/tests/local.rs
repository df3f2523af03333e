//! `LocalSource` on real trees: what it lists and reads, and what it refuses.
//!
//! The oracle for listings is `walkdir`, for contents `std::fs`.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use regexctl_source::{
    Dir, EntryKind, ErrorKind, File, Links, Listing, LocalSource, NameSlice, Opened, Read, ReadBuf,
    Roots, Source, SourceError, SpecialKind, name_hash,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const PLENTY: usize = 64 << 20;

fn everything() -> LocalSource {
    LocalSource::new(Roots::everything())
}

fn beneath(root: &Path) -> LocalSource {
    LocalSource::new(Roots::open(&[root.to_path_buf()]).expect("the root exists"))
}

fn temp() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a writable temporary directory");
    let path = dir.path().canonicalize().expect("it exists");
    (dir, path)
}

fn open(source: &dyn Source, path: &Path, links: Links) -> Result<Opened, SourceError> {
    source.open(path.as_os_str().as_bytes(), links)
}

fn open_dir(source: &dyn Source, path: &Path) -> Box<dyn Dir> {
    match open(source, path, Links::Follow) {
        Ok(Opened::Dir(dir)) => dir,
        other => panic!("{} is not opened as a directory: {other:?}", path.display()),
    }
}

fn open_file(source: &dyn Source, path: &Path) -> Box<dyn File> {
    match open(source, path, Links::Follow) {
        Ok(Opened::File(file)) => file,
        other => panic!("{} is not opened as a file: {other:?}", path.display()),
    }
}

fn open_error(source: &dyn Source, path: &Path) -> ErrorKind {
    match open(source, path, Links::Follow) {
        Err(error) => error.kind,
        Ok(opened) => panic!("{} should not open: {opened:?}", path.display()),
    }
}

fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buf = [0; 1000];
    loop {
        let got = file
            .read_at(&mut buf, bytes.len() as u64)
            .expect("it reads");
        if got == 0 {
            return bytes;
        }
        bytes.extend_from_slice(&buf[..got]);
    }
}

fn read_name(dir: &dyn Dir, name: &str, buf: &mut ReadBuf) -> Result<Read, SourceError> {
    dir.read(&CString::new(name).expect("no NUL"), buf)
}

/// Lists a directory in as many passes as `max_bytes` makes it take.
fn list_all(dir: &dyn Dir, max_bytes: usize) -> BTreeMap<Vec<u8>, (EntryKind, u64)> {
    let mut all = BTreeMap::new();
    let mut listing = Listing::new();
    let mut slice = NameSlice::WHOLE;
    loop {
        let covered = dir.list(slice, max_bytes, &mut listing).expect("it lists");
        assert_eq!(covered.start, slice.start);
        for entry in listing.iter() {
            let name = entry.name.to_bytes();
            assert!(covered.contains(name_hash(name)), "outside the slice");
            let again = all.insert(name.to_vec(), (entry.kind, entry.inode));
            assert!(again.is_none(), "{} was listed twice", name.escape_ascii());
        }
        match covered.end.checked_add(1) {
            Some(start) => slice.start = start,
            None => return all,
        }
    }
}

fn kind_of(file_type: fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Dir
    } else if file_type.is_symlink() {
        EntryKind::Symlink
    } else {
        assert!(
            file_type.is_fifo()
                || file_type.is_socket()
                || file_type.is_char_device()
                || file_type.is_block_device()
        );
        EntryKind::Special
    }
}

/// Compares a whole tree with what walkdir finds.
fn assert_same_as_walkdir(source: &dyn Source, root: &Path, max_bytes: usize) {
    let mut expected: BTreeMap<PathBuf, BTreeMap<Vec<u8>, (EntryKind, u64)>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("walkdir can read the tree");
        if entry.file_type().is_dir() {
            expected.entry(entry.path().to_path_buf()).or_default();
        }
        if entry.depth() > 0 {
            let parent = entry.path().parent().expect("below the root").to_path_buf();
            let inode = entry.path().symlink_metadata().expect("it exists").ino();
            expected.entry(parent).or_default().insert(
                entry.file_name().as_bytes().to_vec(),
                (kind_of(entry.file_type()), inode),
            );
        }
    }
    for (path, entries) in expected {
        let dir = open_dir(source, &path);
        assert_eq!(list_all(&*dir, max_bytes), entries, "{}", path.display());
        // A second time from the same descriptor.
        assert_eq!(list_all(&*dir, PLENTY), entries, "{}", path.display());
    }
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .expect("FIFOs need no rights");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_trees_list_as_walkdir_does(
        paths in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(prop::sample::select(
                [b'a', b'b', b'.', b' ', b'\n', 0xff, 0xc3].as_slice()), 1..4), 1..5),
            1..40),
        small in 0_usize..8192,
    ) {
        let (_guard, root) = temp();
        for (i, names) in paths.iter().enumerate() {
            if names.iter().any(|n| matches!(n.as_slice(), b"." | b"..")) {
                continue;
            }
            let path: PathBuf = names.iter().map(|n| OsStr::from_bytes(n)).collect();
            let path = root.join(path);
            // Where a name is taken already, by a file say, the tree simply has one entry less.
            if fs::create_dir_all(path.parent().expect("below the root")).is_ok() {
                let _ = match i % 4 {
                    0 => fs::create_dir(&path),
                    1 => symlink("target", &path),
                    _ => fs::File::create_new(&path).map(drop),
                };
            }
        }
        assert_same_as_walkdir(&everything(), &root, small);
        assert_same_as_walkdir(&beneath(&root), &root, PLENTY);
    }
}

#[test]
fn a_hundred_thousand_names_in_one_directory() {
    let (_guard, root) = temp();
    for i in 0..100_000 {
        fs::File::create(root.join(format!("file-{i:06}.log"))).expect("writable");
    }
    let dir = open_dir(&everything(), &root);
    let mut listing = Listing::new();
    let covered = dir
        .list(NameSlice::WHOLE, PLENTY, &mut listing)
        .expect("it lists");
    assert_eq!((covered, listing.len()), (NameSlice::WHOLE, 100_000));
    let inodes: Vec<u64> = listing.iter().map(|entry| entry.inode).collect();
    assert!(inodes.is_sorted(), "in the order of inodes");
    assert_eq!(list_all(&*dir, 1 << 20).len(), 100_000);

    // A slice in the middle is exactly the names that hash into it.
    let slice = NameSlice {
        start: 1 << 30,
        end: 3 << 29,
    };
    let expected = listing
        .iter()
        .filter(|e| slice.contains(name_hash(e.name.to_bytes())))
        .count();
    let mut part = Listing::new();
    assert_eq!(dir.list(slice, PLENTY, &mut part), Ok(slice));
    assert_eq!(part.len(), expected);
    assert!(
        (expected * 8).abs_diff(100_000) < 5_000,
        "an eighth of the hashes"
    );
}

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

#[test]
fn nothing_leads_out_of_a_root() {
    let (_guard, base) = temp();
    let root = base.join("root");
    let outside = base.join("outside");
    fs::create_dir_all(root.join("sub")).expect("writable");
    fs::create_dir_all(outside.join("dir")).expect("writable");
    fs::write(outside.join("secret"), b"secret").expect("writable");
    fs::write(root.join("own"), b"own").expect("writable");
    symlink("../../outside/secret", root.join("sub/up")).expect("writable");
    symlink(outside.join("secret"), root.join("absolute")).expect("writable");
    symlink(&outside, root.join("dir")).expect("writable");
    symlink("/", root.join("slash")).expect("writable");
    symlink("/proc/self/root", root.join("magic")).expect("writable");
    let source = beneath(&root);

    for path in [
        root.join("../outside/secret"),
        root.join("sub/../../outside/secret"),
        root.join("sub/up"),
        root.join("absolute"),
        root.join("dir"),
        root.join("dir/secret"),
        root.join("dir/dir"),
        root.join("slash/etc/passwd"),
        root.join("magic/etc/passwd"),
        root.join(".."),
        outside.join("secret"),
        base.clone(),
        PathBuf::from("/etc/passwd"),
        PathBuf::from("/proc/self/environ"),
        PathBuf::from("relative"),
    ] {
        assert_eq!(
            open_error(&source, &path),
            ErrorKind::OutsideRoots,
            "{}",
            path.display()
        );
        assert!(source.canonical(path.as_os_str().as_bytes()).is_err());
    }

    let top = open_dir(&source, &root);
    let sub = open_dir(&source, &root.join("sub"));
    for (dir, name) in [
        (&top, c"absolute"),
        (&top, c"dir"),
        (&top, c"slash"),
        (&top, c"magic"),
        (&top, c".."),
        (&top, c"../outside"),
        (&sub, c"up"),
        (&sub, c".."),
    ] {
        let error = dir
            .open_child(name, Links::Follow)
            .expect_err("it leads out");
        assert_eq!(
            error.kind,
            ErrorKind::OutsideRoots,
            "{}",
            name.to_string_lossy()
        );
        assert!(dir.file_size(name, Links::Follow).is_err());
    }
    let mut buf = ReadBuf::new();
    for (dir, name) in [
        (&sub, "../own"),
        (&sub, ".."),
        (&top, "absolute"),
        (&top, "sub/up"),
    ] {
        assert!(read_name(&**dir, name, &mut buf).is_err(), "{name}");
    }
    assert!(matches!(
        top.open_child(c"dir", Links::Refuse),
        Ok(Opened::Symlink)
    ));
    assert!(matches!(
        open(&source, &root.join("dir"), Links::Refuse),
        Ok(Opened::Symlink)
    ));
}

#[test]
fn links_within_the_roots_are_followed() {
    let (_guard, base) = temp();
    let (one, two) = (base.join("one"), base.join("two"));
    fs::create_dir_all(one.join("a/b")).expect("writable");
    fs::create_dir_all(&two).expect("writable");
    fs::write(one.join("f"), b"one").expect("writable");
    fs::write(two.join("g"), b"two").expect("writable");
    symlink("../../f", one.join("a/b/up")).expect("writable");
    symlink(one.join("f"), one.join("a/absolute")).expect("writable");
    symlink(&two, one.join("a/other")).expect("writable");
    symlink("../two", one.join("beside")).expect("writable");
    symlink("/no/such/file", one.join("dangling-out")).expect("writable");
    symlink("missing", one.join("dangling")).expect("writable");
    let roots = Roots::open(&[one.clone(), two.clone()]).expect("both exist");
    let restricted = LocalSource::new(roots);
    for source in [restricted.clone(), everything()] {
        for (path, bytes) in [
            ("a/b/up", b"one"),
            ("a/b/../../f", b"one"),
            ("a/absolute", b"one"),
            ("a/other/g", b"two"),
            ("beside/g", b"two"),
            ("../two/g", b"two"),
            ("a/other/../one/f", b"one"),
            (".//a/./b//up", b"one"),
        ] {
            assert_eq!(
                contents(&*open_file(&source, &one.join(path))),
                bytes,
                "{path}"
            );
        }
        let dir = open_dir(&source, &one.join("a"));
        let Ok(Opened::Dir(other)) = dir.open_child(c"other", Links::Follow) else {
            panic!("a link to another root opens");
        };
        assert_eq!(other.identity(), open_dir(&source, &two).identity());
        assert_eq!(dir.file_size(c"absolute", Links::Follow), Ok(3));
        let Ok(Opened::Dir(below)) = dir.open_child(c"b", Links::Refuse) else {
            panic!("a directory opens");
        };
        assert!(matches!(
            below.open_child(c"up", Links::Follow),
            Ok(Opened::File(_))
        ));
        assert_eq!(
            source.canonical(one.join("a/other/g").as_os_str().as_bytes()),
            Ok(two.join("g").into_os_string().into_vec())
        );
        assert_eq!(
            open_error(&source, &one.join("dangling")),
            ErrorKind::NotFound
        );
    }
    assert_eq!(
        open_error(&restricted, &one.join("dangling-out")),
        ErrorKind::OutsideRoots
    );
    assert_eq!(
        open_error(&everything(), &one.join("dangling-out")),
        ErrorKind::NotFound
    );
}

#[test]
fn roots_may_lie_in_one_another() {
    let (_guard, base) = temp();
    let (outer, inner) = (base.join("outer"), base.join("outer/x/inner"));
    fs::create_dir_all(&inner).expect("writable");
    fs::write(outer.join("f"), b"outer").expect("writable");
    fs::write(inner.join("f"), b"inner").expect("writable");
    let source =
        LocalSource::new(Roots::open(&[outer.clone(), inner.clone()]).expect("they exist"));
    for (path, bytes) in [
        ("f", b"inner"),
        ("../../f", b"outer"),
        ("../inner/f", b"inner"),
    ] {
        assert_eq!(
            contents(&*open_file(&source, &inner.join(path))),
            bytes,
            "{path}"
        );
    }
    let path = inner.join("../../../outside");
    assert_eq!(open_error(&source, &path), ErrorKind::OutsideRoots);
}

#[test]
fn circles_of_links_end() {
    let (_guard, root) = temp();
    symlink("b", root.join("a")).expect("writable");
    symlink(root.join("a"), root.join("b")).expect("writable");
    symlink(".", root.join("self")).expect("writable");
    for source in [everything(), beneath(&root)] {
        assert_eq!(open_error(&source, &root.join("a")), ErrorKind::Loop);
        let top = open_dir(&source, &root);
        let error = top.open_child(c"a", Links::Follow).expect_err("a circle");
        assert_eq!(error.kind, ErrorKind::Loop);
        let Ok(Opened::Dir(again)) = top.open_child(c"self", Links::Follow) else {
            panic!("a link to the directory itself opens");
        };
        assert_eq!(again.identity(), top.identity());
    }
}

/// A link is exchanged with a directory as fast as can be, while it is opened: what is read is either
/// the file inside or nothing.
#[test]
fn a_link_exchanged_under_its_hands_leads_nowhere() {
    let (_guard, base) = temp();
    let (root, outside) = (base.join("root"), base.join("outside"));
    fs::create_dir_all(root.join("x")).expect("writable");
    fs::create_dir_all(&outside).expect("writable");
    fs::write(root.join("x/f"), b"inside").expect("writable");
    fs::write(outside.join("f"), b"OUTSIDE").expect("writable");
    symlink(&outside, root.join("y")).expect("writable");
    let source = beneath(&root);
    let done = AtomicBool::new(false);
    let root = &root;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, root.join("x"), CWD, root.join("y"), flags)
                    .expect("both names exist all the time");
            }
        });
        let (mut opened, mut refused) = (0, 0);
        while opened < 200 || refused < 200 {
            match open(&source, &root.join("x/f"), Links::Follow) {
                Ok(Opened::File(file)) => {
                    assert_eq!(contents(&*file), b"inside");
                    opened += 1;
                }
                Err(_) => refused += 1,
                Ok(other) => panic!("{other:?}"),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
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

#[test]
fn a_root_stays_the_directory_it_was() {
    let (_guard, base) = temp();
    let root = base.join("root");
    fs::create_dir(&root).expect("writable");
    fs::write(root.join("f"), b"first").expect("writable");
    let source = beneath(&root);
    fs::rename(&root, base.join("moved")).expect("writable");
    fs::create_dir(&root).expect("writable");
    fs::write(root.join("f"), b"second").expect("writable");
    assert_eq!(contents(&*open_file(&source, &root.join("f"))), b"first");
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
