//! Leases, logs and takeovers on a real node: the suites of the tables, and writers that are frozen in the middle of a write
//! and go on when another has taken over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fabric::entropy::OsEntropy;
use fabric::mutex::lock;
use fabric::sim::SimDisk;
use fabric::tier::Egress;
use fabric::time::{Clock, Now, SystemClock};
use schema::encode::{Encoder, SendFields, SendTarget};
use schema::envelope::{Address, Body, Class, Envelope};
use schema::frame::VerifiedFrame;
use schema::ids::{ChatId, DeviceId, Slot, UserId};
use schema::wire::EntryKind;
use storage_writer::lease::{Epoch, LeaseTable, Tenure, contract};
use storage_writer::lsn::{JournalId, Lsn};
use storage_writer::partition::{Partition, PartitionConfig, StorageMetrics, open_owned, run_job};
use storage_writer::store::contract::{SHARED_CHECKS, SHARED_PARTITIONS, chat_of, state};
use storage_writer::store::{FlushRun, SharedStore};

use super::keyspace::Keyspace;

#[test]
fn the_store_passes_every_check_of_a_shared_one() {
    let keyspace = Keyspace::shared(SHARED_PARTITIONS);
    for (name, check) in SHARED_CHECKS {
        eprintln!("{name}");
        check(&keyspace);
    }
}

#[test]
fn the_table_of_leases_passes_its_suite() {
    let checks: [fn(&dyn LeaseTable); 7] = [
        contract::a_new_table_is_free,
        contract::a_beat_is_raised_by_who_knows_it,
        contract::the_buried_never_renew,
        contract::of_two_takers_one_gets_it,
        contract::only_its_owner_gives_a_partition_back,
        contract::who_is_removed_is_gone,
        contract::takers_at_once_get_each_partition_once,
    ];
    for check in checks {
        check(&*Keyspace::shared(4).writer());
    }
}

type Meanwhile = Box<dyn FnOnce() + Send>;

/// The host's clock for a writer that freezes when it looks at it for the n-th time. Meanwhile something happens.
struct Freezes {
    looks: AtomicU64,
    at: u64,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Clock for Freezes {
    fn now(&self) -> Now {
        let now = SystemClock.now();
        if self.looks.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let meanwhile = lock(&self.meanwhile).take();
            // On a thread of its own: this one may be the driver's at the moment.
            std::thread::spawn(meanwhile.expect("once")).join().expect("it goes well");
        }
        // It looked at the clock before it froze.
        now
    }
}

/// A tenure with a lease of a minute, of a writer that freezes at its n-th look at whether it has it.
fn freezing(partition: u16, at: u64, meanwhile: impl FnOnce() + Send + 'static) -> Arc<Tenure> {
    let until_ns = SystemClock.now().mono_ns + 60_000_000_000;
    let meanwhile: Meanwhile = Box::new(meanwhile);
    let clock = Freezes { looks: AtomicU64::new(0), at, meanwhile: Mutex::new(Some(meanwhile)) };
    Tenure::new((partition, Epoch(1)), Arc::new(AtomicU64::new(until_ns)), Arc::new(clock))
}

#[test]
fn what_a_writer_flushes_that_was_frozen_is_older_than_what_the_next_one_has_flushed() {
    let keyspace = Keyspace::shared(SHARED_PARTITIONS);
    let chat = chat_of(6, 0);
    let run = move |head, block| FlushRun {
        applied: vec![(JournalId(6), Lsn(block))],
        states: vec![state(chat, head)],
        ..FlushRun::default()
    };
    let (one, two) = (keyspace.writer(), keyspace.writer());
    one.adopt(6).expect("adopted");
    let next = Arc::clone(&two);
    // The second look is the one after it has noted its timestamp.
    let frozen = freezing(6, 2, move || {
        next.adopt(6).expect("adopted");
        next.flush_owned(&Tenure::endless(6, Epoch(2)), run(6, 12)).expect("flushed");
    });
    one.flush_owned(&frozen, run(5, 11)).expect("it does not know");
    let mut states = Vec::new();
    two.load_chats_of(6, &mut |state| states.push(state)).expect("read");
    assert_eq!(states, [state(chat, 6)]);
    assert_eq!(keyspace.writer().adopt(6).expect("adopted").applied, 12);
}

/// Answers of an owner, by client_msg_id.
#[derive(Default)]
struct Answers(Vec<(String, u64)>);

impl Egress for Answers {
    fn to_owner(&mut self, _: Slot, _: Envelope) {}
    fn to_partition(&mut self, _: u16, _: Envelope) {}
    fn to_router(&mut self, _: UserId, _: Envelope) {}
    fn to_gateway(&mut self, _: Address, envelope: Envelope) {
        match envelope.body {
            Body::Sent { client_msg_id, seq, .. } => {
                self.0.push((String::from_utf8_lossy(&client_msg_id).into_owned(), seq));
            }
            other => panic!("not an answer to a send: {other:?}"),
        }
    }
    fn to_all_gateways(&mut self, _: Envelope) {}
}

struct Owner {
    partition: Partition,
    store: Arc<dyn SharedStore>,
    answers: Answers,
}

impl Owner {
    fn open(keyspace: &Keyspace, tenure: Arc<Tenure>) -> Self {
        let store: Arc<dyn SharedStore> = keyspace.writer();
        let (config, metrics, now) = (PartitionConfig::default(), StorageMetrics::new(), SystemClock.now());
        let partition = open_owned(tenure, None, &config, &store, (&mut OsEntropy, now), metrics).expect("opened");
        Self { partition, store, answers: Answers::default() }
    }

    /// Sends something from user 1 to user 2, and goes on until nothing is under way. Returns what has been answered since.
    fn send(&mut self, id: &str, retry: bool) -> Vec<(String, u64)> {
        let (user, to) = (UserId::new(1).expect("not 0"), UserId::new(2).expect("not 0"));
        let frame = Encoder::in_arena().send(&SendFields {
            client_msg_id: id.as_bytes(),
            target: SendTarget::User(to),
            kind: EntryKind::message,
            content_type: 0,
            body: id.as_bytes(),
            refers_to: None,
            after_seq: 0,
            retry,
        });
        let (frame, device) = (VerifiedFrame::verify(frame).expect("valid"), DeviceId(1));
        let body = Body::Send { frame, user, device, chat: ChatId::direct(user, to), to: Some(to), retry };
        let reply = Address { incarnation: 1, shard: 0, connection: 1, generation: 1 };
        let envelope = Envelope::new(Class::Send, body).reply_to(reply);
        self.partition.handle(SystemClock.now(), envelope, &mut self.answers);
        self.partition.turn(SystemClock.now(), &mut self.answers);
        while let Some((_, job)) = self.partition.take_job() {
            let done = run_job(job, &self.store, &SimDisk::new(1));
            self.partition.job_done(SystemClock.now(), done, &mut self.answers);
            self.partition.turn(SystemClock.now(), &mut self.answers);
        }
        std::mem::take(&mut self.answers.0)
    }
}

fn answer(id: &str, seq: u64) -> Vec<(String, u64)> {
    vec![(id.to_owned(), seq)]
}

#[test]
fn a_block_of_a_writer_that_was_frozen_never_counts_once_another_has_taken_over() {
    let keyspace = Arc::new(Keyspace::shared(1));
    let there = Arc::clone(&keyspace);
    let ended = Arc::new(Mutex::new(None::<Arc<Tenure>>));
    let of_frozen = Arc::clone(&ended);
    // Looks: one when it is opened; two a block. It freezes with its third block in its hands.
    let tenure = freezing(0, 6, move || {
        let mut next = Owner::open(&there, Tenure::endless(0, Epoch(2)));
        assert_eq!(next.send("one", true), answer("one", 1), "as it was told before");
        assert_eq!(next.send("other three", false), answer("other three", 3));
        lock(&of_frozen).take().expect("its tenure").end();
    });
    *lock(&ended) = Some(Arc::clone(&tenure));
    let mut frozen = Owner::open(&keyspace, tenure);
    assert_eq!(frozen.send("one", false), answer("one", 1));
    assert_eq!(frozen.send("two", false), answer("two", 2));
    assert_eq!(frozen.send("three", false), [], "its block lies beside the other's and nobody is told");
    assert!(frozen.partition.is_lost());
    let blocks = frozen.store.blocks_above(0, 0).expect("read");
    let blocks: Vec<_> = blocks.iter().map(|found| (found.block, found.epoch.0)).collect();
    assert_eq!(blocks, [(1, 1), (2, 1), (3, 1), (3, 2)]);

    let mut third = Owner::open(&keyspace, Tenure::endless(0, Epoch(3)));
    assert_eq!(third.send("other three", true), answer("other three", 3));
    assert_eq!(third.send("two", true), answer("two", 2));
    assert_eq!(third.send("three", true), answer("three", 4), "it was never anywhere");
}
