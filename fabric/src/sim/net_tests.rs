//! The simulated network keeps order within a stream and loses nothing but by a fault.

use super::*;

fn run(net: &mut SimNet) -> Vec<NetEvent> {
    let mut events = Vec::new();
    while let Some(at) = net.next_event_ns() {
        events.extend(net.poll(at));
    }
    events
}

fn received(events: &[NetEvent], side: Side) -> Vec<u8> {
    let bytes = events.iter().filter_map(|event| match event {
        NetEvent::Received { side: to, bytes, .. } if *to == side => Some(bytes.clone()),
        _ => None,
    });
    bytes.flatten().collect()
}

#[test]
fn bytes_arrive_in_order_and_once_in_odd_pieces() {
    for seed in 0..50 {
        let mut net = SimNet::new(seed);
        net.set_faults(NetFaults { max_chunk_bytes: 7, ..NetFaults::default() });
        let stream = net.connect(0);
        let sent: Vec<u8> = (0..500u32).map(|i| i as u8).collect();
        for (i, bytes) in sent.chunks(23).enumerate() {
            net.send(i as u64, stream, Side::Client, bytes);
        }
        net.close(1_000, stream, Side::Client);
        let events = run(&mut net);
        assert_eq!(events.first(), Some(&NetEvent::Opened { stream }), "seed {seed}");
        assert_eq!(received(&events, Side::Server), sent, "seed {seed}");
        assert_eq!(events.last(), Some(&NetEvent::Closed { stream, side: Side::Server }), "seed {seed}");
        assert!(net.counters().split > 0, "seed {seed}");
        assert_eq!(net.streams().count(), 0, "seed {seed}");
    }
}

#[test]
fn a_break_tells_both_sides_and_loses_only_the_end() {
    for seed in 0..50 {
        let mut net = SimNet::new(seed);
        net.set_faults(NetFaults { break_one_in: 10, ..NetFaults::default() });
        let stream = net.connect(0);
        let mut events = Vec::new();
        let mut sent = Vec::new();
        for i in 0..200u8 {
            net.send(u64::from(i) * 100_000, stream, Side::Server, &[i; 3]);
            sent.extend([i; 3]);
            while let Some(event) = net.poll(u64::from(i) * 100_000) {
                events.push(event);
            }
        }
        events.extend(run(&mut net));
        assert_eq!(net.counters().broken, 1, "seed {seed}");
        assert!(net.counters().lost_bytes > 0, "seed {seed}");
        assert!(sent.starts_with(&received(&events, Side::Client)), "seed {seed}");
        for side in [Side::Client, Side::Server] {
            let told = events.iter().filter(|event| **event == NetEvent::Closed { stream, side }).count();
            assert_eq!(told, 1, "seed {seed}: {side:?}");
        }
    }
}

#[test]
fn a_stall_tells_nobody() {
    let mut net = SimNet::new(3);
    net.set_faults(NetFaults { stall_one_in: 1, ..NetFaults::default() });
    let stream = net.connect(0);
    net.send(0, stream, Side::Client, b"lost");
    assert_eq!(run(&mut net), [NetEvent::Opened { stream }]);
    assert_eq!(net.counters().stalled, 1);
    assert_eq!(net.counters().lost_bytes, 4);
    assert_eq!(net.streams().count(), 1);
}

fn host(number: u8) -> std::net::IpAddr {
    [10, 0, 0, number].into()
}

#[test]
fn an_address_answers_while_somebody_listens_there() {
    for seed in 0..20 {
        let mut net = SimNet::new(seed);
        let to = (host(2), 7).into();
        let refused = net.dial(0, host(1), to);
        assert_eq!(run(&mut net), [NetEvent::Closed { stream: refused, side: Side::Client }], "seed {seed}");
        assert_eq!(net.address(refused), None);
        net.listen(to);
        let stream = net.dial(0, host(1), to);
        assert_eq!(net.address(stream), Some(to));
        let events = run(&mut net);
        assert_eq!(events, [NetEvent::Opened { stream }, NetEvent::Connected { stream }], "seed {seed}");
        net.send(1, stream, Side::Client, b"hello");
        assert_eq!(received(&run(&mut net), Side::Server), b"hello");
        net.unlisten(to);
        let refused = net.dial(0, host(1), to);
        assert_eq!(run(&mut net), [NetEvent::Closed { stream: refused, side: Side::Client }], "seed {seed}");
    }
}

#[test]
fn what_is_cut_waits_and_goes_on_when_it_is_mended() {
    let mut net = SimNet::new(5);
    let to = (host(2), 7).into();
    net.listen(to);
    let (cut, other) = (net.dial(0, host(1), to), net.dial(0, host(3), to));
    run(&mut net);
    net.cut(host(2), host(1));
    net.send(1, cut, Side::Client, b"late");
    net.send(1, other, Side::Client, b"early");
    let waiting = net.dial(1, host(1), to);
    assert_eq!(received(&run(&mut net), Side::Server), b"early");
    net.mend(host(1), host(2));
    let events = run(&mut net);
    assert_eq!(received(&events, Side::Server), b"late");
    assert!(events.contains(&NetEvent::Connected { stream: waiting }));
}

#[test]
fn a_host_that_dies_ends_its_streams_and_hears_nothing() {
    let mut net = SimNet::new(5);
    let to = (host(2), 7).into();
    net.listen(to);
    let (its, others) = (net.dial(0, host(1), to), net.dial(0, host(3), to));
    run(&mut net);
    net.send(1, its, Side::Server, b"lost");
    net.break_host(1, host(1));
    assert_eq!(run(&mut net), [NetEvent::Closed { stream: its, side: Side::Server }]);
    assert_eq!(net.streams().collect::<Vec<_>>(), [others]);
}
