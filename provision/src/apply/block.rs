//! A marked block in a file that belongs to others, such as /etc/hosts.
//!
//! Only what stands between the marks is ours; everything else stays byte for byte.

const BEGIN: &str = "# BEGIN regex-provision: what stands here is gone with the next `apply`\n";
const END: &str = "# END regex-provision\n";

const BEGINS: &str = "# BEGIN regex-provision";

/// Where the block is, marks included; and where its text is. A begin behind which another one comes before an end
/// has lost its end: what stands between the two may be anybody's.
fn find(text: &str) -> Option<(usize, usize, usize, usize)> {
    let mut open = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let behind = at + line.len();
        // The words behind the name may be those of another version.
        if line.starts_with(BEGINS) {
            open = Some((at, behind));
        } else if line.starts_with(END.trim_end())
            && let Some((begin, inside)) = open
        {
            return Some((begin, inside, at, behind));
        }
        at = behind;
    }
    None
}

/// The text of the block; none if there is no block.
pub(super) fn get(text: &str) -> Option<&str> {
    let (_, inside, end, _) = find(text)?;
    Some(&text[inside..end])
}

/// The line of a block that has lost its end, counted from 1.
pub(super) fn unended(text: &str) -> Option<usize> {
    let whole = find(text).map(|(begin, ..)| begin);
    let mut at = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line.starts_with(BEGINS) && whole != Some(at) {
            return Some(number);
        }
        at += line.len();
    }
    None
}

/// The file with this text in its block, which is made at the end if there is none.
pub(super) fn with(text: &str, block: &str) -> String {
    if let Some((begin, _, _, behind)) = find(text) {
        return [&text[..begin], BEGIN, block, END, &text[behind..]].concat();
    }
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    [text, newline, BEGIN, block, END].concat()
}

/// The file without the block.
pub(super) fn without(text: &str) -> String {
    match find(text) {
        Some((begin, _, _, behind)) => [&text[..begin], &text[behind..]].concat(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_the_file_stays() {
        let mine = "127.0.0.1 localhost\n";
        let made = with(mine, "10.0.0.1 a\n");
        assert_eq!(get(&made), Some("10.0.0.1 a\n"));
        assert!(made.starts_with(mine), "{made}");
        let longer = format!("{made}# and more, without a line feed");
        let changed = with(&longer, "10.0.0.2 b\n");
        assert_eq!(changed, longer.replace("10.0.0.1 a", "10.0.0.2 b"));
        assert_eq!(
            without(&changed),
            format!("{mine}# and more, without a line feed")
        );
        assert_eq!(without(mine), mine);
        assert_eq!(get(mine), None);
    }

    #[test]
    fn a_file_may_lack_its_last_line_feed_and_the_block_its_end() {
        assert_eq!(get(&with("a", "b\n")), Some("b\n"));
        assert!(with("a", "b\n").starts_with("a\n# BEGIN"));
        // A begin without an end is no block: what follows it may be anybody's.
        let cut = "# BEGIN regex-provision\n10.0.0.1 a\n";
        assert_eq!(get(cut), None);
        assert!(with(cut, "").starts_with(cut));
        let mine = format!("{cut}192.0.2.7 mine\n");
        assert_eq!(unended(&format!("a\n{mine}")), Some(2));
        let made = with(&mine, "b\n");
        assert_eq!(unended(&made), Some(1));
        assert_eq!(unended(&with("a\n", "b\n")), None);
        assert!(made.starts_with(&mine), "{made}");
        assert_eq!(with(&made, "b\n"), made);
        assert_eq!((get(&made), without(&made)), (Some("b\n"), mine));
        let unended = with("", "b\n");
        assert_eq!(get(unended.trim_end()), Some("b\n"));
        assert_eq!(without(unended.trim_end()), "");
    }
}
