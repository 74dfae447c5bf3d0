//! Partitions on their way from this writer to another one that is named.
//!
//! The next owner is asked to read ahead, and while it does the partition is served here; then it is given up, made the
//! other's in the table of leases, and the other is told. What must stay true: words may be lost, and then everything goes
//! on after a while as if nobody had been named; only the table says whose a partition is.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use schema::envelope::MoveStage;
use storage_writer::lease::{Keeping, Leaving};

use crate::node::{GivenUp, Holdings, MoveRequest, MoveWord, Moved};

/// A next owner that says nothing for so long is not waited for, ns; with several partitions to read, since its last word.
const READ_AHEAD_WITHIN_NS: u64 = 2_000_000_000;

type Reply = mpsc::Sender<Result<Moved, String>>;

/// A partition on its way.
struct Going {
    leaving: Leaving,
    /// When its next owner was asked to read, ns.
    asked_ns: u64,
    /// When its shard was told to give it up, ns; `None` = it is still read ahead.
    drain_ns: Option<u64>,
    reply: Option<Reply>,
}

/// All of them.
pub(super) struct Moves {
    holdings: Holdings,
    going: BTreeMap<u16, Going>,
    /// Who is still reading then is not waited for, ns.
    read_by_ns: u64,
}

fn now_ns() -> u64 {
    SystemClock.now().mono_ns
}

fn answer(reply: Option<Reply>, moved: Result<Moved, String>) {
    if let Some(reply) = reply {
        // Whoever asked may have gone.
        let _ = reply.send(moved);
    }
}

impl Moves {
    /// Nothing is on its way.
    pub(super) const fn new(holdings: Holdings) -> Self {
        Self { holdings, going: BTreeMap::new(), read_by_ns: 0 }
    }

    /// A partition is to go.
    pub(super) fn begin(&mut self, leaving: Leaving, reply: Option<Reply>) {
        let asked_ns = now_ns();
        self.read_by_ns = asked_ns + READ_AHEAD_WITHIN_NS;
        let partition = leaving.partition;
        let ask = leaving.to.as_ref().map(|to| MoveWord {
            node: to.name.clone(),
            partition,
            epoch: leaving.epoch.0,
            stage: MoveStage::ReadAhead,
        });
        let mut going = Going { leaving, asked_ns, drain_ns: None, reply };
        match ask {
            Some(word) => self.holdings.say(word),
            None => drain(&self.holdings, &mut going),
        }
        self.going.insert(partition, going);
    }

    /// A partition is to be opened anew here.
    pub(super) fn anew(&mut self, leaving: Leaving) {
        let asked_ns = now_ns();
        let partition = leaving.partition;
        let mut going = Going { leaving, asked_ns, drain_ns: None, reply: None };
        drain(&self.holdings, &mut going);
        self.going.insert(partition, going);
    }

    /// Nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.going.is_empty()
    }

    /// An operator wants one to go.
    pub(super) fn wanted(&mut self, keeping: &mut Keeping, wanted: MoveRequest) {
        let MoveRequest { partition, to, reply } = wanted;
        match keeping.move_to(partition, &to) {
            Ok(leaving) => self.begin(leaving, Some(reply)),
            Err(error) => answer(Some(reply), Err(error.to_string())),
        }
    }

    /// Another writer says something. Returns what is to be read ahead here.
    pub(super) fn heard(&mut self, keeping: &Keeping, word: MoveWord) -> Option<MoveWord> {
        match word.stage {
            MoveStage::ReadAhead => return (!keeping.holds(word.partition)).then_some(word),
            MoveStage::Read => {
                let of = |going: &&mut Going| going.drain_ns.is_none() && going.leaving.epoch.0 == word.epoch;
                if let Some(going) = self.going.get_mut(&word.partition).filter(of) {
                    self.read_by_ns = now_ns() + READ_AHEAD_WITHIN_NS;
                    drain(&self.holdings, going);
                }
            }
            // The round that follows finds it in the table.
            MoveStage::Yours => {}
        }
        None
    }

    /// The shard has given one up, or it could not be served: it is made its next owner's, or given back.
    pub(super) fn given_up(&mut self, keeping: &mut Keeping, given_up: GivenUp) {
        let GivenUp { partition, served } = given_up;
        let going = self.going.remove(&partition);
        let given_ns = now_ns();
        let to = keeping.given_up(partition);
        let word = going.as_ref().zip(to.as_ref()).map(|(going, to)| MoveWord {
            node: to.name.clone(),
            partition,
            epoch: going.leaving.epoch.0,
            stage: MoveStage::Yours,
        });
        if served {
            self.holdings.gone(partition, word);
        }
        let Some(going) = going else { return };
        let Some(to) = to else {
            let why = "its next owner takes nothing any more, or the table of leases did not answer";
            return answer(
                going.reply,
                Err(format!("partition {partition} was given back to whoever takes it: {why}")),
            );
        };
        let drain_ns = going.drain_ns.unwrap_or(given_ns);
        let us = |from_ns: u64, to_ns: u64| to_ns.saturating_sub(from_ns) / 1_000;
        let moved = Moved {
            partition,
            to: to.name,
            epoch: going.leaving.epoch.0 + 1,
            read_ahead_us: us(going.asked_ns, drain_ns),
            drain_us: us(drain_ns, given_ns),
            hand_over_us: us(given_ns, now_ns()),
        };
        tracing::info!(?moved, "handed over");
        answer(going.reply, Ok(moved));
    }

    /// One is another's by now.
    pub(super) fn lost(&mut self, partition: u16) {
        let reply = self.going.remove(&partition).and_then(|going| going.reply);
        answer(reply, Err(format!("partition {partition} was lost to another writer")));
    }

    /// The shards have ended, and with them whatever was under way.
    pub(super) fn end(&mut self, keeping: &mut Keeping) {
        for partition in std::mem::take(&mut self.going).into_keys() {
            keeping.given_up(partition);
        }
    }

    /// Those whose next owner reads for too long are given up now. How long to wait for the next, at most `most`.
    pub(super) fn patience(&mut self, most: Duration) -> Duration {
        let now_ns = now_ns();
        let mut reading = self.going.values_mut().filter(|going| going.drain_ns.is_none()).peekable();
        if reading.peek().is_none() {
            return most;
        }
        if self.read_by_ns <= now_ns {
            reading.for_each(|going| drain(&self.holdings, going));
            return most;
        }
        most.min(Duration::from_nanos(self.read_by_ns - now_ns))
    }
}

fn drain(holdings: &Holdings, going: &mut Going) {
    going.drain_ns = Some(now_ns());
    holdings.drain(going.leaving.partition);
}
