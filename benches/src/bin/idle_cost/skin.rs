//! A shard's part of a connection: its socket's record, under a core that keeps none.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use fabric::core::{Action, ConnId, Core, JobQueue, Protocol};
use fabric::shard::{Options, ShardContext, ShardSpec, Shards, spawn_shards};
use fabric::time::Now;
use fabric::wake::Waker;

/// Gives out places and does nothing.
#[derive(Default)]
struct Nothing {
    places: u32,
    stopped: bool,
}

impl Core for Nothing {
    type Job = ();
    type JobDone = ();

    fn accepted(&mut self, _: Now, _: Protocol, _: SocketAddr) -> Option<ConnId> {
        self.places += 1;
        Some(ConnId { index: self.places - 1, generation: 0 })
    }
    fn received(&mut self, _: Now, _: ConnId, _: &[u8]) {}
    fn closed(&mut self, _: Now, _: ConnId) {}
    fn take_output(&mut self, _: ConnId, _: usize, _: &mut Vec<u8>) {}
    fn written(&mut self, _: Now, _: ConnId, _: usize) {}
    fn write_done(&mut self, _: Now, _: u16, _: u64, _: io::Result<()>) {}
    fn job_done(&mut self, _: Now, (): ()) {}
    fn turn(&mut self, _: Now) {}
    fn next_action(&mut self) -> Option<Action> {
        None
    }
    fn next_job(&mut self) -> Option<(JobQueue, ())> {
        None
    }
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }
    fn stop(&mut self, _: Now) {
        self.stopped = true;
    }
    fn stopped(&self) -> bool {
        self.stopped
    }
}

/// Sockets of a shard, with their clients: dropping the clients first lets the shard end in peace.
struct Connected {
    clients: Vec<TcpStream>,
    shards: Option<Shards>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.clients.clear();
        if let Some(shards) = self.shards.take() {
            shards.stopper().stop();
            shards.join();
        }
    }
}

/// A shard with so many connections, read from once each.
pub fn connect(sessions: usize) -> Box<dyn Any> {
    let options = Options {
        listeners: vec![(Protocol::Native, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))],
        own_descriptors: true,
        ..Options::default()
    };
    let spec = ShardSpec {
        shard: 0,
        cpu: None,
        waker: Waker::new().expect("an eventfd"),
        journals: Vec::new(),
        build: |_: ShardContext| Ok::<_, Infallible>(Nothing::default()),
    };
    let shards = spawn_shards(&options, vec![spec], |()| ()).expect("a shard");
    let address = shards.addresses()[0].1;
    let mut clients = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        let mut client = TcpStream::connect(address).expect("a connection (is the limit on open files high enough?)");
        io::Write::write_all(&mut client, b"hello").expect("a socket that takes five bytes");
        clients.push(client);
    }
    let metrics = &shards.metrics()[0];
    while metrics.reads.get() < sessions as u64 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Box::new(Connected { clients, shards: Some(shards) })
}
