//! What each socket may take, and how it sends.

use super::{set, sysctl, warning_from};
use crate::host::Host;
use crate::need::Need;
use crate::need::Side;
use crate::rule::{Effect, Outcome, Rule, Severity, bytes, grouped};

/// Least, first and most, bytes.
const BUFFERS: &str = "4096 16384 4194304";
/// A buffer that starts larger is no small one any more.
const FIRST_MAX: u64 = 131_072;
/// A reader that has stopped reading holds at most this of the kernel's memory.
const MOST_MAX: u64 = 4 << 20;
/// The kernel counts socket memory in pages.
const PAGE: u64 = 4_096;
const IP_SYSCTL: &str = "https://docs.kernel.org/networking/ip-sysctl.html";

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "net.ipv4.tcp_mem",
        reads: "/proc/sys/net/ipv4/tcp_mem (pages)",
        side: None,
        why: "what all TCP buffers hold together; an idle connection holds nothing, one with a frame on its way a page or two at each end",
        effect: Effect::Documented {
            what: "above the second number every socket's window is shrunk, at the third data is dropped: `TCP: out of memory`",
            link: IP_SYSCTL,
        },
        kept: &[],
        check: tcp_memory,
    },
    Rule {
        key: "net.ipv4.tcp_rmem",
        reads: "/proc/sys/net/ipv4/tcp_rmem",
        side: None,
        why: "what one connection may have waiting to be read; it starts small and grows, so idle ones cost little and busy ones get room",
        effect: Effect::Documented { what: "least, first and most bytes of a receive buffer", link: IP_SYSCTL },
        kept: &[sysctl("net.ipv4.tcp_rmem", BUFFERS)],
        check: |host, need| buffers(host, need, "net.ipv4.tcp_rmem"),
    },
    Rule {
        key: "net.ipv4.tcp_wmem",
        reads: "/proc/sys/net/ipv4/tcp_wmem",
        side: None,
        why: "what the kernel holds for a reader that does not read, before the server stops pushing to it",
        effect: Effect::Documented { what: "least, first and most bytes of a send buffer", link: IP_SYSCTL },
        kept: &[sysctl("net.ipv4.tcp_wmem", BUFFERS)],
        check: |host, need| buffers(host, need, "net.ipv4.tcp_wmem"),
    },
    Rule {
        key: "net.ipv4.tcp_slow_start_after_idle",
        reads: "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
        side: Some(Side::Server),
        why: "a chat is silent, then a page of history goes out: after an idle moment the window is small again",
        effect: Effect::Documented {
            what: "0 keeps the congestion window over idle times; messages below ten segments do not notice",
            link: IP_SYSCTL,
        },
        kept: &[sysctl("net.ipv4.tcp_slow_start_after_idle", "0")],
        check: slow_start,
    },
    CONGESTION,
];

fn tcp_memory(host: &Host, need: &Need) -> Outcome {
    const NAME: &str = "net.ipv4.tcp_mem";
    let (Some(pressure), Some(most)) = (host.number(NAME, 1), host.number(NAME, 2)) else { return Outcome::Unknown };
    let shown = format!("pressure at {}, most {}", bytes(pressure * PAGE), bytes(most * PAGE));
    let wanted = 2 * need.connections;
    if pressure >= wanted {
        return Outcome::fits(shown);
    }
    let value = format!("{} {} {}", wanted, wanted * 4 / 3, wanted * 2);
    let mend = format!("sysctl -w {NAME}=\"{value}\"   # pages; the kernel's own value follows the host's memory");
    let wanted = format!(
        "pressure at {} or more (2 pages for each of {} connections)",
        bytes(wanted * PAGE),
        grouped(need.connections)
    );
    Outcome::falls(Severity::Warning, shown, wanted, mend)
}

fn buffers(host: &Host, need: &Need, name: &str) -> Outcome {
    let (Some(first), Some(most)) = (host.number(name, 1), host.number(name, 2)) else { return Outcome::Unknown };
    let shown = format!("first {}, most {}", bytes(first), bytes(most));
    if first <= FIRST_MAX && most <= MOST_MAX {
        return Outcome::fits(shown);
    }
    let wanted = format!("first {} or less, most {} or less", bytes(FIRST_MAX), bytes(MOST_MAX));
    Outcome::falls(warning_from(50_000, need), shown, wanted, set(name, BUFFERS))
}

fn slow_start(host: &Host, _need: &Need) -> Outcome {
    const NAME: &str = "net.ipv4.tcp_slow_start_after_idle";
    match host.number(NAME, 0) {
        None => Outcome::Unknown,
        Some(0) => Outcome::fits("0"),
        Some(found) => Outcome::falls(Severity::Info, found.to_string(), "0", set(NAME, 0)),
    }
}

const CONGESTION: Rule = Rule {
    key: "net.ipv4.tcp_congestion_control",
    reads: "/proc/sys/net/ipv4/tcp_congestion_control",
    side: None,
    why: "bbr paces every connection by a timer of its own; on a lossy wide-area network it is worth that, beside the clients and on loopback it is only work",
    effect: Effect::Documented {
        what: "bbr needs pacing: by the fq scheduler, or by a timer of each socket",
        link: IP_SYSCTL,
    },
    kept: &[],
    check: |host, _need| match host.setting("net.ipv4.tcp_congestion_control") {
        None => Outcome::Unknown,
        Some("bbr") => Outcome::falls(
            Severity::Info,
            "bbr",
            "cubic where clients are near, bbr where they are far",
            "sysctl -w net.ipv4.tcp_congestion_control=cubic",
        ),
        Some(other) => Outcome::fits(other),
    },
};
