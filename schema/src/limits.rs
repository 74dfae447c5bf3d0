//! Limits every tier and client shares, with their defaults and hard bounds.

/// Largest frame by default, size prefix included, bytes.
pub const FRAME_LIMIT_BYTES: usize = 64 * 1024;
/// Shortest and longest client_msg_id, bytes.
pub const CLIENT_MSG_ID_BYTES: core::ops::RangeInclusive<usize> = 1..=64;
/// Sends one session may have unanswered, by default.
pub const IN_FLIGHT_PER_SESSION: u32 = 4_096;
/// Sends a user may make in a second, by default.
pub const SENDS_PER_SECOND_PER_USER: u32 = 1_000;
/// Sends a user may make at once, by default.
pub const BURST_PER_USER: u32 = 5_000;
/// A session that sends nothing for so long is closed, ms.
pub const IDLE_TIMEOUT_MS: u32 = 75_000;
/// How often a client should ping, ms.
pub const PING_INTERVAL_MS: u32 = 20_000;
/// A connection that has not authenticated after so long is closed, ms.
pub const AUTH_TIMEOUT_MS: u32 = 10_000;
/// Longest token, bytes.
pub const TOKEN_BYTES: usize = 8 * 1024;
/// A resend of a client_msg_id later than this must say `retry`, ms.
pub const DEDUPE_MEMORY_MS: u64 = 15 * 60 * 1_000;
/// A client_msg_id keeps its id and seq for so long, ms.
pub const DEDUPE_KEEP_MS: u64 = 24 * 60 * 60 * 1_000;
/// Protocol versions this build speaks.
pub const PROTOCOL_VERSIONS: core::ops::RangeInclusive<u16> = 1..=1;
/// Entries of a history page, by default and at most.
pub const PAGE_ENTRIES: u32 = 100;
/// Most entries of a history page.
pub const PAGE_ENTRIES_MAX: u32 = 1_000;
/// Chats on a sync page.
pub const SYNC_PAGE_CHATS: usize = 64;
/// Members of a group, by default.
pub const GROUP_MEMBERS: u32 = 500;
/// Members that a group can be allowed to have.
pub const GROUP_MEMBERS_MAX: u32 = 10_000;
/// Longest name of a group, bytes.
pub const GROUP_NAME_BYTES: usize = 256;
/// Members on a page, by default and at most.
pub const PAGE_MEMBERS: u32 = 1_000;
/// Chats on a page that a client asks for, by default.
pub const PAGE_CHATS: u32 = 50;
/// Most chats on such a page.
pub const PAGE_CHATS_MAX: u32 = 100;
/// A message may be edited for so long after it was sent, by default, s.
pub const EDIT_WINDOW_S: u32 = 15 * 60;
/// A message may be deleted for everyone by its sender for so long, by default, s.
pub const DELETE_WINDOW_S: u32 = 2 * 24 * 60 * 60;
/// How long messages may stay where they disappear, s.
pub const TTL_S: core::ops::RangeInclusive<u32> = 5..=365 * 24 * 60 * 60;
/// Length of a reaction, bytes.
pub const REACTION_BYTES: core::ops::RangeInclusive<usize> = 1..=64;
/// Most users that one message mentions.
pub const MENTIONS_MAX: usize = 256;
/// Length of a setting's key, bytes.
pub const SETTING_KEY_BYTES: core::ops::RangeInclusive<usize> = 1..=64;
/// Longest value of a setting, bytes.
pub const SETTING_VALUE_BYTES: usize = 1_024;
/// Most settings of applications (`app.` and a name) that an account holds.
pub const APP_SETTINGS_MAX: usize = 256;
/// Their names and values together, bytes: an answer with all of them fits the default frame.
pub const APP_SETTINGS_BYTES: usize = 24 * 1_024;
/// Most chats that an account holds settings for.
pub const CHAT_SETTINGS_MAX: usize = 10_000;
/// Most devices that an account knows by name or as revoked.
pub const DEVICES_MAX: usize = 64;
/// Longest name of a device, bytes.
pub const DEVICE_NAME_BYTES: usize = 128;
/// Most messages of one chat that a user may hide.
pub const HIDDEN_MAX: usize = 1_000;
/// Most messages that a user may hide, over all chats.
pub const HIDDEN_IN_ALL: usize = 10_000;
/// Deliveries a second that all entries of one group may cause, by default.
pub const DELIVERIES_PER_SECOND_PER_GROUP: u32 = 500_000;
/// Deliveries a second that what one user writes to groups may cause, by default.
pub const DELIVERIES_PER_SECOND_PER_SENDER: u32 = 200_000;
