//! RSA public keys: their two numbers out of PEM or out of a JWK, and which sizes are taken.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;

/// `rsaEncryption` (RFC 8017) with its NULL parameters, as an AlgorithmIdentifier's contents.
const RSA_ENCRYPTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// Modulus, bytes: 2,048 to 8,192 bits.
const MODULUS_BYTES: core::ops::RangeInclusive<usize> = 256..=1_024;
/// Exponents above 33 bits are refused by every library.
const EXPONENT_BYTES: core::ops::RangeInclusive<usize> = 1..=4;

/// The key of a SubjectPublicKeyInfo in PEM.
pub(super) fn public(pem: &[u8]) -> Option<DecodingKey> {
    let text = str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()?;
    let (info, []) = element(&der, SEQUENCE)? else { return None };
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (bits, []) = element(rest, BIT_STRING)? else { return None };
    let (numbers, []) = element(bits.strip_prefix(&[0])?, SEQUENCE)? else { return None };
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, []) = element(rest, INTEGER)? else { return None };
    if algorithm != RSA_ENCRYPTION {
        return None;
    }
    key(modulus, exponent)
}

/// The key of these numbers, big endian, if their sizes are taken.
pub(super) fn key(modulus: &[u8], exponent: &[u8]) -> Option<DecodingKey> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let long_enough = modulus.len() > *MODULUS_BYTES.start() || modulus.first()? & 0x80 != 0;
    let taken = MODULUS_BYTES.contains(&modulus.len()) && long_enough && EXPONENT_BYTES.contains(&exponent.len());
    (taken && odd(modulus) && odd(exponent) && exponent != [1])
        .then(|| DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().position(|&byte| byte != 0).unwrap_or(number.len())..]
}

/// Contents of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
