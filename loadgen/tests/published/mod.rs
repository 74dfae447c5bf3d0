//! Whether a report is as its published schema says.

use serde_json::Value;

/// The schema as the repository holds it.
pub const PUBLISHED: &str = include_str!("../../report.schema.json");

/// Everything that keeps a report from being as published, each with its place.
pub fn faults(report: &Value) -> Vec<String> {
    let (schema, mut found) = (serde_json::from_str(PUBLISHED).unwrap(), Vec::new());
    against(&schema, &schema, report, "", &mut found);
    found
}

/// What keeps `value` from being as `schema` says; a part of JSON Schema, refusing what it does not know.
fn against(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().into_iter().flatten() {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                against(root, root.pointer(pointer).expect(pointer), value, at, found);
            }
            "anyOf" | "oneOf" => {
                let fits = |rule: &Value| {
                    let mut here = Vec::new();
                    against(root, rule, value, at, &mut here);
                    here.is_empty()
                };
                if !rule.as_array().unwrap().iter().any(fits) {
                    found.push(format!("{at}: {value} fits nothing of {rule}"));
                }
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    against(root, rule, item, &format!("{at}/{place}"), found);
                }
            }
            "properties" | "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let here = if keyword == "properties" { rule.get(key) } else { Some(rule) };
                    match here {
                        Some(rule) => against(root, rule, value, &format!("{at}/{key}"), found),
                        None if schema.get("additionalProperties").is_some_and(|rule| *rule != Value::Bool(false)) => {}
                        None => found.push(format!("{at}/{key} is not described")),
                    }
                }
            }
            "required" => {
                let keys = rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
                let missing = keys.filter(|key| value.is_object() && value.get(key).is_none());
                found.extend(missing.map(|key| format!("{at}/{key} is missing")));
            }
            _ if !holds(keyword, rule, value) => found.push(format!("{at}: {value} is not {keyword} {rule}")),
            _ => {}
        }
    }
}

/// The keywords that look at one value only.
fn holds(keyword: &str, rule: &Value, value: &Value) -> bool {
    match keyword {
        "type" => {
            let named = rule.as_array().map_or_else(|| vec![rule], |all| all.iter().collect());
            named.iter().any(|name| is(name.as_str().unwrap(), value))
        }
        "const" => value == rule,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().unwrap()),
        "$schema" | "$defs" | "title" | "description" | "format" | "default" => true,
        other => panic!("this check does not know the keyword {other}"),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        _ => false,
    }
}
