//! The report's published JSON schema, made from the types.

/// The schema of `report.json`, as `report.schema.json` in the repository holds it.
pub fn text() -> String {
    let schema = schemars::schema_for!(super::Report);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tests::{OPEN, report};
    use super::*;

    /// What keeps `value` from being as `schema` says; a part of JSON Schema, refusing what it does not know.
    fn faults(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        for (keyword, rule) in schema.as_object().into_iter().flatten() {
            match keyword.as_str() {
                "$ref" => {
                    let pointer = rule.as_str().unwrap().trim_start_matches('#');
                    faults(root, root.pointer(pointer).expect(pointer), value, at, found);
                }
                "anyOf" | "oneOf" => {
                    let fits = |rule: &Value| {
                        let mut here = Vec::new();
                        faults(root, rule, value, at, &mut here);
                        here.is_empty()
                    };
                    if !rule.as_array().unwrap().iter().any(fits) {
                        found.push(format!("{at}: {value} fits nothing of {rule}"));
                    }
                }
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        faults(root, rule, item, &format!("{at}/{place}"), found);
                    }
                }
                "properties" | "additionalProperties" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        let here = if keyword == "properties" { rule.get(key) } else { Some(rule) };
                        match here {
                            Some(rule) => faults(root, rule, value, &format!("{at}/{key}"), found),
                            None if schema.get("additionalProperties").is_some() => {}
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

    fn check(value: &Value) -> Vec<String> {
        let (schema, mut found) = (serde_json::from_str(&text()).unwrap(), Vec::new());
        faults(&schema, &schema, value, "", &mut found);
        found
    }

    #[test]
    fn the_published_file_is_up_to_date() {
        let published = include_str!("../../report.schema.json");
        assert!(
            published == text(),
            "loadgen/report.schema.json is old: cargo run -p shardwire-loadgen -- schema > loadgen/report.schema.json"
        );
    }

    #[test]
    fn a_report_is_as_its_schema_says() {
        let mut report = report(OPEN, "p50_us = 500");
        report.judge();
        let mut json = serde_json::to_value(&report).unwrap();
        assert_eq!(check(&json), Vec::<String>::new());
        json["audit"]["sent"] = "many".into();
        json["verdict"] = "perhaps".into();
        json["series"] = serde_json::json!([{ "at_s": 1.0 }]);
        json["surprise"] = 1.into();
        json.as_object_mut().unwrap().remove("reason");
        let found = check(&json).join("\n");
        for fault in [
            "/audit/sent",
            "/verdict",
            "/series/0/connected is missing",
            "/surprise is not described",
            "/reason is missing",
        ] {
            assert!(found.contains(fault), "{fault} in {found}");
        }
    }

    #[test]
    fn every_key_says_what_it_is() {
        fn bare(schema: &Value, at: &str, found: &mut Vec<String>) {
            for (key, property) in schema["properties"].as_object().into_iter().flatten() {
                if property.get("description").is_none() && property.get("$ref").is_none() {
                    found.push(format!("{at}/{key}"));
                }
            }
        }
        let schema: Value = serde_json::from_str(&text()).unwrap();
        let mut found = Vec::new();
        bare(&schema, "", &mut found);
        for (name, part) in schema["$defs"].as_object().unwrap() {
            // The client's counters have its names and are described there.
            if name != "Clients" {
                bare(part, name, &mut found);
            }
        }
        assert_eq!(found, Vec::<String>::new());
    }
}
