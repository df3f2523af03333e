//! The JSON Schema of `cluster.toml`, for editors.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::RawFile;

/// The schema, in draft 7, which the editors' TOML extensions understand. Made from the same
/// declarations that read the file.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<RawFile>();
    schema.insert("title".into(), "cluster.toml of regex-provision".into());
    schema.to_value()
}
