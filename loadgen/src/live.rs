//! The live line: rewritten in place on a terminal, a plain line every five seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};

use crate::measure::Latencies;

/// Without a terminal a line comes this often, s.
const PLAIN_EVERY_S: u64 = 5;

/// What one line shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// connecting, ramp, steady, cool-down, drain.
    pub phase: &'static str,
    /// Authenticated now, of how many.
    pub authenticated: (u64, u64),
    /// Deliveries (connects, where nothing is sent) in the last second.
    pub rate: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages acknowledged.
    pub acked: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Errors.
    pub errors: u64,
    /// Until the end of the load, s.
    pub left_s: u64,
}

/// Writes lines to stderr.
pub struct Live {
    terminal: bool,
    seconds: u64,
    phase: &'static str,
}

impl Default for Live {
    fn default() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), seconds: 0, phase: "" }
    }
}

impl Live {
    /// Called once a second with what happened in it.
    pub fn show(&mut self, line: &Line, latencies: &Latencies) {
        self.seconds += 1;
        let text = text(line, latencies);
        let mut stderr = std::io::stderr().lock();
        // Who watches has gone: nothing to be done about it.
        if self.terminal {
            let _ = write!(stderr, "\r\x1b[2K{text}");
            let _ = stderr.flush();
        } else if self.phase != line.phase || self.seconds.is_multiple_of(PLAIN_EVERY_S) {
            let _ = writeln!(stderr, "{text}");
        }
        self.phase = line.phase;
    }

    /// Leaves the line standing.
    pub fn end(&mut self) {
        if self.terminal && self.seconds > 0 {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn text(line: &Line, latencies: &Latencies) -> String {
    let ms = |percent| latencies.us(percent) as f64 / 1e3;
    format!(
        "{:<10} {}/{} connected  {}/s  sent {} acked {} delivered {}  p50 {:.2} ms p99 {:.2} ms  errors {}  {} s left",
        line.phase,
        line.authenticated.0,
        line.authenticated.1,
        line.rate,
        line.sent,
        line.acked,
        line.delivered,
        ms(50.0),
        ms(99.0),
        line.errors,
        line.left_s
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_progress_latency_errors_and_time_left() {
        let mut latencies = Latencies::default();
        latencies.record_ns(1_500_000);
        let line = Line {
            phase: "steady",
            authenticated: (9, 10),
            rate: 5_000,
            sent: 30,
            acked: 20,
            delivered: 10,
            errors: 1,
            left_s: 7,
        };
        assert_eq!(
            text(&line, &latencies),
            "steady     9/10 connected  5000/s  sent 30 acked 20 delivered 10  p50 1.50 ms p99 1.50 ms  errors 1  7 s left"
        );
    }
}
