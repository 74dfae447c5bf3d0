//! Senders by REST, one at home at each gateway, behind what does as a load balancer: a gateway that refuses the connection, or
//! says that it goes away, is not asked again for a while, and the request goes to the next one.
//!
//! What must stay true: whatever else a request meets is counted as an error, and what was acknowledged is in the chat once,
//! where the answer said, in the order in which it was sent.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::FaultsError;
use super::load::Found;
use crate::process::Answer;
use crate::process::cluster::Cluster;

/// Between two messages of a sender.
const PAUSE: Duration = Duration::from_millis(25);
/// Before a message that met an error is sent again, ms.
const AGAIN: Duration = Duration::from_millis(100);
/// A sender that was sent elsewhere looks after so many messages whether its own gateway is back.
const AWAY: u64 = 40;
/// A message that is refused so often is given up, and so is its sender.
const TRIES: u32 = 100;
/// What gateways that stop, or are not there, cost: no error, for nothing was done.
const MOVED: &str = "disconnected: going_away";
/// The first of their users, above the load's and below the probes'.
const USERS: u64 = 2_000_000_000;

/// Senders that run. Dropping them ends them.
pub struct Posters {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Found, String>>>,
}

impl Posters {
    /// One for each gateway, with users of their own for each `number`.
    ///
    /// # Errors
    /// No token, no thread.
    pub fn start(cluster: &Cluster, number: u64) -> Result<Self, FaultsError> {
        let (gateways, stop) = (cluster.rest(), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        for home in 0..gateways.len() {
            let from = USERS + number * 1_000 + 2 * home as u64;
            let token = cluster.token(from, 1)?;
            let poster =
                Poster { gateways: gateways.clone(), home, at: home, away: 0, from, token, found: Found::default() };
            let (stop, thread) = (stop.clone(), std::thread::Builder::new().name(format!("rest-{home}")));
            threads.push(thread.spawn(move || poster.run(&stop)).map_err(FaultsError::Probes)?);
        }
        Ok(Self { stop, threads })
    }

    /// Ends them; what they met, and what the chats have.
    ///
    /// # Errors
    /// One could not go on, or its chat could not be read.
    pub fn end(mut self) -> Result<Found, FaultsError> {
        self.stop.store(true, Ordering::Release);
        let mut sum = Found::default();
        for thread in self.threads.drain(..) {
            let found = thread.join().unwrap_or_else(|_| Err("its thread panicked".to_owned()));
            sum = sum.and(found.map_err(|how| FaultsError::Rest { how })?);
        }
        Ok(sum)
    }
}

impl Drop for Posters {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// One sender.
struct Poster {
    gateways: Vec<SocketAddr>,
    home: usize,
    at: usize,
    /// Messages until it looks at home again.
    away: u64,
    from: u64,
    token: String,
    found: Found,
}

impl Poster {
    /// Sends until told to stop, then reads its chat.
    fn run(mut self, stop: &AtomicBool) -> Result<Found, String> {
        // What each message was acknowledged as: its id.
        let mut acked: Vec<String> = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let id = self.post(acked.len() as u64)?;
            acked.push(id);
            std::thread::sleep(PAUSE);
        }
        let there = self.read()?;
        self.found.sent = acked.len() as u64;
        judge(&acked, &there, &mut self.found);
        Ok(self.found)
    }

    /// One message until it is acknowledged; its id.
    fn post(&mut self, number: u64) -> Result<String, String> {
        let body = json!({ "senderId": self.from.to_string(), "receiverId": (self.from + 1).to_string(),
            "message": number.to_string(), "client_msg_id": format!("p-{number}") });
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.ask(("POST", "/api/v1/messages"), body.to_string().as_bytes()) {
                Asked::Answer(answer) => match answer["message_id"].as_str() {
                    Some(id) => return Ok(id.to_owned()),
                    None => return Err(format!("an answer without message_id: {answer}")),
                },
                Asked::Elsewhere => *self.found.errors.entry(MOVED.to_owned()).or_default() += 1,
                Asked::Error(error) => {
                    *self.found.errors.entry(format!("rest: {error}")).or_default() += 1;
                    last = error;
                    std::thread::sleep(AGAIN);
                }
            }
        }
        Err(format!("message {number} was not taken in {TRIES} tries, at last: {last}"))
    }

    fn ask(&mut self, what: (&str, &str), body: &[u8]) -> Asked {
        if self.at != self.home {
            self.away = self.away.saturating_sub(1);
            self.at = if self.away == 0 { self.home } else { self.at };
        }
        let authorization = format!("Bearer {}", self.token);
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let asked = Asked::from(Answer::request(self.gateways[self.at], what, &headers, body));
        if matches!(asked, Asked::Elsewhere) {
            self.at = (self.at + 1) % self.gateways.len();
            self.away = AWAY;
            std::thread::sleep(PAUSE);
        }
        asked
    }

    /// Ids of the messages in the chat, in order.
    fn read(&mut self) -> Result<Vec<String>, String> {
        let (mut there, mut after) = (Vec::new(), 0);
        for _ in 0..10_000 {
            let (one, other) = (self.from, self.from + 1);
            let path = format!("/api/v1/messages?user1={one}&user2={other}&after={after}&limit=100");
            let page = match self.ask(("GET", &path), b"") {
                Asked::Answer(page) => page,
                Asked::Elsewhere | Asked::Error(_) => {
                    std::thread::sleep(AGAIN);
                    continue;
                }
            };
            let messages = page["messages"].as_array().ok_or_else(|| format!("no page: {page}"))?;
            there.extend(messages.iter().map(|message| message["message_id"].as_str().unwrap_or_default().to_owned()));
            after = page["covered"]["last_seq"].as_u64().unwrap_or(after).max(after);
            if page["has_more"] == false {
                return Ok(there);
            }
        }
        Err(format!("the chat of {} cannot be read to its end", self.from))
    }
}

/// What became of a request.
enum Asked {
    Answer(Value),
    /// Nothing was done, and another gateway is to be asked.
    Elsewhere,
    Error(String),
}

impl From<std::io::Result<Answer>> for Asked {
    fn from(asked: std::io::Result<Answer>) -> Self {
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Self::Elsewhere,
            Err(error) => return Self::Error(error.kind().to_string()),
        };
        let Ok(body) = serde_json::from_str::<Value>(&answer.body) else {
            return Self::Error(format!("{} without JSON", answer.status));
        };
        match (answer.status, body["code"].as_str()) {
            (200, _) => Self::Answer(body),
            (503, Some("going_away")) => Self::Elsewhere,
            (status, code) => Self::Error(format!("{status} {}", code.unwrap_or_default())),
        }
    }
}

/// Compares what was acknowledged, in order, with what is there.
fn judge(acked: &[String], there: &[String], found: &mut Found) {
    let mut places = BTreeMap::<&str, Vec<usize>>::new();
    for (place, id) in there.iter().enumerate() {
        places.entry(id).or_default().push(place);
    }
    let mut before = None;
    for id in acked {
        let Some(at) = places.get(id.as_str()) else {
            found.lost += 1;
            continue;
        };
        found.doubled += at.len() as u64 - 1;
        found.reordered += u64::from(before.is_some_and(|before| at[0] <= before));
        before = Some(at[0]);
    }
    // A message that was stored under two ids was answered with one of them.
    found.doubled += places.len().saturating_sub(acked.len()) as u64;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(acked: &[&str], there: &[&str]) -> (u64, u64, u64) {
        let all = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        let mut found = Found::default();
        judge(&all(acked), &all(there), &mut found);
        (found.lost, found.doubled, found.reordered)
    }

    #[test]
    fn what_is_not_once_and_in_order_is_found() {
        assert_eq!(judged(&["a", "b", "c"], &["a", "b", "c"]), (0, 0, 0));
        assert_eq!(judged(&["a", "b", "c"], &["a", "c"]), (1, 0, 0));
        assert_eq!(judged(&["a", "b", "c"], &["b", "a", "c"]), (0, 0, 1));
        assert_eq!(judged(&["a", "b"], &["a", "b", "a"]), (0, 1, 0));
        assert_eq!(judged(&["a", "b"], &["a", "x", "b"]), (0, 1, 0), "one was stored twice");
    }
}
