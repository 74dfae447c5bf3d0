//! The life of links, without sockets: who links with whom, who is refused and told why, and what follows a break.

mod linked;

use std::sync::Arc;

use fabric::lane::Capacities;
use fabric::link::{LinkConfig, LinkEvent, Links, Names, Peer, RefusalCode, Roles, To, Why};
use linked::{Rig, config, envelope, identity, links, peer, said};
use schema::envelope::Class;

fn fast() -> Capacities {
    Capacities::default()
}

#[test]
fn both_ends_hear_of_a_link_and_parcels_arrive_as_they_were_sent() {
    let mut rig = Rig::pair(fast());
    assert_eq!(rig.heard(0), ["up 0 200 lost=false"]);
    assert_eq!(rig.heard(1), ["heard 0 100 lost=false"]);
    let destinations = [To::Owner, To::Router, To::Gateway { incarnation: 9, shard: 3 }, To::Gateways];
    for (number, to) in (0..).zip(destinations) {
        rig.nodes[0].push(0, to, envelope(Class::Control, number)).unwrap();
    }
    rig.run();
    let got: Vec<_> = rig.events[1].drain(..).collect();
    for ((number, to), event) in (0..).zip(destinations).zip(&got) {
        match event {
            LinkEvent::Parcel { from: 0, to: came, envelope: e } => {
                assert_eq!((*came, e), (to, &envelope(Class::Control, number)));
            }
            other => panic!("no parcel: {other:?}"),
        }
    }
    assert_eq!(got.len(), 4);
    assert!(rig.nodes[0].is_quiet());
    assert_eq!(rig.nodes[1].links_from(0, 100), 1);
}

#[test]
fn a_break_is_told_to_both_ends_and_the_next_link_says_that_something_is_lost() {
    let mut rig = Rig::pair(fast());
    rig.events = vec![Vec::new(), Vec::new()];
    rig.nodes[0].push(0, To::Owner, envelope(Class::Send, 1)).unwrap();
    rig.cut_all();
    let back = rig.nodes[0].push(0, To::Owner, envelope(Class::Send, 2)).unwrap_err();
    assert_eq!((back.why, back.envelope.header.request_id), (Why::Down, 2));
    rig.nodes[0].push(0, To::Owner, envelope(Class::Ephemeral, 3)).expect("dropped and counted");
    rig.pass(100);
    assert_eq!(rig.heard(0), ["down 0", "up 0 200 lost=true"]);
    assert_eq!(rig.heard(1), ["silent 0 100", "heard 0 100 lost=true"]);
    let metrics = rig.nodes[0].metrics();
    assert_eq!((metrics.lost(Class::Send), metrics.down(Class::Send), metrics.dropped(Class::Ephemeral)), (1, 1, 1));
    assert_eq!((metrics.up.get(), rig.nodes[1].metrics().heard.get()), (1, 1));
}
