//! One Redis, perhaps as Sentinels name it, or the primaries of a Redis Cluster, each with a connection, and who has which slot.
//!
//! A start wants all of them. Later a node may be away while others go on: what is for it is not written, and who holds this
//! connects anew, by way of any node that answers, until all are there. What must stay true: a Redis is written to only after
//! it has said whose directory it holds.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, FromRedisValue, RedisConnectionInfo, RedisError,
    Value, cmd,
};
use schema::ids::UserId;
use std::time::Duration;

use crate::RedisConfig;
use crate::error::{SetupError, is_no_cluster, is_password};
use crate::names::{CLUSTER_KEY, SLOTS, slot, slot_of};

/// A node that does not take a connection within this is away.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// A batch that has no answer after so long has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A slot that nobody serves.
const NOBODY: u16 = u16::MAX;
/// What writes a user.
const SCRIPT: &str = include_str!("write.lua");

struct Node {
    info: ConnectionInfo,
    /// `None`: it is away.
    connection: Option<MultiplexedConnection>,
}

/// See the module.
pub struct Nodes {
    nodes: Vec<Node>,
    /// By slot; empty where one node has all.
    of_slot: Vec<u16>,
    /// The script's name.
    script: String,
    /// Why it is not whole, as far as that was found out by using it.
    why: String,
}

/// Who has which slots: first, last, and where.
type Ranges = Vec<(u16, u16, (String, u16))>;

impl Nodes {
    /// Connects to all there are.
    pub async fn connect(config: &RedisConfig) -> Result<Self, SetupError> {
        let nodes = Self::by_way_of(config, &config.seeds, true).await?;
        let covered = nodes.covered();
        if covered < SLOTS {
            return Err(SetupError::NotWhole { addresses: config.addresses(), covered });
        }
        Ok(nodes)
    }

    /// Connects to those that answer, found by way of any that are known.
    pub async fn reconnect(&self, config: &RedisConfig) -> Result<Self, SetupError> {
        let known = self.nodes.iter().map(|node| node.info.clone());
        let seeds: Vec<ConnectionInfo> = config.seeds.iter().cloned().chain(known).collect();
        Self::by_way_of(config, &seeds, false).await
    }

    async fn by_way_of(config: &RedisConfig, seeds: &[ConnectionInfo], all: bool) -> Result<Self, SetupError> {
        // One that was the primary may take writes that are lost: only Sentinels say who is.
        let primary = match &config.primary {
            Some(name) => Some(primary(config, name).await?),
            None => None,
        };
        let seeds = primary.as_ref().map_or(seeds, std::slice::from_ref);
        let mut last = None;
        for seed in seeds {
            match open(seed).await {
                Ok(connection) => return Self::all_of(config, (seed, connection), all).await,
                Err(error) => last = Some(error),
            }
        }
        let addresses = config.addresses();
        let what = last.as_ref().map(ToString::to_string).unwrap_or_default();
        Err(match last {
            Some(error) if is_password(&error) => SetupError::Password { addresses, what },
            _ => SetupError::Unreachable { addresses, what },
        })
    }

    /// All nodes of the one that answered.
    async fn all_of(
        config: &RedisConfig,
        (seed, mut first): (&ConnectionInfo, MultiplexedConnection),
        all: bool,
    ) -> Result<Self, SetupError> {
        let refused = |doing| refusal(config, seed, doing);
        let slots = cmd("CLUSTER").arg("SLOTS").query_async::<Value>(&mut first).await;
        let ranges = match slots {
            Ok(slots) => ranges(&slots),
            Err(error) if is_no_cluster(&error) => {
                if config.seeds.len() > 1 && config.primary.is_none() {
                    let (count, address) = (config.seeds.len(), seed.addr().to_string());
                    return Err(SetupError::Several { count, address });
                }
                let script = load(&mut first).await.map_err(refused("SCRIPT LOAD"))?;
                check_cluster(config, &mut first).await.map_err(refused("SET and GET"))??;
                let nodes = vec![Node { info: seed.clone(), connection: Some(first) }];
                return Ok(Self { nodes, of_slot: Vec::new(), script, why: String::new() });
            }
            Err(error) => return Err(refused("CLUSTER SLOTS")(error)),
        };
        let mut this =
            Self { nodes: Vec::new(), of_slot: vec![NOBODY; SLOTS], script: String::new(), why: String::new() };
        for (from, to, (host, port)) in ranges {
            // A node that does not know its own address yet.
            let host = if host.is_empty() { host_of(seed.addr()).to_owned() } else { host };
            let info = seed.clone().set_addr(at(seed.addr(), host, port));
            let place = this.nodes.iter().position(|node| node.info.addr() == info.addr());
            let place = place.unwrap_or(this.nodes.len());
            if place == this.nodes.len() {
                this.nodes.push(Node { info, connection: None });
            }
            for slot in from..=to.min(SLOTS as u16 - 1) {
                this.of_slot[usize::from(slot)] = place as u16;
            }
        }
        for place in 0..this.nodes.len() {
            if let Err(error) = this.join(config, place).await {
                if all || matches!(error, SetupError::OtherCluster { .. }) {
                    return Err(error);
                }
                this.why = error.to_string();
            }
        }
        Ok(this)
    }

    /// Connects to a node of a cluster.
    async fn join(&mut self, config: &RedisConfig, place: usize) -> Result<(), SetupError> {
        let info = self.nodes[place].info.clone();
        let refused = |doing| refusal(config, &info, doing);
        let mut connection = open(&info).await.map_err(refused("a connection"))?;
        self.script = load(&mut connection).await.map_err(refused("SCRIPT LOAD"))?;
        if usize::from(self.of_slot[slot(CLUSTER_KEY.as_bytes())]) == place {
            check_cluster(config, &mut connection).await.map_err(refused("SET and GET"))??;
        }
        self.nodes[place].connection = Some(connection);
        Ok(())
    }

    fn covered(&self) -> usize {
        let served = self.of_slot.iter().filter(|&&node| node != NOBODY).count();
        if self.of_slot.is_empty() { SLOTS } else { served }
    }

    /// Whether every user has a node that answers, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.covered() == SLOTS && self.nodes.iter().all(|node| node.connection.is_some())
    }

    /// Whether nobody answers.
    pub fn is_gone(&self) -> bool {
        self.nodes.iter().all(|node| node.connection.is_none())
    }

    /// Why it is not whole.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The place of the node that has the user, if there is one that answers.
    pub fn place_of(&self, user: UserId) -> Option<usize> {
        let place = match self.of_slot.is_empty() {
            true => 0,
            false => usize::from(self.of_slot[slot_of(user)]),
        };
        self.nodes.get(place)?.connection.as_ref().map(|_| place)
    }

    /// Connections of all that answer, by their places.
    pub fn connections(&self) -> impl Iterator<Item = (usize, MultiplexedConnection)> {
        let all = self.nodes.iter().enumerate();
        all.filter_map(|(place, node)| Some((place, node.connection.clone()?)))
    }

    /// The connection of the node at a place, if it answers.
    pub fn connection(&self, place: usize) -> Option<MultiplexedConnection> {
        self.nodes[place].connection.clone()
    }

    /// The name of the script that writes a user.
    pub fn script(&self) -> &str {
        &self.script
    }

    /// The node at a place does not answer, or refuses, or has not the slots that it had.
    pub fn lost(&mut self, place: usize, error: &RedisError) {
        let node = &mut self.nodes[place];
        node.connection = None;
        self.why = format!("{}: {error}", node.info.addr());
    }

    /// Asks every node whether it is there.
    pub async fn ping(&mut self) {
        for (place, mut connection) in self.connections().collect::<Vec<_>>() {
            if let Err(error) = cmd("PING").query_async::<()>(&mut connection).await {
                self.lost(place, &error);
            }
        }
    }
}

async fn open(info: &ConnectionInfo) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    let mut connection = Client::open(info.clone())?.get_multiplexed_async_connection_with_config(&config).await?;
    // What it refuses to strangers it refuses now.
    cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(connection)
}

/// Where the Sentinels say that the primary of this name is.
async fn primary(config: &RedisConfig, name: &str) -> Result<ConnectionInfo, SetupError> {
    let mut what = String::new();
    for seed in &config.seeds {
        match ask_sentinel(seed, name).await {
            Ok(Some((host, port))) => return Ok(seed.clone().set_addr(at(seed.addr(), host, port))),
            Ok(None) => what = format!("{} does not know it", seed.addr()),
            Err(error) => what = format!("{}: {error}", seed.addr()),
        }
    }
    let (addresses, primary) = (config.addresses(), name.to_owned());
    Err(SetupError::NoPrimary { addresses, primary, what })
}

async fn ask_sentinel(seed: &ConnectionInfo, name: &str) -> Result<Option<(String, u16)>, RedisError> {
    let mut sentinel = open(&seed.clone().set_redis_settings(RedisConnectionInfo::default())).await?;
    cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(&mut sentinel).await
}

async fn load(connection: &mut MultiplexedConnection) -> Result<String, RedisError> {
    cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(connection).await
}

/// Notes whose directory it is where nobody has, and looks who did.
async fn check_cluster(
    config: &RedisConfig,
    connection: &mut MultiplexedConnection,
) -> Result<Result<(), SetupError>, RedisError> {
    cmd("SET").arg(CLUSTER_KEY).arg(&config.cluster).arg("NX").query_async::<()>(connection).await?;
    let found: String = cmd("GET").arg(CLUSTER_KEY).query_async(connection).await?;
    if found == config.cluster {
        return Ok(Ok(()));
    }
    let (addresses, expected) = (config.addresses(), config.cluster.clone());
    Ok(Err(SetupError::OtherCluster { addresses, found, expected, key: CLUSTER_KEY }))
}

/// What a node's refusal means.
fn refusal<'a>(
    config: &'a RedisConfig,
    node: &'a ConnectionInfo,
    doing: &'static str,
) -> impl Fn(RedisError) -> SetupError + 'a {
    move |error| {
        let (address, what) = (node.addr().to_string(), error.to_string());
        if is_password(&error) {
            return SetupError::Password { addresses: address, what };
        }
        if error.is_io_error() {
            return SetupError::Unreachable { addresses: format!("{address} (of {})", config.addresses()), what };
        }
        SetupError::Refused { address, doing, what, key: CLUSTER_KEY }
    }
}

/// The answer to CLUSTER SLOTS; what is not of its form is left out.
fn ranges(slots: &Value) -> Ranges {
    let Value::Array(slots) = slots else { return Ranges::new() };
    let range = |slot: &Value| {
        let Value::Array(parts) = slot else { return None };
        let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = parts.as_slice() else { return None };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // Nil: the same as of the node that answers.
        let host = Option::<String>::from_redis_value_ref(host).ok()?.unwrap_or_default();
        let host = if host == "?" { String::new() } else { host };
        Some((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, (host, u16::try_from(*port).ok()?)))
    };
    slots.iter().filter_map(range).collect()
}

fn host_of(address: &ConnectionAddr) -> &str {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
        _ => "",
    }
}

/// Another host and port, with TLS where `like` has it.
fn at(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_from_what_a_cluster_says() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())]);
        let host = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let slot = |from, to, node| Value::Array(vec![Value::Int(from), Value::Int(to), node]);
        let said = Value::Array(vec![
            slot(0, 99, node(host("10.0.0.1"), 7_000)),
            slot(100, 16_383, node(Value::Nil, 7_001)),
            slot(0, 1, node(host("?"), 7_002)),
            slot(-1, 5, node(host("10.0.0.3"), 7_000)),
            Value::Int(3),
        ]);
        let expected = [
            (0, 99, ("10.0.0.1".to_owned(), 7_000)),
            (100, 16_383, (String::new(), 7_001)),
            (0, 1, (String::new(), 7_002)),
        ];
        assert_eq!(ranges(&said), expected);
        assert!(ranges(&Value::Nil).is_empty());
    }
}
