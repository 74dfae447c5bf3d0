//! The OpenAPI description, made of the handlers and types themselves. `docs/openapi.json` is the same, kept by a test.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{info, messages, model};

/// The description.
#[derive(OpenApi)]
#[openapi(
    info(title = "Shardwire", description = "Messages over HTTP. Errors are problems (RFC 9457) with the codes of docs/ERRORS.md."),
    paths(messages::send, messages::direct, messages::chat, info::info),
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
    let user = serde_json::to_string(model::USER_PATTERN).unwrap_or_default();
    let text = Description::openapi().to_pretty_json().unwrap_or_default();
    // A macro's pattern is a literal; the one of user ids is a constant.
    text.replace("\"USER\"", &user) + "\n"
}

/// `GET /openapi.json`
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text()).into_response()
}
