//! What the shards of a process are told: what an operator changes, on its way from the admin socket, and what one of them
//! hears of other nodes that concerns all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fabric::link::Peer;
use fabric::mutex::lock;
use fabric::wake::Waker;
use gateway::Change;
use schema::envelope::MoveStage;
use schema::places::Places;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum ShardChange {
    /// The gateway changes.
    Gateway(Change),
    /// For HTTP: the owners' node stops soon, for the so manieth time.
    OwnersLeaving(u32),
    /// From HTTP: nothing of its waits for the owners' node, which it was told of so many times.
    HttpWaitsForNone(u32),
    /// For HTTP: the owners' node serves again.
    OwnersServe,
    /// For HTTP: what it sent to these partitions, or the answers, may be lost.
    OwnersLost(Arc<[u16]>),
    /// For HTTP: which partition has which chat.
    Places(Places),
    /// Answers of the writer with this number may have been lost on their way to this node.
    WriterLost(u16),
    /// A writer can answer every shard: what waits for it goes.
    WriterStands,
    /// The list of nodes is another one: the others by their numbers, `None` where nobody has one (any more).
    Nodes(Arc<[Option<Peer>]>),
    /// A gateway of another node is gone for good.
    GatewayGone(u64),
    /// A partition has come for the shard ([`super::Holdings`]).
    TakePartitions,
    /// The shard gives a partition up, in order.
    GiveUp(u16),
    /// The shard drops a partition at once: another node has it.
    Drop(u16),
    /// What the node holds is something else.
    Holdings,
    /// A word to another writer about a partition that moves.
    Say(MoveWord),
    /// The keeper has done what is to be done for a partition that the shard gave up; its next holder is told, if it is known.
    Gone(Option<MoveWord>),
}

/// What one writer says to another of a partition that moves between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MoveWord {
    /// The other writer's name: who is told, or who said it.
    pub node: String,
    /// Which partition.
    pub partition: u16,
    /// Under which epoch its owner until now has it, or had it.
    pub epoch: u64,
    /// How far it is.
    pub stage: MoveStage,
}

/// One shard's. Clones share it.
#[derive(Clone, Debug)]
pub struct Inbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// So that a turn without changes costs one read of a line that nobody writes.
    any: AtomicBool,
    changes: Mutex<Vec<ShardChange>>,
    waker: Waker,
}

impl Inbox {
    /// Of the shard that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self(Arc::new(Inner { any: AtomicBool::new(false), changes: Mutex::default(), waker }))
    }

    /// Leaves a change and wakes the shard. Any thread; never waits for it.
    pub fn put(&self, change: ShardChange) {
        lock(&self.0.changes).push(change);
        self.0.any.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// What came since the last call, in order. The shard's thread.
    pub fn take(&self) -> Vec<ShardChange> {
        if !self.0.any.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.0.any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *lock(&self.0.changes))
    }
}
