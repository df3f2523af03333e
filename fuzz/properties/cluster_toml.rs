//! Any text is a cluster or a list of problems with their places; there is a cluster exactly
//! if there are no errors; every problem can be shown.

use regexctl_provision::model::{Checked, Severity, check};

/// Panics where that does not hold.
pub(crate) fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Checked { cluster, problems } = check(text);
    let errors = problems
        .list
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .count();
    assert_eq!(cluster.is_none(), errors > 0, "{problems}");
    let lines: Vec<_> = text.split('\n').collect();
    for problem in &problems.list {
        let line = lines[problem.line - 1];
        assert!(
            (1..=line.chars().count() + 1).contains(&problem.column),
            "{problem}"
        );
        assert!(
            !problem.what.is_empty() && !problem.fix.is_empty(),
            "{problem}"
        );
    }
    assert_eq!(problems.short("f").lines().count(), problems.list.len());
    let shown = problems.pretty("f", text, false);
    assert_eq!(shown.is_empty(), problems.list.is_empty());
    if let Some(cluster) = cluster {
        for node in cluster.nodes() {
            assert!(cluster.network.subnet.has_host(node.address.get()));
            assert_eq!(cluster.node(&node.name), Some(node));
            assert_eq!(cluster.node_by_mac(node.mac), Some(node));
            assert_eq!(cluster.node_by_address(node.address), Some(node));
            assert_eq!(cluster.image_of(node).name, node.settings.image);
            assert_eq!(
                cluster.exports_of(node).count(),
                node.settings.exports.len()
            );
        }
    }
}
