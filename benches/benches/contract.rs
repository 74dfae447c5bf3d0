//! What every message costs at least: verifying a frame, encoding one, drawing an id.
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use schema::encode::{Encoder, EntryFields, SendFields, SendTarget};
use schema::frame::FrameRef;
use schema::ids::{ChatId, DeviceId, MessageId, UserId};
use schema::timeuuid::Generator;
use schema::wire::EntryKind;

fn send_fields(body: &[u8]) -> SendFields<'_> {
    SendFields {
        client_msg_id: b"0123456789abcdef01234567",
        target: SendTarget::User(UserId::new(7).expect("7 is a user")),
        kind: EntryKind::message,
        content_type: 0,
        body,
        refers_to: None,
        after_seq: 0,
        retry: false,
    }
}

fn entry_fields(body: &[u8]) -> EntryFields<'_> {
    EntryFields {
        chat: ChatId([7; 16]),
        message: MessageId([9; 16]),
        seq: 41,
        sender: UserId::new(7).expect("7 is a user"),
        device: DeviceId(1),
        kind: EntryKind::message,
        content_type: 0,
        body,
        client_msg_id: b"0123456789abcdef01234567",
        refers_to: None,
        after_seq: 40,
        timestamp_ms: 1_700_000_000_000,
    }
}

fn frame(c: &mut Criterion) {
    let mut encoder = Encoder::new();
    for bytes in [16, 128, 4_096] {
        let body = vec![b'x'; bytes];
        let send = encoder.send(&send_fields(&body));
        c.bench_function(&format!("frame/verify send {bytes} B"), |b| {
            b.iter(|| FrameRef::verify(black_box(&send)).expect("the encoder writes valid frames"));
        });
        c.bench_function(&format!("frame/encode entry {bytes} B"), |b| {
            b.iter(|| encoder.entry(black_box(&entry_fields(&body))));
        });
    }
}

fn timeuuid(c: &mut Criterion) {
    let mut generator = Generator::new([7; 8]);
    let mut now = 16_000_000_000_000_000;
    c.bench_function("timeuuid/next", |b| {
        b.iter(|| {
            now += 1;
            generator.next(black_box(now), None).expect("the clock only rises")
        });
    });
}

criterion_group!(benches, frame, timeuuid);
criterion_main!(benches);
