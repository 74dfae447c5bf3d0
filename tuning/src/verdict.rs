//! What came out of all rules.

use serde::Serialize;

use crate::host::Host;
use crate::need::Need;
use crate::rule::{Effect, Outcome, Rule, Severity};
use crate::rules;

/// Grows when a field of the JSON changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// All findings about one host.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether nothing fatal was found.
    pub fit: bool,
    /// What was asked.
    pub need: Need,
    /// A finding a rule that concerns this side, fatal ones first, else in the rules' order.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub host: Host,
}

/// What one rule found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub key: &'static str,
    /// What it read.
    pub reads: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why it matters.
    pub why: &'static str,
    /// What it does.
    pub effect: Effect,
}

impl Finding {
    /// How bad; `None`: it fits, is not known, or does not concern this host.
    pub const fn severity(&self) -> Option<Severity> {
        match self.outcome {
            Outcome::Falls { severity, .. } => Some(severity),
            _ => None,
        }
    }
}

impl Verdict {
    /// Compares a host with what is asked of it.
    pub fn of(host: &Host, need: &Need) -> Self {
        let concerns = |rule: &&Rule| rule.side.is_none_or(|side| side == need.side);
        let finding = |rule: &Rule| Finding {
            key: rule.key,
            reads: rule.reads,
            outcome: (rule.check)(host, need),
            why: rule.why,
            effect: rule.effect,
        };
        let mut findings: Vec<Finding> = rules::all().filter(concerns).map(finding).collect();
        findings.sort_by_key(|finding| finding.severity().map_or(u8::MAX, |severity| severity as u8));
        let fit = findings.iter().all(|finding| finding.severity() != Some(Severity::Fatal));
        Self { schema: SCHEMA, fit, need: need.clone(), findings, host: host.clone() }
    }

    /// The findings so bad.
    pub fn of_severity(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.severity() == Some(severity))
    }
}
