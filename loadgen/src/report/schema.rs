//! The report's published JSON schema, made from the types.

/// The schema of `report.json`, as `report.schema.json` in the repository holds it.
pub fn text() -> String {
    let schema = schemars::schema_for!(super::Report);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}
