//! A core that does what its clients tell it line by line, and shards of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use fabric::core::{Action, ConnId, Core, JobQueue, Protocol};
use fabric::disk::{Block, BlockWrite};
use fabric::net::tls::Server;
use fabric::shard::{DriverChoice, Options, ShardContext, ShardSpec, Shards, spawn_shards};
use fabric::time::Now;
use fabric::wake::Waker;

const MS: u64 = 1_000_000;

#[derive(Default)]
struct Client {
    generation: u32,
    open: bool,
    input: Vec<u8>,
    output: VecDeque<Bytes>,
    outstanding: usize,
}

/// Echoes lines, and does what some of them say.
pub struct Toy {
    shard: u16,
    clients: Vec<Client>,
    actions: VecDeque<Action>,
    jobs: VecDeque<(JobQueue, (ConnId, u64))>,
    resumes: VecDeque<(u64, ConnId)>,
    writes: Vec<Option<ConnId>>,
    /// Clients that asked to be told of the end.
    polite: Vec<ConnId>,
    stopped: bool,
}

impl Toy {
    pub fn new(context: &ShardContext) -> Self {
        Self {
            shard: context.shard,
            clients: Vec::new(),
            actions: VecDeque::new(),
            jobs: VecDeque::new(),
            resumes: VecDeque::new(),
            writes: Vec::new(),
            polite: Vec::new(),
            stopped: false,
        }
    }

    fn say(&mut self, conn: ConnId, line: &str) {
        let client = &mut self.clients[conn.index as usize];
        if client.open && client.generation == conn.generation {
            client.output.push_back(Bytes::from(format!("{line}\n")));
            self.actions.push_back(Action::Flush(conn));
        }
    }

    fn line(&mut self, now: Now, conn: ConnId, line: &str) {
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "echo" => self.say(conn, argument),
            "shard" => self.say(conn, &self.shard.to_string()),
            "pause" => {
                self.actions.push_back(Action::Pause(conn));
                self.resumes.push_back((now.mono_ns + 30 * MS, conn));
                self.say(conn, "paused");
            }
            "tell" => self.polite.push(conn),
            "close" => {
                self.say(conn, "bye");
                self.actions.push_back(Action::Close(conn));
            }
            "flood" => {
                for _ in 0..argument.parse().unwrap() {
                    self.say(conn, &"x".repeat(1_023));
                }
            }
            "job" => self.jobs.push_back((JobQueue::Read, (conn, argument.parse().unwrap()))),
            "write" => {
                let (file, text) = argument.split_once(' ').unwrap();
                let mut block = vec![0; Block::ALIGN];
                block[..text.len()].copy_from_slice(text.as_bytes());
                let ticket = self.writes.len() as u64;
                self.writes.push(Some(conn));
                let write = BlockWrite {
                    ticket,
                    file: file.into(),
                    offset: ticket * Block::ALIGN as u64,
                    bytes: Block::copy_of(&block),
                };
                self.actions.push_back(Action::Write { journal: 0, write });
            }
            "panic" => panic!("asked to"),
            other => self.say(conn, &format!("unknown {other}")),
        }
    }
}

impl Core for Toy {
    type Job = (ConnId, u64);
    type JobDone = (ConnId, u64);

    fn accepted(&mut self, _: Now, _: Protocol, _: SocketAddr) -> Option<ConnId> {
        let index = self.clients.iter().position(|client| !client.open).unwrap_or(self.clients.len());
        if index == self.clients.len() {
            self.clients.push(Client::default());
        }
        let client = &mut self.clients[index];
        *client = Client { generation: client.generation + 1, open: true, ..Client::default() };
        Some(ConnId { index: index as u32, generation: client.generation })
    }

    fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let client = &mut self.clients[conn.index as usize];
        assert_eq!(client.generation, conn.generation);
        client.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut client.input);
        let mut lines = input.split(|&byte| byte == b'\n').collect::<Vec<_>>();
        let rest = lines.pop().unwrap_or_default().to_vec();
        for line in lines {
            self.line(now, conn, std::str::from_utf8(line).unwrap());
        }
        self.clients[conn.index as usize].input = rest;
    }

    fn closed(&mut self, _: Now, conn: ConnId) {
        let client = &mut self.clients[conn.index as usize];
        assert!(client.open && client.generation == conn.generation, "closed exactly once");
        client.open = false;
        self.polite.retain(|other| *other != conn);
    }

    fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        let client = &mut self.clients[conn.index as usize];
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some(chunk) = client.output.pop_front()
        {
            bytes += chunk.len();
            out.extend_from_slice(&chunk);
        }
        client.outstanding += bytes;
    }

    fn written(&mut self, _: Now, conn: ConnId, bytes: usize) {
        let client = &mut self.clients[conn.index as usize];
        client.outstanding = client.outstanding.checked_sub(bytes).expect("no more is written than was taken");
    }

    fn write_done(&mut self, _: Now, _: u16, ticket: u64, result: io::Result<()>) {
        let conn = self.writes[ticket as usize].take().expect("once a write");
        match result {
            Ok(()) => self.say(conn, "durable"),
            Err(error) => self.say(conn, &format!("failed {:?}", error.kind())),
        }
    }

    fn job_done(&mut self, _: Now, (conn, result): (ConnId, u64)) {
        self.say(conn, &format!("job {result}"));
    }

    fn turn(&mut self, now: Now) {
        while self.resumes.front().is_some_and(|(at, _)| *at <= now.mono_ns)
            && let Some((_, conn)) = self.resumes.pop_front()
        {
            self.actions.push_back(Action::Resume(conn));
        }
    }

    fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn next_job(&mut self) -> Option<(JobQueue, Self::Job)> {
        self.jobs.pop_front()
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.resumes.front().map(|(at, _)| *at)
    }

    fn stop(&mut self, _: Now) {
        assert!(!self.stopped, "stop is called once");
        self.stopped = true;
        for conn in self.polite.clone() {
            self.say(conn, "stopping");
            self.actions.push_back(Action::Close(conn));
        }
    }

    fn stopped(&self) -> bool {
        self.stopped && self.polite.is_empty()
    }
}

pub fn start(driver: DriverChoice, shards: u16, journal: Option<&Path>, tls: Option<Server>) -> Shards {
    let options = Options {
        listeners: vec![(Protocol::Native, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))],
        driver,
        tls,
        own_descriptors: true,
        ..Options::default()
    };
    let specs = (0..shards)
        .map(|shard| ShardSpec {
            shard,
            cpu: None,
            waker: Waker::new().unwrap(),
            journals: journal.map(Path::to_owned).into_iter().collect(),
            build: |context: ShardContext| Ok::<_, Infallible>(Toy::new(&context)),
        })
        .collect();
    spawn_shards(&options, specs, |(conn, number): (ConnId, u64)| (conn, number * number)).unwrap()
}

/// Every driver there is.
pub const DRIVERS: [DriverChoice; 3] = [DriverChoice::Auto, DriverChoice::PlainRing, DriverChoice::Epoll];

/// A client's conversation with a core, line by line.
pub struct Talk<S>(pub BufReader<S>);

impl<S: Read + Write> Talk<S> {
    pub fn over(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub fn tell(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, text: &str) -> String {
        self.tell(&format!("{text}\n"));
        self.hear()
    }
}
