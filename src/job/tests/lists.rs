//! Lists of paths.

use super::*;

#[test]
fn listed_paths_are_handed_over_as_they_are() {
    let mut place = Place::new();
    place.stdin = b"a.txt\n./src/x\n\n/etc/fstab\nno newline at the end";
    let request = place.run("P --files-from -");
    assert_eq!(roots(&request), [place.path("")]);
    assert_eq!(request.walk, [false]);
    assert_eq!(request.paths.len(), 1);
    assert_eq!(request.paths[0].root, 0);
    let paths: Vec<_> = request.paths[0]
        .paths
        .iter()
        .map(|path| text(path))
        .collect();
    assert_eq!(
        paths,
        ["a.txt", "./src/x", "/etc/fstab", "no newline at the end"]
    );
    for path in &paths {
        assert_eq!(&shown(&request, 0, path), path);
    }
    assert!(request.print.with_filename && !request.stdin);
    // Beside PATHs.
    let request = place.run("P src --files-from -");
    assert_eq!(roots(&request), [place.path("src"), place.path("")]);
    assert_eq!(request.walk, [true, false]);
    assert_eq!(request.paths[0].root, 1);
}

#[test]
fn listed_paths_may_end_with_nul_and_hold_newlines() {
    let mut place = Place::new();
    place.stdin = b"a\nb\0c\0";
    let request = place.run("P --files0-from -");
    assert_eq!(request.paths[0].paths, [b"a\nb".to_vec(), b"c".to_vec()]);
    assert_eq!(
        place.error("P --files-from -"),
        "standard input: path 2 holds a NUL byte; is the list one for --files0-from?"
    );
    place.stdin = b"a\0\0";
    assert_eq!(
        place.error("P --files0-from -"),
        "standard input: path 2 is empty"
    );
    assert!(
        place
            .error("P --files-from /nope/list")
            .contains("/nope/list")
    );
    let long: &'static [u8] = vec![b'x'; 70_000].leak();
    place.stdin = long;
    assert!(
        place
            .error("P --files-from -")
            .contains("path 1 is longer than 65536 bytes")
    );
}

#[test]
fn listed_paths_with_parents_or_mappings_get_roots_of_their_own() {
    let mut place = Place::new();
    place.stdin = b"link/../x\nsrc/../a.txt\nb.txt\n..\nlink/../y\n";
    let request = place.run("P --files-from -");
    let parent = place.environment.cwd.parent().unwrap().to_str().unwrap();
    assert_eq!(
        roots(&request),
        [
            place.path("src"),
            place.path(""),
            place.path(""),
            parent.to_owned()
        ]
    );
    let printed: Vec<_> = request
        .paths
        .iter()
        .flat_map(|named| {
            named
                .paths
                .iter()
                .map(|path| shown(&request, named.root as usize, &text(path)))
        })
        .collect();
    assert_eq!(
        printed,
        ["link/../x", "link/../y", "src/../a.txt", "b.txt", ".."]
    );

    place.master = true;
    place.stdin = b"src/deep/x\n/home//me/y\nb.txt\n/etc/z\n";
    let cwd = place.path("");
    let line = format!("P --files-from - --map {cwd}=/export --map {cwd}/src=/src --map /home=/h");
    let request = place.run(&line);
    assert_eq!(roots(&request), ["/src", "/h", "/export"]);
    let sent: Vec<_> = request
        .paths
        .iter()
        .flat_map(|named| {
            named.paths.iter().map(|path| {
                (
                    text(path),
                    shown(&request, named.root as usize, &text(path)),
                )
            })
        })
        .collect();
    let expected = [
        ("deep/x", "src/deep/x"),
        ("me/y", "/home//me/y"),
        ("b.txt", "b.txt"),
        ("/etc/z", "/etc/z"),
    ];
    assert_eq!(sent, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}
