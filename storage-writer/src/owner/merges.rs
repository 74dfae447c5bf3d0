//! Pages of chats, changed ones or all, whose parts are being gathered from all partitions.

use core::cmp::Reverse;
use std::collections::VecDeque;

use fabric::hash::{self, Map};
use schema::envelope::{Address, ChangedChat, ListedChat, SyncCursor};
use schema::ids::ChatId;

/// What such a page holds: it has a place in time.
pub(crate) trait Dated {
    /// Where it is; the newest come first.
    fn at(&self) -> SyncCursor;
}

impl Dated for ChangedChat {
    fn at(&self) -> SyncCursor {
        SyncCursor { last_ms: self.last_ms, chat: self.chat }
    }
}

impl Dated for ListedChat {
    fn at(&self) -> SyncCursor {
        self.at
    }
}

/// What one request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub reply: Address,
    pub request_id: u64,
    /// The client's own number for it, where it has one.
    pub client_request: u64,
    /// The account log it was sent to.
    pub account: ChatId,
    /// Chats at most.
    pub limit: usize,
}

/// One request.
struct Merge<T> {
    asked: Asked,
    /// Which partitions have answered, a bit each.
    answered: Vec<u64>,
    missing: u16,
    chats: Vec<T>,
    more: bool,
}

/// A merged page.
pub(crate) struct Page<T> {
    pub chats: Vec<T>,
    pub next: Option<SyncCursor>,
}

/// All of them, oldest first. Bounded in number and in time.
pub(crate) struct Merges<T> {
    by_id: Map<u64, Merge<T>>,
    /// (due, ns; id).
    order: VecDeque<(u64, u64)>,
    last_id: u64,
    limit: usize,
}

/// Newest first.
pub(crate) fn newest_first<T: Dated>(chats: &mut [T]) {
    chats.sort_unstable_by_key(|chat| Reverse(chat.at()));
}

impl<T: Dated> Merges<T> {
    pub(crate) fn new(seed: u64, limit: usize) -> Self {
        Self { by_id: hash::map(seed), order: VecDeque::new(), last_id: 0, limit }
    }

    /// Starts one over `partitions` parts; `None` when there are too many.
    pub(crate) fn start(&mut self, due_ns: u64, partitions: u16, asked: Asked) -> Option<u64> {
        if self.by_id.len() >= self.limit {
            return None;
        }
        self.last_id += 1;
        let answered = vec![0; usize::from(partitions).div_ceil(64)];
        let merge = Merge { asked, answered, missing: partitions, chats: Vec::new(), more: false };
        self.by_id.insert(self.last_id, merge);
        self.order.push_back((due_ns, self.last_id));
        Some(self.last_id)
    }

    /// Takes a part. Returns the page with its request once all parts are there. A part of a request that is over, or the
    /// second of one partition, is dropped.
    pub(crate) fn part(&mut self, id: u64, partition: u16, chats: Vec<T>, more: bool) -> Option<(Asked, Page<T>)> {
        let merge = self.by_id.get_mut(&id)?;
        let word = merge.answered.get_mut(usize::from(partition) / 64)?;
        let bit = 1 << (partition % 64);
        if *word & bit != 0 {
            return None;
        }
        *word |= bit;
        merge.missing -= 1;
        merge.more |= more;
        if merge.chats.is_empty() {
            merge.chats = chats;
        } else {
            merge.chats.extend(chats);
        }
        if merge.missing > 0 {
            return None;
        }
        let Merge { asked, mut chats, more, .. } = self.by_id.remove(&id)?;
        self.drop_finished();
        newest_first(&mut chats);
        let more = more || chats.len() > asked.limit;
        chats.truncate(asked.limit);
        let next = chats.last().filter(|_| more).map(Dated::at);
        Some((asked, Page { chats, next }))
    }

    fn drop_finished(&mut self) {
        while self.order.front().is_some_and(|(_, id)| !self.by_id.contains_key(id)) {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.by_id.len() + 1_024 {
            let by_id = &self.by_id;
            self.order.retain(|(_, id)| by_id.contains_key(id));
        }
    }

    /// A request whose time is over.
    pub(crate) fn expired(&mut self, now_ns: u64) -> Option<Asked> {
        self.drop_finished();
        let &(due, id) = self.order.front()?;
        if due > now_ns {
            return None;
        }
        self.order.pop_front();
        self.by_id.remove(&id).map(|merge| merge.asked)
    }

    /// When the next one expires, ns.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.order.front().map(|&(due, _)| due)
    }
}

#[cfg(test)]
mod tests {
    use schema::limits::SYNC_PAGE_CHATS;

    use super::*;

    fn chat(last_ms: u64, id: u8) -> ChangedChat {
        ChangedChat { ticked: false, chat: ChatId([id; 16]), head_seq: 1, acked_seq: 0, last_ms }
    }

    fn asked(request_id: u64) -> Asked {
        let account = ChatId([9; 16]);
        Asked { reply: Address::NOBODY, request_id, client_request: 0, account, limit: SYNC_PAGE_CHATS }
    }

    #[test]
    fn merges_newest_first_and_says_where_the_next_page_begins() {
        let mut merges = Merges::new(1, 10);
        let id = merges.start(100, 2, asked(7)).expect("room");
        let first: Vec<_> = (0..40).rev().map(|n| chat(n * 2, n as u8)).collect();
        let second: Vec<_> = (0..40).rev().map(|n| chat(n * 2 + 1, 100 + n as u8)).collect();
        assert!(merges.part(id, 0, first.clone(), false).is_none());
        assert!(merges.part(id, 0, first, false).is_none(), "counted once");
        let (answered, page) = merges.part(id, 1, second, false).expect("complete");
        assert_eq!(answered.request_id, 7);
        assert_eq!(page.chats.len(), SYNC_PAGE_CHATS);
        assert!(page.chats.is_sorted_by(|a, b| a.last_ms > b.last_ms));
        assert_eq!(page.next, Some(SyncCursor { last_ms: 16, chat: ChatId([8; 16]) }));
        assert!(merges.part(id, 1, Vec::new(), false).is_none(), "over");
    }

    #[test]
    fn is_bounded_in_number_and_time() {
        let mut merges = Merges::new(1, 2);
        let id = merges.start(100, 1, asked(1)).expect("room");
        assert!(merges.start(200, 1, asked(2)).is_some());
        assert!(merges.start(300, 1, asked(3)).is_none());
        let (_, page) = merges.part(id, 0, vec![chat(1, 1)], false).expect("complete");
        assert_eq!((page.chats.len(), page.next), (1, None));
        assert!(merges.expired(199).is_none());
        assert_eq!(merges.expired(200).map(|m| m.request_id), Some(2));
        assert!(merges.expired(u64::MAX).is_none());
    }
}
