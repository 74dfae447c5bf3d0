//! The OpenAPI description, made of the handlers and types themselves. `docs/openapi.json` is the same, kept by a test.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{account, amend, chats, console, dev, groups, info, messages, model};

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Shardwire", description = "Messages over HTTP. Errors are problems (RFC 9457) with the codes of docs/ERRORS.md."),
    paths(
        messages::send, messages::direct, messages::chat, messages::send_to_chat,
        groups::create, groups::add, groups::remove, groups::set_role, groups::rename,
        chats::list, chats::chat, chats::status, chats::read,
        amend::edit, amend::delete, amend::react, amend::unreact, amend::set_timer,
        account::set_for_chat, account::account, account::set_setting, account::name_device, account::revoke_device,
        info::info, dev::token, console::console,
    ),
    components(schemas(model::Entry)),
    modifiers(&Tokens)
)]
struct Description;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description as text, with a newline at the end.
pub fn text() -> String {
    let text = Description::openapi().to_pretty_json().unwrap_or_default();
    // A macro's pattern is a literal; those that many have are constants.
    let patterns =
        [("\"USER\"", model::USER_PATTERN), ("\"TIME\"", model::TIME_PATTERN), ("\"KEY\"", model::KEY_PATTERN)];
    let with = |text: String, (name, pattern): (&str, &str)| {
        text.replace(name, &serde_json::to_string(pattern).unwrap_or_default())
    };
    patterns.into_iter().fold(text, with) + "\n"
}

/// `GET /openapi.json`
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_published_file_is_up_to_date() {
        let published = include_str!("../../docs/openapi.json");
        assert!(
            published == text(),
            "docs/openapi.json is old: start the server and `curl http://127.0.0.1:7480/openapi.json > docs/openapi.json`"
        );
    }

    #[test]
    fn everything_is_described() {
        let description: Value = serde_json::from_str(&text()).unwrap();
        let schemas = description["components"]["schemas"].as_object().unwrap();
        assert!(schemas.len() >= 9, "{:?}", schemas.keys());
        for (name, schema) in schemas {
            for (field, property) in schema["properties"].as_object().unwrap() {
                let described = property["description"].is_string() || property["$ref"].is_string();
                assert!(described || property["oneOf"][0]["description"].is_string(), "{name}.{field}: {property}");
            }
        }
        for name in ["\"USER\"", "\"TIME\"", "\"KEY\""] {
            assert!(!text().contains(name), "patterns are patterns");
        }
    }
}
