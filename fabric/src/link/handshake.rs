//! Who links with whom: HELLO, WELCOME with the acceptor's proof, PROOF of the dialer.
//!
//! Both prove that they know the cluster's secret, by an HMAC-SHA256 over everything said so far with nonces of both. What
//! must stay true: the proofs of the two directions differ, so neither can be sent back; the secret is in no message and
//! no log; the layout of HELLO is the same in every version, what is appended to it is covered by the proofs and ignored.

use aws_lc_rs::hmac;
use bytes::{Buf as _, BufMut as _};

use super::identity::{NAME_BYTES_MAX, NodeIdentity, Roles};
use super::wire::WireError;

const MAGIC: [u8; 8] = *b"SWRDLINK";
/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;
pub(super) type Nonce = [u8; 32];

/// Versions of the link protocol this build speaks, lowest and highest. A build speaks its own and the one before.
pub const VERSIONS: (u16, u16) = (1, 1);

/// The highest version that both speak.
pub(super) fn common_version(one: (u16, u16), other: (u16, u16)) -> Option<u16> {
    let highest = one.1.min(other.1);
    (highest >= one.0.max(other.0)).then_some(highest)
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    /// Lowest and highest.
    pub(super) versions: (u16, u16),
    pub(super) identity: NodeIdentity,
    /// The dialer had a link to this node that broke.
    pub(super) again: bool,
    pub(super) nonce: Nonce,
}

impl Hello {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { versions, identity, again, nonce } = self;
        out.extend_from_slice(&MAGIC);
        out.put_u16_le(versions.0);
        out.put_u16_le(versions.1);
        out.put_u8(identity.roles.bits());
        out.put_u64_le(identity.incarnation);
        out.put_u16_le(identity.shard);
        out.put_u8(u8::from(*again));
        out.extend_from_slice(nonce);
        for text in [&identity.cluster, &identity.name] {
            let text = &text[..text.floor_char_boundary(NAME_BYTES_MAX)];
            out.put_u8(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out.put_u16_le(identity.shards);
    }

    pub(super) fn read(mut from: &[u8]) -> Result<Self, WireError> {
        let short = |_| WireError::Short;
        if from.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(WireError::NoLink);
        }
        from.advance(MAGIC.len());
        let from = &mut from;
        let versions = (from.try_get_u16_le().map_err(short)?, from.try_get_u16_le().map_err(short)?);
        let roles = Roles::from_bits(from.try_get_u8().map_err(short)?);
        let incarnation = from.try_get_u64_le().map_err(short)?;
        let shard = from.try_get_u16_le().map_err(short)?;
        let again = from.try_get_u8().map_err(short)? != 0;
        let mut nonce = Nonce::default();
        from.try_copy_to_slice(&mut nonce).map_err(short)?;
        let cluster = text(from)?;
        let name = text(from)?;
        // Appended later: builds before it do not say.
        let shards = from.try_get_u16_le().unwrap_or_default();
        let identity = NodeIdentity { cluster, name, incarnation, roles, shard, shards };
        Ok(Self { versions, identity, again, nonce })
    }
}

/// A name: u8 length, UTF-8 that prints.
fn text(from: &mut &[u8]) -> Result<String, WireError> {
    let bytes = usize::from(from.try_get_u8().map_err(|_| WireError::Short)?);
    if bytes > NAME_BYTES_MAX || bytes > from.len() {
        return Err(WireError::Malformed("name"));
    }
    let (text, rest) = from.split_at(bytes);
    *from = rest;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or(WireError::Malformed("name"))
}

/// A WELCOME's payload: proof, version to speak, who the acceptor is.
#[derive(Debug)]
pub(super) struct Welcome<'a> {
    pub(super) proof: &'a [u8],
    /// What the proof covers besides the HELLO.
    pub(super) covered: &'a [u8],
    pub(super) version: u16,
    pub(super) hello: Hello,
}

impl<'a> Welcome<'a> {
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, WireError> {
        let (proof, covered) = payload.split_at_checked(PROOF_BYTES).ok_or(WireError::Short)?;
        let (version, hello) = covered.split_first_chunk().ok_or(WireError::Short)?;
        Ok(Self { proof, covered, version: u16::from_le_bytes(*version), hello: Hello::read(hello)? })
    }

    /// What a WELCOME's proof covers besides the HELLO.
    pub(super) fn covered(version: u16, hello: &Hello) -> Vec<u8> {
        let mut covered = version.to_le_bytes().to_vec();
        hello.write(&mut covered);
        covered
    }
}

/// Whose proof it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prover {
    Acceptor,
    Dialer,
}

/// The cluster's secret, ready for use.
pub(super) struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The lengths keep what is said apart; the label keeps the directions apart.
    fn transcript(prover: Prover, hello: &[u8], welcome: &[u8]) -> Vec<u8> {
        let label: &[u8] = match prover {
            Prover::Acceptor => b"shardwire link, proof of the acceptor\0",
            Prover::Dialer => b"shardwire link, proof of the dialer\0",
        };
        let mut said = label.to_vec();
        for part in [hello, welcome] {
            said.put_u32_le(part.len() as u32);
            said.extend_from_slice(part);
        }
        said
    }

    pub(super) fn prove(&self, prover: Prover, hello: &[u8], welcome: &[u8]) -> [u8; PROOF_BYTES] {
        let tag = hmac::sign(&self.0, &Self::transcript(prover, hello, welcome));
        let mut proof = [0; PROOF_BYTES];
        proof.copy_from_slice(tag.as_ref());
        proof
    }

    /// In constant time.
    pub(super) fn is_proved(&self, prover: Prover, hello: &[u8], welcome: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.0, &Self::transcript(prover, hello, welcome), proof).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let identity = NodeIdentity {
            cluster: "prod".to_owned(),
            name: "g1".to_owned(),
            incarnation: 77,
            roles: Roles::GATEWAY,
            shard: 3,
            shards: 4,
        };
        Hello { versions: (1, 2), identity, again: true, nonce: [9; 32] }
    }

    #[test]
    fn versions_one_apart_have_one_in_common_and_two_apart_have_none() {
        assert_eq!(common_version((1, 1), (1, 1)), Some(1));
        assert_eq!(common_version((1, 2), (2, 3)), Some(2));
        assert_eq!(common_version((2, 3), (1, 2)), Some(2));
        assert_eq!(common_version((1, 2), (3, 4)), None);
        assert_eq!(common_version((3, 4), (1, 2)), None);
        assert_eq!(common_version((5, 4), (1, 9)), None, "a range that is none");
    }

    #[test]
    fn a_hello_comes_back_as_it_went_and_may_be_longer_but_not_shorter() {
        let mut bytes = Vec::new();
        hello().write(&mut bytes);
        assert_eq!(Hello::read(&bytes), Ok(hello()));
        let first_version = bytes.len() - 2;
        for end in 0..first_version {
            assert!(Hello::read(&bytes[..end]).is_err());
        }
        assert_eq!(Hello::read(&bytes[..first_version]).map(|hello| hello.identity.shards), Ok(0));
        bytes.extend_from_slice(b"of a later version");
        assert_eq!(Hello::read(&bytes), Ok(hello()));
        assert_eq!(Hello::read(b"GET / HTTP/1.1\r\n"), Err(WireError::NoLink));
    }

    #[test]
    fn a_proof_holds_for_one_direction_one_secret_and_what_was_said() {
        let (key, other) = (Key::new(b"secret"), Key::new(b"Secret"));
        let proof = key.prove(Prover::Acceptor, b"hello", b"welcome");
        assert!(key.is_proved(Prover::Acceptor, b"hello", b"welcome", &proof));
        assert!(!key.is_proved(Prover::Dialer, b"hello", b"welcome", &proof));
        assert!(!key.is_proved(Prover::Acceptor, b"hellow", b"elcome", &proof));
        assert!(!other.is_proved(Prover::Acceptor, b"hello", b"welcome", &proof));
        assert!(!key.is_proved(Prover::Acceptor, b"hello", b"welcome", &proof[..31]));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
