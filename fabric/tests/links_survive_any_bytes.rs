//! Whatever bytes a peer sends, before and after it has proved who it is, links end in an orderly way and never panic.

mod linked;

use fabric::core::{Action, ConnId};
use fabric::lane::Capacities;
use fabric::link::{LinkEvent, Links, To};
use linked::{Rig, address, config, envelope, links, peer};
use proptest::collection::vec;
use proptest::prelude::*;
use schema::envelope::Class;

fn acceptor() -> Links {
    links(config("n1", 200, Capacities::default()), vec![peer(0, true)], 2)
}

/// Frames with plausible lengths and kinds, and pure noise.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let frame = (0u8..9, vec(any::<u8>(), 0..300)).prop_map(|(kind, payload)| {
        let mut frame = (payload.len() as u32 + 1).to_le_bytes().to_vec();
        frame.push(kind);
        frame.extend(payload);
        frame
    });
    let frames = vec(frame, 0..6).prop_map(|frames| frames.concat());
    prop_oneof![frames, vec(any::<u8>(), 0..600)]
}

/// Gives bytes in pieces; all that the links say is taken, and nothing but an end or a refusal is heard.
fn feed(links: &mut Links, now: fabric::time::Now, conn: ConnId, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        links.received(now, conn, piece);
        links.tick(now);
        let mut closed = false;
        while let Some(action) = links.next_action() {
            match action {
                Action::Flush(id) | Action::Close(id) => {
                    let mut out = Vec::new();
                    links.take_output(id, 64 << 10, &mut out);
                    links.written(now, id, out.len());
                    closed |= matches!(action, Action::Close(_)) && id == conn;
                }
                Action::Connect { conn, .. } => links.closed(now, conn),
                other => panic!("links ask for no {other:?}"),
            }
        }
        if closed {
            links.closed(now, conn);
        }
    }
}

/// All bytes that the dialer of a pair says until its link stands, and with some parcels.
fn dialogue() -> (Rig, Vec<u8>) {
    let mut rig = Rig::pair(Capacities::default());
    rig.events.iter_mut().for_each(Vec::clear);
    let conn = rig.dialed(0);
    for number in 0..5 {
        rig.nodes[0].push(0, To::Gateway { incarnation: 4, shard: 1 }, envelope(Class::Live, number)).unwrap();
    }
    let mut said = Vec::new();
    rig.nodes[0].take_output(conn, 64 << 10, &mut said);
    (rig, said)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn before_it_has_proved_anything(bytes in bytes(), piece in 1usize..200) {
        let mut links = acceptor();
        let now = fabric::time::Now { mono_ns: 5, wall_ticks: 5 };
        links.tick(now);
        let conn = links.accepted(now, address(0)).unwrap();
        feed(&mut links, now, conn, &bytes, piece);
        while let Some(event) = links.next_event() {
            prop_assert!(matches!(event, LinkEvent::Refused { peer: None, .. }), "{event:?}");
        }
    }

    #[test]
    fn to_whoever_dialed(bytes in bytes(), piece in 1usize..200) {
        let mut links = acceptor();
        let now = fabric::time::Now { mono_ns: 5, wall_ticks: 5 };
        links.tick(now);
        let Some(Action::Connect { conn, .. }) = links.next_action() else { panic!("it dials") };
        links.connected(now, conn);
        feed(&mut links, now, conn, &bytes, piece);
        while let Some(event) = links.next_event() {
            prop_assert!(matches!(event, LinkEvent::Refused { peer: Some(0), .. }), "{event:?}");
        }
    }

    #[test]
    fn after_it_has_proved_who_it_is(bytes in bytes(), piece in 1usize..200) {
        let (mut rig, _) = dialogue();
        let conn = rig.far[&(0, rig.dialed(0))].1;
        let now = rig.now;
        feed(&mut rig.nodes[1], now, conn, &bytes, piece);
        while let Some(event) = rig.nodes[1].next_event() {
            // Who has proved that may also say that it leaves, and whom it hears.
            let may = matches!(
                event,
                LinkEvent::Silent { peer: 0, incarnation: 100 }
                    | LinkEvent::Leaving { peer: 0 }
                    | LinkEvent::Hears { peer: 0, .. }
            );
            prop_assert!(may, "{event:?}");
        }
    }

    /// A bit changed anywhere in parcels: what comes through is what was sent up to there, or an envelope that still reads;
    /// no parcel comes twice and none out of its turn.
    #[test]
    fn with_a_bit_changed_on_the_way(place in any::<prop::sample::Index>(), bit in 0u8..8, piece in 1usize..200) {
        let (mut rig, mut said) = dialogue();
        let conn = rig.far[&(0, rig.dialed(0))].1;
        let now = rig.now;
        let parcel = said.len() / 5;
        let place = place.index(said.len());
        said[place] ^= 1 << bit;
        feed(&mut rig.nodes[1], now, conn, &said, piece);
        rig.take_events(1);
        let mut numbers = Vec::new();
        for event in &rig.events[1] {
            match event {
                LinkEvent::Parcel { envelope, .. } => numbers.push(envelope.header.request_id),
                // The kind of a frame may be what was changed.
                LinkEvent::Silent { .. } | LinkEvent::Leaving { .. } | LinkEvent::Hears { .. } => (),
                other => prop_assert!(false, "{other:?}"),
            }
        }
        let whole = place / parcel;
        prop_assert!(numbers.len() >= whole && numbers.len() <= 5, "{numbers:?}");
        prop_assert_eq!(&numbers[..whole], &(0..whole as u64).collect::<Vec<_>>()[..]);
    }
}

#[test]
fn a_frame_that_claims_to_be_huge_is_refused_before_it_is_kept() {
    let mut links = acceptor();
    let now = fabric::time::Now { mono_ns: 5, wall_ticks: 5 };
    let conn = links.accepted(now, address(0)).unwrap();
    links.received(now, conn, &1_025u32.to_le_bytes());
    assert!(matches!(links.next_action(), Some(Action::Close(id)) if id == conn));
    assert_eq!(links.metrics().ends("broken"), 1);
}

#[test]
fn strangers_who_say_nothing_are_few_and_soon_gone() {
    let mut links = links(config("n1", 200, Capacities::default()), vec![peer(0, false)], 2);
    let mut now = fabric::time::Now { mono_ns: 5, wall_ticks: 5 };
    let conns: Vec<_> = (0..100).filter_map(|_| links.accepted(now, address(0))).collect();
    assert_eq!(conns.len(), 64);
    assert!(conns.iter().all(|conn| conn.index < links.places()));
    now.mono_ns += 3_000_000_000;
    links.tick(now);
    for &conn in &conns {
        assert!(matches!(links.next_action(), Some(Action::Close(id)) if id == conn));
        links.closed(now, conn);
    }
    let again = links.accepted(now, address(0)).unwrap();
    assert!(again.index < 64, "places are used again");
    assert!(!conns.contains(&again), "under another generation");
}
