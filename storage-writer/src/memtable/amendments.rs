//! What amendments have made of entries that may be anywhere: in this table, in an older one, in the store.
//!
//! A frozen table never changes, and the store's rows are written over only with a flush: until then a reader lays these
//! over what it found. What must stay true: of two amendments of one entry the later one holds, whatever order they are
//! added in; nothing that was blanked has a body again.

use std::collections::BTreeMap;

use bytes::Bytes;
use schema::encode::{Amended, Encoder};
use schema::frame::FrameRef;
use schema::ids::ChatId;

/// What became of one entry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Amendment {
    /// It has the body of this edit's entry frame.
    Edited { by_seq: u64, edit: Bytes },
    /// It has no body, since this wall time, ms since 1970.
    Blanked { at_ms: u64 },
}

impl core::fmt::Debug for Amendment {
    /// Without the body: it is what people write.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Edited { by_seq, .. } => write!(f, "Edited({by_seq})"),
            Self::Blanked { at_ms } => write!(f, "Blanked({at_ms})"),
        }
    }
}

/// Bookkeeping of an amendment besides its body, bytes.
const OVERHEAD: usize = 128;

impl Amendment {
    fn cost(&self) -> usize {
        OVERHEAD + if let Self::Edited { edit, .. } = self { edit.len() } else { 0 }
    }

    /// Whether it takes the place of another of the same entry.
    fn outdoes(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Blanked { .. }) => false,
            (Self::Blanked { .. }, Self::Edited { .. }) => true,
            (Self::Edited { by_seq, .. }, Self::Edited { by_seq: before, .. }) => by_seq > before,
        }
    }

    /// What it makes of the entry's frame; the frame as it is when either cannot be read, which a verified frame never is.
    pub(crate) fn apply(&self, frame: &[u8], encoder: &mut Encoder) -> Bytes {
        let amended = match self {
            Self::Blanked { at_ms } => encoder.amended(frame, &Amended::Blanked { at_ms: *at_ms }),
            Self::Edited { by_seq, edit } => FrameRef::verify(edit).and_then(|verified| {
                let entry = verified.root().body_as_entry();
                let change = Amended::Edited {
                    by_seq: *by_seq,
                    at_ms: entry.map_or(0, |entry| entry.timestamp_ms()),
                    content_type: entry.map_or(0, |entry| entry.content_type()),
                    body: entry.and_then(|entry| entry.body()).map_or(&[], |body| body.bytes()),
                    users: entry.and_then(|entry| entry.users()),
                };
                encoder.amended(frame, &change)
            }),
        };
        debug_assert!(amended.is_ok(), "entries are verified frames");
        amended.unwrap_or_else(|_| Bytes::copy_from_slice(frame))
    }
}

/// Amendments by what they amend. See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amendments(BTreeMap<(ChatId, u64), Amendment>);

impl Amendments {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one. Returns by how much it grew, bytes.
    pub(crate) fn add(&mut self, chat: ChatId, seq: u64, amendment: Amendment) -> usize {
        let cost = amendment.cost();
        match self.0.get_mut(&(chat, seq)) {
            Some(before) if !amendment.outdoes(before) => 0,
            Some(before) => {
                let freed = before.cost();
                *before = amendment;
                cost.saturating_sub(freed)
            }
            None => {
                self.0.insert((chat, seq), amendment);
                cost
            }
        }
    }

    pub(crate) fn get(&self, chat: ChatId, seq: u64) -> Option<&Amendment> {
        if self.0.is_empty() { None } else { self.0.get(&(chat, seq)) }
    }

    /// All of them, ascending by chat and seq.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChatId, u64, &Amendment)> {
        self.0.iter().map(|(&(chat, seq), amendment)| (chat, seq, amendment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(by_seq: u64) -> Amendment {
        Amendment::Edited { by_seq, edit: Bytes::from(vec![0; 100]) }
    }

    #[test]
    fn the_later_amendment_holds_in_whatever_order() {
        let chat = ChatId([1; 16]);
        let blank = Amendment::Blanked { at_ms: 9 };
        for order in [[edited(3), edited(5), blank.clone()], [blank.clone(), edited(5), edited(3)]] {
            let mut amendments = Amendments::default();
            let bytes: usize = order.into_iter().map(|one| amendments.add(chat, 1, one)).sum();
            assert!(bytes >= blank.cost());
            assert_eq!(amendments.get(chat, 1), Some(&blank));
            assert_eq!(amendments.get(chat, 2), None);
        }
        let mut amendments = Amendments::default();
        amendments.add(chat, 1, edited(5));
        assert_eq!(amendments.add(chat, 1, edited(3)), 0);
        assert_eq!(amendments.get(chat, 1), Some(&edited(5)));
    }
}
