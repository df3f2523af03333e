//! Adding nodes to the text of a `cluster.toml`, whose comments and formatting stay.

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::model::{NodeEntry, ProfileName};

/// Why nothing was added.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is no TOML.
    #[error("the file is no TOML; `regex-provision check` tells where")]
    Syntax(#[from] toml_edit::TomlError),
    /// `node` is something else than sections of nodes.
    #[error("`node` in the file is no list of sections; `regex-provision check` tells where")]
    NotNodes,
    /// The nodes stand in one line.
    #[error(
        "the nodes in the file are one table, `node = {{ ... }}`, to which no section can be added; write each of them as a section [node.NAME] first"
    )]
    Inline,
    /// A section with this name is there.
    #[error("there is a section [node.{0}] already")]
    Exists(String),
}

/// Adds a section for each node behind the nodes that are there, in the form that those have:
/// `[[node]]`, `[node.NAME]` or one list. Where there are none yet, `[[node]]` is written at the end.
pub fn add_nodes(
    text: &str,
    nodes: &[NodeEntry],
    profile: Option<&ProfileName>,
) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let root = document.as_table_mut();
    match root.get_mut("node") {
        None | Some(Item::None) => {
            let mut list = ArrayOfTables::new();
            for node in nodes {
                list.push(section(node, profile));
            }
            root.insert("node", Item::ArrayOfTables(list));
        }
        Some(Item::ArrayOfTables(list)) => {
            for node in nodes {
                list.push(section(node, profile));
            }
        }
        Some(Item::Table(table)) => {
            for node in nodes {
                let name = node.hostname.as_str();
                if table.contains_key(name) {
                    return Err(EditError::Exists(name.to_owned()));
                }
                let mut section = section(node, profile);
                section.remove("name");
                table.insert(name, Item::Table(section));
            }
        }
        Some(Item::Value(Value::Array(list))) => {
            for node in nodes {
                inline(list, node, profile);
            }
        }
        Some(Item::Value(Value::InlineTable(_))) => return Err(EditError::Inline),
        Some(_) => return Err(EditError::NotNodes),
    }
    let new = document.to_string();
    Ok(if ends_in_crlf(text) {
        new.replace("\r\n", "\n").replace('\n', "\r\n")
    } else {
        new
    })
}

/// Whether most lines end as those of Windows do.
fn ends_in_crlf(text: &str) -> bool {
    text.matches("\r\n").count() * 2 > text.matches('\n').count()
}

/// What a section says, in the order of a host list.
fn keys(node: &NodeEntry, profile: Option<&ProfileName>) -> Vec<(&'static str, String)> {
    let mut keys = vec![
        ("name", node.hostname.to_string()),
        ("address", node.ip.to_string()),
        ("mac", node.mac.to_string()),
    ];
    keys.extend(profile.map(|profile| ("profile", profile.to_string())));
    keys
}

fn section(node: &NodeEntry, profile: Option<&ProfileName>) -> Table {
    let mut table = Table::new();
    for (key, text) in keys(node, profile) {
        table.insert(key, value(text));
    }
    table.decor_mut().set_prefix("\n");
    table
}

/// Adds to a list of inline tables, one a line, as it is probably written.
fn inline(list: &mut Array, node: &NodeEntry, profile: Option<&ProfileName>) {
    let mut table = InlineTable::new();
    for (key, text) in keys(node, profile) {
        table.insert(key, text.into());
    }
    let mut table = Value::InlineTable(table);
    // What stands behind the last element, such as its comment, stays behind it.
    let behind = list.trailing().as_str().unwrap_or_default().to_owned();
    let (comment, _) = behind.rsplit_once('\n').unwrap_or_default();
    table.decor_mut().set_prefix(format!("{comment}\n  "));
    list.push_formatted(table);
    list.set_trailing_comma(true);
    list.set_trailing("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> String {
        let node = |name: &str, last: u8| NodeEntry {
            hostname: name.parse().expect("a name"),
            ip: format!("10.0.0.{last}").parse().expect("an address"),
            mac: format!("52:54:00:00:00:{last:02x}")
                .parse()
                .expect("an address"),
        };
        let profile = "p".parse().expect("a name");
        let nodes = [node("t1", 11), node("t2.x", 12)];
        add_nodes(text, &nodes, Some(&profile)).expect("there is a place for nodes")
    }

    #[test]
    fn sections_follow_the_last_node_and_comments_stay() {
        insta::assert_snapshot!(added(
            "\
# The lab.
[cluster]
name   =  'lab' # odd   spaces

# The first rack.
[[node]]
name = \"s1\"   # broken fan
mac = \"52:54:00:00:00:01\"

# What follows the nodes.
[image.base]
source = { kind = \"tar\" }
"
        ));
    }

    #[test]
    fn the_first_nodes_stand_at_the_end() {
        insta::assert_snapshot!(added(
            "\
[cluster]
name = \"lab\"
# The end.
"
        ));
    }

    #[test]
    fn sections_by_name_are_added_by_name() {
        insta::assert_snapshot!(added(
            "\
[node.\"s[0-9]\"]
address = \"10.0.0.1\"

[time]
enabled = true
"
        ));
        let text = "[node.t1]\n";
        let node = NodeEntry {
            hostname: "t1".parse().expect("a name"),
            ip: "10.0.0.1".parse().expect("an address"),
            mac: "52:54:00:00:00:01".parse().expect("an address"),
        };
        let error = add_nodes(text, &[node], None).expect_err("it is there");
        assert_eq!(error.to_string(), "there is a section [node.t1] already");
    }

    #[test]
    fn a_list_of_tables_grows() {
        insta::assert_snapshot!(added(
            "\
node = [
  { name = \"s1\", address = \"10.0.0.1\" }, # the first
  # more to come
]
"
        ));
    }

    #[test]
    fn a_list_in_one_line_grows_too() {
        for text in [
            "node = [{ name = \"s1\" }]",
            "node = [ { name = \"s1\" }, ]",
            "node = []",
        ] {
            let text = added(text);
            let nodes: DocumentMut = text.parse().expect("it is TOML");
            let count = nodes["node"].as_array().map(Array::len);
            assert!(
                count >= Some(2) && text.contains("\n  { name = \"t2.x\""),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_end_as_they_did() {
        let text = "[cluster]\r\nname = \"lab\"\r\n\r\n[[node]]\r\nname = \"s1\" # one\r\n";
        let new = added(text);
        assert!(new.starts_with(text), "{new:?}");
        assert!(!new.replace("\r\n", "").contains('\n'), "{new:?}");
    }

    #[test]
    fn nodes_in_one_table_are_told_what_to_do() {
        let error = add_nodes("node = { s1 = { mac = \"x\" } }", &[], None);
        let error = error.expect_err("no line can be added").to_string();
        assert!(
            error.ends_with("write each of them as a section [node.NAME] first"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_list_of_nodes_is_refused() {
        for text in ["node = 1", "[node", "node = {}"] {
            assert!(add_nodes(text, &[], None).is_err(), "{text}");
        }
    }
}
