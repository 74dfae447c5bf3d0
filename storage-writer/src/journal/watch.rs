//! What a copier of a journal that is being written needs of it: how far it is committed, and that no segment is used
//! again meanwhile.
//!
//! What must stay true: the journal's thread never waits for a copier; a hold that would stop acknowledgements (the
//! journal has all the segments it may have) is not kept, and the copier notices by the names of what it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::lsn::{JournalId, Lsn};

/// Seen from any thread; clones share it.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    journal: JournalId,
    committed: AtomicU64,
    holds: AtomicU32,
}

/// While it lives, free segments of the journal are kept as they are.
#[derive(Debug)]
pub struct Hold(Watch);

impl Watch {
    pub(super) fn new(journal: JournalId) -> Self {
        Self(Arc::new(Shared { journal, committed: AtomicU64::new(0), holds: AtomicU32::new(0) }))
    }

    /// Whose.
    pub fn journal(&self) -> JournalId {
        self.0.journal
    }

    /// The last LSN durable: every record that was acknowledged before this call is at or below it.
    pub fn committed(&self) -> Lsn {
        Lsn(self.0.committed.load(Ordering::SeqCst))
    }

    /// Keeps free segments from now on.
    pub fn hold(&self) -> Hold {
        self.0.holds.fetch_add(1, Ordering::SeqCst);
        Hold(self.clone())
    }

    pub(super) fn commit(&self, lsn: Lsn) {
        self.0.committed.store(lsn.0, Ordering::SeqCst);
    }

    pub(super) fn is_held(&self) -> bool {
        self.0.holds.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.holds.fetch_sub(1, Ordering::SeqCst);
    }
}
