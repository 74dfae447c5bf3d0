//! What a message of a run looks like: an id that names its stream and number, a body that carries its intended send time.
//! Both are text, so that every protocol carries them as they are.

use bytes::Bytes;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where a message belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The run.
    pub run: u32,
    /// The stream: sender's place × peers + peer.
    pub stream: u32,
    /// Its number in the stream.
    pub number: u32,
}

fn put_hex(out: &mut [u8], value: u64) {
    let digits = out.len();
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = HEX[(value >> (4 * (digits - 1 - at))) as usize & 15];
    }
}

fn get_hex(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0u64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

impl Origin {
    /// 24 hexadecimal digits.
    pub fn client_msg_id(self) -> Bytes {
        let mut id = [0u8; 24];
        put_hex(&mut id[..8], u64::from(self.run));
        put_hex(&mut id[8..16], u64::from(self.stream));
        put_hex(&mut id[16..], u64::from(self.number));
        Bytes::copy_from_slice(&id)
    }

    /// `None` when it is no id of a load generator.
    pub fn parse(id: &[u8]) -> Option<Self> {
        if id.len() != 24 {
            return None;
        }
        let word = |range: core::ops::Range<usize>| get_hex(&id[range]).map(|v| v as u32);
        Some(Self { run: word(0..8)?, stream: word(8..16)?, number: word(16..24)? })
    }
}

/// In the intended time: the sender had no session then, on purpose.
const AWAY: u64 = 1 << 63;

/// Bodies: the intended send time in ns, then a filler.
pub struct Bodies {
    template: Vec<u8>,
}

impl Bodies {
    /// At most `size_bytes` each; at least 16.
    pub fn new(size_bytes: usize) -> Self {
        let filler = b"the quick brown fox jumps over the lazy dog. ";
        Self { template: (0..size_bytes).map(|at| filler[at % filler.len()]).collect() }
    }

    /// A body of so many bytes. `away`: the sender has no session now, on purpose.
    pub fn make(&mut self, intended_ns: u64, away: bool, bytes: usize) -> Bytes {
        put_hex(&mut self.template[..16], if away { intended_ns | AWAY } else { intended_ns });
        Bytes::copy_from_slice(&self.template[..bytes])
    }

    /// The intended send time of a body, and whether its sender was away.
    pub fn intended(body: &[u8]) -> Option<(u64, bool)> {
        let value = get_hex(body.get(..16)?)?;
        Some((value & !AWAY, value & AWAY != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_bodies_come_back_as_they_went() {
        let origin = Origin { run: 0xdead_beef, stream: 7, number: u32::MAX };
        let id = origin.client_msg_id();
        assert_eq!(&id[..], b"deadbeef00000007ffffffff");
        assert_eq!(Origin::parse(&id), Some(origin));
        assert_eq!(Origin::parse(b"deadbeef00000007fffffffG"), None);
        assert_eq!(Origin::parse(b"short"), None);
        let body = Bodies::new(128).make(123_456_789_012, false, 100);
        assert_eq!((body.len(), Bodies::intended(&body)), (100, Some((123_456_789_012, false))));
        let away = Bodies::new(16).make(7, true, 16);
        assert_eq!(Bodies::intended(&away), Some((7, true)));
        assert_eq!(Bodies::intended(b"0"), None);
    }
}
