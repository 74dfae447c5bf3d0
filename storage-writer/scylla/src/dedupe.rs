//! Where answers are: by a quarter of an hour of the wall time they were given at, in parts by key. Which slices there are is
//! a list of its own, kept in memory too.

use std::collections::BTreeSet;
use std::sync::Mutex;

use fabric::mutex::lock;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schema::dedupe::DedupeKey;
use schema::ids::{ChatId, MessageId};
use scylla::value::CqlTimeuuid;
use storage_writer::store::{DedupeHit, StoreError};
use uuid::Uuid;

use crate::cluster::{Cluster, rows};

/// Wall time of a slice, ms.
const SLICE_MS: u64 = 15 * 60 * 1_000;
/// Parts of a slice.
const PARTS: i8 = 16;
/// Slices that are listed at most: a day's are 97; clocks that jump make more.
const SLICES_MAX: usize = 1_024;
/// Partitions that are read at once.
const READS: usize = 32;
const READING: &str = "reading dedupe answers";

/// The slice of a wall time.
pub fn slice(wall_ms: u64) -> i64 {
    (wall_ms / SLICE_MS).cast_signed()
}

/// How a slice is cut into parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parts {
    /// By key: one writer has all of them.
    ByKey,
    /// By the partition of the chat, of so many: each writer has its own.
    ByPartition(u16),
}

impl Parts {
    /// The part of an answer.
    pub fn of(self, chat: ChatId, key: DedupeKey) -> i8 {
        match self {
            Self::ByKey => (key.0[0] % PARTS.cast_unsigned()).cast_signed(),
            // At most 128 of them.
            Self::ByPartition(partitions) => (chat.slot().partition(partitions) as u8).cast_signed(),
        }
    }

    /// The parts where a key may be if its chat is not known.
    pub fn of_key(self, key: DedupeKey) -> Vec<i8> {
        match self {
            Self::ByKey => vec![self.of(ChatId([0; 16]), key)],
            Self::ByPartition(_) => self.all(),
        }
    }

    /// All parts.
    pub fn all(self) -> Vec<i8> {
        match self {
            Self::ByKey => (0..PARTS).collect(),
            Self::ByPartition(partitions) => (0..partitions as u8).map(u8::cast_signed).collect(),
        }
    }
}

/// The slices there are.
#[derive(Default)]
pub struct Slices(Mutex<BTreeSet<i64>>);

impl Slices {
    /// Those found at the start.
    pub fn new(found: impl Iterator<Item = i64>) -> Self {
        Self(Mutex::new(found.collect()))
    }

    /// Lists those found since as well.
    pub fn extend(&self, found: impl IntoIterator<Item = i64>) {
        found.into_iter().for_each(|slice| self.add(slice));
    }

    /// Whether it is listed.
    pub fn has(&self, slice: i64) -> bool {
        self.lock().contains(&slice)
    }

    /// Lists one more; of too many the one furthest from it goes.
    pub fn add(&self, slice: i64) {
        let mut slices = self.lock();
        if slices.len() >= SLICES_MAX
            && let Some(furthest) = slices.iter().copied().max_by_key(|other| other.abs_diff(slice))
        {
            slices.remove(&furthest);
        }
        slices.insert(slice);
    }

    /// Those that are over at a wall time: what is in them is older.
    pub fn over(&self, wall_ms: u64) -> Vec<i64> {
        let first_kept = slice(wall_ms);
        self.lock().range(..first_kept).copied().collect()
    }

    /// Takes one from the list.
    pub fn remove(&self, slice: i64) {
        self.lock().remove(&slice);
    }

    /// From one on, newest first.
    fn from(&self, slice: i64) -> Vec<i64> {
        self.lock().range(slice..).rev().copied().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<i64>> {
        // A panic of another thread leaves a whole list.
        lock(&self.0)
    }
}

type Hit = (Uuid, i64, CqlTimeuuid, i64);

fn hit((chat, seq, message, wall_ms): Hit) -> DedupeHit {
    DedupeHit {
        chat: ChatId(chat.into_bytes()),
        seq: seq.cast_unsigned(),
        message: MessageId(*message.as_bytes()),
        wall_ms: wall_ms.cast_unsigned(),
    }
}

/// The slices that the cluster lists.
pub async fn slices(cluster: &Cluster) -> Result<Vec<i64>, StoreError> {
    let mut slices = Vec::new();
    let take = |(slice,): (i64,)| {
        slices.push(slice);
        true
    };
    cluster.read("listing dedupe answers", &cluster.statements.slices, (), take).await?;
    Ok(slices)
}

/// The newest answer of a key, looked for in every slice.
pub async fn find(
    cluster: &Cluster,
    slices: &Slices,
    parts: &[i8],
    key: DedupeKey,
) -> Result<Option<DedupeHit>, StoreError> {
    let places = slices.from(i64::MIN).into_iter().flat_map(|slice| parts.iter().map(move |part| (slice, *part)));
    let lookups = places.map(|(slice, part)| async move {
        let found = cluster.run(READING, &cluster.statements.answer, (slice, part, &key.0[..])).await?;
        let found: Vec<Hit> = rows(found).map_err(|what| StoreError::Away { doing: READING, what })?;
        Ok(found.into_iter().next().map(|found| (slice, hit(found))))
    });
    let found: Vec<Option<(i64, DedupeHit)>> = stream::iter(lookups).buffer_unordered(READS).try_collect().await?;
    Ok(found.into_iter().flatten().max_by_key(|(slice, _)| *slice).map(|(_, hit)| hit))
}

/// Every answer from a wall time on.
pub async fn since(
    cluster: &Cluster,
    slices: &Slices,
    (parts, wall_ms): (&[i8], u64),
    each: &mut dyn FnMut(DedupeKey, DedupeHit),
) -> Result<(), StoreError> {
    let places = slices.from(slice(wall_ms)).into_iter().flat_map(|slice| parts.iter().map(move |part| (slice, *part)));
    let parts = places.map(|place| async move {
        let mut hits = Vec::new();
        let take = |(key, chat, seq, message, wall): (Vec<u8>, Uuid, i64, CqlTimeuuid, i64)| {
            hits.push((key, hit((chat, seq, message, wall))));
            true
        };
        cluster.read(READING, &cluster.statements.answers, place, take).await?;
        Ok(hits)
    });
    let mut parts = stream::iter(parts).buffer_unordered(READS);
    while let Some(hits) = parts.try_next().await? {
        for (key, hit) in hits.into_iter().filter(|(_, hit)| hit.wall_ms >= wall_ms) {
            let key = <[u8; 16]>::try_from(key.as_slice()).map_err(|_| StoreError::Damaged {
                doing: READING,
                what: "a dedupe key has the wrong length".to_owned(),
            })?;
            each(DedupeKey(key), hit);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_end_after_all_that_is_in_them() {
        let slices = Slices::new([slice(0), slice(SLICE_MS), slice(2 * SLICE_MS)].into_iter());
        assert!(slices.over(SLICE_MS - 1).is_empty());
        assert_eq!(slices.over(2 * SLICE_MS - 1), [0]);
        assert_eq!(slices.over(2 * SLICE_MS), [0, 1]);
    }

    #[test]
    fn clocks_that_jump_make_no_endless_list() {
        let slices = Slices::default();
        (0..5_000).for_each(|n| slices.add(n * 7));
        slices.add(slice(u64::MAX));
        assert_eq!(slices.from(i64::MIN).len(), SLICES_MAX);
        assert!(slices.has(slice(u64::MAX)));
    }
}
