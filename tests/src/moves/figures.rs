//! Times as they spread, and the table that is printed.

use std::fmt;

/// Times, µs.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<u64>);

impl Spread {
    /// One more.
    pub fn add_us(&mut self, us: u64) {
        self.0.push(us);
        self.0.sort_unstable();
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time that so many per cent are not above, ms; 0 where there are none.
    pub fn per_cent_ms(&self, per_cent: usize) -> f64 {
        let at = (self.0.len() * per_cent).div_ceil(100).saturating_sub(1);
        self.0.get(at).map_or(0.0, |us| *us as f64 / 1_000.0)
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The longest time between two answers while nothing happened, for as long as a move is looked at.
    pub quiet: Spread,
    /// Over a move.
    pub moved: Spread,
    /// Over a writer's stop in order.
    pub stopped: Spread,
    /// Over a writer's death.
    pub killed: Spread,
    /// Of a move: until it was read ahead, given up, handed over; opened.
    pub parts: [Spread; 4],
    /// Partitions that were opened with what had been read ahead.
    pub read_ahead: u64,
    /// How often the two users had to connect again over all moves.
    pub connects: u64,
    /// The same over all stops.
    pub connects_over_stops: u64,
    /// Messages of the chat, each of which came once and in order.
    pub messages: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:42} {:>5} {:>9} {:>9} {:>9} {:>9}", "ms", "n", "p50", "p90", "p99", "most")?;
        let mut row = |what: &str, spread: &Spread| {
            if spread.is_empty() {
                return Ok(());
            }
            write!(f, "{what:42} {:>5}", spread.len())?;
            for per_cent in [50, 90, 99, 100] {
                write!(f, " {:>9.1}", spread.per_cent_ms(per_cent))?;
            }
            writeln!(f)
        };
        row("longest time between two answers: quiet", &self.quiet)?;
        row("  a move", &self.moved)?;
        row("  a writer's stop in order", &self.stopped)?;
        row("  a writer's death", &self.killed)?;
        let parts =
            ["of a move: read ahead, while it is served", "  given up", "  handed over in the table", "  opened"];
        for (what, spread) in parts.iter().zip(&self.parts) {
            row(what, spread)?;
        }
        writeln!(
            f,
            "{} messages, each once and in order; {} partitions were opened with what was read ahead; connects again: {} over \
             the moves, {} over the stops",
            self.messages, self.read_ahead, self.connects, self.connects_over_stops
        )
    }
}
