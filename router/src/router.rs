//! One router partition: registrations in, pushes out. Sans-IO; belongs to one thread.

use fabric::count::Tally as _;
use fabric::tier::Egress;
use fabric::time::Now;
use schema::envelope::{Address, Body, Class, Envelope, GapScope, Header, Recipient, Target};
use schema::ids::{DeviceId, UserId};

use crate::directory::{Directory, Outcome, Registration};
use crate::fanout::Groups;
use crate::metrics::RouterMetrics;

/// One router partition.
pub struct Router<D> {
    directory: D,
    metrics: RouterMetrics,
}

impl<D: Directory> Router<D> {
    /// A router over `directory`.
    pub fn new(directory: D, metrics: RouterMetrics) -> Self {
        Self { directory, metrics }
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
mod tests {
    use bytes::Bytes;
    use schema::ids::{ChatId, Slot};
    use smallvec::smallvec;

    use super::*;
    use crate::directory::MemoryDirectory;

    #[derive(Default)]
    struct Sent {
        gateways: Vec<(Address, Envelope)>,
        everywhere: usize,
    }

    impl Egress for Sent {
        fn to_owner(&mut self, _: Slot, _: Envelope) {
            unreachable!("a router never speaks to owners")
        }
        fn to_partition(&mut self, _: u16, _: Envelope) {
            unreachable!("a router never speaks to owners")
        }
        fn to_router(&mut self, _: UserId, _: Envelope) {
            unreachable!("a router never speaks to routers")
        }
        fn to_gateway(&mut self, address: Address, envelope: Envelope) {
            self.gateways.push((address, envelope));
        }
        fn to_all_gateways(&mut self, _: Envelope) {
            self.everywhere += 1;
        }
    }

    fn user(id: u64) -> UserId {
        UserId::new(id).unwrap()
    }

    fn address(shard: u16, connection: u32) -> Address {
        Address { incarnation: 4, shard, connection, generation: 1 }
    }

    fn router() -> Router<MemoryDirectory> {
        Router::new(MemoryDirectory::new(1), RouterMetrics::default())
    }

    fn register(router: &mut Router<MemoryDirectory>, id: u64, device: u32, at: Address, epoch: u64) -> Sent {
        let mut sent = Sent::default();
        let body = Body::Register { user: user(id), device: DeviceId(device), epoch };
        router.handle(Now::default(), Envelope::new(Class::Control, body).reply_to(at), &mut sent);
        sent
    }

    fn recipient(id: u64, known: Option<(u32, u64)>) -> Recipient {
        let (device, acked_seq) = known.map_or((None, 0), |(device, acked_seq)| (Some(DeviceId(device)), acked_seq));
        Recipient { user: user(id), device, acked_seq }
    }

    fn push(recipients: &[Recipient], except: Address) -> Envelope {
        let body = Body::Push {
            chat: ChatId([1; 16]),
            seq: 8,
            frame: Bytes::from_static(b"frame"),
            recipients: recipients.into(),
        };
        Envelope::new(Class::Live, body).reply_to(except)
    }

    #[test]
    fn a_push_becomes_one_envelope_a_shard_with_each_devices_position() {
        let mut router = router();
        register(&mut router, 7, 1, address(0, 10), 1);
        register(&mut router, 7, 2, address(1, 11), 1);
        register(&mut router, 9, 1, address(1, 12), 1);
        let mut sent = Sent::default();
        let recipients = [recipient(7, Some((1, 5))), recipient(9, Some((1, 7))), recipient(99, None)];
        router.handle(Now::default(), push(&recipients, Address::NOBODY), &mut sent);
        assert_eq!(sent.gateways.len(), 2);
        let targets = |place: usize| match &sent.gateways[place].1.body {
            Body::Deliver { targets, seq: 8, .. } => {
                targets.iter().map(|t| (t.connection, t.acked_seq)).collect::<Vec<_>>()
            }
            other => panic!("not a delivery: {other:?}"),
        };
        assert_eq!(targets(0), [(10, 5)]);
        assert_eq!(targets(1), [(11, 0), (12, 7)], "a device the owner does not know is at 0");
        assert_eq!(router.metrics.offline.get(), 1);
    }

    #[test]
    fn the_session_that_sent_gets_no_push() {
        let mut router = router();
        register(&mut router, 7, 1, address(0, 10), 1);
        let mut sent = Sent::default();
        router.handle(Now::default(), push(&[recipient(7, None)], address(0, 10)), &mut sent);
        assert!(sent.gateways.is_empty());
    }

    #[test]
    fn a_newer_session_of_a_device_ends_the_older_and_a_stale_one_ends_itself() {
        let mut router = router();
        register(&mut router, 7, 1, address(0, 10), 5);
        let sent = register(&mut router, 7, 1, address(1, 20), 6);
        assert!(
            matches!(&sent.gateways[0], (to, Envelope { body: Body::Superseded { epoch: 6 }, .. }) if *to == address(0, 10))
        );
        assert!(
            matches!(&sent.gateways[1], (to, Envelope { body: Body::Registered { epoch: 6 }, .. }) if *to == address(1, 20))
        );
        let sent = register(&mut router, 7, 1, address(2, 30), 5);
        assert_eq!(sent.gateways.len(), 1);
        assert!(
            matches!(&sent.gateways[0], (to, Envelope { body: Body::Superseded { epoch: 6 }, .. }) if *to == address(2, 30))
        );
        // The overtaken session's end must not remove the newer one.
        let body = Body::Unregister { user: user(7), device: DeviceId(1), epoch: 5 };
        router.handle(
            Now::default(),
            Envelope::new(Class::Control, body).reply_to(address(0, 10)),
            &mut Sent::default(),
        );
        assert_eq!(router.session_count(), 1);
    }

    #[test]
    fn receipts_and_nudges_go_to_every_session_once_a_shard() {
        let mut router = router();
        register(&mut router, 7, 1, address(0, 10), 1);
        register(&mut router, 7, 2, address(0, 11), 1);
        let mut sent = Sent::default();
        let body = Body::Notify { frame: Bytes::from_static(b"receipt"), users: smallvec![user(7)] };
        router.handle(Now::default(), Envelope::new(Class::Live, body), &mut sent);
        let body =
            Body::Nudge { chat: ChatId([1; 16]), head_seq: 3, recipients: smallvec![recipient(7, Some((2, 3)))] };
        router.handle(Now::default(), Envelope::new(Class::Control, body), &mut sent);
        assert_eq!(sent.gateways.len(), 2);
        assert!(
            matches!(&sent.gateways[0].1.body, Body::DeliverNotice { targets, .. } if targets.as_slice() == [(10, 1), (11, 1)])
        );
        assert!(
            matches!(&sent.gateways[1].1.body, Body::DeliverNudge { head_seq: 3, targets, .. } if targets.len() == 2)
        );
    }

    #[test]
    fn gaps_reach_the_sessions_in_scope() {
        let mut router = router();
        register(&mut router, 7, 1, address(0, 10), 1);
        register(&mut router, 9, 1, address(3, 12), 1);
        let mut sent = Sent::default();
        let gap = |scope| Envelope::new(Class::Control, Body::Gap(scope));
        router.handle(Now::default(), gap(GapScope::Users(vec![user(9), user(50)])), &mut sent);
        assert!(
            matches!(&sent.gateways[..], [(to, Envelope { body: Body::Gap(GapScope::Sessions(s)), .. })] if to.shard == 3 && s == &[(12, 1)])
        );
        router.handle(Now::default(), gap(GapScope::All), &mut sent);
        assert_eq!(sent.everywhere, 1);
    }
}
