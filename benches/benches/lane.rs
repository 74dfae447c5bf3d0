//! Handing envelopes to another shard: the ring alone, the ring between two threads, and the wake of a sleeping one.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::fake;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fabric::lane::{Capacities, Mesh, Port};
use fabric::wake::Waker;
use schema::encode::Encoder;
use schema::envelope::{Body, Class, Envelope, GapScope};

/// Envelopes a burst.
const BURST: usize = 256;

fn ports() -> (Port, Port) {
    let mut ports = Mesh::new(2, 1, Capacities::default()).expect("two eventfds");
    let second = ports.pop().expect("two ports");
    (ports.pop().expect("two ports"), second)
}

fn sends() -> Vec<Envelope> {
    let mut encoder = Encoder::new();
    let pair = (fake::user(1), fake::user(2));
    (0..BURST as u64).map(|number| fake::send_envelope(&mut encoder, number, pair, &[b'x'; 128])).collect()
}

fn same_thread(c: &mut Criterion) {
    let (mut here, mut there) = ports();
    let sends = sends();
    let mut group = c.benchmark_group("lane/same thread");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(format!("push and drain {BURST} sends"), |b| {
        b.iter_batched(
            || sends.clone(),
            |sends| {
                there.waker().begin_turn();
                for envelope in sends {
                    here.push(1, envelope).expect("the ring has room for a burst");
                }
                here.flush();
                let mut taken = 0;
                there.drain(BURST, |_, envelope| taken += usize::from(envelope.header.class == Class::Send));
                assert_eq!(taken, BURST);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Sleeps until somebody wakes this shard. Returns at once if somebody did during the turn.
fn sleep(waker: &Waker) {
    if waker.try_sleep() {
        let mut poll = libc::pollfd { fd: waker.raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; the timeout lets the thread see that it shall end.
        unsafe { libc::poll(&raw mut poll, 1, 100) };
        waker.clear();
    }
}

/// Answers every `every`th envelope with a control one, until told to stop.
fn answer(mut port: Port, every: usize, stop: &AtomicBool) {
    let waker = port.waker();
    let mut taken = 0;
    while !stop.load(Ordering::Relaxed) {
        waker.begin_turn();
        port.drain(usize::MAX, |_, _| taken += 1);
        while taken >= every {
            taken -= every;
            port.push(0, Envelope::new(Class::Control, Body::Gap(GapScope::All))).expect("one answer at a time");
        }
        port.flush();
        sleep(&waker);
    }
}

/// Time of `rounds` bursts of `burst` envelopes to another thread, each followed by one answer, both sleeping between.
fn rounds(sends: &[Envelope], rounds: u64) -> Duration {
    let (mut here, there) = ports();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = {
        let (stop, every) = (Arc::clone(&stop), sends.len());
        std::thread::spawn(move || answer(there, every, &stop))
    };
    let waker = here.waker();
    let begin = Instant::now();
    for _ in 0..rounds {
        for envelope in sends {
            here.push(1, envelope.clone()).expect("the ring has room for a burst");
        }
        here.flush();
        let mut answered = 0;
        while answered == 0 {
            waker.begin_turn();
            here.drain(usize::MAX, |_, _| answered += 1);
            if answered == 0 {
                sleep(&waker);
            }
        }
    }
    let took = begin.elapsed();
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the other shard ends");
    took
}

fn across_threads(c: &mut Criterion) {
    let sends = sends();
    let mut group = c.benchmark_group("lane/across threads");
    group.bench_function("one there, one back, both asleep", |b| b.iter_custom(|n| rounds(&sends[..1], n)));
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function(format!("{BURST} there, one back"), |b| b.iter_custom(|n| rounds(&sends, n)));
    group.finish();
}

criterion_group! {
    name = lane;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = same_thread, across_threads
}
criterion_main!(lane);
