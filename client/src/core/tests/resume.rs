//! Coming back: who the device is and how far it is, behind Hello.

use schema::encode::{Encoder, WelcomeFields};

use super::*;

impl Bench {
    /// The server takes it for user 1's device 1.
    pub(super) fn welcome(&mut self, window: u32) {
        let welcome = WelcomeFields {
            version: 1,
            features: 0,
            session_id: 1,
            server_incarnation: 1,
            user: UserId::new(1).unwrap(),
            device: DeviceId(1),
            server_time_ms: 1,
            frame_limit_bytes: 65_536,
            window,
            sends_per_second: 0,
            burst: 0,
            ping_interval_ms: 20_000,
            idle_timeout_ms: 75_000,
        };
        let frame = self.encoder.welcome(&welcome);
        self.bytes(&frame);
    }
}

/// What was written as marks: chat, seq, status.
fn marks(bench: &Bench) -> Vec<(ChatId, u64, MarkStatus)> {
    let frames = bench.frames();
    let marks = frames.iter().filter_map(|frame| frame.root().body_as_mark());
    marks.map(|mark| (mark.chat_id().unwrap().into(), mark.seq(), mark.status())).collect()
}

/// A core that has had entries 1 to 3 of two chats, marked them, and lost its connection.
fn cut() -> Bench {
    let mut bench = Bench::ready(Config { handling: Handling::OnDelivery, ..Config::default() }, 10);
    for n in [1, 2] {
        for seq in 1..=3 {
            let entry = bench.entry(chat(n), seq, 0);
            bench.bytes(&entry);
        }
    }
    bench.tell(|core, cx| core.mark_read(cx, chat(2), 2));
    bench.tell(|core, cx| core.handle(cx, Input::Disconnected));
    bench
}

#[test]
fn whoever_comes_back_says_who_and_how_far_they_are_behind_hello_and_not_again() {
    let mut bench = cut();
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    let frames = bench.frames();
    let hello = frames[0].root().body_as_hello().expect("a hello comes first");
    assert_eq!((hello.user_id(), hello.device_id(), hello.marks()), (1, 1, 3));
    let said = [(1, 3, MarkStatus::delivered), (2, 3, MarkStatus::delivered), (2, 2, MarkStatus::read)];
    assert_eq!(marks(&bench), said.map(|(n, seq, status)| (chat(n), seq, status)));
    assert!(!bench.out.iter().any(|output| matches!(output, Output::Persist(_))), "it is stored: {:?}", bench.out);
    // What is read while the server thinks goes out as it would in a session.
    bench.tell(|core, cx| core.mark_read(cx, chat(1), 3));
    assert_eq!(marks(&bench), [(chat(1), 3, MarkStatus::read)]);
    bench.welcome(10);
    assert_eq!(bench.written(), []);
    assert_eq!(bench.core.flush_ns, 0, "nothing is left to say");
}

#[test]
fn a_device_that_does_not_know_who_it_is_waits_until_it_is_told() {
    let stored = crate::store::StoredChat { handled: Some(4), ..Default::default() };
    let image = Image { chats: [(chat(1), stored)].into(), ..Image::default() };
    let mut bench = Bench { core: Core::new(Arc::new(Config::default()), image), ..Bench::new(Config::default()) };
    bench.tell(|core, cx| core.handle(cx, Input::Start));
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    assert_eq!(bench.written(), [Body::Hello]);
    assert_eq!(bench.frames()[0].root().body_as_hello().map(|hello| hello.user_id()), Some(0));
    bench.welcome(10);
    assert_eq!(marks(&bench), [(chat(1), 4, MarkStatus::delivered)]);
}

#[test]
fn a_token_of_another_ends_it_whoever_notices() {
    let mut bench = cut();
    bench.tell(|core, cx| core.handle(cx, Input::Connected { token: b"t" }));
    let goodbye = Encoder::new().goodbye(ErrorCode::WrongIdentity, "", 0);
    bench.bytes(&goodbye);
    let ended = |output: &Output| matches!(output, Output::Event(Event::Ended(End::WrongStore(user, DeviceId(1)))) if user.get() == 1);
    assert!(bench.out.iter().any(ended), "{:?}", bench.out);
}
