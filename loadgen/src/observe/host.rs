//! This host: what it is, and how busy.

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CPU time of all cores together since the host started, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    /// Not idle; what a hypervisor gave to others is in it, for this host could not use it either.
    pub busy: u64,
    /// Of these, given to others by the hypervisor.
    pub stolen: u64,
    /// All.
    pub all: u64,
}

impl Ticks {
    /// Now; `None` where /proc/stat cannot be read.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user nice system idle iowait irq softirq steal; what follows is part of user and nice.
        let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
        let [_, _, _, idle, iowait, ..] = fields[..] else { return None };
        let all: u64 = fields.iter().sum();
        Some(Self { busy: all - idle - iowait, stolen: fields.get(7).copied().unwrap_or(0), all })
    }

    /// Busy and stolen since an earlier look, as shares (0 to 1) of all cores.
    pub fn since(self, earlier: Self) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)? as f64;
        let share = |now: u64, then: u64| (now.saturating_sub(then) as f64 / all).clamp(0.0, 1.0);
        Some((share(self.busy, earlier.busy), share(self.stolen, earlier.stolen)))
    }
}

/// The host that the load generator ran on (and a throwaway server too).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// The processor, as the kernel calls it; empty when it does not say.
    pub model: String,
    /// The kernel's name, release and architecture.
    pub kernel: String,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// Share (0 to 1) of all cores that was busy in the steady phase, with whatever else ran.
    pub busy: Option<f64>,
    /// Of that, what a hypervisor gave to others.
    pub stolen: Option<f64>,
}

impl Machine {
    /// This host.
    pub fn this() -> Self {
        let uname = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            model: fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| model(&info)).unwrap_or_default(),
            kernel: format!("{} {} {}", text(uname.sysname()), text(uname.release()), text(uname.machine())),
            memory_bytes: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|info| super::kernel::kib(&info, "MemTotal")),
            busy: None,
            stolen: None,
        }
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_are_not_busy_and_stolen_time_is() {
        let before = Ticks::parse("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n").unwrap();
        let after = Ticks::parse("cpu  150 0 110 720 110 5 5 10 9 0\n").unwrap();
        let (busy, stolen) = after.since(before).unwrap();
        assert_eq!((busy, stolen), (80.0 / 110.0, 10.0 / 110.0));
        assert_eq!(after.since(after), None);
        assert_eq!(Ticks::parse("intr 1 2\n"), None);
    }

    #[test]
    fn a_host_says_what_it_is() {
        let machine = Machine::this();
        assert!(machine.cores > 0 && machine.kernel.contains("Linux"), "{machine:?}");
        assert_eq!(model("processor : 0\nmodel name\t: A: B\n").as_deref(), Some("A: B"));
    }
}
