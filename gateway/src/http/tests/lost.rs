//! The way to the owners of a partition breaks.

use super::*;
use crate::ways::send_request;

pub(super) const PARTITIONS: u16 = 2;

fn partition(chat: ChatId) -> u16 {
    chat.slot().partition(PARTITIONS)
}

/// Where user 7's account is.
pub(super) fn home() -> u16 {
    partition(ChatId::account(user(7)))
}

/// A user whose chat with user 7 has its owner in this partition.
pub(super) fn partner(of: u16) -> UserId {
    (10..).map(user).find(|&other| partition(ChatId::direct(user(7), other)) == of).unwrap()
}

pub(super) fn post_to<'a>(to: UserId, id: &'a [u8]) -> Post<'a> {
    let Post { from, send, caller } = post(b"x", id);
    Post { from, send: SendEvent { target: Some(SendTarget::User(to)), ..send }, caller }
}

#[test]
fn requests_that_wait_for_it_are_refused_at_once_and_the_others_are_answered() {
    let (mut desk, mut owners) = (desk(10, 10), Owners::default());
    desk.post(at(0), &post_to(partner(1 - home()), b"a"), 1, &mut owners).unwrap();
    desk.post(at(0), &post_to(partner(home()), b"b"), 2, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    let asked = owners.0.clone();
    desk.page(at(0), page(), 3, &mut owners).unwrap();
    let why = refusal(ErrorCode::StorageUnavailable);
    let mut refused = desk.owner_lost(home());
    refused.sort_by_key(|(waiter, _)| *waiter);
    assert_eq!(refused, [(2, why), (3, why)], "one waits for its chat's owner, one for its account");
    assert_eq!((desk.in_flight(), desk.metrics().lost.get()), (1, 2));
    assert!(matches!(desk.handle(at(0), sent(&asked[0]), &mut owners), Some((1, Ok(Answer::Sent { .. })))));
    assert_eq!(desk.handle(at(0), sent(&asked[1]), &mut owners), None, "too late");
    assert_eq!(desk.metrics().late.get(), 1);
    assert_eq!(why.code.info().http_status, 503);
}

#[test]
fn its_credits_are_free_again_and_an_answer_of_before_brings_none() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    let to = partner(1 - home());
    let overloaded = Err(refusal(ErrorCode::Overloaded));
    desk.post(at(0), &post_to(to, b"a"), 1, &mut owners).unwrap();
    pass(&mut desk, &mut owners);
    let before = owners.0.pop().unwrap();
    assert_eq!(desk.post(at(0), &post_to(to, b"b"), 2, &mut owners), overloaded);
    assert_eq!(desk.owner_lost(1 - home()).len(), 1);
    desk.post(at(0), &post_to(to, b"b"), 3, &mut owners).unwrap();
    assert_eq!(desk.handle(at(0), sent(&before), &mut owners), None);
    assert_eq!(desk.post(at(0), &post_to(to, b"c"), 4, &mut owners), overloaded, "the credit is the other send's");
    pass(&mut desk, &mut owners);
    let now = owners.0.pop().unwrap();
    assert_ne!(now.header.request_id, before.header.request_id);
    assert!(desk.handle(at(0), sent(&now), &mut owners).is_some());
    desk.post(at(0), &post_to(to, b"c"), 5, &mut owners).unwrap();
}

#[test]
fn a_send_whose_account_is_still_asked_elsewhere_keeps_its_credit() {
    let (mut desk, mut owners) = (desk(10, 2), Owners::default());
    let to = partner(1 - home());
    desk.post(at(0), &post_to(to, b"a"), 1, &mut owners).unwrap();
    assert_eq!(desk.owner_lost(1 - home()), []);
    desk.post(at(0), &post_to(to, b"b"), 2, &mut owners).unwrap();
    assert_eq!(desk.post(at(0), &post_to(to, b"c"), 3, &mut owners), Err(refusal(ErrorCode::Overloaded)));
    pass(&mut desk, &mut owners);
    for asked in core::mem::take(&mut owners.0) {
        assert_eq!(
            asked.header.request_id,
            send_request(1, 1 - home()),
            "how often its way was lost, and whose credit it has"
        );
        assert!(desk.handle(at(0), sent(&asked), &mut owners).is_some());
    }
    // One that is refused before it left gives its credit back too.
    desk.post(at(0), &post_to(to, b"c"), 4, &mut owners).unwrap();
    assert_eq!(desk.owner_lost(home()).len(), 1);
    for id in [&b"d"[..], b"e"] {
        desk.post(at(0), &post_to(to, id), 5, &mut owners).unwrap();
    }
}
