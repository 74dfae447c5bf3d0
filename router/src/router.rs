//! One router partition: registrations in, pushes out. Sans-IO; belongs to one thread.

mod passing;

use fabric::count::Tally as _;
use fabric::tier::Egress;
use fabric::time::Now;
use fabric::trace::{Spans, Step};
use schema::envelope::{Address, Body, Class, Envelope, GapScope, Header, Recipient, Target, Trace};
use schema::ids::{DeviceId, UserId};
use smallvec::SmallVec;

use crate::directory::{Directory, Outcome, Registration};
use crate::fanout::Groups;
use crate::metrics::RouterMetrics;
use crate::placement::Placement;
use passing::Passing;

/// One router partition.
pub struct Router<D> {
    directory: D,
    metrics: RouterMetrics,
    /// Where there are others.
    passing: Option<Passing>,
    /// Registrations of lost gateways are being removed.
    sweeping: bool,
    /// Where spans of traced messages go.
    spans: Option<Spans>,
}

impl<D: Directory> Router<D> {
    /// The only router, over `directory`.
    pub fn new(directory: D, metrics: RouterMetrics) -> Self {
        Self { directory, metrics, passing: None, sweeping: false, spans: None }
    }

    /// One of the routers of `placement`, which says which ([`Placement::seen_from`]).
    pub fn with_placement(directory: D, placement: Placement, metrics: RouterMetrics) -> Self {
        Self { passing: Passing::new(placement), ..Self::new(directory, metrics) }
    }

    /// Spans of traced messages go there.
    #[must_use]
    pub fn with_spans(self, spans: Option<Spans>) -> Self {
        Self { spans, ..self }
    }

    /// A traced message was routed now.
    pub fn record(&self, now: Now, trace: &Trace) {
        if let Some(spans) = &self.spans {
            spans.record(now, trace, Step::Route, now.mono_ns);
        }
    }

    /// The routers are others from now on. This one was given a placement at its start.
    pub fn set_placement(&mut self, placement: Placement) {
        let degraded = self.passing.as_ref().is_some_and(|passing| passing.degraded);
        self.passing = Passing::new(placement);
        self.set_degraded(degraded);
    }

    /// Whether a gateway's way to this router is broken: what is for its own users then goes to their second choice too,
    /// where that gateway's sessions register meanwhile.
    pub fn set_degraded(&mut self, degraded: bool) {
        if let Some(passing) = &mut self.passing {
            passing.degraded = degraded;
        }
    }

    /// Whether all sessions of these users are registered here, so that [`Self::recipients`] shows all there are.
    pub fn holds_all(&self, recipients: &[Recipient]) -> bool {
        let Some(passing) = &self.passing else { return true };
        recipients.iter().all(|recipient| passing.other(recipient.user).is_none())
    }

    /// A gateway is gone, or has been unreachable for so long that its sessions are registered elsewhere: what it has
    /// registered here is forgotten, in steps of [`Self::turn`]. Routers of one process share their directory: tell one of them.
    /// A gateway that comes back under the same incarnation registers again; that stays.
    pub fn gateway_lost(&mut self, incarnation: u64) {
        self.metrics.gateways_lost.inc();
        self.directory.lose(incarnation);
        self.sweeping = true;
    }

    /// Once a turn: a bounded step of what [`Self::gateway_lost`] began.
    pub fn turn(&mut self) {
        if self.sweeping {
            self.sweeping = self.directory.sweep();
            self.metrics.sessions.set(self.directory.session_count() as i64);
        }
    }

    /// [`Self::turn`] has more to do, at once.
    pub const fn has_work(&self) -> bool {
        self.sweeping
    }

    /// Sessions in the directory.
    pub fn session_count(&self) -> usize {
        self.directory.session_count()
    }

    /// Takes one envelope from a gateway or an owner.
    pub fn handle(&mut self, now: Now, envelope: Envelope, out: &mut dyn Egress) {
        let mut header = envelope.header;
        if let Some(trace) = &mut header.trace {
            trace.stages.routed = now.mono_ns;
        }
        match envelope.body {
            Body::Register { user, device, epoch } => self.register(header, user, device, epoch, out),
            Body::Unregister { user, device, epoch } => {
                self.directory.unregister(user, Registration { device, address: header.reply, epoch });
                self.metrics.sessions.set(self.directory.session_count() as i64);
            }
            Body::Push { chat, seq, frame, recipients } => {
                self.metrics.pushes.one();
                if let Some(trace) = &header.trace {
                    self.record(now, trace);
                }
                let passed = |recipients| Body::Push { chat, seq, frame: frame.clone(), recipients };
                self.pass_on(&header, (&recipients, |recipient: &Recipient| recipient.user), passed, out);
                let groups = self.positions(&recipients, header.reply);
                for group in groups.into_iter() {
                    let body = Body::Deliver { chat, seq, frame: frame.clone(), targets: group.targets };
                    self.send(&header, group.shard, body, out);
                }
            }
            Body::Nudge { chat, head_seq, recipients } => {
                let groups = self.positions(&recipients, Address::NOBODY);
                for group in groups.into_iter() {
                    self.send(&header, group.shard, Body::DeliverNudge { chat, head_seq, targets: group.targets }, out);
                }
            }
            Body::Notify { frame, users } => {
                self.metrics.pushes.one();
                let passed = |users| Body::Notify { frame: frame.clone(), users };
                self.pass_on(&header, (&users, |user: &UserId| *user), passed, out);
                for group in self.everywhere(&users).into_iter() {
                    let body = Body::DeliverNotice { frame: frame.clone(), targets: group.targets };
                    self.send(&header, group.shard, body, out);
                }
            }
            Body::Gap(scope) => self.gap(header, scope, out),
            _ => {
                self.metrics.misrouted.inc();
                debug_assert!(false, "an envelope that no router takes");
            }
        }
    }

    /// Shows every session of the recipients, with what its device has acknowledged; `show` does nothing with the directory.
    pub fn recipients(&self, recipients: &[Recipient], except: Address, mut show: impl FnMut(Address, u64)) {
        for devices in recipients.chunk_by(|one, other| one.user == other.user) {
            let mut offline = true;
            self.directory.each_session(devices[0].user, |session| {
                offline = false;
                if session.address != except {
                    let known = devices.iter().find(|known| known.device == Some(session.device));
                    show(session.address, known.map_or(0, |known| known.acked_seq));
                }
            });
            if offline {
                self.metrics.offline.one();
            }
        }
    }

    /// Counts an entry that was pushed with [`Self::recipients`] to so many gateway shards.
    pub fn count_push(&self, deliveries: u64) {
        self.metrics.pushes.one();
        self.metrics.deliveries.add(deliveries);
    }

    fn register(&mut self, header: Header, user: UserId, device: DeviceId, epoch: u64, out: &mut dyn Egress) {
        let came = Registration { device, address: header.reply, epoch };
        let overtaken = match self.directory.register(user, came) {
            Outcome::Added | Outcome::Unchanged => None,
            Outcome::Replaced(old) => Some((old, epoch)),
            Outcome::Stale(newer) => Some((came, newer.epoch)),
        };
        if let Some((loser, epoch)) = overtaken {
            self.metrics.superseded.inc();
            self.answer(&header, loser.address, Body::Superseded { epoch }, out);
        }
        if overtaken.is_none_or(|(loser, _)| loser != came) {
            self.metrics.registrations.inc();
            self.answer(&header, came.address, Body::Registered { epoch }, out);
        }
        self.metrics.sessions.set(self.directory.session_count() as i64);
    }

    /// Every session of the recipients with what its device has acknowledged.
    fn positions(&self, recipients: &[Recipient], except: Address) -> Groups<Target> {
        let mut groups = Groups::new();
        self.recipients(recipients, except, |session, acked_seq| {
            let Address { connection, generation, .. } = session;
            groups.add(session, Target { connection, generation, acked_seq });
        });
        groups
    }

    /// Every session of the users.
    fn everywhere(&self, users: &[UserId]) -> Groups<(u32, u32)> {
        let mut groups = Groups::new();
        for &user in users {
            self.directory.each_session(user, |session| {
                groups.add(session.address, (session.address.connection, session.address.generation));
            });
        }
        groups
    }

    fn gap(&mut self, header: Header, scope: GapScope, out: &mut dyn Egress) {
        self.metrics.gaps.inc();
        match scope {
            GapScope::All => out.to_all_gateways(Envelope { header, body: Body::Gap(GapScope::All) }),
            GapScope::Users(users) => {
                let passed = |users: SmallVec<[UserId; 2]>| Body::Gap(GapScope::Users(users.into_vec()));
                self.pass_on(&header, (&users, |user: &UserId| *user), passed, out);
                for group in self.everywhere(&users).into_iter() {
                    self.send(&header, group.shard, Body::Gap(GapScope::Sessions(group.targets.into_vec())), out);
                }
            }
            GapScope::Sessions(_) => {
                self.metrics.misrouted.inc();
                debug_assert!(false, "sessions are a gateway's scope");
            }
        }
    }

    fn send(&self, header: &Header, shard: Address, body: Body, out: &mut dyn Egress) {
        self.metrics.deliveries.one();
        out.to_gateway(shard, Envelope { header: header.clone(), body });
    }

    fn answer(&self, header: &Header, session: Address, body: Body, out: &mut dyn Egress) {
        let header = Header { class: Class::Control, reply: session, ..header.clone() };
        out.to_gateway(session, Envelope { header, body });
    }
}

#[cfg(test)]
mod tests;
