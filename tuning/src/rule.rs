//! What a rule is.

use serde::Serialize;

use crate::host::Host;
use crate::need::{Need, Side};

/// One thing a host should have.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name; for a kernel setting that setting's.
    pub key: &'static str,
    /// What it reads.
    pub reads: &'static str,
    /// Whom it concerns; `None`: both ends.
    pub side: Option<Side>,
    /// Why it matters.
    pub why: &'static str,
    /// What it does, and how that is known.
    pub effect: Effect,
    /// Where the kept files set it.
    pub kept: &'static [Kept],
    /// Compares host and need.
    pub check: fn(&Host, &Need) -> Outcome,
}

/// What is known of a setting's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum Effect {
    /// From our own measurement.
    Measured {
        /// What came out.
        what: &'static str,
        /// On what.
        on: &'static str,
    },
    /// From documentation.
    Documented {
        /// What it says, in short.
        what: &'static str,
        /// Where.
        link: &'static str,
    },
}

/// A setting in one of the files kept beside this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Which file.
    pub file: KeptFile,
    /// The setting's name in it.
    pub name: &'static str,
    /// Its value.
    pub value: &'static str,
}

/// The files kept beside this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptFile {
    /// `90-shardwire.conf`, for `/etc/sysctl.d`.
    Sysctl,
    /// `90-shardwire-limits.conf`, for `/etc/security/limits.d`.
    Limits,
    /// The limits of `shardwire.service`.
    Service,
    /// `shardwire.slice`.
    Slice,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It will not work.
    Fatal,
    /// It works, and costs: latency, CPU or connections refused in a storm.
    Warning,
    /// Good to know.
    Info,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Fits {
        /// What there is.
        found: String,
    },
    /// Not as it should be.
    Falls {
        /// How bad.
        severity: Severity,
        /// What there is.
        found: String,
        /// What is wanted.
        wanted: String,
        /// The command that mends it.
        mend: String,
    },
    /// It could not be read here.
    Unknown,
    /// It does not concern this host.
    NotHere,
}

impl Outcome {
    /// [`Self::Fits`].
    pub fn fits(found: impl Into<String>) -> Self {
        Self::Fits { found: found.into() }
    }

    /// [`Self::Falls`].
    pub fn falls(
        severity: Severity,
        found: impl Into<String>,
        wanted: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::Falls { severity, found: found.into(), wanted: wanted.into(), mend: mend.into() }
    }
}

/// A number for people: digits in groups of three; `u64::MAX` is `unlimited`.
pub fn grouped(number: u64) -> String {
    if number == u64::MAX {
        return "unlimited".to_owned();
    }
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes for people.
pub fn bytes(number: u64) -> String {
    match number {
        u64::MAX => "unlimited".to_owned(),
        0..=9_999 => format!("{} B", grouped(number)),
        _ if number < 10 << 30 && number.is_multiple_of(1 << 20) => format!("{} MiB", grouped(number >> 20)),
        10_000..=10_238_976 => format!("{} KiB", grouped(number >> 10)),
        10_238_977..=10_484_711_424 => format!("{} MiB", grouped(number >> 20)),
        _ => format!("{} GiB", grouped(number >> 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(u64::MAX), "unlimited");
        for (number, text) in
            [(512, "512 B"), (64 << 10, "64 KiB"), (4 << 20, "4 MiB"), (100 << 20, "100 MiB"), (24 << 30, "24 GiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }
}
