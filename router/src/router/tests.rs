//! Registrations, fan-out, what is passed on to other routers and forgotten with a gateway.

use bytes::Bytes;
use schema::ids::{ChatId, Slot};
use smallvec::smallvec;

use super::*;
use crate::directory::MemoryDirectory;

#[derive(Default)]
struct Sent {
    gateways: Vec<(Address, Envelope)>,
    everywhere: usize,
    routers: Vec<(u16, Envelope)>,
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
    fn to_router_at(&mut self, place: u16, envelope: Envelope) {
        self.routers.push((place, envelope));
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
    router.handle(Now::default(), Envelope::new(Class::Control, body).reply_to(address(0, 10)), &mut Sent::default());
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
    let body = Body::Nudge { chat: ChatId([1; 16]), head_seq: 3, recipients: smallvec![recipient(7, Some((2, 3)))] };
    router.handle(Now::default(), Envelope::new(Class::Control, body), &mut sent);
    assert_eq!(sent.gateways.len(), 2);
    assert!(
        matches!(&sent.gateways[0].1.body, Body::DeliverNotice { targets, .. } if targets.as_slice() == [(10, 1), (11, 1)])
    );
    assert!(matches!(&sent.gateways[1].1.body, Body::DeliverNudge { head_seq: 3, targets, .. } if targets.len() == 2));
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

/// A user whose choices among the routers a, b and c are these places.
fn user_with(first: u16, second: u16) -> u64 {
    let placement = Placement::new(&NAMES);
    (1..).find(|&id| placement.choices(user(id)) == (Some(first), Some(second))).unwrap()
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Router b of a, b and c.
fn one_of_three() -> Router<MemoryDirectory> {
    let placement = Placement::new(&NAMES).seen_from(1);
    Router::with_placement(MemoryDirectory::new(1), placement, RouterMetrics::default())
}

fn handle(router: &mut Router<MemoryDirectory>, envelope: Envelope) -> Sent {
    let mut sent = Sent::default();
    router.handle(Now::default(), envelope, &mut sent);
    sent
}

/// For whom a push was passed on, by router.
fn passed(sent: &Sent) -> Vec<(u16, Vec<u64>)> {
    let users = |envelope: &Envelope| match &envelope.body {
        Body::Push { seq: 8, recipients, .. } => recipients.iter().map(|r| r.user.get()).collect(),
        Body::Notify { users, .. } => users.iter().map(|user| user.get()).collect(),
        Body::Gap(GapScope::Users(users)) => users.iter().map(|user| user.get()).collect(),
        other => panic!("nobody passes this on: {other:?}"),
    };
    assert!(sent.routers.iter().all(|(_, envelope)| envelope.header.passed_on));
    sent.routers.iter().map(|(place, envelope)| (*place, users(envelope))).collect()
}

#[test]
fn what_is_for_users_of_another_router_is_passed_to_it_once() {
    let mut router = one_of_three();
    let (own, of_a, of_c) = (user_with(1, 0), user_with(0, 1), user_with(2, 0));
    register(&mut router, own, 1, address(0, 10), 1);
    register(&mut router, of_a, 1, address(0, 11), 1);
    let recipients = [recipient(own, None), recipient(of_a, None), recipient(of_c, Some((1, 5)))];
    let sent = handle(&mut router, push(&recipients, address(9, 9)));
    assert_eq!(passed(&sent), [(0, vec![of_a]), (2, vec![of_c])]);
    assert_eq!(sent.routers[0].1.header.reply, address(9, 9), "whoever sent it gets it nowhere");
    let [(_, Envelope { body: Body::Deliver { targets, .. }, .. })] = &sent.gateways[..] else { panic!("one shard") };
    assert_eq!(targets.len(), 2, "those who are registered here have it from here");
    assert!(!router.holds_all(&recipients) && router.holds_all(&recipients[..1]));

    let mut again = push(&recipients, Address::NOBODY);
    again.header.passed_on = true;
    let sent = handle(&mut router, again);
    assert_eq!((sent.routers.len(), sent.gateways.len()), (0, 1), "it goes no further");
    assert_eq!((router.metrics.passed_on.get(), router.metrics.taken_over.get()), (2, 1));
}

#[test]
fn while_a_gateways_way_is_broken_own_users_are_passed_to_their_second_choice() {
    let mut router = one_of_three();
    let (with_a, with_c) = (user_with(1, 0), user_with(1, 2));
    let recipients = [recipient(with_a, None), recipient(with_c, None)];
    assert_eq!(passed(&handle(&mut router, push(&recipients, Address::NOBODY))), []);
    router.set_degraded(true);
    let sent = handle(&mut router, push(&recipients, Address::NOBODY));
    assert_eq!(passed(&sent), [(0, vec![with_a]), (2, vec![with_c])]);
    router.set_degraded(false);
    assert_eq!(passed(&handle(&mut router, push(&recipients, Address::NOBODY))), []);
}

#[test]
fn receipts_and_gaps_are_passed_on_and_nudges_are_not() {
    let mut router = one_of_three();
    let (own, of_a) = (user_with(1, 0), user_with(0, 1));
    let body = Body::Notify { frame: Bytes::from_static(b"receipt"), users: smallvec![user(own), user(of_a)] };
    assert_eq!(passed(&handle(&mut router, Envelope::new(Class::Live, body))), [(0, vec![of_a])]);
    let body = Body::Gap(GapScope::Users(vec![user(of_a), user(own)]));
    assert_eq!(passed(&handle(&mut router, Envelope::new(Class::Control, body))), [(0, vec![of_a])]);
    let body = Body::Nudge { chat: ChatId([1; 16]), head_seq: 3, recipients: smallvec![recipient(of_a, None)] };
    let sent = handle(&mut router, Envelope::new(Class::Control, body));
    assert!(sent.routers.is_empty(), "its owner tells every router");
}

#[test]
fn the_sessions_of_a_lost_gateway_are_forgotten() {
    let mut router = router();
    for id in 1..=2_000 {
        let at = Address { incarnation: 4 + id % 2, ..address(0, id as u32) };
        register(&mut router, id, 1, at, 1);
    }
    router.gateway_lost(5);
    assert!(router.has_work());
    while router.has_work() {
        router.turn();
    }
    assert_eq!((router.session_count(), router.metrics.sessions.get()), (1_000, 1_000));
    let sent = handle(&mut router, push(&[recipient(1, None), recipient(2, None)], Address::NOBODY));
    assert!(matches!(&sent.gateways[..], [(Address { incarnation: 4, .. }, _)]), "{:?}", sent.gateways);
}
