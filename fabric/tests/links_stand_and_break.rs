//! The life of links, without sockets: who links with whom, who is refused and told why, and what follows a break.

mod linked;

use std::sync::Arc;

use fabric::lane::Capacities;
use fabric::link::{LinkConfig, LinkEvent, LinkRefusal, Links, Names, Peer, RefusalCode, Roles, To, Why};
use linked::{Rig, address, config, envelope, links, peer};
use schema::envelope::{Body, Class, Envelope};

fn usual(name: &str, incarnation: u64) -> LinkConfig {
    config(name, incarnation, Capacities::default())
}

fn pair() -> Rig {
    let mut rig = Rig::pair(Capacities::default());
    rig.events = vec![Vec::new(), Vec::new()];
    rig
}

#[test]
fn both_ends_hear_of_a_link_and_parcels_arrive_as_they_were_sent() {
    let mut rig = Rig::pair(Capacities::default());
    assert_eq!(rig.heard(0), ["up 0 200 lost=false"]);
    assert_eq!(rig.heard(1), ["heard 0 100 lost=false"]);
    let destinations = [To::Owner, To::Router, To::Gateway { incarnation: 9, shard: 3 }, To::Gateways];
    for (number, to) in (0..).zip(destinations) {
        rig.nodes[0].push(0, to, envelope(Class::Control, number)).unwrap();
    }
    assert!(!rig.nodes[0].is_quiet());
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
    let mut rig = pair();
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

#[test]
fn a_quiet_link_stands_for_as_long_as_both_live() {
    let mut rig = pair();
    rig.pass(60_000);
    assert_eq!((rig.heard(0).len(), rig.heard(1).len()), (0, 0));
}

#[test]
fn a_peer_that_is_frozen_is_noticed_by_both_ends_and_linked_with_again_when_it_thaws() {
    let mut rig = pair();
    rig.frozen[1] = true;
    rig.pass(1_400);
    assert!(rig.nodes[0].is_up(0), "not silent for long enough");
    rig.pass(200);
    assert_eq!(rig.heard(0), ["down 0"]);
    assert_eq!(rig.nodes[0].metrics().ends("silent"), 1);
    rig.pass(5_000);
    assert!(rig.nodes[0].metrics().ends("handshake") >= 1, "what answers no hello is given up");
    rig.frozen[1] = false;
    rig.pass(3_000);
    assert_eq!(rig.heard(0), ["up 0 200 lost=true"]);
    assert_eq!(rig.heard(1), ["silent 0 100", "heard 0 100 lost=true"]);
}

#[test]
fn a_peer_that_lives_but_takes_nothing_is_given_up() {
    let patient = LinkConfig { silent_ms: 600_000, ..usual("n1", 200) };
    let mut rig =
        Rig::new(vec![links(usual("n0", 100), vec![peer(1, true)], 1), links(patient, vec![peer(0, false)], 2)]);
    rig.run();
    rig.events = vec![Vec::new(), Vec::new()];
    rig.deaf[1] = true;
    rig.pass(2_000);
    assert_eq!(rig.heard(0), ["down 0"]);
    assert_eq!((rig.nodes[0].metrics().ends("stuck"), rig.nodes[0].metrics().ends("silent")), (1, 0));
}

#[test]
fn an_absent_peer_is_dialed_at_growing_intervals() {
    let mut rig = Rig::new(vec![links(usual("n0", 100), vec![peer(1, true)], 1)]);
    rig.pass(1_000);
    let early = rig.nodes[0].metrics().dials.get();
    assert!((4..=10).contains(&early), "{early}: from 50 ms on, doubling");
    rig.pass(10_000);
    let late = rig.nodes[0].metrics().dials.get() - early;
    assert!((9..=21).contains(&late), "{late}: every half to whole second");
}

/// What a node hears that dials another one, and what the other one hears.
fn refused(dialer: Links, acceptor: Links) -> (LinkRefusal, LinkRefusal) {
    let mut rig = Rig::new(vec![dialer, acceptor]);
    rig.pass(5_000);
    assert!(!rig.nodes[0].is_up(0));
    assert!(rig.nodes[0].metrics().dials.get() > 2, "it is tried again");
    let whys = |events: &[LinkEvent]| -> Vec<(Option<u16>, LinkRefusal)> {
        let why = |event: &LinkEvent| match event {
            LinkEvent::Refused { peer, why } => (*peer, why.clone()),
            other => panic!("no refusal: {other:?}"),
        };
        events.iter().map(why).collect()
    };
    let (here, there) = (whys(&rig.events[0]), whys(&rig.events[1]));
    assert_eq!((here.len(), here[0].0), (1, Some(0)), "told once");
    assert_eq!(there[0].0, None);
    (here[0].1.clone(), there[0].1.clone())
}

/// The second node, which is as it should be.
fn good() -> Links {
    links(usual("n1", 200), vec![peer(0, false)], 2)
}

#[track_caller]
fn is_refused(dialer: LinkConfig, acceptor: Links, code: RefusalCode, words: &str) {
    let (here, there) = refused(links(dialer, vec![peer(1, true)], 1), acceptor);
    assert_eq!((here.code, there.code), (code, code));
    assert_eq!(here.node, "n1");
    let text = here.to_string();
    assert!(text.contains(words) && text.contains("; "), "{text}");
    assert!(!text.contains("a secret of") && !there.to_string().contains("a secret of"));
}

#[test]
fn who_does_not_belong_is_refused_and_both_ends_know_why() {
    let mut other = usual("n0", 100);
    other.identity.cluster = "other".to_owned();
    is_refused(
        other,
        good(),
        RefusalCode::WrongCluster,
        "n1 is not of cluster \"other\"; give both the same cluster name",
    );

    let mut wrong = usual("n0", 100);
    wrong.secret = Arc::from(&b"another secret"[..]);
    is_refused(wrong, good(), RefusalCode::BadSecret, "the secret of n1 is not that of n0; give every node");

    is_refused(usual("n7", 100), good(), RefusalCode::UnknownNode, "the list of n1 has no node \"n7\"");
    is_refused(usual("n1", 100), good(), RefusalCode::NameInUse, "this node is named n1 itself; stop the other");

    let listed = Peer { roles: Roles::ROUTER, ..peer(0, false) };
    let picky = links(usual("n1", 200), vec![listed], 2);
    is_refused(
        usual("n0", 100),
        picky,
        RefusalCode::WrongRole,
        "the list of n1 says router; give the node the same roles",
    );

    // Another node answers at the address.
    let mistaken = links(usual("n2", 200), vec![peer(0, false)], 2);
    is_refused(usual("n0", 100), mistaken, RefusalCode::UnknownNode, "node \"n2\" answers at the address of \"n1\"");
}

#[test]
fn a_node_that_does_not_know_the_secret_is_refused_whichever_end_it_is() {
    let mut wrong = usual("n1", 200);
    wrong.secret = Arc::from(&b"another secret"[..]);
    is_refused(usual("n0", 100), links(wrong, vec![peer(0, false)], 2), RefusalCode::BadSecret, "the secret of n1");
}

#[test]
fn nodes_one_version_apart_link_and_two_apart_are_refused() {
    let node = |name, incarnation, peers, versions| links(usual(name, incarnation), peers, 1).with_versions(versions);
    for (older, newer) in [((1, 1), (1, 2)), ((1, 2), (2, 3)), ((2, 3), (1, 2)), ((1, 2), (1, 1))] {
        let (a, b) = (node("n0", 100, vec![peer(1, true)], older), node("n1", 200, vec![peer(0, false)], newer));
        let mut rig = Rig::new(vec![a, b]);
        rig.run();
        assert!(rig.nodes[0].is_up(0), "{older:?} and {newer:?}");
    }
    for (one, other) in [((1, 2), (3, 4)), ((3, 4), (1, 2)), ((1, 1), (2, 2))] {
        let (a, b) = (node("n0", 100, vec![peer(1, true)], one), node("n1", 200, vec![peer(0, false)], other));
        let (here, _) = refused(a, b);
        assert_eq!(here.code, RefusalCode::Version);
        let text = here.to_string();
        assert!(text.contains(&format!("n1 speaks versions {} to {}", other.0, other.1)), "{text}");
        assert!(text.contains("upgrade the older of the two"), "{text}");
    }
}

/// Three nodes: the first two claim one name and dial the third.
fn twins() -> Rig {
    let twin = |incarnation, seed| links(usual("n0", incarnation), vec![peer(2, true)], seed);
    Rig::new(vec![twin(100, 1), twin(101, 2), links(usual("n2", 300), vec![peer(0, false)], 3)])
}

#[test]
fn of_two_processes_of_one_name_the_one_that_is_linked_and_alive_stays() {
    let mut rig = twins();
    rig.frozen[1] = true;
    rig.run();
    assert_eq!(rig.heard(0), ["up 0 300 lost=false"]);
    rig.frozen[1] = false;
    rig.pass(3_000);
    assert_eq!(rig.heard(1), ["refused Some(0) name_in_use"]);
    assert!(rig.nodes[0].is_up(0));

    // The first one freezes; the second is taken once it has been silent. Then the first one is too late.
    rig.frozen[0] = true;
    rig.pass(4_000);
    assert_eq!(rig.heard(1), ["up 0 300 lost=false"]);
    rig.frozen[0] = false;
    rig.pass(4_000);
    assert_eq!(rig.heard(0), ["down 0", "refused Some(0) name_in_use"]);
    assert!(rig.nodes[1].is_up(0));
}

#[test]
fn a_process_that_comes_after_its_predecessor_has_gone_is_taken_at_once() {
    let mut rig = twins();
    rig.frozen[1] = true;
    rig.run();
    rig.frozen[0] = true;
    rig.cut_all();
    rig.frozen[1] = false;
    rig.pass(100);
    assert_eq!(rig.heard(1), ["up 0 300 lost=false"]);
    assert_eq!(rig.heard(2), ["heard 0 100 lost=false", "silent 0 100", "heard 0 101 lost=false"]);
}

#[test]
fn shards_of_one_process_know_together_which_node_is_alive() {
    let names = Arc::new(Names::default());
    // Nodes 1 and 2 are two shards of one process; twins of one name dial one each.
    let shard = |seed| links(usual("n9", 300), vec![peer(0, false)], seed).with_names(names.clone());
    let twin = |incarnation, at: usize| {
        let place = Peer { name: "n9".to_owned(), address: address(at).into(), roles: Roles::ALL, dial: true };
        links(usual("n0", incarnation), vec![place], incarnation)
    };
    let mut rig = Rig::new(vec![twin(100, 1), shard(1), shard(2), twin(101, 2)]);
    rig.frozen[3] = true;
    rig.run();
    rig.frozen[3] = false;
    rig.pass(1_000);
    assert_eq!(rig.heard(3), ["refused Some(0) name_in_use"]);
    assert_eq!((names.links_from("n0", 100), names.links_from("n0", 101)), (1, 0));
}

#[test]
fn a_shard_that_dials_anew_is_heard_no_more_by_its_old_link_even_at_another_shard() {
    let names = Arc::new(Names::default());
    let shard = |seed| links(usual("n9", 300), vec![peer(0, false)], seed).with_names(names.clone());
    let dialer = |at: usize| {
        let place = Peer { name: "n9".to_owned(), address: address(at).into(), roles: Roles::ALL, dial: true };
        links(usual("n0", 100), vec![place], 5)
    };
    // The same process and shard, first with a link to one acceptor, then with one to the other.
    let mut rig = Rig::new(vec![dialer(1), shard(1), shard(2), dialer(2)]);
    rig.frozen[3] = true;
    rig.run();
    rig.nodes[0].push(0, To::Owner, envelope(Class::Send, 1)).unwrap();
    rig.frozen[0] = true;
    rig.frozen[3] = false;
    rig.run();
    assert!(rig.nodes[3].is_up(0));
    rig.frozen[0] = false;
    rig.run();
    assert_eq!(rig.heard(1), ["heard 0 100 lost=false", "silent 0 100"], "the parcel of the old link came too late");
    assert_eq!(names.links_from("n0", 100), 1);
}

#[test]
fn a_link_that_is_stopped_says_goodbye_and_dials_no_more() {
    let mut rig = pair();
    let now = rig.now;
    rig.nodes[0].stop(now);
    rig.pass(3_000);
    assert_eq!(rig.heard(0), ["down 0"]);
    assert_eq!(rig.heard(1), ["silent 0 100"]);
    assert_eq!(rig.nodes[0].metrics().dials.get(), 1);
    assert!(rig.nodes.iter().all(|node| node.metrics().ends("planned") >= 1), "both know that it was meant");
    assert!(rig.nodes[0].is_quiet());
    assert_eq!(rig.nodes[0].accepted(now, address(1)), None);
}

#[test]
fn a_node_says_whom_it_hears_at_once_when_that_changes_and_again_over_a_new_link() {
    let mut rig = pair();
    let told = |rig: &mut Rig| -> Vec<(u16, Vec<u64>)> {
        let hears = |event: LinkEvent| match event {
            LinkEvent::Hears { peer, whom } => Some((peer, whom)),
            _ => None,
        };
        std::mem::take(&mut rig.events[1]).into_iter().filter_map(hears).collect()
    };
    rig.pass(1_000);
    assert_eq!(told(&mut rig), [], "it has not been asked to");
    rig.nodes[0].hears(vec![7, 8]);
    rig.pass(20);
    assert_eq!(told(&mut rig), [(0, vec![7, 8])]);
    rig.nodes[0].hears(vec![7, 8]);
    rig.pass(1_000);
    assert_eq!(told(&mut rig), [], "nothing new");
    rig.nodes[0].hears(Vec::new());
    rig.pass(20);
    assert_eq!(told(&mut rig), [(0, vec![])]);
    rig.cut_all();
    rig.pass(3_000);
    assert_eq!(told(&mut rig), [(0, vec![])]);
}

#[test]
fn a_node_that_leaves_is_let_go_once_all_that_was_said_to_it_has_come() {
    let node = |name, incarnation, other| links(usual(name, incarnation), vec![peer(other, true)], incarnation);
    let mut rig = Rig::new(vec![node("n0", 100, 1), node("n1", 200, 0)]);
    rig.run();
    rig.events.iter_mut().for_each(Vec::clear);
    rig.nodes[1].leave();
    assert!(!rig.nodes[1].may_go(|_| true) && rig.nodes[1].may_go(|_| false), "only those that are waited for");
    rig.pass(10);
    assert_eq!(rig.heard(0), ["leaving 0", "leaving 0"], "over the link in each direction");
    assert!(!rig.nodes[1].may_go(|_| true), "it was told, and has not answered");
    // A link carries as before.
    rig.nodes[0].push(0, To::Owner, envelope(Class::Ack, 1)).unwrap();
    rig.nodes[0].let_go(0);
    rig.pass(10);
    assert_eq!(rig.heard(1), ["Ack 1 from 0"]);
    assert!(!rig.nodes[1].may_go(|_| true), "something was queued when the heartbeat was made");
    rig.pass(200);
    assert!(rig.nodes[1].may_go(|_| true));
    let now = rig.now;
    rig.nodes[1].stop(now);
    rig.run();
    assert!(rig.nodes[1].is_closed());
    let mut heard = rig.heard(0);
    heard.sort_unstable();
    assert_eq!(heard, ["down 0", "silent 0 200"]);
    // What comes in its place has to be let go anew.
    rig.nodes[1] = node("n1", 201, 0);
    rig.pass(2_000);
    let mut heard = rig.heard(0);
    heard.sort_unstable();
    assert_eq!(heard, ["heard 0 201 lost=false", "up 0 201 lost=true"]);
    rig.nodes[1].leave();
    rig.pass(400);
    assert!(!rig.nodes[1].may_go(|_| true));
    rig.cut_all();
    assert!(rig.nodes[1].may_go(|_| true), "nobody is there to be waited for");
}

#[test]
fn an_envelope_too_large_for_a_link_breaks_it_rather_than_being_lost_quietly() {
    let mut rig = pair();
    let frame = vec![7; 17 << 20].into();
    rig.nodes[0].push(0, To::Owner, Envelope::new(Class::Sync, Body::Answer { frame })).unwrap();
    rig.nodes[0].push(0, To::Owner, envelope(Class::Live, 1)).unwrap_err();
    rig.run();
    assert_eq!(rig.heard(0), ["down 0"]);
    assert_eq!(rig.nodes[0].metrics().oversize.get(), 1);
    rig.pass(100);
    assert_eq!(rig.heard(0), ["up 0 200 lost=true"]);
}

#[test]
fn bytes_that_wait_are_bounded_and_acks_have_room_that_pushes_cannot_take() {
    let config = LinkConfig { queue_bytes: 1 << 20, ..usual("n0", 100) };
    let mut rig =
        Rig::new(vec![links(config, vec![peer(1, true)], 1), links(usual("n1", 200), vec![peer(0, false)], 2)]);
    rig.run();
    let large = |class| Envelope::new(class, Body::Answer { frame: vec![7; 60_000].into() });
    let fill =
        |rig: &mut Rig, class| (0..).take_while(|_| rig.nodes[0].push(0, To::Owner, large(class)).is_ok()).count();
    assert_eq!(fill(&mut rig, Class::Live), 13, "three quarters");
    assert_eq!(fill(&mut rig, Class::Ack), 4, "the last quarter");
    assert_eq!(fill(&mut rig, Class::Control), 0);
    let back = rig.nodes[0].push(0, To::Router, large(Class::Control)).unwrap_err();
    assert_eq!((back.why, back.to), (Why::Full, To::Router));
    assert_eq!((rig.nodes[0].metrics().full(Class::Live), rig.nodes[0].metrics().full(Class::Control)), (1, 2));
    // What others wait for had no room: both ends must know that it is lost.
    rig.events.iter_mut().for_each(Vec::clear);
    rig.run();
    assert_eq!((rig.heard(0), rig.heard(1)), (vec!["down 0".to_owned()], vec!["silent 0 100".to_owned()]));
    let metrics = rig.nodes[0].metrics();
    assert_eq!((metrics.lost(Class::Live), metrics.lost(Class::Ack), rig.nodes[0].is_quiet()), (13, 4, true));
}

#[test]
fn a_peer_that_comes_by_itself_is_dialed_back_without_waiting() {
    let node = |name, incarnation, other| links(usual(name, incarnation), vec![peer(other, true)], incarnation);
    let mut rig = Rig::new(vec![node("n0", 100, 1), node("n1", 200, 0)]);
    rig.listening[1] = false;
    rig.frozen[1] = true;
    rig.pass(20_000); // tries are half a second apart and more by now
    let dials = rig.nodes[0].metrics().dials.get();
    rig.listening[1] = true;
    rig.frozen[1] = false;
    rig.run();
    assert!(rig.nodes[0].is_up(0) && rig.nodes[1].is_up(0));
    assert_eq!(rig.nodes[0].metrics().dials.get(), dials + 1);
}

#[test]
fn a_list_that_changes_ends_links_with_who_went_and_makes_links_with_who_came() {
    let mut rig = Rig::new(vec![
        links(usual("n0", 100), vec![peer(1, true)], 1).with_room(2),
        links(usual("n1", 200), vec![peer(0, true)], 2),
        links(usual("n2", 300), vec![peer(0, true)], 3),
    ]);
    rig.listening[2] = false;
    let places = rig.nodes[0].places();
    rig.run();
    assert!(rig.heard(0).iter().any(|told| told == "refused None unknown_node"), "n2 is in no list yet");
    let now = rig.now;
    rig.listening[2] = true;
    rig.nodes[0].relist(now, &[Some(peer(1, true)), Some(peer(2, true))]);
    rig.pass(3_000);
    assert!(rig.nodes[0].is_up(0) && rig.nodes[0].is_up(1) && rig.nodes[2].is_up(0));
    rig.heard(0);
    let now = rig.now;
    rig.nodes[0].relist(now, &[None, Some(peer(2, true))]);
    rig.pass(3_000);
    assert!(!rig.nodes[0].is_up(0) && rig.nodes[0].is_up(1), "only who went is let go");
    let heard = rig.heard(0);
    assert!(heard.contains(&"down 0".to_owned()) && heard.contains(&"silent 0 200".to_owned()), "{heard:?}");
    assert!(rig.nodes[0].push(0, To::Router, envelope(Class::Live, 1)).is_err());
    // Its number is another's, and later its own again.
    let now = rig.now;
    rig.nodes[0].relist(now, &[Some(peer(1, true)), Some(peer(2, true))]);
    rig.pass(3_000);
    assert!(rig.nodes[0].is_up(0));
    assert_eq!(rig.nodes[0].places(), places, "connections of others keep their numbers");
}
