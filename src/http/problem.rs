//! Errors as `application/problem+json` (RFC 9457), from the one error table.

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gateway::auth::AuthError;
use gateway::http::Refusal;
use schema::errors::{ErrorCode, Retry};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::Queued;

/// What is answered instead of what was asked for: an error, or that it is kept for later. Never holds content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: ErrorCode,
    /// The table's, unless HTTP has a more exact one.
    status: StatusCode,
    detail: Cow<'static, str>,
    /// 0 = the table's.
    retry_after_ms: u32,
    /// No error: it is done later (202).
    queued: Option<Box<Queued>>,
}

/// What every error looks like (`application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank`: the title is the status's.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The error table's name for it.
    code: &'static str,
    /// What was wrong, where, and what would do.
    detail: &'a str,
    /// `never` (it will not work), `same` (at once), `backoff` (after retry_after_ms), `after_reconnect`.
    retry: &'static str,
    /// When to come back, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u32>,
}

impl Problem {
    /// The table's row as it is.
    pub fn new(code: ErrorCode) -> Self {
        Self::of(code, code.info().text)
    }

    /// A row, and what is wrong in particular.
    pub fn of(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(code.info().http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, detail: detail.into(), retry_after_ms: 0, queued: None }
    }

    /// What was asked for is kept, and done later.
    pub fn queued(queued: Queued) -> Self {
        Self { queued: Some(Box::new(queued)), ..Self::new(ErrorCode::StorageUnavailable) }
    }

    /// Whether it is no error.
    pub const fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// A field is missing or wrong.
    pub fn field(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ErrorCode::InvalidField, detail)
    }

    /// The row.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// With a status more exact than the row's.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With more exact words.
    #[must_use]
    pub fn saying(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// What it says.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// With a wait of its own, ms.
    #[must_use]
    pub fn retry_after(mut self, ms: u32) -> Self {
        self.retry_after_ms = ms;
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code).retry_after(refusal.retry_after_ms)
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        Self::of(error.code(), error.to_string()).with_status(StatusCode::UNAUTHORIZED)
    }
}

const fn retry_name(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Same => "same",
        Retry::Backoff => "backoff",
        Retry::AfterReconnect => "after_reconnect",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(queued) = self.queued {
            return (StatusCode::ACCEPTED, Json(queued)).into_response();
        }
        let info = self.code.info();
        let wait_ms = if self.retry_after_ms == 0 { info.retry_after_ms } else { self.retry_after_ms };
        let retry_after_ms = (info.retry != Retry::Never && wait_ms > 0).then_some(wait_ms);
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: info.name,
            detail: &self.detail,
            retry: retry_name(info.retry),
            retry_after_ms,
        };
        // Plain strings and numbers cannot fail.
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(ms) = retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shown(problem: Problem) -> (u16, axum::http::HeaderMap, serde_json::Value) {
        let response = problem.into_response();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn every_row_of_the_table_can_be_said() {
        for info in schema::errors::TABLE {
            let (status, headers, body) = shown(Problem::new(info.code)).await;
            assert_eq!(
                (status, &body["code"], &body["detail"]),
                (info.http_status, &info.name.into(), &info.text.into())
            );
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            let waits = info.retry != Retry::Never && info.retry_after_ms > 0;
            assert_eq!(headers.contains_key(header::RETRY_AFTER), waits, "{}", info.name);
            assert_eq!(headers.contains_key(header::WWW_AUTHENTICATE), status == 401, "{}", info.name);
        }
    }

    #[tokio::test]
    async fn a_wait_is_said_in_whole_seconds_and_in_ms() {
        let refusal = Refusal { code: ErrorCode::RateLimited, retry_after_ms: 1_001 };
        let (status, headers, body) = shown(refusal.into()).await;
        assert_eq!((status, &headers[header::RETRY_AFTER]), (429, &HeaderValue::from_static("2")));
        assert_eq!((&body["retry_after_ms"], &body["retry"]), (&1_001.into(), &"backoff".into()));
    }
}
