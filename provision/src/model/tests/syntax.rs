//! Mistakes in the TOML itself, and in kinds and words.

use super::*;

#[test]
fn broken_toml_is_told_with_everything_else_that_can_be_read() {
    insta::assert_snapshot!(cases(&[
        ("nothing at all", told("")),
        ("a word without quotes", told_replaced("\"lab\"", "lab")),
        (
            "a section that is not closed",
            told_replaced("[dhcp]", "[dhcp")
        ),
        (
            "two mistakes of different kinds",
            told_replaced(
                "\"eth1\"\nsubnet = \"10.0.0.0/24\"",
                "eth1\nsubnet = \"10.0.0.1/24\""
            )
        ),
        (
            "a key twice",
            told_replaced("name = \"lab\"", "name = \"lab\"\nname = \"lab\"")
        ),
        ("a section twice", told_with("[dhcp]\nmode = \"full\"")),
        ("no value", told_replaced("name = \"lab\"", "name =")),
        (
            "a byte order mark is none",
            told(&format!("\u{feff}{}", BASE.replace("\"lab\"", "lab")))
        ),
        (
            "lines that end in CR LF",
            told(&BASE.replace("\"lab\"", "lab").replace('\n', "\r\n"))
        ),
    ]));
    accepted(&format!("\u{feff}{}", BASE.replace('\n', "\r\n")));
}

#[test]
fn values_of_the_wrong_kind() {
    insta::assert_snapshot!(cases(&[
        (
            "a section is a number",
            told("cluster = 1\ndhcp = []\nnode = 3\nimage = \"x\"")
        ),
        ("a text is a number", told_replaced("\"lab\"", "7")),
        ("a list is a text", told_with("[time]\nservers = \"a\"")),
        ("a bool is a text", told_with("[time]\nenabled = \"yes\"")),
        (
            "a number is a text",
            told_replaced("master = ", "http-port = \"80\"\nmaster = ")
        ),
        (
            "a number is too large",
            told_replaced("master = ", "http-port = 65536\nmaster-port = 0\nmaster = ")
        ),
        (
            "a number is huge",
            told_replaced("master = ", "http-port = 99999999999999999999\nmaster = ")
        ),
        ("a node is a number", told("node = [1]\n")),
        ("a node by name is a number", told("[node]\ns1 = 1\n")),
        ("a date", told_replaced("\"lab\"", "2024-01-01")),
        ("a float", told_replaced("\"lab\"", "1.5")),
    ]));
}

#[test]
fn unknown_keys_and_words() {
    insta::assert_snapshot!(cases(&[
        (
            "a slip",
            told_replaced("name = \"lab\"", "name = \"lab\"\ngatway = \"10.0.0.2\"")
        ),
        ("an underscore", told_with("[serve]\nmax_connections = 100")),
        (
            "another case",
            told_replaced("name = \"lab\"", "name = \"lab\"\nDomain = \"x\"")
        ),
        ("nothing alike", told_with("[power]\nvolts = 230")),
        ("a section", told_with("[exports.x]\npath = \"/x\"")),
        (
            "a key of a node in its profile",
            told_replaced(
                "image = \"base\"",
                "image = \"base\"\nmac = \"52:54:00:00:00:07\""
            )
        ),
        (
            "a word that is a slip",
            told_replaced("image = \"base\"", "image = \"base\"\nroot = \"rma\"")
        ),
        (
            "a word that is none",
            told_replaced("image = \"base\"", "image = \"base\"\nroot = \"floppy\"")
        ),
        (
            "in a list of sections",
            told_with("[[image.base.file]]\npth = \"/x\"\ntext = \"\"")
        ),
    ]));
}

#[test]
fn a_person_is_shown_the_line() {
    let text = BASE.replace("\"10.0.0.10\"", "\"10.0.0.200\"").replace(
        "master = \"10.0.0.1\"",
        "master = \"10.0.1.1\" # Rechnerraum \u{fc}ber\tdem Keller",
    );
    let problems = check(&text).problems;
    insta::assert_snapshot!(problems.pretty("cluster.toml", &text, false));
    assert!(problems.pretty("f", &text, true).contains("\u{1b}["));
}

#[test]
fn only_so_many_problems_are_told() {
    let section = |n| format!("[[node]]\nname = \"t{n}\"\nmac = \"x\"\naddress = \"10.0.0.20\"\n");
    let text = BASE.to_owned() + &(0..2000).map(section).collect::<Vec<_>>().concat();
    let problems = check(&text).problems;
    assert_eq!(problems.list.len(), MAX_PROBLEMS);
    assert!(problems.omitted > 2000, "{}", problems.omitted);
    assert_eq!(problems.errors(), MAX_PROBLEMS + problems.omitted);
}

#[test]
fn many_warnings_hide_no_error() {
    let profile = |n| format!("[profile.p{n}]\nroot = \"ram\"\n");
    let profiles = (0..2 * MAX_PROBLEMS).map(profile);
    let profiles = profiles.collect::<Vec<_>>().concat();
    let text = format!("{BASE}\n{profiles}\n[log]\ntarget = \"remote\"\n");
    let Checked { cluster, problems } = check(&text);
    assert_eq!((cluster, problems.errors()), (None, 1));
    assert_eq!(problems.list.len(), MAX_PROBLEMS);
    assert_eq!(problems.omitted, MAX_PROBLEMS + 1);
    let last = problems.list.last().expect("there are many").to_string();
    assert!(last.contains("log: `host` is missing"), "{last}");
    assert!(problems.list[0].to_string().contains("profile p0: no node"));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let text = format!("#{}", "x".repeat(MAX_FILE_BYTES));
    insta::assert_snapshot!(told(&text), @"f:1:1: the file has 33554433 bytes; the limit is 33554432; write nodes by ranges");
}

#[test]
fn what_is_not_broken_is_checked_nevertheless() {
    // A node with the address of another one, and an image that is not there.
    let base = BASE.replace("image = \"base\"", "image = \"bsae\"");
    let more = "\n[[node]]\nname = \"t\"\nmac = \"52:54:00:00:01:00\"\naddress = \"10.0.0.11\"\n";
    let replaced = |part: &str, by: &str| {
        let text = format!("{base}{more}");
        assert!(text.contains(part), "{part:?}");
        told(&text.replacen(part, by, 1))
    };
    insta::assert_snapshot!(cases(&[
        ("a text without quotes", replaced("\"lab\"", "lab")),
        (
            "a line that is nothing",
            replaced("master =", "what is this\nmaster =")
        ),
        ("a key without a value", replaced("name = \"lab\"", "name")),
        ("a list that is not closed", replaced("00:02\"]", "00:02\"")),
        ("a list without a comma", replaced("00:00\", ", "00:00\" ")),
        (
            "an element without quotes",
            replaced("\"52:54:00:00:00:00\"", "x")
        ),
        (
            "a table that is not closed",
            replaced("/srv/base.tar\" }", "/srv/base.tar\"")
        ),
        (
            "a text that is not closed",
            replaced("\"/data\"", "\"\"\"/data")
        ),
        (
            "a text that ends with its line",
            replaced("\"/data\"", "\"/data")
        ),
        ("a header that is not closed", replaced("[dhcp]", "[dhcp")),
        (
            "a header that is not opened",
            replaced("[profile.default]", "profile.default]")
        ),
        (
            "a list's header that is half closed",
            replaced("[[node]]\nname = \"t\"", "[[node]\nname = \"t\"")
        ),
        (
            "a header of another kind",
            replaced("[[node]]\nname = \"t\"", "[node]\nname = \"t\"")
        ),
        (
            "an address without quotes",
            replaced("\"10.0.0.10\"", "10.0.0.10")
        ),
        (
            "several",
            told(
                &format!("{base}{more}")
                    .replace("\"lab\"", "lab")
                    .replace("path = \"/data\"", "path \"/data\"")
                    .replace("[dhcp]", "[dhcp]\nmode = proxy\nlease 3")
            )
        ),
    ]));
}

#[test]
fn nothing_is_said_of_what_may_be_broken() {
    let replaced = |part: &str, by: &str| {
        assert!(BASE.contains(part), "{part:?}");
        let told = told(&BASE.replacen(part, by, 1));
        let lines = told.lines().count();
        assert_eq!(lines, 1, "{by:?}:\n{told}");
    };
    for line in BASE.lines().filter(|line| !line.is_empty()) {
        if let Some((key, value)) = line.split_once(" = ") {
            replaced(line, key);
            replaced(line, &format!("{key} {value}"));
            replaced(line, &format!("{key} = "));
            replaced(line, &format!("{key} = {value} ]"));
            replaced(line, &format!("{key} = {}", &value[..value.len() - 1]));
        } else {
            replaced(line, &line[1..]);
            replaced(line, &line[..line.len() - 1]);
            replaced(line, "[a b]");
        }
    }
}
