//! Names and forms of what is kept in Redis; other programs may read it, so none of it changes without a new name.
//!
//! `user:{ID}:connection` is a hash: a field a device, its value six words and a time, apart by single spaces: epoch (16 digits,
//! hexadecimal: as texts they compare as numbers), incarnation (the same), shard, connection, generation (decimal), the name of
//! the router that wrote it (`-`: none), and until when it counts (s since 1970, by Redis' clock). `user:{ID}:online` is there
//! while the user is online. The braces are part of both names: they put a user's keys into one slot of a cluster.

use std::fmt::Write as _;

use router::Registration;
use schema::envelope::Address;
use schema::ids::{DeviceId, UserId};

/// Where it is noted whose directory this is.
pub const CLUSTER_KEY: &str = "shardwire:directory";
/// Which keys hold sessions.
pub const CONNECTION_PATTERN: &str = "user:{*}:connection";
/// Slots of a Redis Cluster.
pub const SLOTS: usize = 16_384;

/// The key of a user's sessions.
pub fn connection(user: UserId) -> String {
    format!("user:{{{}}}:connection", user.get())
}

/// The key that says that a user is online.
pub fn online(user: UserId) -> String {
    format!("user:{{{}}}:online", user.get())
}

/// Whose sessions are under this key.
pub fn user_of(key: &[u8]) -> Option<UserId> {
    let id = std::str::from_utf8(key).ok()?.strip_prefix("user:{")?.strip_suffix("}:connection")?;
    UserId::new(id.parse().ok()?)
}

/// The slot of a user's keys: CRC16 (XMODEM) of what is between the braces.
pub fn slot_of(user: UserId) -> usize {
    let mut digits = String::new();
    // A text takes everything.
    let _ = write!(digits, "{}", user.get());
    slot(digits.as_bytes())
}

/// The slot of a key without braces.
pub fn slot(key: &[u8]) -> usize {
    let mut crc: u16 = 0;
    for &byte in key {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    usize::from(crc) % SLOTS
}

/// A session's value up to its time, with the space before that.
pub fn session(registration: &Registration, writer: &str) -> String {
    let Registration { address: Address { incarnation, shard, connection, generation }, epoch, .. } = registration;
    let writer = if writer.is_empty() { "-" } else { writer };
    format!("{epoch:016x} {incarnation:016x} {shard} {connection} {generation} {writer} ")
}

/// A field and its value, if it counts at `now_s` of Redis' clock.
pub fn parse(field: &str, value: &str, now_s: u64) -> Option<Registration> {
    let mut words = value.split(' ');
    let mut word = || words.next();
    let hex = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
    let (epoch, incarnation) = (hex(word())?, hex(word())?);
    let (shard, connection, generation) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
    let (_, until_s) = (word()?, word()?.parse::<u64>().ok()?);
    let address = Address { incarnation, shard, connection, generation };
    let found = Registration { device: DeviceId(field.parse().ok()?), address, epoch };
    (until_s > now_s && word().is_none()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        let address = Address { incarnation: 0xFACE, shard: 3, connection: 70_000, generation: 9 };
        Registration { device: DeviceId(2), address, epoch: 10 }
    }

    #[test]
    fn a_session_s_form_is_fixed_and_read_as_it_was_written() {
        let text = session(&registration(), "rt-1");
        assert_eq!(text, "000000000000000a 000000000000face 3 70000 9 rt-1 ");
        assert_eq!(parse("2", &format!("{text}1000"), 999), Some(registration()));
        assert_eq!(parse("2", &format!("{text}1000"), 1_000), None, "its time is over");
        assert_eq!(session(&registration(), ""), "000000000000000a 000000000000face 3 70000 9 - ");
        for wrong in ["", "x", &text, &format!("{text}x"), &format!("{text}1000 more"), "1 2 3 4 5 6"] {
            assert_eq!(parse("2", wrong, 0), None, "{wrong:?}");
        }
        assert_eq!(parse("two", &format!("{text}1000"), 0), None);
        let later = Registration { epoch: u64::MAX, ..registration() };
        assert!(session(&later, "") > session(&registration(), ""), "epochs compare as texts");
    }

    #[test]
    fn keys_name_their_user_and_share_a_slot() {
        let user = UserId::new(42).unwrap();
        assert_eq!((connection(user), online(user)), ("user:{42}:connection".into(), "user:{42}:online".into()));
        assert_eq!(user_of(connection(user).as_bytes()), Some(user));
        for wrong in ["user:{0}:connection", "user:{x}:connection", "user:42:connection", "user:{42}:online", "user:{"]
        {
            assert_eq!(user_of(wrong.as_bytes()), None, "{wrong}");
        }
        // As CLUSTER KEYSLOT says.
        assert_eq!((slot(b"123456789"), slot_of(user), slot(b"42")), (12_739, 8_000, 8_000));
    }
}
