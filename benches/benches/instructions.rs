//! Instructions of one message's parts, counted by valgrind: the same on a busy machine, so that a change of some percent
//! shows. Set-ups and the dropping of what is returned are not counted. Run by `cargo xtask instructions`.
#![allow(missing_docs)]

use std::hint::black_box;

use benches::fake::{self, NoDisk};
use benches::fanout::FanOut;
use benches::journal::{FRAME_BYTES, append, commit};
use benches::owner::{Owner, Sends, config};
use benches::session::{Gateway, Round, Rounds};
use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use schema::encode::Encoder;
use schema::envelope::Envelope;
use schema::frame::FrameRef;
use schema::ids::ChatId;
use storage_writer::journal::{Journal, JournalConfig, JournalId};

const BODY: [u8; 128] = [b'x'; 128];

fn a_send() -> Bytes {
    fake::send_frame(&mut Encoder::new(), 1, fake::user(7), &BODY)
}

/// An encoder that has its buffers.
fn an_encoder() -> Encoder {
    let mut encoder = Encoder::new();
    drop(fake::entry_frame(&mut encoder, (ChatId([7; 16]), 40), fake::user(7), &BODY));
    encoder
}

#[library_benchmark]
#[bench::send_of_128(setup = a_send)]
fn verify(frame: Bytes) -> Bytes {
    drop(black_box(FrameRef::verify(black_box(&frame)).map(drop)));
    frame
}

#[library_benchmark]
#[bench::entry_of_128(setup = an_encoder)]
fn encode(mut encoder: Encoder) -> (Encoder, Bytes) {
    let frame = fake::entry_frame(&mut encoder, (ChatId([7; 16]), 41), fake::user(7), black_box(&BODY));
    (encoder, frame)
}

/// Every session has sent and received, so that buffers have their size.
fn a_gateway(messages: u64) -> (Gateway, Round) {
    let mut encoder = Encoder::new();
    let mut gateway = Gateway::new(&mut encoder);
    let mut rounds = Rounds::new(encoder, &gateway);
    for _ in 0..2 * benches::session::PAIRS {
        let mut round = rounds.take(messages);
        gateway.sends(&round);
        gateway.deliveries(&mut round);
        gateway.mark(&round);
    }
    let round = rounds.take(messages);
    (gateway, round)
}

/// The same after the sends.
fn an_answer(messages: u64) -> (Gateway, Round) {
    let (mut gateway, round) = a_gateway(messages);
    gateway.sends(&round);
    (gateway, round)
}

#[library_benchmark]
#[bench::one(args = (1), setup = a_gateway)]
#[bench::sixteen(args = (16), setup = a_gateway)]
fn send((mut gateway, round): (Gateway, Round)) -> (Gateway, Round) {
    gateway.sends(black_box(&round));
    (gateway, round)
}

#[library_benchmark]
#[bench::one(args = (1), setup = an_answer)]
#[bench::sixteen(args = (16), setup = an_answer)]
fn deliver((mut gateway, mut round): (Gateway, Round)) -> (Gateway, Round) {
    gateway.deliveries(black_box(&mut round));
    (gateway, round)
}

fn an_owner(block: u64) -> (Owner, Vec<Envelope>) {
    let (mut owner, mut sends) = (Owner::new(config()), Sends::new(1_000));
    for _ in 0..4_000 / block {
        owner.turn(sends.take(block), Owner::run);
    }
    let batch = sends.take(block);
    (owner, batch)
}

#[library_benchmark]
#[bench::one(args = (1), setup = an_owner)]
#[bench::sixteen(args = (16), setup = an_owner)]
#[bench::of_256(args = (256), setup = an_owner)]
fn send_commit_ack((mut owner, batch): (Owner, Vec<Envelope>)) -> Owner {
    owner.turn(black_box(batch), Owner::run);
    owner
}

fn a_group(members: u64) -> (FanOut, Envelope) {
    let mut fanout = FanOut::new(members);
    let warm = fanout.push();
    fanout.spread(warm);
    let push = fanout.push();
    (fanout, push)
}

#[library_benchmark]
#[bench::of_1(args = (1), setup = a_group)]
#[bench::of_500(args = (500), setup = a_group)]
fn spread((mut fanout, push): (FanOut, Envelope)) -> FanOut {
    fanout.spread(black_box(push));
    fanout
}

/// A journal whose both buffers have been used.
fn a_journal() -> Journal {
    let mut journal = Journal::open(JournalId(1), JournalConfig::new(4_096, 7), &NoDisk).expect("no disk never fails");
    for _ in 0..8 {
        append(&mut journal, &[b'x'; FRAME_BYTES], 256);
        commit(&mut journal, &NoDisk, |_| {});
    }
    journal
}

fn a_full_block() -> Journal {
    let mut journal = a_journal();
    append(&mut journal, &[b'x'; FRAME_BYTES], 256);
    journal
}

#[library_benchmark]
#[bench::of_256(setup = a_journal)]
fn append_records(mut journal: Journal) -> Journal {
    append(&mut journal, black_box(&[b'x'; FRAME_BYTES]), 256);
    journal
}

// Header, CRC and hand-over of a block of 256 records.
#[library_benchmark]
#[bench::of_256(setup = a_full_block)]
fn seal_block(mut journal: Journal) -> Journal {
    commit(&mut journal, &NoDisk, |_| {});
    journal
}

library_benchmark_group!(name = frame; benchmarks = verify, encode);
library_benchmark_group!(name = session; benchmarks = send, deliver);
library_benchmark_group!(name = owner; benchmarks = send_commit_ack);
library_benchmark_group!(name = fanout; benchmarks = spread);
library_benchmark_group!(name = journal; benchmarks = append_records, seal_block);

main!(library_benchmark_groups = frame, session, owner, fanout, journal);
