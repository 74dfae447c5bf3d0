//! Pairs of users at the gateways of a cluster who tell each other rising numbers, and what came of it.
//!
//! What must stay true: a client that is refused for good, or ends by itself, fails its thread; the rest is for whoever started
//! them to look at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Config, Event, NewSend};
use fabric::mutex::lock;
use fabric::time::{Clock as _, Now, SystemClock};
use schema::encode::SendTarget;
use schema::ids::{ChatId, UserId};
use schema::wire::EntryKind;

use super::Deadline;
use super::cluster::{Cluster, Node};

/// How long it may take until a chat goes on, and until all has come in the end, s.
const PATIENCE_S: u64 = 60;

/// Who talks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Pairs of users, the first of them 1 and 2.
    pub pairs: u64,
    /// Each sends so often.
    pub every: Duration,
    /// A session whose send has no answer within so long ends and comes back, ms.
    pub answer_timeout_ms: u32,
    /// Messages that each must get for the talk to go on.
    pub between: usize,
}

impl Default for Manner {
    fn default() -> Self {
        Self { pairs: 1, every: Duration::from_millis(20), answer_timeout_ms: 2_000, between: 15 }
    }
}

/// What came of one user's talk.
#[derive(Clone, Default)]
struct Talk {
    /// Numbers sent.
    sent: u64,
    /// When each answer to one came, ns.
    answers_ns: Vec<u64>,
    /// The numbers of the other's messages, as they came.
    got: Vec<u64>,
    /// Sessions it had, and sends that were put off.
    sessions: u64,
    postponed: u64,
    /// Answers that said `queued`.
    queued: u64,
    /// For whoever looks for what went wrong: when, ms since 1970, which number was answered, and how.
    told: Vec<(u64, u64, String)>,
}

impl Talk {
    fn told(&mut self, client_msg_id: &[u8], how: String) {
        let number = std::str::from_utf8(client_msg_id).ok().and_then(|id| id.rsplit('-').next()?.parse().ok());
        self.told.push((SystemClock.now().wall_ms(), number.unwrap_or(u64::MAX), how));
    }

    /// How the numbers around one were answered, with the second of the day.
    fn around(&self, number: u64) -> String {
        let near = self.told.iter().filter(|(_, one, _)| one.abs_diff(number) <= 3);
        near.map(|(ms, one, how)| format!("\n  {}.{:03}: {one} {how}", ms / 1_000 % 86_400, ms % 1_000)).collect()
    }
}

#[derive(Default)]
struct Shared {
    talks: Mutex<Vec<Talk>>,
    silent: AtomicBool,
    over: AtomicBool,
}

/// All pairs, on a thread of their own. The users are at the gateways in turn, so the two of a pair are at different ones.
pub struct Chatter {
    shared: Arc<Shared>,
    between: usize,
    thread: Option<JoinHandle<()>>,
}

impl Chatter {
    /// Begins, all users at once.
    ///
    /// # Panics
    /// When a token cannot be made.
    pub fn start(cluster: &Cluster, manner: Manner) -> Self {
        let pairs: Vec<[UserId; 2]> = (0..manner.pairs).map(|pair| [2 * pair + 1, 2 * pair + 2].map(user)).collect();
        Self::among(cluster, &pairs, (2, None), manner)
    }

    /// Begins with pairs who talk in a group that all of them are members of; each listens to the other of its pair.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn in_group(cluster: &Cluster, group: ChatId, manner: Manner) -> Self {
        let pairs: Vec<[UserId; 2]> = (0..manner.pairs).map(|pair| [2 * pair + 1, 2 * pair + 2].map(user)).collect();
        Self::among(cluster, &pairs, (2, Some(group)), manner)
    }

    /// Begins with one pair, of whom the first talks and the other listens.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn one_way(cluster: &Cluster, from: UserId, to: UserId, manner: Manner) -> Self {
        Self::among(cluster, &[[from, to]], (1, None), manner)
    }

    /// `speakers`: so many of each pair, 1 or 2; `group`: where, if not in a chat of each pair's own.
    fn among(
        cluster: &Cluster,
        pairs: &[[UserId; 2]],
        (speakers, group): (usize, Option<ChatId>),
        manner: Manner,
    ) -> Self {
        let natives = cluster.natives();
        let place = |(at, [me, other]): (usize, [UserId; 2])| Place {
            at,
            other,
            to: group.map_or(SendTarget::User(other), SendTarget::Chat),
            speaks: at % 2 < speakers,
            address: natives[at % natives.len()].to_string(),
            token: cluster.token(me.get(), 1).expect("a token"),
        };
        let places: Vec<Place> =
            pairs.iter().flat_map(|&[one, other]| [[one, other], [other, one]]).enumerate().map(place).collect();
        let shared = Arc::new(Shared::default());
        *talks(&shared) = vec![Talk::default(); places.len()];
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let begin = |place| runtime.spawn(talk(Arc::clone(&all), place, manner));
            let talks: Vec<_> = places.into_iter().map(begin).collect();
            runtime.block_on(async {
                for talk in talks {
                    talk.await.expect("the client goes on");
                }
            });
        });
        Self { shared, between: manner.between, thread: Some(thread) }
    }

    fn with<T>(&self, look: impl FnOnce(&[Talk]) -> T) -> T {
        look(&talks(&self.shared))
    }

    /// Waits until each has got some more.
    ///
    /// # Panics
    /// When that takes longer than a minute, or a client has ended; `what` has happened.
    pub fn goes_on(&self, cluster: &Cluster, what: &str) {
        let before = self.with(|talks| talks.iter().map(|talk| talk.got.len()).collect::<Vec<_>>());
        let further = |(talk, before): (&Talk, &usize)| talk.got.len() >= before + self.between;
        let on = || self.with(|talks| talks.iter().zip(&before).all(further));
        let ended = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        Deadline::after_s(PATIENCE_S).wait_until(|| on() || ended());
        assert!(!ended(), "{what}: a client ended");
        if !on() {
            let log = |node: &Node| format!("{}:\n{}", node.place().name, node.log());
            let logs: String = cluster.nodes().iter().map(log).collect();
            panic!("{what}: the chat does not go on\n{logs}");
        }
    }

    /// Nobody noticed anything: one session each, nothing put off.
    pub fn is_undisturbed(&self) -> bool {
        self.with(|talks| talks.iter().all(|talk| talk.sessions <= 1 && talk.postponed == 0))
    }

    /// Waits until each has been told of so many sends that they are queued.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub fn is_queued(&self, cluster: &Cluster, sends: u64) {
        let told = || self.with(|talks| talks.iter().map(|talk| talk.queued).collect::<Vec<_>>());
        let before = told();
        let enough = |(told, before): (&u64, &u64)| *told >= before + sends;
        if !Deadline::after_s(PATIENCE_S).wait_until(|| told().iter().zip(&before).all(enough)) {
            let log = |node: &Node| format!("{}:\n{}", node.place().name, node.log());
            let logs: String = cluster.nodes().iter().map(log).collect();
            panic!("so many sends of each user were queued: {:?}, before {before:?}\n{logs}", told());
        }
    }

    /// Answers so far, all users'.
    pub fn answers(&self) -> usize {
        self.with(|talks| talks.iter().map(|talk| talk.answers_ns.len()).sum())
    }

    /// Sessions so far, all users'.
    pub fn sessions(&self) -> u64 {
        self.with(|talks| talks.iter().map(|talk| talk.sessions).sum())
    }

    /// The longest time between two answers to the first user, the later of them since then, µs; one that has not ended counts as
    /// far as it has come.
    pub fn longest_gap_us(&self, since: Now) -> u64 {
        self.with(|talks| {
            let answers_ns = &talks[0].answers_ns;
            let first = answers_ns.partition_point(|at| *at < since.mono_ns).saturating_sub(1);
            let ends: Vec<u64> = answers_ns[first..].iter().copied().chain([SystemClock.now().mono_ns]).collect();
            ends.windows(2).map(|two| two[1] - two[0]).max().unwrap_or(0) / 1_000
        })
    }

    /// Nobody sends any more; waits until all have everything. How many messages there were.
    ///
    /// # Errors
    /// What was lost, doubled or reordered, or that a client was refused.
    pub fn finish(mut self) -> Result<u64, String> {
        self.shared.silent.store(true, Ordering::Release);
        let whole = |talks: &[Talk]| {
            (0..talks.len()).all(|at| {
                talks[at].answers_ns.len() as u64 == talks[at].sent && talks[at].got.len() as u64 >= talks[at ^ 1].sent
            })
        };
        Deadline::after_s(PATIENCE_S).wait_until(|| self.with(whole));
        self.with(|talks| (0..talks.len()).try_for_each(|at| check(talks, at)))?;
        self.shared.over.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            return Err("a client ended by itself or was refused".to_owned());
        }
        Ok(self.with(|talks| talks.iter().map(|talk| talk.sent).sum()))
    }

    /// [`Self::finish`].
    ///
    /// # Panics
    /// When something was lost, doubled or reordered.
    pub fn end(self) {
        self.finish().unwrap_or_else(|why| panic!("{why}"));
    }
}

/// Whether a user has every answer, and got what the other sent, once and in order.
fn check(talks: &[Talk], at: usize) -> Result<(), String> {
    let (talk, other) = (&talks[at], &talks[at ^ 1]);
    if talk.answers_ns.len() as u64 != talk.sent {
        let is_answer_to =
            |number: u64| move |told: &(u64, u64, String)| told.1 == number && told.2.starts_with("sent");
        let open = (0..talk.sent).find(|&number| !talk.told.iter().any(is_answer_to(number)));
        let (sent, answers, around) = (talk.sent, talk.answers_ns.len(), talk.around(open.unwrap_or_default()));
        return Err(format!("the user at {at} sent {sent} and has {answers} answers, none to {open:?}:{around}"));
    }
    match (0..other.sent).zip(&talk.got).find(|(wanted, got)| wanted != *got) {
        Some((wanted, got)) => {
            let around = other.around(wanted);
            Err(format!("the user at {at} should have got {wanted} and got {got}; its sender was told:{around}"))
        }
        None if talk.got.len() as u64 == other.sent => Ok(()),
        None => Err(format!("the user at {at} was sent {} and got {}", other.sent, talk.got.len())),
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

fn talks(shared: &Shared) -> MutexGuard<'_, Vec<Talk>> {
    lock(&shared.talks)
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

/// One user.
struct Place {
    /// The other of the pair is `at ^ 1`.
    at: usize,
    other: UserId,
    to: SendTarget,
    /// Or only listens.
    speaks: bool,
    address: String,
    token: String,
}

/// One user: sends a number now and then until all fall silent, and hears until it is over.
async fn talk(shared: Arc<Shared>, place: Place, manner: Manner) {
    let Place { at, other, to, speaks, address, token } = place;
    let Manner { every, answer_timeout_ms, .. } = manner;
    let config = Config { backoff_ms: (50, 500), answer_timeout_ms, ..Config::default() };
    let builder = Client::builder().config(config).address(address).token(token);
    let mut client = builder.connect().await.expect("a first session");
    let mut ticks = tokio::time::interval(every);
    while !shared.over.load(Ordering::Acquire) {
        tokio::select! {
            _ = ticks.tick() => {
                if !speaks || shared.silent.load(Ordering::Acquire) {
                    continue;
                }
                let number = {
                    let talk = &mut talks(&shared)[at];
                    talk.sent += 1;
                    talk.sent - 1
                };
                let (id, body) = (format!("{}-{number}", at + 1), number.to_string());
                let send = NewSend::message(id.into(), to, body.into());
                client.send_new(send).await.expect("the client takes it");
            }
            event = client.next() => match event.expect("the client goes on") {
                Event::Sent { client_msg_id, seq, .. } => {
                    let talk = &mut talks(&shared)[at];
                    talk.answers_ns.push(SystemClock.now().mono_ns);
                    talk.told(&client_msg_id, format!("sent {seq}"));
                }
                Event::Spooled { client_msg_id } => {
                    let talk = &mut talks(&shared)[at];
                    talk.queued += 1;
                    talk.told(&client_msg_id, "queued".to_owned());
                }
                // An own send whose answer was lost may come as an entry.
                Event::Entry(entry) if entry.sender() == other && entry.kind() == EntryKind::message => {
                    let number = std::str::from_utf8(entry.body()).ok().and_then(|text| text.parse().ok());
                    talks(&shared)[at].got.push(number.expect("a number"));
                }
                Event::Welcome(_) => talks(&shared)[at].sessions += 1,
                Event::Postponed { client_msg_id, refusal } => {
                    let talk = &mut talks(&shared)[at];
                    talk.postponed += 1;
                    talk.told(&client_msg_id, refusal.to_string());
                }
                Event::Failed { failure, .. } => panic!("the user at {at} was refused: {failure}"),
                Event::Ended(end) => panic!("the user at {at}: {end}"),
                _ => {}
            }
        }
    }
}
