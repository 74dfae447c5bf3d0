//! OTLP's request for traces, in JSON: ids in hexadecimal, times as decimal texts
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>).

use fabric::trace::{Span, Step};
use serde_json::{Value, json};

/// Who did what spans say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// The node's name; empty in one process.
    pub node: String,
    /// What it does, with commas between.
    pub roles: String,
    /// The cluster's name.
    pub cluster: String,
}

/// Of `SPAN_KIND_…`.
const fn kind(step: Step) -> u8 {
    match step {
        Step::Send => 2,
        Step::Deliver => 4,
        Step::Commit | Step::Route => 1,
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn span(span: &Span) -> Value {
    let mut value = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.step.name(),
        "kind": kind(span.step),
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
    });
    if span.parent != 0 {
        value["parentSpanId"] = format!("{:016x}", span.parent).into();
    }
    value
}

/// The body of a request.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let attributes = [
        attribute("service.name", "shardwire"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("service.namespace", &resource.cluster),
        attribute("service.instance.id", &resource.node),
        attribute("shardwire.node", &resource.node),
        attribute("shardwire.roles", &resource.roles),
    ];
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let scope = json!({ "scope": { "name": "shardwire" }, "spans": spans });
    let body = json!({ "resourceSpans": [{ "resource": { "attributes": attributes }, "scopeSpans": [scope] }] });
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_the_specification_has_it() {
        let resource = Resource { node: "gw-1".to_owned(), roles: "gateway".to_owned(), cluster: "c".to_owned() };
        let one = Span {
            trace: 0xab,
            id: 0xcd,
            parent: 0,
            step: Step::Send,
            start_ns: 1_700_000_000_000_000_001,
            end_ns: 1_700_000_000_000_000_009,
        };
        let two = Span { parent: 0xcd, id: 0xef, step: Step::Commit, ..one };
        let body: Value = serde_json::from_slice(&request(&resource, &[one, two])).unwrap();
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["traceId"], "000000000000000000000000000000ab");
        assert_eq!((&spans[0]["spanId"], &spans[0]["parentSpanId"]), (&json!("00000000000000cd"), &Value::Null));
        assert_eq!(
            (&spans[1]["parentSpanId"], &spans[1]["name"]),
            (&json!("00000000000000cd"), &json!("storage-writer commit"))
        );
        assert_eq!(spans[0]["startTimeUnixNano"], "1700000000000000001");
        let attributes = body["resourceSpans"][0]["resource"]["attributes"].as_array().unwrap();
        let value =
            |key: &str| attributes.iter().find(|one| one["key"] == key).unwrap()["value"]["stringValue"].clone();
        assert_eq!(
            (value("service.name"), value("shardwire.node"), value("shardwire.roles")),
            (json!("shardwire"), json!("gw-1"), json!("gateway"))
        );
    }
}
