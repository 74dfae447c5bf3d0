//! Histories, a message's place, and all states.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use schema::ids::{ChatId, MessageId};
use schema::timeuuid::ordered_key;
use scylla::value::CqlTimeuuid;
use storage_writer::store::{ChatState, HistoryRange, StoreError, StoredEntry};
use uuid::Uuid;

use crate::buckets::{last_seq, may_hold};
use crate::cluster::{Cluster, rows};

/// Ids that are read at once where a message is looked for.
const PROBE: u64 = 256;
/// Slots that are read at once.
const SLOTS_AT_ONCE: usize = 32;
const HISTORY: &str = "reading history";
const FINDING: &str = "finding a message";

/// A chat's bucket, and the seqs that can be in it.
#[derive(Clone, Copy)]
struct Bucket {
    bucket: i64,
    first: u64,
    last: u64,
}

/// A chat's buckets, in order.
async fn buckets(cluster: &Cluster, doing: &'static str, chat: Uuid) -> Result<Vec<Bucket>, StoreError> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let take = |(bucket, first): (i64, i64)| {
        let first = first.cast_unsigned();
        if let Some(before) = buckets.last_mut() {
            before.last = before.last.min(first.saturating_sub(1));
        }
        buckets.push(Bucket { bucket, first, last: last_seq(bucket) });
        true
    };
    cluster.read(doing, &cluster.statements.buckets, (chat,), take).await?;
    Ok(buckets)
}

/// Seqs as the cluster compares them.
fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Entries of a chat in a range, bucket after bucket until the page is full.
pub async fn history(cluster: &Cluster, chat: ChatId, range: HistoryRange) -> Result<Vec<StoredEntry>, StoreError> {
    let mut out: Vec<StoredEntry> = Vec::new();
    if range.after_seq >= range.up_to_seq || range.limit_entries == 0 {
        return Ok(out);
    }
    let (chat, mut bytes, mut full) = (Uuid::from_bytes(chat.0), 0usize, false);
    for Bucket { bucket, first, last } in buckets(cluster, HISTORY, chat).await? {
        if full || first > range.up_to_seq {
            break;
        }
        if last <= range.after_seq {
            continue;
        }
        let limit = i32::try_from(range.limit_entries - out.len()).unwrap_or(i32::MAX);
        let values = (chat, bucket, signed(range.after_seq), signed(range.up_to_seq), limit);
        let take = |(seq, message, frame): (i64, CqlTimeuuid, Vec<u8>)| {
            let seq = seq.cast_unsigned();
            bytes = bytes.saturating_add(frame.len());
            full = out.len() >= range.limit_entries || (!out.is_empty() && bytes > range.limit_bytes);
            if !full && out.last().is_none_or(|before| before.seq < seq) {
                out.push(StoredEntry { seq, message: MessageId(*message.as_bytes()), frame: Bytes::from(frame) });
            }
            !full
        };
        cluster.read(HISTORY, &cluster.statements.page, values, take).await?;
        full |= out.len() >= range.limit_entries;
    }
    Ok(out)
}

/// The seq of a message: ids rise with seqs, so a bucket is searched by halves.
pub async fn find_message(cluster: &Cluster, chat: ChatId, message: MessageId) -> Result<Option<u64>, StoreError> {
    let (chat, wanted) = (Uuid::from_bytes(chat.0), ordered_key(message));
    let buckets = buckets(cluster, FINDING, chat).await?;
    for Bucket { bucket, first, last } in buckets.into_iter().filter(|place| may_hold(place.bucket, message)) {
        let (mut low, mut high) = (first, last);
        // The beginning first: most buckets are short.
        let mut from = low;
        while low <= high {
            let mut ids: Vec<(u64, [u8; 16])> = Vec::new();
            let take = |(seq, id): (i64, CqlTimeuuid)| {
                ids.push((seq.cast_unsigned(), ordered_key(MessageId(*id.as_bytes()))));
                true
            };
            let values = (chat, bucket, signed(from.saturating_sub(1)), signed(high), PROBE as i32);
            cluster.read(FINDING, &cluster.statements.ids, values, take).await?;
            if let Some((seq, _)) = ids.iter().find(|(_, id)| *id == wanted) {
                return Ok(Some(*seq));
            }
            match (ids.first(), ids.last()) {
                (Some((_, lowest)), Some((_, highest))) if *lowest < wanted && wanted < *highest => return Ok(None),
                (_, Some((seq, highest))) if *highest < wanted && ids.len() as u64 == PROBE => low = seq + 1,
                // All from here on are below it.
                (_, Some((_, highest))) if *highest < wanted => break,
                // All from here on are above it, or there are none.
                _ if from == low => break,
                _ => high = from - 1,
            }
            from = low + (high.saturating_sub(low)) / 2;
            if high.saturating_sub(low) < PROBE {
                from = low;
            }
        }
    }
    Ok(None)
}

/// Every chat's state of some slots, in id order.
pub async fn states(cluster: &Cluster, slots: Range<u16>, each: &mut dyn FnMut(ChatState)) -> Result<(), StoreError> {
    const DOING: &str = "reading chat states";
    let slots = slots.map(|slot| async move {
        let mut states = Vec::new();
        let take = |(chat, state): (Uuid, Vec<u8>)| {
            states.push((ChatId(chat.into_bytes()), state));
            true
        };
        cluster.read(DOING, &cluster.statements.states, (slot.cast_signed(),), take).await?;
        Ok(states)
    });
    let slots: Vec<Vec<(ChatId, Vec<u8>)>> = stream::iter(slots).buffer_unordered(SLOTS_AT_ONCE).try_collect().await?;
    let mut states: Vec<(ChatId, Vec<u8>)> = slots.into_iter().flatten().collect();
    states.sort_unstable_by_key(|(chat, _)| *chat);
    for (chat, row) in states {
        each(ChatState::from_row(chat, &row)?);
    }
    Ok(())
}

/// One chat's state.
pub async fn state(cluster: &Cluster, chat: ChatId) -> Result<Option<ChatState>, StoreError> {
    const DOING: &str = "reading a chat's state";
    let values = (chat.slot().get().cast_signed(), Uuid::from_bytes(chat.0));
    let found = cluster.run(DOING, &cluster.statements.state, values).await?;
    let found: Vec<(Uuid, Vec<u8>)> = rows(found).map_err(|what| StoreError::Away { doing: DOING, what })?;
    found.first().map(|(_, row)| ChatState::from_row(chat, row)).transpose()
}
