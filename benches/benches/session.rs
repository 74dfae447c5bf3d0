//! The gateway: one message's way through a shard, from the sender's bytes to the receiver's and back to the mark, without
//! owner, router and sockets.
use std::time::Duration;

use benches::session::{Gateway, Rounds};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use schema::encode::Encoder;

fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("session/send, sent, deliver, mark");
    for messages in [1u64, 16] {
        let mut encoder = Encoder::new();
        let mut gateway = Gateway::new(&mut encoder);
        let mut rounds = Rounds::new(encoder, &gateway);
        group.throughput(Throughput::Elements(messages));
        group.bench_function(format!("{messages} a read"), |b| {
            b.iter_batched(
                || rounds.take(messages),
                |mut round| {
                    gateway.sends(&round);
                    gateway.deliveries(&mut round);
                    gateway.mark(&round);
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = session;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = message
}
criterion_main!(session);
