//! Names of hosts to addresses, looked up off the shards' threads.
//!
//! The host's own resolver blocks and has no bound, so each name has a thread of its own while it is asked for, and whoever
//! waits looks every few milliseconds whether there is an answer. What must stay true: nothing is kept, every dial asks anew;
//! one name is asked for once at a time, whoever wants it; a shard never blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::mutex::lock;
use crate::throttle::Throttle;
use crate::time::{Clock as _, SystemClock};

/// Names that are asked for at once; one more has to come again.
const AT_ONCE: usize = 64;
/// How often whoever waits looks.
const LOOK: Duration = Duration::from_millis(5);

/// Where another host is.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Target {
    /// There.
    Address(SocketAddr),
    /// `host:port`: wherever the name leads when it is asked for.
    Name(Arc<str>),
}

/// A text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an address with a port (10.0.0.7:7502, [2001:db8::7]:7502) nor a name with one (rt-1.example:7502)"
)]
pub struct NoTarget(pub String);

impl Target {
    /// The address, where it is one.
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let is_host = |host: &str| {
            let label = |label: &str| {
                let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
                (1..=63).contains(&label.len()) && inside && !label.starts_with('-') && !label.ends_with('-')
            };
            let labels = host.strip_suffix('.').unwrap_or(host);
            // A last label of digits is an address that is none.
            let last = labels.rsplit('.').next().unwrap_or_default();
            labels.len() <= 253 && labels.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
        };
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => {
                Ok(Self::Name(text.into()))
            }
            _ => Err(NoTarget(text.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

type Found = Result<Vec<SocketAddr>, Arc<str>>;

/// One question, and its answer once there is one.
#[derive(Debug, Default)]
struct Question(Mutex<Option<Found>>);

type Asked = Arc<Mutex<BTreeMap<Arc<str>, Arc<Question>>>>;

/// Asks for names. Clones share it; any thread. Threads end with the last of them, those that ask when they have an answer.
#[derive(Clone, Debug)]
pub struct Resolver {
    asked: Asked,
    questions: Sender<(Arc<str>, Arc<Question>)>,
    said: Arc<Throttle>,
}

impl Resolver {
    /// Starts the thread that starts the others: not a shard's, whose descriptors and core they would share.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> io::Result<Self> {
        let (questions, to_ask) = channel();
        let asked = Asked::default();
        let theirs = asked.clone();
        std::thread::Builder::new().name("resolver".to_owned()).spawn(move || serve(&to_ask, &theirs))?;
        Ok(Self { asked, questions, said: Arc::default() })
    }

    /// Asks, and waits for the answer on the running monoio runtime; whoever calls it bounds the time.
    ///
    /// # Errors
    /// The name leads nowhere, or too many are asked for.
    pub async fn resolve(&self, name: &Arc<str>) -> io::Result<Vec<SocketAddr>> {
        let question = self.ask(name)?;
        loop {
            if let Some(found) = &*lock(&question.0) {
                return found.clone().map_err(|why| io::Error::other(why.to_string()));
            }
            monoio::time::sleep(LOOK).await;
        }
    }

    fn ask(&self, name: &Arc<str>) -> io::Result<Arc<Question>> {
        let mut asked = lock(&self.asked);
        if let Some(question) = asked.get(name) {
            return Ok(question.clone());
        }
        if asked.len() >= AT_ONCE {
            return Err(io::Error::other("too many names are asked for at once"));
        }
        let question = Arc::new(Question::default());
        asked.insert(name.clone(), question.clone());
        drop(asked);
        self.questions.send((name.clone(), question.clone())).map_err(io::Error::other)?;
        Ok(question)
    }

    /// Says that a name could not be reached, once a second for all.
    pub fn say(&self, name: &str, error: &io::Error) {
        if let Some(unsaid) = self.said.next(SystemClock.now()) {
            tracing::warn!(name, %error, unsaid, "a node is not reached by its name; it is tried again");
        }
    }
}

fn serve(to_ask: &Receiver<(Arc<str>, Arc<Question>)>, asked: &Asked) {
    while let Ok((name, question)) = to_ask.recv() {
        let (theirs, answered) = (asked.clone(), (name.clone(), question.clone()));
        let ask = move || {
            let found = name.to_socket_addrs().map(Iterator::collect);
            answer(&theirs, &name, &question, found);
        };
        if let Err(error) = std::thread::Builder::new().name("resolve".to_owned()).spawn(ask) {
            let (name, question) = answered;
            answer(asked, &name, &question, Err(error));
        }
    }
}

fn answer(asked: &Asked, name: &Arc<str>, question: &Question, found: io::Result<Vec<SocketAddr>>) {
    let found = match found {
        Ok(addresses) if addresses.is_empty() => Err("the name has no address".into()),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(error.to_string().into()),
    };
    // Who asks from now on asks anew.
    lock(asked).remove(name);
    *lock(&question.0) = Some(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_addresses_or_names_with_a_port() {
        let target = |text: &str| text.parse::<Target>();
        assert_eq!(target("127.0.0.1:7502"), Ok(Target::Address("127.0.0.1:7502".parse().unwrap())));
        assert!(matches!(target("[::1]:7502"), Ok(Target::Address(_))));
        for name in ["rt-1.example:7502", "localhost:1", "rt_1.cluster.local.:7502", "7.example:1"] {
            assert_eq!(target(name).unwrap().to_string(), name);
        }
        for wrong in
            ["rt-1", "rt-1:", "rt-1:0", "rt-1:70000", ":7502", "a b:1", "-a:1", "a..b:1", "10.0.0:1", "::1:7502"]
        {
            assert_eq!(target(wrong), Err(NoTarget(wrong.to_owned())));
        }
    }

    #[test]
    fn a_name_is_asked_for_once_at_a_time_and_anew_after() {
        let resolver = Resolver::start().unwrap();
        let name: Arc<str> = "localhost:7502".into();
        let (one, other) = {
            // Nobody answers while this is held.
            let mut asked = lock(&resolver.asked);
            let one = Arc::new(Question::default());
            asked.insert(name.clone(), one.clone());
            drop(asked);
            (one, resolver.ask(&name).unwrap())
        };
        assert!(Arc::ptr_eq(&one, &other));
        answer(&resolver.asked, &name, &one, Err(io::Error::other("nobody knows")));
        let anew = resolver.ask(&name).unwrap();
        assert!(!Arc::ptr_eq(&one, &anew));
        let found = loop {
            if let Some(found) = lock(&anew.0).clone() {
                break found.unwrap();
            }
            std::thread::yield_now();
        };
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 7502), "{found:?}");
        assert!(lock(&resolver.asked).is_empty());
    }

    #[test]
    fn what_is_asked_for_at_once_is_bounded() {
        let resolver = Resolver::start().unwrap();
        let mut asked = lock(&resolver.asked);
        (0..AT_ONCE).for_each(|n| drop(asked.insert(n.to_string().into(), Arc::default())));
        drop(asked);
        assert!(resolver.ask(&"localhost:1".into()).is_err());
        assert!(resolver.ask(&"0".into()).is_ok(), "asked for already");
    }
}
