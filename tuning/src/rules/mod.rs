//! The rules, by what they are about.

mod cpu;
mod disk;
mod files;
mod memory;
mod network;
mod sockets;

use crate::host::Host;
use crate::need::Need;
use crate::rule::{Kept, KeptFile, Outcome, Rule, Severity, grouped};

/// Every rule, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [files::RULES, memory::RULES, network::RULES, sockets::RULES, disk::RULES, cpu::RULES].into_iter().flatten()
}

/// A kernel setting in `90-shardwire.conf`.
const fn sysctl(name: &'static str, value: &'static str) -> Kept {
    Kept { file: KeptFile::Sysctl, name, value }
}

/// The command that sets a kernel setting now. It stays when the kept file is installed.
fn set(name: &str, value: impl std::fmt::Display) -> String {
    let value = value.to_string();
    let quoted = if value.contains(' ') { format!("\"{value}\"") } else { value };
    format!("sysctl -w {name}={quoted}   # to keep it: tuning/90-shardwire.conf into /etc/sysctl.d")
}

/// A kernel setting that must be at least `wanted`.
fn at_least(host: &Host, name: &str, wanted: u64, severity: Severity) -> Outcome {
    let Some(found) = host.number(name, 0) else { return Outcome::Unknown };
    if found >= wanted {
        return Outcome::fits(grouped(found));
    }
    Outcome::falls(severity, grouped(found), format!("{} or more", grouped(wanted)), set(name, wanted))
}

/// What is a warning for many connections and only good to know for few.
fn warning_from(connections: u64, need: &Need) -> Severity {
    if need.connections >= connections { Severity::Warning } else { Severity::Info }
}
