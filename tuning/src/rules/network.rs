//! Connections: how they come in, how many there may be, where they come from.

use super::{at_least, set, sysctl, warning_from};
use crate::host::Host;
use crate::measured::WHERE;
use crate::need::{Need, Side};
use crate::rule::{Effect, Outcome, Rule, Severity, grouped};

/// Ports a load generator's source address should have.
const PORTS: &str = "10240 60999";

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "net.core.somaxconn",
        reads: "/proc/sys/net/core/somaxconn",
        side: Some(Side::Server),
        why: "connections of a reconnect storm wait here until they are accepted; listeners ask for 16,384 and the kernel caps them at this",
        effect: Effect::Documented {
            what: "a SYN that finds the queue full is dropped and comes again after 1 s, then 2, 4 …",
            link: "https://docs.kernel.org/networking/ip-sysctl.html",
        },
        kept: &[sysctl("net.core.somaxconn", "8192")],
        check: |host, need| at_least(host, "net.core.somaxconn", queue(need, 8_192), warning_from(10_000, need)),
    },
    Rule {
        key: "net.ipv4.tcp_max_syn_backlog",
        reads: "/proc/sys/net/ipv4/tcp_max_syn_backlog",
        side: Some(Side::Server),
        why: "half-open connections of the same storm; above it the kernel answers with SYN cookies or not at all",
        effect: Effect::Documented {
            what: "requests that have not been acknowledged yet, remembered for each listener",
            link: "https://docs.kernel.org/networking/ip-sysctl.html",
        },
        kept: &[sysctl("net.ipv4.tcp_max_syn_backlog", "8192")],
        check: |host, need| {
            at_least(host, "net.ipv4.tcp_max_syn_backlog", queue(need, 8_192), warning_from(10_000, need))
        },
    },
    Rule {
        key: "net.ipv4.ip_local_port_range",
        reads: "/proc/sys/net/ipv4/ip_local_port_range",
        side: Some(Side::Generator),
        why: "each source address has this many ports towards one listener; the load generator takes several loopback addresses, towards another host it has the host's one",
        effect: Effect::Measured {
            what: "with \"10240 60999\" and several 127.0.0.x addresses 199,992 connections to one listener stood; out of ports connect fails with EADDRNOTAVAIL",
            on: WHERE,
        },
        kept: &[sysctl("net.ipv4.ip_local_port_range", PORTS)],
        check: ports,
    },
    Rule {
        key: "net.netfilter.nf_conntrack_max",
        reads: "/proc/sys/net/netfilter/nf_conntrack_max, nf_conntrack_count",
        side: None,
        why: "where a firewall follows connections each takes an entry of its table (loopback's too)",
        effect: Effect::Documented {
            what: "when the table is full packets are dropped: `nf_conntrack: table full, dropping packet`",
            link: "https://docs.kernel.org/networking/nf_conntrack-sysctl.html",
        },
        kept: &[],
        check: conntrack,
    },
];

/// A storm brings a part of the connections at once; few connections need no long queue.
fn queue(need: &Need, most: u64) -> u64 {
    (need.connections / 4).clamp(128, most)
}

fn ports(host: &Host, need: &Need) -> Outcome {
    const NAME: &str = "net.ipv4.ip_local_port_range";
    let (Some(first), Some(last)) = (host.number(NAME, 0), host.number(NAME, 1)) else { return Outcome::Unknown };
    let (found, wanted) = ((last + 1).saturating_sub(first), need.ports_per_source());
    let shown = format!("{first} {last} ({} ports)", grouped(found));
    if found >= wanted {
        return Outcome::fits(shown);
    }
    let wanted = format!(
        "{} ports ({} connections from {} addresses)",
        grouped(wanted),
        grouped(need.connections),
        need.sources
    );
    let more = if need.ports_per_source() > 50_760 { "; and more source addresses or more hosts" } else { "" };
    Outcome::falls(Severity::Fatal, shown, wanted, set(NAME, PORTS) + more)
}

fn conntrack(host: &Host, need: &Need) -> Outcome {
    const NAME: &str = "net.netfilter.nf_conntrack_max";
    let Some(found) = host.number(NAME, 0) else { return Outcome::NotHere };
    let followed = host.number("net.netfilter.nf_conntrack_count", 0).is_some_and(|count| count > 0);
    let wanted = need.connections + need.connections / 5 + 4_096;
    if found >= wanted || found == 0 {
        return Outcome::fits(grouped(found));
    }
    let severity = if followed { Severity::Fatal } else { Severity::Info };
    let shown = grouped(found) + if followed { "" } else { ", and nothing is followed now" };
    let mend = set(NAME, wanted.next_power_of_two()).split("   #").next().unwrap_or_default().to_owned();
    Outcome::falls(severity, shown, format!("{} or more, where connections are followed", grouped(wanted)), mend)
}
