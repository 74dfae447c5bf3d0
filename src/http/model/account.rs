//! Bodies about the user's own account.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the account is now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Those that are not at their defaults.
    pub settings: Vec<Setting>,
    /// Those that were named or revoked.
    pub devices: Vec<Device>,
}

/// A setting that is about no chat.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Which.
    pub key: String,
    /// What it is set to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The same where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// One of the user's devices.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Which.
    #[schema(format = Int64, minimum = 0, maximum = 4294967295_i64)]
    pub device_id: u32,
    /// Empty when it was never named.
    pub name: String,
    /// When it was named, RFC 3339; null: never.
    #[schema(format = DateTime)]
    pub named_at: Option<String>,
    /// When it was revoked, RFC 3339; null: never.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
}

/// What a setting is set to.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SettingValue {
    /// At most 1,024 bytes; empty: the default again.
    #[schema(max_length = 1024, example = "off")]
    pub value: String,
}

/// What a device is called.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeviceName {
    /// 1 to 128 bytes.
    #[schema(min_length = 1, max_length = 128, example = "Ada's phone")]
    pub name: String,
}

/// What is set for a chat: at least one of these.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct ChatSettings {
    /// It stays on top.
    #[schema(nullable = false)]
    pub pinned: Option<bool>,
    /// It is out of the way.
    #[schema(nullable = false)]
    pub archived: Option<bool>,
    /// It is quiet until then; null: it is not, `9999-12-31T23:59:59.999Z`: for good.
    #[schema(pattern = "TIME", example = "2026-01-02T03:04:05.678Z")]
    pub muted_until: Option<String>,
}

/// Whose settings were set.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsOf {
    /// The chat.
    #[schema(format = "uuid")]
    pub chat_id: String,
}
