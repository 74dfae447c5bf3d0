//! kill -9 at random moments, with hundreds of sends unacknowledged each time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use schema::ids::{ChatId, MessageId, UserId};
use shardwire_tests::process::{Deadline, Dice, Native, Options, Server};

const KILLS: u32 = 20;
const SENDERS: u64 = 4;
const RECEIVER: u64 = 100;
/// Sends of one sender that wait at most.
const WINDOW: usize = 600;
/// New sends of one sender a round at most.
const ROUND_SENDS: u64 = 3_000;

/// What one sender knows: which sends have an answer, and which.
struct Sender {
    user: u64,
    token: String,
    /// The next send's number.
    next: u64,
    /// Number → its first answer.
    acked: BTreeMap<u64, (MessageId, u64)>,
    dice: Dice,
}

impl Sender {
    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.user)
    }

    fn unacked(&self) -> Vec<u64> {
        (0..self.next).filter(|number| !self.acked.contains_key(number)).collect()
    }

    fn waiting(&self) -> usize {
        self.next as usize - self.acked.len()
    }

    fn frame(&self, native: &mut Native, number: u64, retry: bool) -> Vec<u8> {
        let body = vec![number as u8; 64 + (number % 200) as usize];
        native.message(&self.id(number), UserId::new(RECEIVER).unwrap(), &body, retry)
    }

    /// Sends what has no answer again, in order, and a few that have one; then new ones until told to stop or cut off.
    fn run(&mut self, server: SocketAddr, shared: &Shared, new: u64) -> std::io::Result<()> {
        let mut native = Native::login(server, &self.token)?;
        let answered: Vec<u64> = self.acked.keys().copied().collect();
        for _ in 0..answered.len().min(5) {
            let number = answered[self.dice.below(answered.len() as u64) as usize];
            let frame = self.frame(&mut native, number, true);
            native.write(&frame)?;
        }
        for number in self.unacked() {
            let frame = self.frame(&mut native, number, true);
            native.write(&frame)?;
        }
        let last = self.next + new;
        loop {
            let mut burst = Vec::new();
            while self.next < last && self.waiting() < WINDOW && burst.len() < 16 << 10 {
                burst.extend_from_slice(&self.frame(&mut native, self.next, false));
                self.next += 1;
                shared.sent.fetch_add(1, Ordering::Relaxed);
            }
            native.write(&burst)?;
            if self.waiting() == 0 {
                return Ok(());
            }
            let patience = if self.waiting() < WINDOW && self.next < last { 1 } else { 30_000 };
            let mut next = native.next_within(Duration::from_millis(patience))?;
            if next.is_none() && patience > 1 {
                return Err(std::io::Error::other("no more answers"));
            }
            while let Some(got) = next {
                assert_eq!(got.code(), None, "user {} was refused", self.user);
                if let Some((id, message, seq)) = got.ack() {
                    self.answer(&id, message, seq);
                    shared.acked.fetch_add(1, Ordering::Relaxed);
                }
                next = native.next_within(Duration::from_millis(1))?;
            }
        }
    }

    fn answer(&mut self, id: &[u8], message: MessageId, seq: u64) {
        let text = std::str::from_utf8(id).unwrap();
        let number: u64 = text.split_once('-').unwrap().1.parse().unwrap();
        let first = *self.acked.entry(number).or_insert((message, seq));
        assert_eq!(first, (message, seq), "send {text} got another answer when it was sent again");
    }
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    acked: AtomicU64,
    killed: AtomicBool,
}

/// One round; how many sends had no answer when the server was dead.
fn round(server: &mut Server, senders: &mut [Sender], dice: &mut Dice) -> usize {
    let shared = Shared::default();
    let address = server.native();
    std::thread::scope(|scope| {
        for sender in senders.iter_mut() {
            let shared = &shared;
            scope.spawn(move || {
                let result = sender.run(address, shared, ROUND_SENDS);
                // Only the kill may end a connection.
                if !shared.killed.load(Ordering::SeqCst) {
                    result.unwrap();
                }
            });
        }
        let busy = || shared.acked.load(Ordering::Relaxed) > 200 && shared.sent.load(Ordering::Relaxed) > 400;
        assert!(Deadline::after_s(60).wait_until(busy), "sends are acknowledged\n{}", server.log());
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        shared.killed.store(true, Ordering::SeqCst);
        server.kill9();
    });
    senders.iter().map(Sender::waiting).sum()
}

/// Everything in the chat's log, compared with what its sender knows.
fn audit(native: &mut Native, sender: &Sender) {
    let chat = ChatId::direct(UserId::new(sender.user).unwrap(), UserId::new(RECEIVER).unwrap());
    let log = native.history(chat).unwrap();
    assert_eq!(log.len() as u64, sender.next, "every send of user {} once", sender.user);
    let mut by_id = BTreeMap::new();
    for (place, (seq, id, message)) in (1..).zip(log) {
        assert_eq!(seq, place, "seq is gapless");
        assert!(by_id.insert(id, (message, seq)).is_none(), "a send is stored twice");
    }
    let mut last = 0;
    for (&number, place) in &sender.acked {
        assert_eq!(
            by_id.get(sender.id(number).as_bytes()),
            Some(place),
            "an acknowledged send is where it was said to be"
        );
        assert!(place.1 > last, "sends are ordered as sent: number {number} has seq {} after {last}", place.1);
        last = place.1;
    }
}

#[test]
fn kill_9_twenty_times_under_load_loses_no_acknowledged_message() {
    let mut dice = Dice::seeded();
    let mut server = Server::start(Options::default());
    let mut sender =
        |user| Sender { user, token: server.token(user, 1), next: 0, acked: BTreeMap::new(), dice: dice.split() };
    let mut senders: Vec<Sender> = (1..=SENDERS).map(&mut sender).collect();
    let (mut kills, mut rounds) = (0, 0);
    while kills < KILLS {
        rounds += 1;
        assert!(rounds <= 2 * KILLS, "only {kills} of {rounds} kills hit at least 100 unacknowledged sends");
        let unacknowledged = round(&mut server, &mut senders, &mut dice);
        kills += u32::from(unacknowledged >= 100);
        server.start_again();
    }
    let shared = Shared::default();
    for sender in &mut senders {
        sender.run(server.native(), &shared, 10).unwrap();
        assert_eq!(sender.waiting(), 0);
    }
    let mut native = Native::login(server.native(), &server.token(RECEIVER, 1)).unwrap();
    for sender in &senders {
        audit(&mut native, sender);
    }
    let sent: u64 = senders.iter().map(|sender| sender.next).sum();
    println!("{kills} kills in {rounds} rounds, {sent} sends");
    server.terminate();
}
