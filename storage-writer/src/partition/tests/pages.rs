//! Pages of a chat's log in both directions, wherever its entries are: in memory, in the store, or partly in each.

use schema::envelope::{Address, Body};
use schema::ids::{ChatId, UserId};

use super::world::{World, small, user};

const ASKER: Address = Address { incarnation: 9, shard: 0, connection: 1, generation: 1 };

/// What was answered: covers, head, seqs, bytes.
fn ask(
    world: &mut World,
    who: UserId,
    window: (u64, u64, bool),
    limits: (u32, u32),
) -> ((u64, u64), u64, Vec<u64>, usize) {
    let chat = ChatId::direct(user(1), user(2));
    world.out.gateway.clear();
    let (after_seq, before_seq, newest) = window;
    let (limit_entries, limit_bytes) = limits;
    let body = Body::PageRequest {
        blind: false,
        ticks: false,
        chat,
        user: who,
        after_seq,
        before_seq,
        newest,
        limit_entries,
        limit_bytes,
    };
    world.chat(chat, ASKER, body);
    world.settle();
    let answers: Vec<_> = world.out.gateway.drain(..).collect();
    let page = answers.into_iter().find_map(|(_, envelope)| match envelope.body {
        Body::Page { covers_first, covers_last, head_seq, entries, .. } => {
            let bytes = entries.iter().map(|entry| entry.1.len()).sum();
            let seqs = entries.into_iter().map(|entry| entry.0).collect();
            Some(((covers_first, covers_last), head_seq, seqs, bytes))
        }
        _ => None,
    });
    page.expect("answered")
}

/// A chat of `count` entries whose older part the store has.
fn world_of(count: u64) -> World {
    let mut world = World::new(3, 1, small());
    for n in 0..count {
        world.send(ASKER, user(1), user(2), &format!("m{n}"), false);
        world.settle();
        if n == count / 2 {
            // The table is flushed for its age; of what it held only the hot tail stays in memory.
            for _ in 0..6 {
                world.advance(2_000);
                world.settle();
            }
        }
    }
    world
}

#[test]
fn a_window_is_answered_from_either_end() {
    let mut world = world_of(40);
    let (who, bytes) = (user(2), 1 << 20);
    let seqs = |from: u64, to: u64| (from..=to).collect::<Vec<_>>();
    for limit in [1, 3, 7, 40, 100] {
        for before in 0..=42u64 {
            for after in [0, 1, 5, 19, 20, 21, 33, 39, 40, 41, u64::MAX] {
                let end = if before == 0 { 40 } else { 40.min(before - 1) };
                let count = end.saturating_sub(after).min(u64::from(limit));
                let (covers, head, got, _) = ask(&mut world, who, (after, before, false), (limit, bytes));
                assert_eq!(head, 40);
                if count == 0 {
                    assert_eq!((got, covers.1 < covers.0 || after == u64::MAX), (Vec::new(), true));
                    continue;
                }
                let expected = (after + 1, after + count);
                assert_eq!((got, covers), (seqs(expected.0, expected.1), expected), "{limit} {before} {after} up");
                let (covers, _, got, _) = ask(&mut world, who, (after, before, true), (limit, bytes));
                let expected = (end + 1 - count, end);
                assert_eq!((got, covers), (seqs(expected.0, expected.1), expected), "{limit} {before} {after} down");
            }
        }
    }
    assert!(world.metrics.pages_store.get() > 0 && world.metrics.pages_memory.get() > 0, "from both");
}

#[test]
fn too_many_bytes_are_cut_at_the_far_end() {
    let mut world = world_of(40);
    let (_, _, _, all) = ask(&mut world, user(1), (0, 0, true), (40, 1 << 20));
    let one = all / 40;
    let room = (5 * one + one / 2) as u32;
    for before in [0, 12, 22, 30] {
        let end = if before == 0 { 40 } else { before - 1 };
        let (covers, _, seqs, bytes) = ask(&mut world, user(1), (0, before, true), (30, room));
        assert!(seqs.len() >= 4 && bytes <= room as usize, "{seqs:?}");
        assert_eq!(covers, (seqs[0], end), "the newest stay: {seqs:?}");
        assert!(seqs.iter().copied().eq(covers.0..=covers.1), "{seqs:?}");
        let (covers, _, seqs, bytes) = ask(&mut world, user(1), (3, before, false), (30, room));
        assert!(seqs.len() >= 4 && bytes <= room as usize, "{seqs:?}");
        assert_eq!(covers.0, 4, "the oldest stay");
        assert!(seqs.iter().copied().eq(covers.0..=covers.1), "{seqs:?}");
    }
    let (covers, _, seqs, _) = ask(&mut world, user(1), (0, 0, true), (30, 1));
    assert_eq!((covers, seqs), ((40, 40), vec![40]), "one entry always fits");
}
