//! `regex-provision status --watch` on a terminal.

use super::super::harness::Terminal;
use super::boots::boot;
use super::site::Site;

/// What stands in front of each look: where it begins.
const HOME: &str = "\u{1b}[H";

#[test]
fn a_table_that_is_watched_is_drawn_in_its_place() {
    let site = Site::new(40, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    let mut command = site.command(&["status", "--watch"]);
    command
        .env("REGEX_PROVISION_SERVER", server.url())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    let mut terminal = Terminal::start(command);
    terminal.until_shown(": 40 never");
    boot(&server, 1, "b-1");
    // Below its last line is nothing.
    let end = "1 up, 39 never\u{1b}[K\r\n\u{1b}[J";
    let shown = terminal.until_shown(end);
    let look = shown.split(HOME).find(|look| look.contains(end));
    let look = look.expect("it begins at home");
    let (table, _) = look.split_once("\u{1b}[J").expect("it is whole");
    // The terminal has 24 lines of 100 columns, and the last one stays empty; what is not shown is counted.
    let lines: Vec<&str> = table.split_terminator("\r\n").collect();
    assert!((15..24).contains(&lines.len()), "{lines:#?}");
    for line in &lines {
        let text = line.strip_suffix("\u{1b}[K");
        let text = text.unwrap_or_else(|| panic!("{line:?} leaves what was there"));
        assert!(plain(text).chars().count() <= 100, "{line:?}");
    }
    assert!(table.contains("NODE "), "{lines:#?}");
    assert!(table.contains(" more\u{1b}[K"), "{lines:#?}");
    server.end();
}

/// Without its colours.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}
