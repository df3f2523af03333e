//! A source with roots: what is below them is found, and nothing else.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use regexctl_source::{ErrorKind, Links, LocalSource, Opened, ReadBuf, Roots, Source};
use rustix::fs::CWD;

use crate::helpers::{
    beneath, contents, everything, open, open_dir, open_error, open_file, read_name, temp,
};

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
