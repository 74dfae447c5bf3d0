//! Which bucket of a chat an entry is in: decided by the entry alone, so that a replay finds the same one.
//!
//! What must stay true: buckets rise with seqs, so a chat's log is its buckets one after the other.

use schema::ids::MessageId;
use schema::timeuuid::ticks;

/// A bucket covers so much of message time, 100 ns ticks: ten days.
const WINDOW_TICKS: u64 = 10 * 24 * 60 * 60 * 10_000_000;
/// And at most so many entries.
pub const BUCKET_ENTRIES: u64 = 100_000;
/// Bits of a bucket's number that count its [`BUCKET_ENTRIES`]; those above are its window.
const PART_BITS: u32 = 44;
const PART_MASK: u64 = (1 << PART_BITS) - 1;
/// First seqs are written with falling write timestamps from here on, µs since 1970 (September 2001: in the past for every
/// server, and above 0 for every seq).
const FIRST_SEQ_STAMP: i64 = 1_000_000_000_000_000;

/// The bucket of an entry.
pub fn bucket(seq: u64, message: MessageId) -> i64 {
    let part = (seq / BUCKET_ENTRIES).min(PART_MASK);
    (window(message) << PART_BITS | part).cast_signed()
}

/// The window of a message's time.
fn window(message: MessageId) -> u64 {
    ticks(message) / WINDOW_TICKS
}

/// Whether a message of this id would be in this bucket, whatever its seq.
pub fn may_hold(bucket: i64, message: MessageId) -> bool {
    bucket.cast_unsigned() >> PART_BITS == window(message)
}

/// The highest seq that a bucket can hold.
pub fn last_seq(bucket: i64) -> u64 {
    ((bucket.cast_unsigned() & PART_MASK) + 1).saturating_mul(BUCKET_ENTRIES) - 1
}

/// The write timestamp of a bucket's first seq: of several that are written the lowest seq stays.
pub fn first_seq_stamp(seq: u64) -> i64 {
    FIRST_SEQ_STAMP - i64::try_from(seq).map_or(FIRST_SEQ_STAMP - 1, |seq| seq.min(FIRST_SEQ_STAMP - 1))
}

#[cfg(test)]
mod tests {
    use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};

    use super::*;

    fn at_day(day: u64) -> MessageId {
        from_parts(UNIX_EPOCH_TICKS + day * 24 * 60 * 60 * 10_000_000, [1; 8])
    }

    #[test]
    fn buckets_rise_with_time_and_with_seqs() {
        let places =
            [(1, 20_000), (2, 20_000), (99_999, 20_001), (100_000, 20_001), (100_001, 20_030), (350_000, 20_030)];
        let buckets: Vec<i64> = places.iter().map(|&(seq, day)| bucket(seq, at_day(day))).collect();
        assert!(buckets.is_sorted() && buckets[0] == buckets[1]);
        assert!(buckets[2] < buckets[3] && buckets[3] < buckets[4] && buckets[4] < buckets[5], "{buckets:?}");
        for (&(seq, day), bucket) in places.iter().zip(buckets) {
            assert!(may_hold(bucket, at_day(day)) && !may_hold(bucket, at_day(day + 11)));
            assert!(last_seq(bucket) >= seq && last_seq(bucket) < seq + BUCKET_ENTRIES);
        }
    }

    #[test]
    fn of_first_seqs_the_lowest_wins() {
        assert!(first_seq_stamp(1) > first_seq_stamp(2));
        assert!(first_seq_stamp(u64::MAX) > 0 && first_seq_stamp(0) == FIRST_SEQ_STAMP);
    }
}
