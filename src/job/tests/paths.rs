//! PATHs, piped input and mappings.

use super::*;

#[test]
fn paths_are_absolute_for_nodes_and_as_typed_for_people() {
    let place = Place::new();
    for (typed, path, below, printed) in [
        ("src", "src", "x", "src/x"),
        ("src/", "src", "x", "src/x"),
        ("./src", "src", "x", "./src/x"),
        (".", "", "x/y", "./x/y"),
        ("./", "", "x", "./x"),
        ("src//deep/.", "src/deep", "x", "src//deep/./x"),
        ("a.txt", "a.txt", "", "a.txt"),
        ("src/../a.txt", "a.txt", "", "src/../a.txt"),
        // The parent of a link's target, not of the link.
        ("link/..", "src", "x", "link/../x"),
        ("link", "link", "x", "link/x"),
    ] {
        let request = place.run(&format!("P {typed}"));
        assert_eq!(roots(&request), [place.path(path)], "{typed}");
        assert_eq!(shown(&request, 0, below), printed, "{typed}");
        assert_eq!(request.walk, [true]);
    }
    let request = place.run("P /");
    assert_eq!(roots(&request), ["/"]);
    assert_eq!(shown(&request, 0, "etc/fstab"), "/etc/fstab");
}

#[test]
fn without_a_path_the_working_directory_is_searched() {
    let place = Place::new();
    let request = place.run("P");
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(shown(&request, 0, "src/x"), "src/x");
    assert!(!request.stdin);
    assert!(request.print.with_filename);
}

#[test]
fn piped_input_is_searched_when_no_path_is_given() {
    let mut place = Place::new();
    place.environment.stdin_is_readable = true;
    let request = place.run("P");
    assert!(request.stdin && request.roots.is_empty());
    assert!(!request.print.with_filename);
    assert!(!place.run("P src").stdin);
    assert!(!place.run("--files").stdin);
    let request = place.run("P - src");
    assert!(request.stdin && request.print.with_filename);
    assert_eq!(roots(&request), [place.path("src")]);
    // What -f has read is not searched as well.
    place.stdin = b"one\ntwo\n";
    let request = place.run("-f -");
    assert!(!request.stdin);
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(
        place.error("-f - -"),
        "standard input cannot be read by both -f and the path -"
    );
    assert_eq!(
        place.error("-f - --files-from -"),
        "standard input cannot be read by both -f and --files-from"
    );
}

#[test]
fn missing_paths_are_told_unless_a_master_knows_better() {
    let mut place = Place::new();
    let request = place.run("P src nope a.txt");
    assert_eq!(roots(&request), [place.path("src"), place.path("a.txt")]);
    assert_eq!(request.missing.len(), 1);
    assert_eq!(request.missing[0].path, b"nope");
    assert_eq!(
        request.missing[0].error.kind(),
        std::io::ErrorKind::NotFound
    );
    place.master = true;
    let request = place.run("P nope");
    assert_eq!(roots(&request), [place.path("nope")]);
    assert!(request.missing.is_empty());
    assert!(request.print.with_filename, "it may be a directory there");
}

#[test]
fn paths_are_translated_for_a_master_only() {
    let mut place = Place::new();
    let cwd = place.path("");
    let line = format!("P src src/deep link/.. --map {cwd}=/export --map {cwd}/src/deep=/deep");
    assert_eq!(
        place.run(&line).spec.roots[0].path,
        place.path("src").into_bytes()
    );
    place.master = true;
    let request = place.run(&line);
    assert_eq!(roots(&request), ["/export/src", "/deep", "/export/src"]);
    assert_eq!(shown(&request, 1, "x"), "src/deep/x");
    assert_eq!(text(&request.spec.filter.as_ref().unwrap().base), "/export");
    // Whole components, and the command line's before the configuration's.
    place.config.maps = vec![crate::flags::mapping(format!("{cwd}=/config").as_ref()).unwrap()];
    assert_eq!(roots(&place.run("P src")), ["/config/src"]);
    assert_eq!(
        roots(&place.run(&format!("P src --map {cwd}=/typed"))),
        ["/typed/src"]
    );
    let partial = format!("P src --map {}=/x", &cwd[..cwd.len() - 1]);
    assert_eq!(roots(&place.run(&partial)), ["/config/src"]);
    assert_eq!(roots(&place.run(&format!("P . --map {cwd}=/"))), ["/"]);
}

#[test]
fn a_link_in_the_middle_is_kept_and_one_before_a_parent_is_resolved() {
    let place = Place::new();
    let absolute = |typed: &str| {
        PathBuf::from(text(&crate::job::paths::absolute(
            &place.environment.cwd,
            typed.as_bytes(),
        )))
    };
    let cwd = Path::new(&place.environment.cwd);
    assert_eq!(absolute("link/x"), cwd.join("link/x"));
    assert_eq!(absolute("link/../x"), cwd.join("src/x"));
    assert_eq!(absolute("nope/../x"), cwd.join("x"));
    assert_eq!(absolute("/../.."), Path::new("/"));
}
