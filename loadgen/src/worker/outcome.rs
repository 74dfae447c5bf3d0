//! What a worker brings home.

use client::Counters;
use fabric::hash::Map;
use serde::{Deserialize, Serialize};

use crate::audit::{GotSide, MemberSide, SentSide};
use crate::behave::happened::Happened;
use crate::measure::{Errors, Latencies};
use crate::spread::Spread;

/// What a worker brings home.
#[derive(Serialize, Deserialize)]
pub struct Outcome {
    /// First stream of `sent`.
    pub first_stream: u32,
    /// Senders' sides of this worker's users, in order.
    pub sent: Vec<SentSide>,
    /// Receivers' sides of this worker's users, by stream.
    #[serde(with = "pairs")]
    pub got: Map<u32, GotSide>,
    /// What this worker's users know of their groups, by group and place.
    #[serde(with = "pairs")]
    pub members: Map<(u32, u32), MemberSide>,
    /// How group messages spread.
    pub spread: Spread,
    /// Group messages that came to users who are no members.
    pub misdelivered: u64,
    /// Deliveries of no message of this run.
    pub foreign: u64,
    /// Latencies of the steady phase, between users who were online.
    pub latencies: Latencies,
    /// The same where the sender or the receiver was away on purpose meanwhile.
    pub latencies_away: Latencies,
    /// Those of `latencies` while somebody else of the same worker was away on purpose.
    pub latencies_meanwhile: Latencies,
    /// Actual less intended send times of the steady phase.
    pub lag: Latencies,
    /// From when a worker learned that a socket had something to the delivery read from it, of those in `latencies`.
    pub reading: Latencies,
    /// The same of acknowledgements in groups.
    pub reading_acks: Latencies,
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
            members: fabric::hash::map(seed),
            spread: Spread::default(),
            misdelivered: 0,
            foreign: 0,
            latencies: Latencies::default(),
            latencies_away: Latencies::default(),
            latencies_meanwhile: Latencies::default(),
            lag: Latencies::default(),
            reading: Latencies::default(),
            reading_acks: Latencies::default(),
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
mod pairs {
    use core::hash::Hash;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Map;

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &Map<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<Map<K, V>, D::Error>
    where
        K: Deserialize<'de> + Eq + Hash,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let mut map = fabric::hash::map(1);
        map.extend(<Vec<(K, V)>>::deserialize(deserializer)?);
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
