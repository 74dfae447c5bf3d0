//! TIMEUUIDs (RFC 9562 version 1) and the order Cassandra and Scylla sort them in.

use crate::ids::MessageId;

/// 100 ns ticks between 1582-10-15 and 1970-01-01.
pub const UNIX_EPOCH_TICKS: u64 = 0x01B2_1DD2_1381_4000;
/// An id may be this far ahead of the wall clock, ticks of 100 ns (10 s); beyond it issuing stops.
pub const MAX_AHEAD_TICKS: u64 = 10 * 10_000_000;

/// The clock is so far behind what was already issued that new ids would lie about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message ids are {ahead_ms} ms ahead of this host's clock (at most 10000): the clock stepped back; correct it")]
pub struct ClockBehind {
    /// How far, ms.
    pub ahead_ms: u64,
}

/// Issues ids that rise strictly: t = max(now, last + 1, floor + 1). One per owner partition; node and clock_seq only make
/// ids of different generators differ.
#[derive(Debug, Clone)]
pub struct Generator {
    last_ticks: u64,
    /// clock_seq and node: the low 8 bytes.
    low: [u8; 8],
}

impl Generator {
    /// `entropy`: 8 random bytes, drawn anew at every start. The multicast bit is set here.
    pub fn new(entropy: [u8; 8]) -> Self {
        let mut low = entropy;
        low[0] = (low[0] & 0x3f) | 0x80; // RFC 9562 variant
        low[2] |= 0x01; // multicast: a random node, not an address
        Self { last_ticks: 0, low }
    }

    /// The next id. `now_unix_ticks`: wall clock, 100 ns since 1970; `floor`: the chat's head, if it has one.
    ///
    /// # Errors
    /// [`ClockBehind`] when the id would be more than 10 s ahead of `now_unix_ticks`; nothing is issued.
    pub fn next(&mut self, now_unix_ticks: u64, floor: Option<MessageId>) -> Result<MessageId, ClockBehind> {
        let now = now_unix_ticks + UNIX_EPOCH_TICKS;
        let floor_ticks = floor.map_or(0, ticks);
        let next = now.max(self.last_ticks + 1).max(floor_ticks + 1);
        if next > now + MAX_AHEAD_TICKS {
            return Err(ClockBehind { ahead_ms: (next - now) / 10_000 });
        }
        self.last_ticks = next;
        Ok(from_parts(next, self.low))
    }
}

/// The 60-bit time of an id, 100 ns ticks since 1582-10-15.
pub fn ticks(id: MessageId) -> u64 {
    let b = id.0;
    let low = u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let mid = u64::from(u16::from_be_bytes([b[4], b[5]]));
    let high = u64::from(u16::from_be_bytes([b[6], b[7]]) & 0x0fff);
    (high << 48) | (mid << 32) | low
}

/// Wall time of an id, ms since 1970 (0 for ids before).
pub fn unix_ms(id: MessageId) -> u64 {
    ticks(id).saturating_sub(UNIX_EPOCH_TICKS) / 10_000
}

/// Puts an id together from its time (60 bits) and its low 8 bytes.
pub fn from_parts(ticks: u64, low: [u8; 8]) -> MessageId {
    let mut id = [0u8; 16];
    id[..4].copy_from_slice(&(ticks as u32).to_be_bytes());
    id[4..6].copy_from_slice(&((ticks >> 32) as u16).to_be_bytes());
    id[6..8].copy_from_slice(&(((ticks >> 48) as u16 & 0x0fff) | 0x1000).to_be_bytes());
    id[8..].copy_from_slice(&low);
    MessageId(id)
}

/// 16 bytes whose plain byte order is Cassandra's `timeuuid` order: BE(60-bit time) ‖ (low bytes XOR 0x80 each, as
/// Cassandra compares them signed).
pub fn ordered_key(id: MessageId) -> [u8; 16] {
    let mut key = [0u8; 16];
    key[..8].copy_from_slice(&ticks(id).to_be_bytes());
    for (out, byte) in key[8..].iter_mut().zip(&id.0[8..]) {
        *out = byte ^ 0x80;
    }
    key
}

/// The id an ordered key was made of.
pub fn from_ordered_key(key: [u8; 16]) -> MessageId {
    let mut time = [0u8; 8];
    time.copy_from_slice(&key[..8]);
    let mut low = [0u8; 8];
    for (out, byte) in low.iter_mut().zip(&key[8..]) {
        *out = byte ^ 0x80;
    }
    from_parts(u64::from_be_bytes(time), low)
}

#[cfg(test)]
mod tests {
    use core::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// Cassandra 5's `TimeUUIDType.compareCustom`, written down from its definition: timestamps first (version bits off),
    /// then the low 8 bytes, each compared as a signed byte.
    fn cassandra_order(a: MessageId, b: MessageId) -> Ordering {
        let low = |id: MessageId| <[u8; 8]>::try_from(&id.0[8..]).unwrap().map(|byte| byte as i8);
        ticks(a).cmp(&ticks(b)).then_with(|| low(a).cmp(&low(b)))
    }

    fn an_id() -> impl Strategy<Value = MessageId> {
        let near = prop_oneof![0u64..4, 0u64..1 << 34, 0u64..1 << 60];
        (near, any::<[u8; 8]>()).prop_map(|(ticks, low)| from_parts(ticks, low))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_ordered_key_sorts_as_cassandra_does(a in an_id(), b in an_id()) {
            prop_assert_eq!(ordered_key(a).cmp(&ordered_key(b)), cassandra_order(a, b));
            let same_time = from_parts(ticks(a), b.0[8..].try_into().unwrap());
            prop_assert_eq!(ordered_key(a).cmp(&ordered_key(same_time)), cassandra_order(a, same_time));
        }

        #[test]
        fn an_ordered_key_comes_back_as_its_id(id in an_id()) {
            prop_assert_eq!(from_ordered_key(ordered_key(id)), id);
        }

        #[test]
        fn ids_rise_whatever_the_clock_does(steps in prop::collection::vec((-50i64..50, any::<bool>()), 1..100)) {
            let mut generator = Generator::new([7; 8]);
            let mut clock = 1_000_000_000_000i64;
            let mut last: Option<MessageId> = None;
            for (step, with_floor) in steps {
                clock += step * 1_000_000; // up to 5 s a step, forwards and backwards
                let floor = last.filter(|_| with_floor);
                match generator.next(clock as u64, floor) {
                    Ok(id) => {
                        if let Some(last) = last {
                            prop_assert!(ordered_key(id) > ordered_key(last));
                        }
                        prop_assert!(ticks(id) <= clock as u64 + UNIX_EPOCH_TICKS + MAX_AHEAD_TICKS);
                        last = Some(id);
                    }
                    Err(behind) => prop_assert!(behind.ahead_ms >= 10_000),
                }
            }
        }
    }

    #[test]
    fn an_id_is_a_version_1_uuid_of_its_time() {
        let id = Generator::new([0xff; 8]).next(1_700_000_000_000 * 10_000, None).unwrap();
        let uuid = uuid::Uuid::from_bytes(id.0);
        assert_eq!(uuid.get_version_num(), 1);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(unix_ms(id), 1_700_000_000_000);
        assert_eq!(id.0[10] & 1, 1, "the node is random, not an address: multicast bit");
    }

    #[test]
    fn a_floor_too_far_ahead_stops_issuing() {
        let now = 1_700_000_000_000 * 10_000;
        let floor = |ahead_ticks| from_parts(now + UNIX_EPOCH_TICKS + ahead_ticks, [0; 8]);
        let mut generator = Generator::new([1; 8]);
        assert!(generator.next(now, Some(floor(MAX_AHEAD_TICKS - 1))).is_ok());
        let mut generator = Generator::new([1; 8]);
        assert_eq!(generator.next(now, Some(floor(MAX_AHEAD_TICKS))), Err(ClockBehind { ahead_ms: 10_000 }));
        assert!(generator.next(now, None).is_ok(), "nothing was issued by the refusal");
    }
}
