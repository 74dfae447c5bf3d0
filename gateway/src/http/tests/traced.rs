//! Which sends are traced, and under whose span.

use fabric::trace::{Span, Spans, Step};

use super::*;
use crate::config::Traces;
use crate::http::TraceParent;

fn traced(every: u32) -> (Desk<u32>, Spans) {
    let spans = Spans::new(1);
    let traces = Some(Traces { every, spans: spans.clone() });
    let config = DeskConfig { traces, ..desk(10, 10).config().clone() };
    (Desk::new(config, Arc::new(UserRates::new(0, 0, 1)), DeskMetrics::default()), spans)
}

/// Sends one, answers it 5 ms later, and returns what was told of it.
fn send(desk: &mut Desk<u32>, spans: &Spans, caller: Option<TraceParent>) -> Option<Span> {
    let mut owners = Owners::default();
    desk.post(at(10), &Post { caller, ..post(b"x", b"a") }, 1, &mut owners).unwrap();
    pass(desk, &mut owners);
    let asked = owners.0.pop().unwrap();
    let mut answer = sent(&asked);
    answer.header.trace = asked.header.trace.clone();
    let later = Now { wall_ticks: 10_000_000, ..at(15) };
    assert!(desk.handle(later, answer, &mut owners).is_some());
    let told = spans.take(10);
    assert_eq!(told.len(), usize::from(asked.header.trace.is_some()));
    told.first().copied()
}

#[test]
fn a_send_is_traced_as_its_caller_says_and_one_of_so_many_where_nobody_does() {
    let (mut desk, spans) = traced(3);
    let caller = |sampled| Some(TraceParent { trace: 0xab, span: 0xcd, sampled });
    let span = send(&mut desk, &spans, caller(true)).expect("the caller records it");
    assert_eq!((span.trace, span.parent, span.step), (0xab, 0xcd, Step::Send));
    assert_eq!((span.end_ns, span.end_ns - span.start_ns), (1_000_000_000, 5_000_000), "until it is answered");
    assert_eq!(send(&mut desk, &spans, caller(false)), None, "the caller does not");
    let own: Vec<bool> = (0..6).map(|_| send(&mut desk, &spans, None).is_some()).collect();
    assert_eq!(own, [false, false, true, false, false, true]);
    let own = (0..3).find_map(|_| send(&mut desk, &spans, None)).unwrap();
    assert_eq!((own.parent, own.trace == 0xab), (0, false));
    let (mut off, nothing) = (super::desk(10, 10), Spans::new(1));
    assert_eq!(send(&mut off, &nothing, caller(true)), None, "this process tells nobody");
}
