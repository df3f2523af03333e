//! The table of `regexctl nodes`.

use std::borrow::Cow;
use std::io::{self, Write};

use regexctl_proto::v1::NodeStatus;
use serde::Serialize;

use crate::print::units;

/// The headings, and whether the column holds numbers, which stand to the right.
const COLUMNS: [(&str, bool); 9] = [
    ("NODE", false),
    ("ADDRESS", false),
    ("CORES", true),
    ("LOAD", true),
    ("FILES/S", true),
    ("BYTES/S", true),
    ("LEASES", true),
    ("UP", true),
    ("STATE", false),
];

/// Writes the table, a line a worker, sorted by name. Without a worker: a line that says so.
pub fn table(nodes: &[NodeStatus], out: &mut impl Write) -> io::Result<()> {
    if nodes.is_empty() {
        return writeln!(
            out,
            "no worker is attached; `regex-worker serve --master URL --root DIR` starts one"
        );
    }
    let mut rows: Vec<[Cow<'_, str>; 9]> = sorted(nodes).into_iter().map(row).collect();
    rows.insert(0, COLUMNS.map(|(name, _)| name.into()));
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    });
    for row in &rows {
        let mut line = String::new();
        for ((cell, width), (_, number)) in row.iter().zip(widths).zip(COLUMNS) {
            let cell = if number {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:<width$}  ")
            };
            line.push_str(&cell);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn sorted(nodes: &[NodeStatus]) -> Vec<&NodeStatus> {
    let mut nodes: Vec<_> = nodes.iter().collect();
    nodes.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
    nodes
}

fn row(node: &NodeStatus) -> [Cow<'_, str>; 9] {
    [
        printable(&node.name),
        printable(&node.address),
        node.threads.to_string().into(),
        format!("{}.{:02}", node.load_centi / 100, node.load_centi % 100).into(),
        node.files_per_second.to_string().into(),
        units::Bytes(node.bytes_per_second).to_string().into(),
        node.leases.to_string().into(),
        uptime(node.attached_millis / 1000).into(),
        if node.draining {
            "draining".into()
        } else {
            "ready".into()
        },
    ]
}

/// What a worker calls itself, without what would upset a terminal.
fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.escape_default().to_string().into()
    } else {
        text.into()
    }
}

/// The two largest units of a time in seconds.
fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    if days > 0 {
        format!("{days}d{hours:02}h")
    } else if hours > 0 {
        format!("{hours}h{minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

/// A worker as `regexctl nodes --json` tells it. Names, units and meanings are those of
/// `NodeStatus` but for the load, which is a fraction here.
#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    address: &'a str,
    version: &'a str,
    threads: u32,
    load: f64,
    files_per_second: u64,
    bytes_per_second: u64,
    leases: u32,
    draining: bool,
    attached_millis: u64,
}

/// Writes one JSON object a line, a line a worker, sorted by name.
pub fn json(nodes: &[NodeStatus], out: &mut impl Write) -> io::Result<()> {
    for node in sorted(nodes) {
        let object = Json {
            name: &node.name,
            address: &node.address,
            version: &node.version,
            threads: node.threads,
            load: f64::from(node.load_centi) / 100.0,
            files_per_second: node.files_per_second,
            bytes_per_second: node.bytes_per_second,
            leases: node.leases,
            draining: node.draining,
            attached_millis: node.attached_millis,
        };
        serde_json::to_writer(&mut *out, &object)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<NodeStatus> {
        vec![
            NodeStatus {
                name: "node-10".to_owned(),
                address: "10.0.0.20:50122".to_owned(),
                threads: 24,
                load_centi: 2310,
                files_per_second: 412_345,
                bytes_per_second: 702 << 20,
                leases: 3,
                draining: false,
                attached_millis: 93_784_000,
                version: "0.1.0".to_owned(),
            },
            NodeStatus {
                name: "a\x1b[2J".to_owned(),
                address: "10.0.0.9:41000".to_owned(),
                threads: 8,
                load_centi: 5,
                draining: true,
                attached_millis: 59_999,
                version: "0.1.0".to_owned(),
                ..NodeStatus::default()
            },
        ]
    }

    #[test]
    fn the_table_is_aligned_and_sorted() {
        let mut out = Vec::new();
        table(&nodes(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
NODE        ADDRESS          CORES   LOAD  FILES/S   BYTES/S  LEASES     UP  STATE
a\u{1b}[2J  10.0.0.9:41000       8   0.05        0       0 B       0    59s  draining
node-10     10.0.0.20:50122     24  23.10   412345  736.1 MB       3  1d02h  ready
"#);
    }

    #[test]
    fn an_empty_cluster_says_what_to_do() {
        let mut out = Vec::new();
        table(&[], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("regex-worker serve"), "{text}");
    }

    #[test]
    fn json_has_a_line_a_worker() {
        let mut out = Vec::new();
        json(&nodes(), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
{"name":"a\u001b[2J","address":"10.0.0.9:41000","version":"0.1.0","threads":8,"load":0.05,"files_per_second":0,"bytes_per_second":0,"leases":0,"draining":true,"attached_millis":59999}
{"name":"node-10","address":"10.0.0.20:50122","version":"0.1.0","threads":24,"load":23.1,"files_per_second":412345,"bytes_per_second":736100352,"leases":3,"draining":false,"attached_millis":93784000}
"#);
    }

    #[test]
    fn uptimes_have_two_units() {
        let uptimes = [0, 59, 60, 3599, 3600, 86_399, 86_400, 8_640_000].map(uptime);
        let expected = [
            "0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h", "100d00h",
        ];
        assert_eq!(uptimes, expected);
    }
}
