//! One shard of a process: its gateway, its owner and router partitions, and the hand-offs between them; in a cluster, its
//! links to other nodes too.
//!
//! Sans-IO: `fabric::shard` drives it with sockets and files, the simulator with simulated ones. One thread owns it.
//! Connections below [`Hub::link_places`] are links'; the gateway's numbers begin above them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fabric::core::{Action, ConnId, Core, JobQueue, Protocol};
use fabric::link::Peer;
use fabric::time::Now;
use gateway::Shard as Gateway;
use schema::envelope::{Body, Class, Envelope, GapScope};
use storage_writer::partition::{Job, JobDone, Partition};
use storage_writer::spool::Spool;

use super::board::Board;
use super::changes::{Inbox, MoveWord, ShardChange};
use super::cluster::{Away, News};
use super::handoff::{FromGateway, FromOwner, FromRouter, LocalRouter};
use super::holdings::Holdings;
use super::http_hold::HttpHold;
use super::hub::Hub;
use super::topology::Part;
use owned::Owned;
pub(super) use queued::is_spools;
use queued::{Queued, answers_spool};
use stop::{STOP_POLL_NS, Stopping};

pub use stop::Stops;

/// Envelopes taken from lanes in one go, so that a busy neighbour cannot keep a shard from its own sockets.
const DRAIN_BUDGET: usize = 4_096;
/// How often a shard says where its partitions stand.
const BOARD_INTERVAL_NS: u64 = 1_000_000_000;
mod owned;
mod pinned;
mod queued;
mod stop;

/// One shard's parts.
pub struct ShardCore {
    gateway: Gateway,
    /// Rising by number.
    partitions: Vec<Partition>,
    router: LocalRouter,
    hub: Hub,
    board: Board,
    board_due_ns: u64,
    inbox: Inbox,
    /// Of every shard of the process.
    inboxes: Arc<[Inbox]>,
    http: HttpHold,
    /// Lanes held more than one drain's budget.
    more: bool,
    now: Now,
    stops: Stops,
    stopping: Stopping,
    owned: Owned,
    queued: Queued,
}

impl ShardCore {
    /// Puts a shard together.
    pub fn new(
        gateway: Gateway,
        partitions: Vec<Partition>,
        router: LocalRouter,
        hub: Hub,
        (board, inbox, inboxes): (Board, Inbox, Arc<[Inbox]>),
        stops: Stops,
    ) -> Self {
        debug_assert!(partitions.is_sorted_by_key(Partition::number));
        let http = HttpHold::at_start(hub.carries_http());
        Self {
            gateway,
            partitions,
            router,
            hub,
            board,
            board_due_ns: 0,
            inbox,
            http,
            inboxes,
            more: false,
            now: Now::default(),
            stops,
            stopping: Stopping::No,
            owned: Owned::default(),
            queued: Queued::default(),
        }
    }

    /// With partitions that come and go.
    #[must_use]
    pub fn with_holdings(mut self, holdings: Option<Holdings>) -> Self {
        self.owned.holdings = holdings;
        self
    }

    /// With a spool of queued sends.
    #[must_use]
    pub fn with_spool(mut self, spool: Option<Arc<Spool>>) -> Self {
        self.queued.spool = spool;
        self
    }

    /// The partitions, for tests and the simulator.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn dispatch(&mut self, now: Now, part: Part, envelope: Envelope) {
        match part {
            Part::Gateway if answers_spool(&envelope) => self.spool_answered(now, envelope),
            Part::Gateway => self.with_gateway(now, |gateway, way| gateway.handle(now, envelope, way)),
            Part::Router => {
                let mut way = FromRouter { now, gateway: &mut self.gateway, hub: &mut self.hub };
                self.router.handle(now, envelope, &mut way);
            }
            Part::Owner(number) => {
                let place = self.partitions.binary_search_by_key(&number, Partition::number);
                match place {
                    Ok(place) => self.with_owner(now, place, |owner, way| owner.handle(now, envelope, way)),
                    Err(_) => match self.leaving_place(number, &envelope) {
                        Some(place) => self.with_leaving(now, place, |owner, way| owner.handle(now, envelope, way)),
                        None => self.not_here(number, envelope),
                    },
                }
            }
            Part::Owners => match envelope.body {
                Body::Owners { node, partitions, holdings, places } => {
                    self.owners_heard(&node, partitions, &holdings, &places);
                }
                Body::Move { node, partition, epoch, stage } => {
                    self.move_heard(MoveWord { node, partition, epoch, stage });
                }
                _ => debug_assert!(false, "not about holders"),
            },
        }
    }

    fn with_gateway<T>(&mut self, now: Now, act: impl FnOnce(&mut Gateway, &mut FromGateway<'_>) -> T) -> T {
        let Self { gateway, partitions, router, hub, .. } = self;
        act(gateway, &mut FromGateway { now, partitions, router, hub })
    }

    fn with_owner<T>(
        &mut self,
        now: Now,
        place: usize,
        act: impl FnOnce(&mut Partition, &mut FromOwner<'_>) -> T,
    ) -> T {
        let Self { gateway, partitions, router, hub, .. } = self;
        act(&mut partitions[place], &mut FromOwner { now, gateway, router, hub })
    }

    fn with_leaving<T>(
        &mut self,
        now: Now,
        place: usize,
        act: impl FnOnce(&mut Partition, &mut FromOwner<'_>) -> T,
    ) -> T {
        let Self { gateway, owned, router, hub, .. } = self;
        act(&mut owned.leaving[place], &mut FromOwner { now, gateway, router, hub })
    }

    /// Hands over what other shards sent, each at once: what it is about is then worked on while it is at hand.
    fn drain(&mut self, now: Now) -> bool {
        let mut incoming = self.hub.take_incoming();
        let drained = incoming.drain(DRAIN_BUDGET, |_, envelope| {
            self.dispatch(now, self.hub.part_of(&envelope), envelope);
            self.settle(now);
        });
        self.hub.put_incoming(incoming);
        drained.more
    }

    /// Works off hand-offs until there are none. Each does a bounded amount of work and none of them waits, so this ends.
    fn settle(&mut self, now: Now) {
        while let Some((part, envelope)) = self.hub.next_local() {
            self.dispatch(now, part, envelope);
        }
    }

    /// Does what a change says.
    fn change(&mut self, now: Now, change: &ShardChange) {
        match change {
            ShardChange::Gateway(change) => self.with_gateway(now, |gateway, way| gateway.change(now, change, way)),
            ShardChange::HttpWaitsForNone(time) => self.http.waits_for_none(*time),
            ShardChange::OwnersLeaving(_) | ShardChange::OwnersServe => debug_assert!(false, "that is for HTTP"),
            // HTTP's.
            ShardChange::OwnersLost(_) | ShardChange::Places(_) => {}
            ShardChange::WriterLost(peer) => self.writer_lost(now, *peer),
            ShardChange::Nodes(list) => self.relist(now, list),
            ShardChange::GatewayGone(incarnation) => {
                self.partitions.iter_mut().for_each(|owner| owner.gateway_lost(*incarnation));
            }
            ShardChange::TakePartitions => self.take_partitions(now),
            ShardChange::GiveUp(partition) => self.give_up(now, *partition),
            ShardChange::Drop(partition) => self.drop_partition(*partition),
            ShardChange::Say(word) => self.say(word),
            ShardChange::Gone(word) => {
                word.iter().for_each(|word| self.say(word));
                self.owned.holdings.iter().for_each(Holdings::forgotten);
            }
            // They are looked at in every turn.
            ShardChange::Holdings | ShardChange::WriterStands => {}
        }
        self.settle(now);
    }

    /// What came by links, and what became of them.
    fn work_on_links(&mut self, now: Now) {
        let Some(away) = self.hub.away() else { return };
        away.tick(now);
        self.router.set_degraded(away.misses_gateways());
        while let Some(news) = self.hub.away().and_then(|away| away.next_news(now)) {
            match news {
                News::Arrived(to, envelope) => {
                    if !self.hub.arrived(to, envelope) {
                        self.hub.count_misrouted();
                    }
                }
                News::OwnersLeaving => {
                    self.gateway.hold(now);
                    if let Some(http) = self.inboxes.last().filter(|_| self.hub.carries_http()) {
                        http.put(self.http.hold());
                    }
                }
                News::OwnersLost { peer, here: true } => self.writer_lost(now, peer),
                News::OwnersLost { peer, here: false } => self.tell_all(&ShardChange::WriterLost(peer)),
                // Live entries were lost with it, or answers to marks.
                News::OwnersBack => {
                    let gap = Envelope::new(Class::Control, Body::Gap(GapScope::All));
                    self.dispatch(now, Part::Gateway, gap);
                }
                News::WriterStands => self.tell_all(&ShardChange::WriterStands),
                News::RoutersChanged => self.routers_changed(now),
                News::GatewayGone(incarnation) => {
                    self.router.gateway_lost(incarnation);
                    self.tell_all(&ShardChange::GatewayGone(incarnation));
                }
            }
            self.settle(now);
        }
        self.work_on_leaving(now);
    }

    /// The list of nodes is another one.
    fn relist(&mut self, now: Now, list: &[Option<Peer>]) {
        let Some(away) = self.hub.away() else { return };
        away.relist(now, list);
        if let Some(placement) = away.take_rerouted() {
            self.router.set_placement(placement);
            self.routers_changed(now);
        }
    }

    fn tell_all(&self, change: &ShardChange) {
        self.inboxes.iter().for_each(|inbox| inbox.put(change.clone()));
    }

    fn routers_changed(&mut self, now: Now) {
        let Some(moved) = self.hub.away().map(|away| away.movement()) else { return };
        self.with_gateway(now, |gateway, way| gateway.routers_changed(now, |user| moved.concerns(user), way));
    }

    /// The gateway's own number of a connection; `None`: it is a link's.
    fn gateways_own(&self, conn: ConnId) -> Option<ConnId> {
        let index = conn.index.checked_sub(self.hub.link_places())?;
        Some(ConnId { index, ..conn })
    }

    fn outside(&self, conn: ConnId) -> ConnId {
        ConnId { index: conn.index + self.hub.link_places(), ..conn }
    }
}

impl Core for ShardCore {
    type Job = Job;
    type JobDone = JobDone;

    fn listening(&mut self, addresses: &[(Protocol, SocketAddr)]) {
        let websocket = addresses.iter().filter(|(protocol, _)| *protocol == Protocol::WebSocket);
        self.gateway.listening(&websocket.map(|(_, address)| *address).collect::<Vec<_>>());
    }

    fn accepted(&mut self, now: Now, protocol: Protocol, peer: SocketAddr) -> Option<ConnId> {
        if protocol == Protocol::Link {
            return self.hub.away()?.links().accepted(now, peer);
        }
        self.gateway.accepted(now, protocol, peer).map(|conn| self.outside(conn))
    }

    fn connected(&mut self, now: Now, conn: ConnId) {
        if let Some(away) = self.hub.away() {
            away.links().connected(now, conn);
        }
    }

    fn proxied(&mut self, _now: Now, conn: ConnId, client: SocketAddr) {
        if let Some(conn) = self.gateways_own(conn) {
            self.gateway.proxied(conn, client);
        }
    }

    fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        match (self.gateways_own(conn), self.hub.away()) {
            (Some(conn), _) => {
                self.with_gateway(now, |gateway, way| gateway.received(now, conn, bytes, way));
                self.settle(now);
            }
            (None, Some(away)) => away.links().received(now, conn, bytes),
            (None, None) => (),
        }
    }

    fn closed(&mut self, now: Now, conn: ConnId) {
        match (self.gateways_own(conn), self.hub.away()) {
            (Some(conn), _) => {
                self.with_gateway(now, |gateway, way| gateway.closed(now, conn, way));
                self.settle(now);
            }
            (None, Some(away)) => away.links().closed(now, conn),
            (None, None) => (),
        }
    }

    fn take_output(&mut self, conn: ConnId, max_bytes: usize, out: &mut Vec<u8>) {
        match (self.gateways_own(conn), self.hub.away()) {
            (Some(conn), _) => self.gateway.take_output(conn, max_bytes, out),
            (None, Some(away)) => away.links().take_output(conn, max_bytes, out),
            (None, None) => (),
        }
    }

    fn written(&mut self, now: Now, conn: ConnId, bytes: usize) {
        match (self.gateways_own(conn), self.hub.away()) {
            (Some(conn), _) => {
                self.with_gateway(now, |gateway, way| gateway.written(now, conn, bytes, way));
                self.settle(now);
            }
            (None, Some(away)) => away.links().written(now, conn, bytes),
            (None, None) => (),
        }
    }

    fn write_done(&mut self, now: Now, journal: u16, ticket: u64, result: io::Result<()>) {
        self.with_owner(now, usize::from(journal), |owner, way| owner.write_done(now, ticket, result, way));
        self.settle(now);
    }

    fn job_done(&mut self, now: Now, done: JobDone) {
        let number = done.partition;
        match self.partitions.binary_search_by_key(&number, Partition::number) {
            Ok(place) => self.with_owner(now, place, |owner, way| owner.job_done(now, done, way)),
            Err(_) => match self.owned.leaving.iter().position(|leaving| leaving.number() == number) {
                Some(place) => self.with_leaving(now, place, |owner, way| owner.job_done(now, done, way)),
                // One that was dropped may have had jobs.
                None => {
                    debug_assert!(self.owned.holdings.is_some(), "a job of partition {number} came to another shard")
                }
            },
        }
        self.settle(now);
    }

    fn turn(&mut self, now: Now) {
        self.now = now;
        for change in self.inbox.take() {
            self.change(now, &change);
        }
        self.work_on_links(now);
        self.router.turn();
        self.more = self.drain(now);
        for place in 0..self.partitions.len() {
            self.with_owner(now, place, |owner, way| owner.turn(now, way));
            self.settle(now);
        }
        if self.owned.holdings.is_some() {
            self.work_on_partitions(now);
        }
        self.with_gateway(now, |gateway, way| gateway.tick(now, way));
        self.settle(now);
        if self.hub.has_links() {
            self.work_on_owners(now);
        }
        self.work_on_queued(now);
        self.work_on_stop(now);
        self.hub.flush();
        if now.mono_ns >= self.board_due_ns {
            self.board_due_ns = now.mono_ns + BOARD_INTERVAL_NS;
            self.partitions.iter().for_each(|partition| self.board.post(partition.status()));
        }
    }

    fn next_action(&mut self) -> Option<Action> {
        // Journal writes first: everything else waits for them in the end.
        for (journal, partition) in (0u16..).zip(&mut self.partitions) {
            if let Some(write) = partition.take_write() {
                return Some(Action::Write { journal, write });
            }
        }
        if let Some(action) = self.hub.away().and_then(Away::next_action) {
            return Some(action);
        }
        Some(match self.gateway.next_action()? {
            Action::Flush(conn) => Action::Flush(self.outside(conn)),
            Action::Pause(conn) => Action::Pause(self.outside(conn)),
            Action::Resume(conn) => Action::Resume(self.outside(conn)),
            Action::Close(conn) => Action::Close(self.outside(conn)),
            other @ (Action::Write { .. } | Action::Connect { .. }) => other,
        })
    }

    fn next_job(&mut self) -> Option<(JobQueue, Job)> {
        let of_partitions = self.partitions.iter_mut().chain(&mut self.owned.leaving).find_map(Partition::take_job);
        of_partitions.or_else(|| self.queued.take_job())
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        if self.more || self.router.has_work() || self.http.is_due() {
            return Some(self.now.mono_ns);
        }
        let stop = (self.stopping != Stopping::No).then_some(self.now.mono_ns + STOP_POLL_NS);
        let board = (!self.partitions.is_empty()).then_some(self.board_due_ns);
        let partitions = self.partitions.iter().chain(&self.owned.leaving).filter_map(Partition::next_deadline_ns);
        let links = self.hub.link_deadline_ns().into_iter().chain(self.queued.next_ns(self.now));
        partitions.chain(self.gateway.next_deadline_ns()).chain(links).chain(stop).chain(board).min()
    }

    fn has_work(&self) -> bool {
        self.hub.has_work()
    }

    fn stop(&mut self, now: Now) {
        self.begin_stop(now);
    }

    fn stopped(&self) -> bool {
        self.has_stopped()
    }
}
