//! Any bytes are a host list or a list of problems with their places; an accepted list,
//! printed, is read back as the same nodes, and every format renders one line or more a node.

use regexctl_provision::dhcp::{Format, reservations};
use regexctl_provision::hosts::parse;

/// Panics where that does not hold.
pub(crate) fn holds(data: &[u8]) {
    match parse(data) {
        Ok(nodes) => {
            let lines: Vec<_> = nodes.iter().map(ToString::to_string).collect();
            assert_eq!(parse(lines.join("\n").as_bytes()).as_ref(), Ok(&nodes));
            for format in [Format::Dnsmasq, Format::Isc, Format::Kea] {
                let text = reservations(format, &nodes);
                assert!(text.is_ascii() && text.lines().count() >= nodes.len());
            }
        }
        Err(problems) => {
            let lines: Vec<_> = data.split(|&b| b == b'\n').collect();
            assert!(!problems.is_empty());
            for problem in problems {
                let line = lines[problem.line - 1];
                assert!((1..=line.len() + 1).contains(&problem.column), "{problem}");
            }
        }
    }
}
