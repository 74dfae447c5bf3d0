//! Cores, clocks, and how threads talk to the kernel.

use super::warning_from;
use crate::host::Host;
use crate::measured::WHERE;
use crate::need::{Need, Side};
use crate::rule::{Effect, Outcome, Rule, Severity};

/// Clocks that are read without leaving the process.
const QUICK_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"];

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "kernel.io_uring",
        reads: "a ring set up as shards do, /proc/sys/kernel/io_uring_disabled",
        side: Some(Side::Server),
        why: "shards wait, send and write journals by io_uring; where it is refused they use epoll and a thread for the journal",
        effect: Effect::Measured {
            what: "single issuer, deferred (Linux 6.1) and cooperative completions together cut the CPU of one message a wake by 26 %",
            on: WHERE,
        },
        kept: &[],
        check: ring,
    },
    Rule {
        key: "sched.slice",
        reads: "sched_setattr with a runtime of 20 ms",
        side: Some(Side::Server),
        why: "with a long slice a shard lets the kernel worker that completes a journal write run at once, and is not interrupted itself",
        effect: Effect::Measured {
            what: "beside saturated cores p50 from send to receipt 6.5 ms without it, 0.33 ms with it",
            on: WHERE,
        },
        kept: &[],
        check: slice,
    },
    Rule {
        key: "cpu.governor",
        reads: "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        side: None,
        why: "a core that sleeps between messages wakes at its lowest frequency",
        effect: Effect::Documented {
            what: "`powersave` runs at the lowest frequency, `performance` at the highest, `schedutil` follows the load",
            link: "https://docs.kernel.org/admin-guide/pm/cpufreq.html",
        },
        kept: &[],
        check: governor,
    },
    Rule {
        key: "clock.source",
        reads: "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        side: None,
        why: "clocks are read many times a batch; a slow source makes each reading a system call or worse",
        effect: Effect::Documented {
            what: "hpet and acpi_pm are devices, read by the kernel; tsc is a register, read in the process",
            link: "https://docs.kernel.org/virt/kvm/x86/timekeeping.html",
        },
        kept: &[],
        check: clock,
    },
];

fn ring(host: &Host, _need: &Need) -> Outcome {
    let Some(driver) = host.driver.as_deref() else { return Outcome::Unknown };
    let wanted = "io_uring with deferred completions";
    match driver {
        "epoll" => {
            let mend = match host.number("kernel.io_uring_disabled", 0) {
                Some(0) | None => {
                    "allow io_uring in the container's seccomp profile (io_uring_setup, _enter, _register)"
                }
                Some(_) => "sysctl -w kernel.io_uring_disabled=0",
            };
            Outcome::falls(Severity::Warning, "refused: epoll is used", wanted, mend)
        }
        "io_uring" => Outcome::falls(Severity::Info, "io_uring, not deferred", wanted, "run Linux 6.1 or later"),
        other => Outcome::fits(other),
    }
}

fn slice(host: &Host, _need: &Need) -> Outcome {
    match host.long_slice {
        None => Outcome::Unknown,
        Some(true) => Outcome::fits("20 ms"),
        Some(false) => Outcome::falls(
            Severity::Warning,
            "not supported",
            "threads that may ask for a slice",
            "run Linux 6.12 or later, or keep other busy threads off the server's cores (systemd: AllowedCPUs=)",
        ),
    }
}

fn governor(host: &Host, need: &Need) -> Outcome {
    match host.governor.as_deref() {
        None => Outcome::NotHere,
        Some("powersave") => {
            let mend = "cpupower frequency-set -g performance";
            Outcome::falls(warning_from(1_000, need), "powersave", "performance or schedutil", mend)
        }
        Some(other) => Outcome::fits(other),
    }
}

fn clock(host: &Host, _need: &Need) -> Outcome {
    let Some(found) = host.clock_source.as_deref() else { return Outcome::Unknown };
    if QUICK_CLOCKS.contains(&found) {
        return Outcome::fits(found);
    }
    let mend = "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource";
    Outcome::falls(Severity::Warning, found, "tsc (kvm-clock in a guest)", mend)
}
