//! What requests bring: who asks, the query, a JSON body. Every error names the field, and none shows what was in it.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, RawPathParams, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use fabric::time::{Clock as _, SystemClock};
use gateway::auth::{AuthError, Identity, TokenVerifier as _};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::limits::MENTIONS_MAX;
use schema::wire::Role;
use serde_json::{Map, Value};

use super::App;
use super::accept::Peer;
use super::problem::Problem;

/// Largest seq a client may name: what a JSON number holds everywhere.
pub const SEQ_MAX: u64 = (1 << 53) - 1;

/// The user and device of a request's token.
#[derive(Clone, Copy, Debug)]
pub struct Caller(pub Identity);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let refused = |error: AuthError| match parts.extensions.get::<Peer>() {
            Some(peer) => app.0.limits.stranger(peer.0).map_or_else(|limit| limit, |()| error.into()),
            None => error.into(),
        };
        let token = bearer(&parts.headers).map_err(refused)?;
        app.0.trust.verify(token, SystemClock.now().wall_ms()).map(Self).map_err(refused)
    }
}

fn bearer(headers: &HeaderMap) -> Result<&[u8], AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?.as_bytes();
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(AuthError::Missing),
    }
}

/// The ids in a request's path.
#[derive(Debug)]
pub struct Places(Vec<(String, String)>);

impl FromRequestParts<App> for Places {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Problem::field("the path must be UTF-8"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Places {
    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str())
    }

    /// Which chat.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn chat(&self) -> Result<ChatId, Problem> {
        chat(self.get("chat_id"), "chat_id")
    }

    /// Which message.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn message(&self) -> Result<MessageId, Problem> {
        message(self.get("message_id"), "message_id")
    }

    /// Which device.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn device(&self) -> Result<DeviceId, Problem> {
        let wrong = || Problem::field("device_id must be a decimal number from 0 to 4294967295");
        self.get("device_id").parse().map_err(|_| wrong())
    }

    /// Which setting; whether there is such a one, the account's owner says.
    pub fn key(&self) -> &str {
        self.get("key")
    }

    /// Which user.
    ///
    /// # Errors
    /// `invalid_user`.
    pub fn user(&self) -> Result<UserId, Problem> {
        user(self.get("user_id"), "user_id")
    }
}

fn chat(text: &str, what: &'static str) -> Result<ChatId, Problem> {
    text.parse().map_err(|_| Problem::field(format!("{what} must be a hyphenated UUID")))
}

fn message(text: &str, what: &'static str) -> Result<MessageId, Problem> {
    text.parse().map_err(|_| Problem::field(format!("{what} must be a hyphenated UUID")))
}

/// A query's parameters.
#[derive(Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads them.
    ///
    /// # Errors
    /// `invalid_field` when one is given twice.
    pub fn read(RawQuery(query): RawQuery) -> Result<Self, Problem> {
        let text = query.unwrap_or_default();
        let mut all: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        if all.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Problem::field("a parameter is given twice"));
        }
        Ok(Self(all))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A required user id.
    ///
    /// # Errors
    /// `invalid_user`.
    pub fn user(&self, name: &'static str) -> Result<UserId, Problem> {
        let text = self.get(name).ok_or_else(|| Problem::field(format!("the parameter {name} is missing")))?;
        user(text, name)
    }

    /// A user id, if it is there.
    ///
    /// # Errors
    /// `invalid_user`.
    pub fn optional_user(&self, name: &'static str) -> Result<Option<UserId>, Problem> {
        self.get(name).map(|text| user(text, name)).transpose()
    }

    /// A chat id, if it is there.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn optional_chat(&self, name: &'static str) -> Result<Option<ChatId>, Problem> {
        self.get(name).map(|text| chat(text, name)).transpose()
    }

    /// A time in ms since 1970, if it is there.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn time(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let wrong = || Problem::field(format!("{name} must be a time like 2026-01-02T03:04:05.678Z"));
        self.get(name).map(|text| gateway::json::read_timestamp(text).ok_or_else(wrong)).transpose()
    }

    /// Whether `name` is `yes`; false when it is `no` or absent.
    ///
    /// # Errors
    /// `invalid_field` when it is something else.
    pub fn is(&self, name: &'static str, yes: &'static str, no: &'static str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(value) if value == no => Ok(false),
            Some(value) if value == yes => Ok(true),
            Some(_) => Err(Problem::field(format!("{name} must be {no} or {yes}"))),
        }
    }

    /// A number within `min..=max`, if it is there.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn number(&self, name: &'static str, min: u64, max: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse::<u64>().ok() } else { None };
        match number.filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::field(format!("{name} must be a number from {min} to {max}"))),
        }
    }
}

/// A user id as every interface shows it: decimal, without leading zeros.
///
/// # Errors
/// `invalid_user`, naming `what`.
pub fn user(text: &str, what: &'static str) -> Result<UserId, Problem> {
    let id = text.parse::<UserId>().ok().filter(|_| !text.starts_with('0'));
    let wrong = || format!("{what} must be a decimal number from 1 to 18446744073709551615, as a string");
    id.ok_or_else(|| Problem::of(ErrorCode::InvalidUser, wrong()))
}

/// The number that is meant by 5 and by 5.0: to JSON they are the same.
fn whole(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=SEQ_MAX as f64).contains(number));
    value.as_u64().or_else(|| fraction().map(|number| number as u64))
}

/// A JSON object.
#[derive(Debug)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Reads a body that says it is JSON.
    ///
    /// # Errors
    /// 415 for another content type, 413 for too long a body, 400 for what is no JSON object.
    pub fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::of(ErrorCode::Unsupported, "the body must be JSON: Content-Type: application/json")
                .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::of(ErrorCode::FrameTooLarge, "the body is too long"),
            _ => Problem::of(ErrorCode::MalformedFrame, "the body could not be read"),
        })?;
        match serde_json::from_slice::<Value>(&body) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Problem::field("the body must be a JSON object")),
            // Where, but not what: an error of the parser may show content.
            Err(error) => {
                let at = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
                Err(Problem::of(ErrorCode::MalformedFrame, at))
            }
        }
    }

    /// A string; `None` when it is absent or null.
    ///
    /// # Errors
    /// `invalid_field` when it is something else.
    pub fn optional_text(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::field(format!("{name} must be a string"))),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// `invalid_field` when it is absent or something else.
    pub fn text(&self, name: &'static str) -> Result<&str, Problem> {
        self.optional_text(name)?.ok_or_else(|| Problem::field(format!("{name} is missing")))
    }

    /// A whole number from 0 to `max`.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn number(&self, name: &'static str, max: u64) -> Result<u64, Problem> {
        let number = self.0.get(name).and_then(whole).filter(|number| *number <= max);
        number.ok_or_else(|| Problem::field(format!("{name} must be a whole number from 0 to {max}")))
    }

    /// `true` or `false`; false when it is absent or null.
    ///
    /// # Errors
    /// `invalid_field` when it is something else.
    pub fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Problem::field(format!("{name} must be true or false"))),
        }
    }

    /// Nothing but these fields.
    ///
    /// # Errors
    /// `invalid_field` when there is another.
    pub fn only(&self, names: &[&str]) -> Result<(), Problem> {
        let known = self.0.keys().all(|key| names.contains(&key.as_str()));
        let wrong = || Problem::field(format!("there is another field than {}", names.join(", ")));
        if known { Ok(()) } else { Err(wrong()) }
    }

    /// A user id.
    ///
    /// # Errors
    /// `invalid_field`, `invalid_user`.
    pub fn user(&self, name: &'static str) -> Result<UserId, Problem> {
        user(self.text(name)?, name)
    }

    /// A list of user ids.
    ///
    /// # Errors
    /// `invalid_field`, `invalid_user`.
    pub fn users(&self, name: &'static str) -> Result<Vec<UserId>, Problem> {
        let list = || Problem::field(format!("{name} must be a list of user ids, each a string"));
        let Some(Value::Array(users)) = self.0.get(name) else { return Err(list()) };
        users.iter().map(|id| user(id.as_str().ok_or_else(list)?, name)).collect()
    }

    /// A message id.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn message(&self) -> Result<MessageId, Problem> {
        message(self.text("message_id")?, "message_id")
    }

    /// The message that is answered, if one is.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn refers_to(&self) -> Result<Option<MessageId>, Problem> {
        self.optional_text("refers_to")?.map(|text| message(text, "refers_to")).transpose()
    }

    /// Who is mentioned; nobody when it is absent or null.
    ///
    /// # Errors
    /// `invalid_field`, `invalid_user`.
    pub fn mentions(&self) -> Result<Vec<UserId>, Problem> {
        if matches!(self.0.get("mentions"), None | Some(Value::Null)) {
            return Ok(Vec::new());
        }
        let users = self.users("mentions")?;
        let few = users.len() <= MENTIONS_MAX;
        if few { Ok(users) } else { Err(Problem::field(format!("mentions must be at most {MENTIONS_MAX} users"))) }
    }

    /// A whole number from 0 to `max`; 0 when it is absent or null.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn optional_number(&self, name: &'static str, max: u64) -> Result<u64, Problem> {
        if matches!(self.0.get(name), None | Some(Value::Null)) { Ok(0) } else { self.number(name, max) }
    }

    /// `true` or `false`; `None` only when it is absent.
    ///
    /// # Errors
    /// `invalid_field` when it is something else, null too.
    pub fn switch(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Problem::field(format!("{name} must be true or false"))),
        }
    }

    /// A time in ms since 1970, 0 for null; `None` only when it is absent.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn time(&self, name: &'static str) -> Result<Option<u64>, Problem> {
        let wrong = || Problem::field(format!("{name} must be a time like 2026-01-02T03:04:05.678Z, or null"));
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(0)),
            Some(Value::String(text)) => gateway::json::read_timestamp(text).map(Some).ok_or_else(wrong),
            Some(_) => Err(wrong()),
        }
    }

    /// What a member may do.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn role(&self) -> Result<Role, Problem> {
        match self.text("role")? {
            "member" => Ok(Role::member),
            "admin" => Ok(Role::admin),
            _ => Err(Problem::field("role must be \"member\" or \"admin\"")),
        }
    }
}

/// The id under which a message is sent: the body's, the `Idempotency-Key` header's, or none.
///
/// # Errors
/// `invalid_client_msg_id` when one is not 1 to 64 printable ASCII characters, or when both are there and differ.
pub fn client_msg_id(headers: &HeaderMap, body: Option<&str>) -> Result<Option<String>, Problem> {
    let key = idempotency_key(headers)?;
    match (key, body) {
        (Some(key), Some(body)) if key != body => {
            let detail = "Idempotency-Key and client_msg_id differ; give one, or the same in both";
            Err(Problem::of(ErrorCode::InvalidClientMsgId, detail).with_status(StatusCode::CONFLICT))
        }
        (key, Some(body)) => {
            printable(body, "client_msg_id")?;
            Ok(key.or_else(|| Some(body.to_owned())))
        }
        (key, None) => Ok(key),
    }
}

/// The `Idempotency-Key` header, which every POST may carry; quotes around it (as RFC 8941 strings have) are not part of it.
///
/// # Errors
/// `invalid_client_msg_id`.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::of(ErrorCode::InvalidClientMsgId, "Idempotency-Key is given twice"));
    }
    let text = value.to_str().unwrap_or_default().trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    printable(bare, "Idempotency-Key")?;
    Ok(Some(bare.to_owned()))
}

fn printable(text: &str, what: &'static str) -> Result<(), Problem> {
    if (1..=64).contains(&text.len()) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    let detail = format!("{what} must be 1 to 64 printable ASCII characters");
    Err(Problem::of(ErrorCode::InvalidClientMsgId, detail))
}
