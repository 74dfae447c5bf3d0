//! Sends that come again after a refusal.

use schema::envelope::{Address, Body};
use schema::errors::ErrorCode;

use super::world::{World, small, user};

/// (client_msg_id, seq or refusal) of what sessions were told since the last call.
fn answers(world: &mut World) -> Vec<(String, Result<u64, ErrorCode>)> {
    let told = core::mem::take(&mut world.out.gateway);
    let answer = |envelope: schema::envelope::Envelope| match envelope.body {
        Body::Sent { client_msg_id, seq, .. } => Some((client_msg_id, Ok(seq))),
        Body::Refused { client_msg_id, code, .. } => Some((client_msg_id, Err(code))),
        _ => None,
    };
    let answers = told.into_iter().filter_map(|(_, envelope)| answer(envelope));
    answers.map(|(id, answer)| (String::from_utf8_lossy(&id).into_owned(), answer)).collect()
}

#[test]
fn what_follows_a_refused_send_that_came_again_waits_behind_its_lookup() {
    let mut world = World::new(1, 1, small());
    let session = Address { incarnation: 1, shard: 0, connection: 1, generation: 1 };
    world.send(session, user(1), user(2), "first", false);
    world.settle();
    // Long enough that memory has forgotten the answer and a resend has to be looked up.
    for _ in 0..4 {
        world.advance(2_000);
        world.settle();
    }
    world.now.wall_ticks -= 60 * 10_000_000;
    world.send(session, user(1), user(2), "refused", false);
    world.settle();
    let expected = [("first".to_owned(), Ok(1)), ("refused".to_owned(), Err(ErrorCode::ClockBehind))];
    assert_eq!(answers(&mut world), expected);

    world.now.wall_ticks += 60 * 10_000_000;
    world.send(session, user(1), user(2), "refused", true);
    assert_eq!(world.partitions[0].status().waiting_sends, 1, "it is looked up");
    world.send(session, user(1), user(2), "behind it", true);
    world.settle();
    assert_eq!(answers(&mut world), [("refused".to_owned(), Ok(2)), ("behind it".to_owned(), Ok(3))]);
}
