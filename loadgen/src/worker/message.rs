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

/// Bodies of one size: the intended send time in ns, then a filler.
pub struct Bodies {
    template: Vec<u8>,
}

impl Bodies {
    /// `size_bytes` at least 16.
    pub fn new(size_bytes: usize) -> Self {
        let filler = b"the quick brown fox jumps over the lazy dog. ";
        Self { template: (0..size_bytes).map(|at| filler[at % filler.len()]).collect() }
    }

    /// A body.
    pub fn make(&mut self, intended_ns: u64) -> Bytes {
        put_hex(&mut self.template[..16], intended_ns);
        Bytes::copy_from_slice(&self.template)
    }

    /// The intended send time of a body.
    pub fn intended_ns(body: &[u8]) -> Option<u64> {
        get_hex(body.get(..16)?)
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
        let body = Bodies::new(128).make(123_456_789_012);
        assert_eq!((body.len(), Bodies::intended_ns(&body)), (128, Some(123_456_789_012)));
        assert_eq!(Bodies::intended_ns(b"0"), None);
    }
}
