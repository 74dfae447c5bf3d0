//! Whether the host of a load generator can carry its own side of a load.

use std::fmt;

use crate::host::Host;
use crate::need::Need;
use crate::read;
use crate::rule::Severity;
use crate::text::{self, Colour};
use crate::verdict::{Finding, Verdict};

/// A load, as its generator's host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections held at once, on this host.
    pub users: u64,
    /// Descriptor tables they are spread over: worker processes, or threads with a table of their own.
    pub tables: u64,
    /// Source addresses they come from.
    pub sources: u64,
}

impl Load {
    /// What it asks of its host.
    pub fn need(&self) -> Need {
        Need::generator(self.users, self.tables, self.sources)
    }
}

/// What is in the way. Shown as `shardwire doctor` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfit {
    /// What was asked.
    pub need: Need,
    /// The fatal findings, at least one.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            write!(f, "\n{}", text::long(finding, Colour::None).trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for Unfit {}

/// Looks at this host and says whether it can carry the load. Raise the soft limit on descriptors before or after: the hard
/// one counts.
///
/// # Errors
/// [`Unfit`]: descriptors, ports, threads or memory are too few.
pub fn check(load: &Load) -> Result<(), Unfit> {
    check_on(&read::host(None), load)
}

/// As [`check`], on a snapshot.
///
/// # Errors
/// As [`check`].
pub fn check_on(host: &Host, load: &Load) -> Result<(), Unfit> {
    let need = load.need();
    let verdict = Verdict::of(host, &need);
    if verdict.fit {
        return Ok(());
    }
    Err(Unfit { findings: verdict.of_severity(Severity::Fatal).cloned().collect(), need })
}
