//! What the first shard has told HTTP of an owners' node that is started anew, and what it has heard from it.
//!
//! HTTP is on another thread, so the owners' node is let go only after HTTP has said that nothing of its is there any more.
//! What must stay true: what it says of an earlier time does not count for this one.

use super::changes::ShardChange;

/// Of the shard by whose links HTTP's requests go; idle at the others.
#[derive(Debug)]
pub(super) struct HttpHold {
    /// So often the owners' node has left.
    times: u32,
    /// HTTP has requests there, or has not said.
    waits: bool,
    /// HTTP is to be told when it serves again.
    held: bool,
    /// It served in the turn before.
    served: bool,
}

impl HttpHold {
    /// At a start, when HTTP waits for the owners' node too. `carries`: HTTP's requests go by this shard's links.
    pub(super) const fn at_start(carries: bool) -> Self {
        Self { times: 0, waits: false, held: carries, served: false }
    }

    /// The owners' node leaves: what HTTP is told.
    pub(super) const fn hold(&mut self) -> ShardChange {
        self.times = self.times.wrapping_add(1);
        self.waits = true;
        self.held = true;
        ShardChange::OwnersLeaving(self.times)
    }

    /// HTTP has nothing there, as of this time.
    pub(super) const fn waits_for_none(&mut self, time: u32) {
        if time == self.times {
            self.waits = false;
        }
    }

    /// Whether the owners' node cannot be let go yet.
    pub(super) const fn waits(&self) -> bool {
        self.waits
    }

    /// A turn is needed: the owners' node serves, as of this one.
    pub(super) const fn is_due(&self) -> bool {
        self.served
    }

    /// What HTTP is told, if the owners' node has left and serves again, and did so a turn ago: what other shards had to say of
    /// what was lost has been heard by then.
    pub(super) fn release(&mut self, serves: impl FnOnce() -> bool) -> Option<ShardChange> {
        let served = core::mem::replace(&mut self.served, self.held && serves());
        if !served || !self.served {
            return None;
        }
        (self.waits, self.held, self.served) = (false, false, false);
        Some(ShardChange::OwnersServe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_an_earlier_time_does_not_count() {
        assert!(HttpHold::at_start(false).release(|| true).is_none(), "another shard does");
        let mut hold = HttpHold::at_start(true);
        assert!(!hold.waits() && hold.release(|| false).is_none(), "there is no link yet");
        assert!(hold.release(|| true).is_none() && hold.is_due(), "the next turn hears what others have said by now");
        assert!(matches!(hold.release(|| true), Some(ShardChange::OwnersServe)));
        assert!(!hold.is_due() && matches!(hold.hold(), ShardChange::OwnersLeaving(1)));
        assert!(hold.waits() && hold.release(|| false).is_none());
        hold.waits_for_none(1);
        assert!(!hold.waits());
        assert!(hold.release(|| true).is_none() && hold.release(|| false).is_none(), "it was there for a moment");
        assert!(hold.release(|| true).is_none());
        assert!(matches!(hold.release(|| true), Some(ShardChange::OwnersServe)));
        assert!(hold.release(|| true).is_none(), "told once");
        assert!(matches!(hold.hold(), ShardChange::OwnersLeaving(2)));
        hold.waits_for_none(1);
        assert!(hold.waits());
        hold.waits_for_none(2);
        assert!(!hold.waits());
    }
}
