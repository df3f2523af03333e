//! The schema says the same as the reader.

use serde_json::Value;

use super::accepted::EVERYTHING;
use super::*;

/// Reads TOML as an editor does before it asks the schema.
fn json(text: &str) -> Value {
    toml::from_str(text).expect("it is TOML")
}

/// Whether the schema has an objection; an independent validator answers.
fn objection(text: &str) -> Option<String> {
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    compiler
        .add_resource("schema.json", super::schema())
        .expect("it is JSON");
    let index = compiler
        .compile("schema.json", &mut schemas)
        .expect("it is a schema");
    schemas
        .validate(&json(text), index)
        .err()
        .map(|error| error.to_string())
}

#[test]
fn right_files_are_right_for_editors() {
    for text in [BASE, EVERYTHING] {
        assert_eq!(objection(text), None);
    }
    let by_name = BASE.replace("[[node]]\nname = \"s[0-2]\"", "[node.\"s[0-2]\"]");
    accepted(&by_name);
    assert_eq!(objection(&by_name), None);
}

#[test]
fn wrong_files_are_wrong_for_editors() {
    for (part, by) in [
        ("name = \"lab\"", "name = \"lab\"\ngatway = \"10.0.0.2\""),
        ("name = \"lab\"\n", ""),
        ("master = ", "http-port = 0\nmaster = "),
        ("master = ", "http-port = \"80\"\nmaster = "),
        ("image = \"base\"", "image = \"base\"\nroot = \"rma\""),
        ("[dhcp]", "[dhcpd]"),
        ("kind = \"tar\"", "kind = \"zip\""),
    ] {
        let text = BASE.replacen(part, by, 1);
        assert!(
            !told(&text).is_empty() && objection(&text).is_some(),
            "{by}"
        );
    }
}

/// Every key of the schema, with the sections on the way to it.
fn keys(schema: &Value, root: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = root
            .pointer(reference.trim_start_matches('#'))
            .expect("it leads somewhere");
        keys(target, root, path, found);
    }
    for (key, schema) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("{path}.{key}");
        keys(schema, root, &path, found);
        found.push(path);
    }
    for part in ["additionalProperties", "items"] {
        if let Some(schema) = schema.get(part).filter(|schema| schema.is_object()) {
            keys(schema, root, path, found);
        }
    }
    for part in ["anyOf", "allOf"] {
        for schema in schema
            .get(part)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            keys(schema, root, path, found);
        }
    }
}

#[test]
fn the_documented_file_has_every_key_and_every_key_a_description() {
    let schema = super::schema();
    let mut found = Vec::new();
    keys(&schema, &schema, "", &mut found);
    assert!(found.len() > 100, "{found:?}");
    // Those that cannot stand beside others that are there.
    let other = ["host", "protocol"];
    for path in &found {
        let key = path.rsplit('.').next().expect("it has a key");
        let is_there = EVERYTHING.contains(key);
        assert!(
            is_there || other.contains(&key),
            "docs/cluster.toml has no {path}"
        );
    }
    described(&schema);
}

/// Every property has a description.
fn described(schema: &Value) {
    for (key, value) in schema.as_object().into_iter().flatten() {
        if key == "properties" {
            for (name, property) in value.as_object().into_iter().flatten() {
                let text = property
                    .get("description")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                assert!(text.len() > 5, "{name} has no description");
            }
        }
        described(value);
    }
    schema.as_array().into_iter().flatten().for_each(described);
}
