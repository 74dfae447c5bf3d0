//! What a worker brings home.

use client::Counters;
use fabric::hash::Map;
use serde::{Deserialize, Serialize};

use crate::audit::{GotSide, SentSide};
use crate::behave::happened::Happened;
use crate::measure::{Errors, Latencies};

/// What a worker brings home.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    /// First stream of `sent`.
    pub first_stream: u32,
    /// Senders' sides of this worker's users, in order.
    pub sent: Vec<SentSide>,
    /// Receivers' sides of this worker's users, by stream.
    #[serde(with = "streams")]
    pub got: Map<u32, GotSide>,
    /// Deliveries of no message of this run.
    pub foreign: u64,
    /// Latencies of the steady phase, between users who were online.
    pub latencies: Latencies,
    /// The same where the sender or the receiver was away on purpose meanwhile.
    pub latencies_away: Latencies,
    /// Actual less intended send times of the steady phase.
    pub lag: Latencies,
    /// From the begin of a connect to its Welcome.
    pub connects: Latencies,
    /// Errors by name.
    pub errors: Errors,
    /// Errors in the window of a restart that the scenario tolerates.
    pub tolerated: Errors,
    /// What came of each behaviour.
    pub happened: Vec<Happened>,
    /// What the clients counted.
    #[serde(with = "counters")]
    pub counters: Counters,
    /// Connections cut on purpose.
    pub drops: u64,
}

impl Outcome {
    /// Nothing yet, of `streams` streams from the `first_stream`th on, with so many behaviours.
    pub fn new(first_stream: u32, streams: usize, behaviours: usize, seed: u64) -> Self {
        Self {
            first_stream,
            sent: vec![SentSide::default(); streams],
            got: fabric::hash::map(seed),
            foreign: 0,
            latencies: Latencies::default(),
            latencies_away: Latencies::default(),
            lag: Latencies::default(),
            connects: Latencies::default(),
            errors: Errors::default(),
            tolerated: Errors::default(),
            happened: vec![Happened::default(); behaviours],
            counters: Counters::default(),
            drops: 0,
        }
    }
}
/// A map as its pairs.
mod streams {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{GotSide, Map};

    pub(super) fn serialize<S: Serializer>(map: &Map<u32, GotSide>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<u32, GotSide>, D::Error> {
        let mut map = fabric::hash::map(1);
        map.extend(<Vec<(u32, GotSide)>>::deserialize(deserializer)?);
        Ok(map)
    }
}

/// The clients' counters, which know nothing of serde.
mod counters {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Counters;

    #[rustfmt::skip]
    pub(super) fn serialize<S: Serializer>(counters: &Counters, serializer: S) -> Result<S::Ok, S::Error> {
        let Counters {
            frames_in, bad_frames, unknown_frames, entries, duplicates, held, held_dropped, gap_fills, sends_written,
            resends_written, acks, postponed, failed, marks_written, pings, connects, disconnects,
        } = *counters;
        [
            frames_in, bad_frames, unknown_frames, entries, duplicates, held, held_dropped, gap_fills, sends_written,
            resends_written, acks, postponed, failed, marks_written, pings, connects, disconnects,
        ].serialize(serializer)
    }

    #[rustfmt::skip]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Counters, D::Error> {
        let [
            frames_in, bad_frames, unknown_frames, entries, duplicates, held, held_dropped, gap_fills, sends_written,
            resends_written, acks, postponed, failed, marks_written, pings, connects, disconnects,
        ] = <[u64; 17]>::deserialize(deserializer)?;
        Ok(Counters {
            frames_in, bad_frames, unknown_frames, entries, duplicates, held, held_dropped, gap_fills, sends_written,
            resends_written, acks, postponed, failed, marks_written, pings, connects, disconnects,
        })
    }
}
