//! What a caller says of its trace in the header `traceparent`
//! (<https://www.w3.org/TR/trace-context/#traceparent-header>).

/// What a caller says of the trace that its request is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    /// The trace, not 0.
    pub trace: u128,
    /// The caller's span, not 0.
    pub span: u64,
    /// It is recorded there.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads the header's value; `None` where it is none, and a trace of our own begins, as the recommendation has it.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(55)?;
        let [v1, v2, b'-', ids @ ..] = head else { return None };
        let (trace, rest_of_head) = ids.split_at_checked(32)?;
        let (span, flags) = rest_of_head.strip_prefix(b"-")?.split_at_checked(16)?;
        let version = hex(&[*v1, *v2])?;
        let follows = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
        if version == 0xff || !follows {
            return None;
        }
        let sampled = hex(flags.strip_prefix(b"-")?)? & 1 == 1;
        let (trace, span) = (hex(trace)?, hex(span)? as u64);
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled })
    }
}

/// Lower-case digits only.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Some(value << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(value << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_or_ignored() {
        let read = |text: &str| TraceParent::read(text.as_bytes());
        let (trace, span) = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
        assert_eq!(read(VALID), Some(TraceParent { trace, span, sampled: true }));
        assert_eq!(read(&VALID.replace("-01", "-00")), Some(TraceParent { trace, span, sampled: false }));
        assert_eq!(read(&VALID.replace("-01", "-03")), read(VALID), "other flags mean nothing here");
        assert_eq!(read(&format!("01{}-more", &VALID[2..])), read(VALID), "a later version may say more");
        for wrong in [
            String::new(),
            VALID.to_uppercase(),
            VALID.replace("00-", "ff-"),
            VALID[..54].to_owned(),
            format!("{VALID}-more"),
            format!("01{}more", &VALID[2..]),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace("b7ad6b7169203331", "b7ad6b716920333g"),
            VALID.replace("-b7", "_b7"),
        ] {
            assert_eq!(read(&wrong), None, "{wrong:?}");
        }
    }
}
