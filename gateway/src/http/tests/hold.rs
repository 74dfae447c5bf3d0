//! The owners' node is started anew on purpose: requests wait for it, in order, and no longer than they may.

use super::*;

#[test]
fn what_comes_meanwhile_goes_out_in_order_when_the_owners_are_back() {
    let (mut desk, mut owners) = (desk(10, 10), Owners::default());
    desk.post(at(0), &post(b"before", b"a"), 1, &mut owners).unwrap();
    desk.hold(at(0));
    assert_eq!(desk.at_owners(), 1);
    desk.post(at(100), &post(b"one", b"b"), 2, &mut owners).unwrap();
    desk.page(at(200), page(), 3, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    let before = owners.0.pop().expect("both steps of what was asked before go on");
    assert!(owners.0.is_empty(), "{:?}", owners.0);
    assert!(matches!(desk.handle(at(0), sent(&before), &mut owners), Some((1, Ok(Answer::Sent { .. })))));
    assert_eq!((desk.at_owners(), desk.in_flight()), (0, 2));
    assert_eq!((desk.owner_lost(0), desk.owner_lost(1)), (vec![], vec![]), "the way is down meanwhile");
    assert_eq!(desk.expire(at(7_999)), [], "their time has not begun");
    desk.release(at(7_999), &mut owners);
    assert!(owners.0.iter().all(|asked| asked.header.deadline_ns == 12_999_000_000));
    pass(&mut desk, &mut owners);
    let [first, second] = &owners.0[..] else { panic!("{:?}", owners.0) };
    assert!(matches!(first.body, Body::Send { .. }) && matches!(second.body, Body::PageRequest { .. }));
    assert_ne!(first.header.request_id, before.header.request_id);
    let first = sent(first);
    assert!(matches!(desk.handle(at(0), first, &mut owners), Some((2, Ok(Answer::Sent { .. })))));
    let metrics = desk.metrics();
    assert_eq!((metrics.holds.get(), metrics.held.get(), metrics.holds_overdue.get()), (1, 2, 0));
}

#[test]
fn those_that_wait_are_bounded_and_keep_their_credits() {
    let (mut desk, mut owners) = (desk(2, 1), Owners::default());
    let overloaded = Err(refusal(ErrorCode::Overloaded));
    desk.hold(at(0));
    desk.post(at(0), &post(b"x", b"a"), 1, &mut owners).unwrap();
    let partition = ChatId::direct(user(7), user(9)).slot().partition(2);
    assert_eq!(desk.owner_lost(partition), []);
    assert_eq!(desk.post(at(0), &post(b"x", b"b"), 2, &mut owners), overloaded, "there is one credit");
    desk.page(at(0), page(), 3, &mut owners).unwrap();
    assert_eq!(desk.page(at(0), page(), 4, &mut owners), overloaded, "there are two places");
    assert_eq!(desk.metrics().refused_full.get(), 1);
    let mut gone = desk.give_up_held();
    gone.sort_by_key(|(waiter, _)| *waiter);
    assert_eq!(gone, [(1, refusal(ErrorCode::GoingAway)), (3, refusal(ErrorCode::GoingAway))]);
    desk.post(at(0), &post(b"x", b"b"), 5, &mut owners).unwrap();
    assert_eq!((owners.0.len(), desk.in_flight()), (1, 1), "and its credit is back");
}

#[test]
fn nobody_waits_for_longer_than_allowed() {
    let (mut desk, mut owners) = (desk(10, 10), Owners::default());
    desk.hold(at(1_000));
    desk.hold(at(5_000));
    desk.page(at(2_000), page(), 1, &mut owners).unwrap();
    assert_eq!(desk.next_deadline_ns(), Some(9_000_000_000));
    desk.end_hold(at(8_999), &mut owners);
    assert!(owners.0.is_empty());
    desk.end_hold(at(9_000), &mut owners);
    assert_eq!((owners.0.len(), desk.metrics().holds_overdue.get()), (1, 1), "whoever has the way refuses it");
    assert_eq!(desk.next_deadline_ns(), Some(14_000_000_000));
    desk.page(at(9_000), page(), 2, &mut owners).unwrap();
    assert_eq!(owners.0.len(), 2);
    let config = DeskConfig { hold_ms: 0, ..desk.config().clone() };
    let mut never = Desk::new(config, Arc::new(UserRates::new(0, 0, 1)), DeskMetrics::default());
    never.hold(at(0));
    never.page(at(0), page(), 1, &mut owners).unwrap();
    assert_eq!((never.at_owners(), owners.0.len()), (1, 3));
}
