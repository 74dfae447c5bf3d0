//! A chat gets another partition: HTTP keeps no order, so what is new goes there at once, and each credit returns to its pool.

use super::lost::{PARTITIONS, home, partner, post_to};
use super::*;
use crate::ways::send_request;
use schema::places::Places;

fn put(desk: &mut Desk<u32>, version: u64, chat: ChatId, partition: u16) {
    desk.set_places(Places::new(version, vec![(chat, partition)]));
}

/// What left, with the accounts known.
fn asked(desk: &mut Desk<u32>, owners: &mut Owners) -> Envelope {
    pass(desk, owners);
    owners.0.pop().expect("it left")
}

#[test]
fn what_is_new_goes_to_the_partition_that_has_the_chat_and_credits_return_where_they_were_taken() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    let (there, elsewhere) = (home(), 1 - home());
    let to = partner(there);
    let chat = ChatId::direct(user(7), to);
    desk.post(at(0), &post_to(to, b"a"), 1, &mut owners).unwrap();
    let first = asked(&mut desk, &mut owners);
    assert_eq!((first.header.slot, first.header.request_id), (chat.slot(), send_request(0, there)));
    put(&mut desk, 1, chat, elsewhere);
    desk.post(at(0), &post_to(to, b"b"), 2, &mut owners).unwrap();
    let second = asked(&mut desk, &mut owners);
    assert_eq!(second.header.slot.partition(PARTITIONS), elsewhere);
    assert_eq!(second.header.request_id, send_request(0, elsewhere));
    let overloaded = Err(refusal(ErrorCode::Overloaded));
    assert_eq!(desk.post(at(0), &post_to(to, b"c"), 3, &mut owners), overloaded, "one credit each");
    // The partition that it has left refuses a stranger, and is told to forget that.
    let answer = refused(&first, ErrorCode::StorageUnavailable);
    assert!(matches!(desk.handle(at(0), answer, &mut owners), Some((1, Err(_)))));
    let forget = owners.0.pop().expect("told");
    assert!(matches!(forget.body, Body::ForgetRefusals { .. }));
    assert_eq!(forget.header.slot.partition(PARTITIONS), there);
    assert_eq!(desk.post(at(0), &post_to(to, b"c"), 3, &mut owners), overloaded, "that was another credit");
    assert!(matches!(desk.handle(at(0), sent(&second), &mut owners), Some((2, Ok(_)))));
    desk.post(at(0), &post_to(to, b"c"), 4, &mut owners).unwrap();
    assert_eq!(asked(&mut desk, &mut owners).header.slot.partition(PARTITIONS), elsewhere);
    desk.page(at(0), PageAsk { chat, ..page() }, 5, &mut owners).unwrap();
    assert_eq!(asked(&mut desk, &mut owners).header.slot.partition(PARTITIONS), elsewhere, "and what is read");
}

#[test]
fn a_send_keeps_the_partition_whose_credit_it_has_while_its_account_is_asked() {
    let (mut desk, mut owners) = (desk(10, 1), Owners::default());
    let (there, elsewhere) = (home(), 1 - home());
    let to = partner(there);
    let chat = ChatId::direct(user(7), to);
    desk.post(at(0), &post_to(to, b"a"), 1, &mut owners).unwrap();
    put(&mut desk, 1, chat, elsewhere);
    let first = asked(&mut desk, &mut owners);
    assert_eq!((first.header.slot, first.header.request_id), (chat.slot(), send_request(0, there)));
    assert!(matches!(desk.handle(at(0), sent(&first), &mut owners), Some((1, Ok(_)))));
    desk.post(at(0), &post_to(to, b"b"), 2, &mut owners).unwrap();
    assert_eq!(asked(&mut desk, &mut owners).header.request_id, send_request(0, elsewhere));
}
