//! Probes: at every gateway one user who sends and one who receives, every sender to every receiver several times a second.
//! A cluster serves again when all of them are acknowledged and delivered quickly.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use client::{Client, Config, Event, NewSend};
use fabric::mutex::lock;
use fabric::time::{Clock as _, SystemClock};
use schema::encode::SendTarget;
use schema::ids::UserId;
use tokio::sync::watch;

use super::FaultsError;
use super::run::Pace;
use crate::process::cluster::Cluster;

/// Between a client that ended for good and the next one.
const AGAIN: Duration = Duration::from_millis(100);
/// So many in a row must be quick.
const IN_A_ROW: usize = 10;
/// Probes of a stream that are kept: the longest wait for a recovery.
const KEPT: usize = 1_000;
/// The senders' and the receivers' first users; the load's are far below.
const SENDERS: u64 = 3_000_000_000;
const RECEIVERS: u64 = 3_100_000_000;

/// One probe. Times are ns of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    at: u64,
    acked: Option<u64>,
    delivered: Option<u64>,
}

impl Sent {
    /// When it was both acknowledged and delivered, if that was quick; `None` while nothing can be said yet.
    fn verdict(&self, now: u64, quick_ns: u64) -> Option<Result<u64, ()>> {
        match (self.acked, self.delivered) {
            (Some(acked), Some(delivered)) => {
                let done = acked.max(delivered);
                Some(if done - self.at <= quick_ns { Ok(done) } else { Err(()) })
            }
            _ if now > self.at + quick_ns => Some(Err(())),
            _ => None,
        }
    }
}

/// What one sender sends to one receiver.
#[derive(Clone, Debug)]
struct Stream {
    sent: VecDeque<Sent>,
    quick_ns: u64,
}

impl Stream {
    const fn new(quick_ns: u64) -> Self {
        Self { sent: VecDeque::new(), quick_ns }
    }

    fn find(&mut self, number: u64) -> Option<&mut Sent> {
        let first = self.sent.front()?.number;
        self.sent.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// When the first of enough quick ones in a row, up to now, that were sent at `from` or later was there.
    fn serves_since(&self, from: u64, now: u64) -> Option<u64> {
        let (mut begin, mut quick) = (None, 0);
        for verdict in
            self.sent.iter().filter(|sent| sent.at >= from).filter_map(|sent| sent.verdict(now, self.quick_ns))
        {
            (begin, quick) = match verdict {
                Ok(done) => (begin.or(Some(done)), quick + 1),
                Err(()) => (None, 0),
            };
        }
        begin.filter(|_| quick >= IN_A_ROW)
    }
}

/// All streams, by sender and receiver.
type Streams = Arc<Mutex<Vec<Vec<Stream>>>>;

/// The probes, running. They end when it is dropped.
pub struct Probes {
    streams: Streams,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Probes {
    /// Connects a sender and a receiver to every gateway; they come back by themselves whatever happens.
    ///
    /// # Errors
    /// No token, no thread.
    pub fn start(cluster: &Cluster, pace: Pace) -> Result<Self, FaultsError> {
        let natives = cluster.natives();
        let streams: Streams =
            Arc::new(Mutex::new(vec![vec![Stream::new(pace.quick_ns); natives.len()]; natives.len()]));
        let (stop, stopped) = watch::channel(false);
        let mut users = Vec::new();
        for (at, address) in natives.iter().enumerate() {
            for sends in [true, false] {
                let user = if sends { SENDERS } else { RECEIVERS } + at as u64;
                users.push(User {
                    at,
                    sends,
                    address: *address,
                    token: cluster.token(user, 1)?,
                    streams: streams.clone(),
                    every: Duration::from_millis(pace.probe_every_ms),
                });
            }
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(FaultsError::Probes)?;
        let thread = std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut stopped = stopped;
                let tasks: Vec<_> = users.into_iter().map(|user| tokio::spawn(user.run())).collect();
                // Told so, or nobody is there any more to say so.
                let _ = stopped.wait_for(|stop| *stop).await;
                tasks.iter().for_each(tokio::task::JoinHandle::abort);
            });
        });
        Ok(Self { streams, stop, thread: Some(thread.map_err(FaultsError::Probes)?) })
    }

    /// Since when, ns of the monotonic clock, every probe sent at `from` or later goes through quickly; `None` while one does not.
    pub fn serve_since(&self, from: u64) -> Option<u64> {
        let now = SystemClock.now().mono_ns;
        let streams = lock(&self.streams);
        let each = streams.iter().flatten().map(|stream| stream.serves_since(from, now));
        each.collect::<Option<Vec<u64>>>()?.into_iter().max()
    }

    /// Which ways, by the gateways' places, do not go through quickly.
    pub fn silent(&self, from: u64) -> Vec<(usize, usize)> {
        let now = SystemClock.now().mono_ns;
        let streams = lock(&self.streams);
        let each =
            streams.iter().enumerate().flat_map(|(from, to)| to.iter().enumerate().map(move |(to, s)| (from, to, s)));
        each.filter(|(.., stream)| stream.serves_since(from, now).is_none()).map(|(from, to, _)| (from, to)).collect()
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A sender or a receiver.
struct User {
    at: usize,
    sends: bool,
    address: SocketAddr,
    token: String,
    streams: Streams,
    every: Duration,
}

impl User {
    /// One client after the other: one that has ended for good is replaced.
    async fn run(self) {
        let mut number = 0;
        loop {
            let config = Config { backoff_ms: (50, 500), answer_timeout_ms: 2_000, ..Config::default() };
            let token = self.token.clone();
            let client = Client::builder().config(config).token(token).address(self.address.to_string());
            if let Ok(client) = client.connect_timeout_ms(5_000).connect().await {
                self.live(client, &mut number).await;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn live(&self, mut client: Client, number: &mut u64) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick(), if self.sends => {
                    if self.send(&client, *number).await.is_none() {
                        return;
                    }
                    *number += 1;
                }
                event = client.next() => match event {
                    Some(event) => self.heard(&event),
                    None => return,
                }
            }
        }
    }

    /// One probe to every receiver; `None` when the client has ended.
    async fn send(&self, client: &Client, number: u64) -> Option<()> {
        let receivers = lock(&self.streams)[self.at].len();
        for to in 0..receivers {
            {
                let mut streams = lock(&self.streams);
                let stream = &mut streams[self.at][to].sent;
                stream.push_back(Sent { number, at: SystemClock.now().mono_ns, acked: None, delivered: None });
                while stream.len() > KEPT {
                    stream.pop_front();
                }
            }
            let target = SendTarget::User(UserId::new(RECEIVERS + to as u64)?);
            let id = Bytes::from(format!("{}-{}-{to}-{number}", std::process::id(), self.at));
            let send = NewSend::message(id.clone(), target, id);
            if client.send_new(send).await.is_err() {
                return None;
            }
        }
        Some(())
    }

    fn heard(&self, event: &Event) {
        let now = SystemClock.now().mono_ns;
        let (id, acked) = match event {
            Event::Sent { client_msg_id, .. } => (&client_msg_id[..], true),
            Event::Entry(entry) => (entry.client_msg_id(), false),
            _ => return,
        };
        let Some([run, from, to, number]) = parse(id) else { return };
        let mut streams = lock(&self.streams);
        let stream = streams.get_mut(from as usize).and_then(|to_all| to_all.get_mut(to as usize));
        if run == u64::from(std::process::id())
            && let Some(sent) = stream.and_then(|stream| stream.find(number))
        {
            let moment = if acked { &mut sent.acked } else { &mut sent.delivered };
            moment.get_or_insert(now);
        }
    }
}

/// The numbers of a probe's id.
fn parse(id: &[u8]) -> Option<[u64; 4]> {
    let mut parts = std::str::from_utf8(id).ok()?.split('-').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??, parts.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Every 100 ms one, each there after so many ms; `None`: never.
    fn stream(after_ms: &[Option<u64>]) -> Stream {
        let sent = |(number, after): (usize, &Option<u64>)| {
            let at = number as u64 * 100 * MS;
            let there = after.map(|ms| at + ms * MS);
            Sent { number: number as u64, at, acked: there.map(|at| at - 1), delivered: there }
        };
        Stream { sent: after_ms.iter().enumerate().map(sent).collect(), quick_ns: 1_000 * MS }
    }

    #[test]
    fn it_serves_from_the_first_of_enough_that_are_quick() {
        let quick = stream(&[Some(5); 12]);
        assert_eq!(quick.serves_since(0, 10_000 * MS), Some(5 * MS));
        assert_eq!(quick.serves_since(150 * MS, 10_000 * MS), Some(205 * MS));
        assert_eq!(quick.serves_since(400 * MS, 10_000 * MS), None, "too few since");
    }

    #[test]
    fn one_that_is_late_or_lost_begins_it_anew_and_one_under_way_does_not() {
        let mut all = vec![Some(5), Some(1_001)];
        all.extend([Some(7); 10]);
        assert_eq!(stream(&all).serves_since(0, 10_000 * MS), Some(207 * MS));
        all.push(None);
        assert_eq!(stream(&all).serves_since(0, 1_300 * MS), Some(207 * MS), "it may still come in time");
        assert_eq!(stream(&all).serves_since(0, 2_300 * MS), None);
    }

    #[test]
    fn an_id_says_whose_probe_it_is() {
        assert_eq!(parse(b"77-0-2-13"), Some([77, 0, 2, 13]));
        assert_eq!((parse(b"hello"), parse(b"1-2-3")), (None, None));
    }

    #[test]
    fn probes_are_found_by_number_after_old_ones_are_gone() {
        let mut stream = stream(&[Some(1); 5]);
        stream.sent.pop_front();
        assert_eq!(stream.find(3).map(|sent| sent.number), Some(3));
        assert!(stream.find(0).is_none() && stream.find(5).is_none());
    }
}
