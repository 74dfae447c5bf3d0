//! An event's known fields, read in one pass.

use core::fmt;
use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The fields some event knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Type,
    ChatId,
    To,
    Content,
    ContentBase64,
    ClientMsgId,
    Retry,
    MessageId,
    Status,
    Token,
    Nonce,
    RequestId,
    AfterSeq,
    Limit,
    Name,
    Users,
    Role,
    AfterUser,
    Before,
    RefersTo,
    Mentions,
    Forwarded,
    Reaction,
    TtlS,
    Key,
    Value,
    Subject,
    DeviceId,
    Synced,
    UserId,
    Seq,
    Marks,
}

const FIELDS: usize = 32;

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "chat_id" => Self::ChatId,
            "to" => Self::To,
            "content" => Self::Content,
            "content_base64" => Self::ContentBase64,
            "client_msg_id" => Self::ClientMsgId,
            "retry" => Self::Retry,
            "message_id" => Self::MessageId,
            "status" => Self::Status,
            "token" => Self::Token,
            "nonce" => Self::Nonce,
            "request_id" => Self::RequestId,
            "after_seq" => Self::AfterSeq,
            "limit" => Self::Limit,
            "name" => Self::Name,
            "users" => Self::Users,
            "role" => Self::Role,
            "after_user" => Self::AfterUser,
            "before" => Self::Before,
            "refers_to" => Self::RefersTo,
            "mentions" => Self::Mentions,
            "forwarded" => Self::Forwarded,
            "reaction" => Self::Reaction,
            "ttl_s" => Self::TtlS,
            "key" => Self::Key,
            "value" => Self::Value,
            "subject" => Self::Subject,
            "device_id" => Self::DeviceId,
            "synced" => Self::Synced,
            "user_id" => Self::UserId,
            "seq" => Self::Seq,
            "marks" => Self::Marks,
            _ => return None,
        })
    }
}

/// A field's value. What no field takes is told apart, not kept.
pub(super) enum Value<'a> {
    /// Not there, or null.
    Absent,
    Bool(bool),
    Number(u64),
    /// Negative, fractional or above u64.
    OtherNumber,
    Text(Cow<'a, str>),
    /// An array or an object.
    Nested,
    /// JSON that has not been looked into: `users`, `mentions` and `before`.
    Raw(&'a str),
}

/// An event's fields.
pub(super) struct Fields<'a> {
    values: [Value<'a>; FIELDS],
    /// A known field came twice with a value.
    pub twice: bool,
}

impl<'a> Fields<'a> {
    /// Borrows a field's value.
    pub fn get(&self, field: Field) -> &Value<'a> {
        &self.values[field as usize]
    }

    /// Takes a field's value; it is absent from then on.
    pub fn take(&mut self, field: Field) -> Value<'a> {
        core::mem::replace(&mut self.values[field as usize], Value::Absent)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields { values: [const { Value::Absent }; FIELDS], twice: false };
                while let Some(Name(field)) = map.next_key()? {
                    let Some(field) = field else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let place = &mut fields.values[field as usize];
                    fields.twice |= !matches!(place, Value::Absent);
                    *place = match field {
                        Field::Users | Field::Mentions | Field::Before => match map.next_value::<&RawValue>()?.get() {
                            "null" => Value::Absent,
                            raw => Value::Raw(raw),
                        },
                        _ => map.next_value()?,
                    };
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct Name(Option<Field>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name(Field::of(name)))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::OtherNumber)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    // What is inside is skipped by `IgnoredAny`, which does not recurse: depth costs no stack.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nested)
    }
}
