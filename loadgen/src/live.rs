//! Progress while a run goes on: a bar with three lines, redrawn in place, on a terminal; plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::{Phase, Sample};
use crate::run::Sums;
use crate::scenario::{Load, Mode};
use crate::words;

/// Without a terminal a line comes this often, and whenever the phase changes, s.
const PLAIN_EVERY_S: f64 = 5.0;
/// Steps of the bar.
const STEPS: u64 = 1_000;

/// What is shown: the second that has passed, and all before it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The second.
    pub sample: &'a Sample,
    /// What is asked of the server.
    pub load: &'a Load,
    /// Since the begin.
    pub sums: Sums,
    /// Until the end of the load, or of the drain; absent while connecting.
    pub left_s: Option<f64>,
    /// Since the begin.
    pub since_begin_s: f64,
}

/// Shows progress on stderr.
pub struct Live {
    /// On a terminal.
    bar: Option<ProgressBar>,
    quiet: bool,
    phase: Option<Phase>,
    next_line_s: f64,
}

impl Live {
    /// On stderr, as it allows.
    pub fn on_stderr() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("[{bar:40}] {msg}").expect("the template is valid");
            bar.set_style(style.progress_chars("=> "));
            bar
        });
        Self { bar, quiet: false, phase: None, next_line_s: 0.0 }
    }

    /// Shows nothing.
    pub const fn silent() -> Self {
        Self { bar: None, quiet: true, phase: None, next_line_s: 0.0 }
    }

    /// Called once a second.
    pub fn show(&mut self, view: &View<'_>) {
        if self.quiet {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_position((view.share().clamp(0.0, 1.0) * STEPS as f64) as u64);
            bar.set_message(format!("{}: {}", view.sample.phase.name(), view.lines().join("\n")));
            return;
        }
        if self.phase != Some(view.sample.phase) || view.since_begin_s >= self.next_line_s {
            self.phase = Some(view.sample.phase);
            self.next_line_s = view.since_begin_s + PLAIN_EVERY_S;
            // Who watches may have gone: nothing to be done about it.
            let _ = writeln!(std::io::stderr(), "{:<10} {}", view.sample.phase.name(), view.lines().join("  "));
        }
    }

    /// Takes the bar away: the summary follows.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl View<'_> {
    /// Where the phase stands, then what moves, then how long it takes.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.standing()];
        if self.load.sends() && self.sample.phase != Phase::Connecting {
            lines.push(format!(
                "sent {} ({}/s)  acked {} ({}/s)  delivered {} ({}/s)",
                words::count(self.sums.sent),
                self.rate(self.sample.sent),
                words::count(self.sums.acked),
                self.rate(self.sample.acked),
                words::count(self.sums.delivered),
                self.rate(self.sample.delivered)
            ));
            if let (Some(p50), Some(p99), Some(max)) = (self.sample.p50_us, self.sample.p99_us, self.sample.max_us) {
                let us = |us: u64| words::us(us as f64);
                lines.push(format!("p50 {}  p99 {}  max {}", us(p50), us(p99), us(max)));
            }
        } else if self.load.mode == Mode::Connect {
            lines.push(format!(
                "{} connects ({}/s)",
                words::count(self.sums.connects),
                self.rate(self.sample.connects)
            ));
        }
        if self.sums.errors > 0 {
            lines.push(format!("{} errors ({}/s)", words::count(self.sums.errors), self.rate(self.sample.errors)));
        }
        lines
    }

    fn rate(&self, count: u64) -> String {
        words::short(self.sample.per_second(count).round())
    }

    fn standing(&self) -> String {
        let (connected, wanted) = (self.sums.authenticated, u64::from(self.load.users));
        let of = format!("{} of {} connected", words::count(connected), words::count(wanted));
        let left = self.left_s.map_or_else(String::new, |left| format!(", {} left", words::seconds(left.round())));
        match self.sample.phase {
            Phase::Connecting => {
                let rate = self.sample.per_second(self.sample.connects);
                let missing = wanted.saturating_sub(connected) as f64;
                let eta =
                    if rate >= 1.0 { words::seconds((missing / rate).round()) } else { "an unknown time".to_owned() };
                format!("{of} ({}/s), {eta} left", words::short(rate.round()))
            }
            Phase::Drain => {
                let outstanding = self.outstanding();
                format!("{} outstanding, {} at most", words::count(outstanding), left.trim_start_matches([',', ' ']))
            }
            _ => format!("{of}{left}"),
        }
    }

    /// Messages neither delivered nor refused.
    const fn outstanding(&self) -> u64 {
        self.sums.sent.saturating_sub(
            if self.sums.delivered + self.sums.refused < self.sums.acked + self.sums.refused {
                self.sums.delivered + self.sums.refused
            } else {
                self.sums.acked + self.sums.refused
            },
        )
    }

    /// How much of the phase, of the load or of the drain is done.
    fn share(&self) -> f64 {
        let load = self.load;
        let share = |done: f64, all: f64| if all > 0.0 { done / all } else { 1.0 };
        match self.sample.phase {
            Phase::Connecting => share(self.sums.authenticated as f64, f64::from(load.users)),
            Phase::Drain => share((self.sums.sent - self.outstanding()) as f64, self.sums.sent as f64),
            _ => {
                let all = load.ramp_s + load.steady_s + load.cool_down_s;
                let by_time = 1.0 - share(self.left_s.unwrap_or(all), all);
                // A load of so many messages may end before its time.
                by_time.max(load.messages.map_or(0.0, |messages| share(self.sums.sent as f64, messages as f64)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    const SUMS: Sums = Sums {
        sent: 30_000,
        acked: 29_000,
        delivered: 28_000,
        refused: 0,
        errors: 0,
        authenticated: 9,
        connects: 9,
        wanted: 30_000,
        joined: 0,
    };

    fn said(phase: Phase, sums: Sums, left_s: Option<f64>) -> (String, f64) {
        let load =
            Scenario::parse("[load]\nusers = 10\nmode = \"open\"\nrate = 5000.0\nsteady_s = 9.0\n").unwrap().load;
        let sample = Sample {
            span_s: 1.0,
            phase,
            sent: 5_000,
            acked: 4_990,
            delivered: 4_980,
            errors: 1,
            connects: 3,
            p50_us: Some(310),
            p99_us: Some(1_500),
            max_us: Some(20_000),
            ..Sample::default()
        };
        let view = View { sample: &sample, load: &load, sums, left_s, since_begin_s: 4.0 };
        (view.lines().join("\n"), view.share())
    }

    #[test]
    fn the_load_says_rates_percentiles_errors_and_time_left() {
        let (text, share) = said(Phase::Steady, Sums { errors: 7, ..SUMS }, Some(5.0));
        assert_eq!(
            text,
            "9 of 10 connected, 5 s left\n\
             sent 30,000 (5k/s)  acked 29,000 (4.99k/s)  delivered 28,000 (4.98k/s)\n\
             p50 310 µs  p99 1.5 ms  max 20 ms\n\
             7 errors (1/s)"
        );
        assert!((share - 0.5).abs() < 1e-9, "{share}");
    }

    #[test]
    fn connecting_and_draining_say_how_far_they_are() {
        let (text, share) =
            said(Phase::Connecting, Sums { sent: 0, acked: 0, delivered: 0, authenticated: 4, ..SUMS }, None);
        assert_eq!((text.as_str(), share), ("4 of 10 connected (3/s), 2 s left", 0.4));
        let (text, share) = said(Phase::Drain, SUMS, Some(12.0));
        assert!(text.starts_with("2,000 outstanding, 12 s left at most\nsent 30,000"), "{text}");
        assert!((share - 28.0 / 30.0).abs() < 1e-9, "{share}");
    }
}
