//! Entries whose time is over leave the store while it merges tables.
//!
//! What must stay true: only what nobody is given any more goes, and a row that cannot be read is left for a reader to
//! complain of. A chunk loses entries, or goes whole; so does, with it, every older version of the chunk.

use std::panic::RefUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::fjall::compaction::filter::{CompactionFilter, Context, Factory, ItemAccessor, Verdict};
use schema::ids::ChatId;

use super::rows::{ChunkEntry, is_expiring, read_chunk, write_chunk};
use crate::store::FlushEntry;

/// What time it is, s since 1970, as whoever drives the store last said; 0 = unknown: nothing goes.
pub(super) type ClockSeconds = Arc<AtomicU64>;

/// Makes a filter a merge.
pub(super) struct Expiry(pub(super) ClockSeconds);

// A panic between two atomic operations leaves the clock as it was.
impl RefUnwindSafe for Expiry {}

impl Factory for Expiry {
    fn name(&self) -> &str {
        "expired entries"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Filter { now_s: self.0.load(Ordering::Relaxed) })
    }
}

struct Filter {
    now_s: u64,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> Result<Verdict, ::fjall::LsmError> {
        Ok(without_expired(item.key(), &item.value()?, self.now_s))
    }
}

/// What a merge leaves of a chunk.
fn without_expired(key: &[u8], row: &[u8], now_s: u64) -> Verdict {
    let chat = key.first_chunk::<16>().map(|&chat| ChatId(chat));
    let (true, Some(chat)) = (is_expiring(row), chat) else { return Verdict::Keep };
    let (mut left, mut gone) = (Vec::new(), false);
    let read = read_chunk(key, row, |ChunkEntry { seq, message, frame, expires_s }| {
        if expires_s > 0 && u64::from(expires_s) <= now_s {
            gone = true;
        } else {
            left.push(FlushEntry { chat, seq, message, frame: row[frame].into(), expires_s });
        }
    });
    match (read, gone, left.is_empty()) {
        (Ok(_), true, true) => Verdict::Remove,
        (Ok(_), true, false) => {
            let mut out = Vec::new();
            write_chunk(&mut out, &left);
            Verdict::ReplaceValue(out.into())
        }
        _ => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{chat, entries, flat};
    use crate::store::fjall::rows::entry_key;

    fn row(expiries: &[u32]) -> Vec<u8> {
        let seqs = 17..17 + expiries.len() as u64;
        let mut entries = flat(vec![(chat(1), entries(chat(1), seqs))]);
        entries.iter_mut().zip(expiries).for_each(|(entry, &expires_s)| entry.expires_s = expires_s);
        let mut out = Vec::new();
        write_chunk(&mut out, &entries);
        out
    }

    fn left(row: &[u8], now_s: u64) -> Option<Vec<u64>> {
        let key = entry_key(chat(1), 17);
        let seqs = |row: &[u8]| {
            let mut seqs = Vec::new();
            read_chunk(key.as_ref(), row, |entry| seqs.push(entry.seq)).expect("a chunk");
            seqs
        };
        match without_expired(key.as_ref(), row, now_s) {
            Verdict::Keep => Some(seqs(row)),
            Verdict::ReplaceValue(row) => Some(seqs(&row)),
            Verdict::Remove => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_over_goes_and_the_rest_stays() {
        let some = row(&[0, 100, 200, 0, 50]);
        assert_eq!(left(&some, 0), Some(vec![17, 18, 19, 20, 21]));
        assert_eq!(left(&some, 99), Some(vec![17, 18, 19, 20]));
        assert_eq!(left(&some, 100), Some(vec![17, 19, 20]));
        assert_eq!(left(&some, 10_000), Some(vec![17, 20]));
        assert_eq!(left(&row(&[0, 0]), 10_000), Some(vec![17, 18]));
        assert_eq!(left(&row(&[5, 6]), 10_000), None);
        let damaged = &some[..some.len() - 1];
        assert!(matches!(without_expired(entry_key(chat(1), 17).as_ref(), damaged, 100), Verdict::Keep));
    }
}
