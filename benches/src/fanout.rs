//! A router with a directory of sessions, and pushes to some of them.

use bytes::Bytes;
use fabric::time::Now;
use router::{MemoryDirectory, Router, RouterMetrics};
use schema::encode::Encoder;
use schema::envelope::{Address, Body, Class, Envelope, Recipient};
use schema::ids::{ChatId, DeviceId};

use crate::fake::{self, Counted};

/// Gateway shards that the sessions are spread over.
const SHARDS: u16 = 4;
/// Sessions in the directory besides those pushed to.
const OTHERS: u64 = 20_000;
const BODY: [u8; 128] = [b'x'; 128];

/// See the module.
pub struct FanOut {
    router: Router<MemoryDirectory>,
    /// What it sent.
    pub out: Counted,
    now: Now,
    chat: ChatId,
    frame: Bytes,
    members: u64,
}

impl FanOut {
    /// A chat of so many members, each with one session, among others.
    pub fn new(members: u64) -> Self {
        let now = Now { mono_ns: 1_000_000_000, wall_ticks: 17_000_000_000_000_000 };
        let mut router = Router::new(MemoryDirectory::new(7), RouterMetrics::default());
        let mut out = Counted::default();
        for number in 1..=members + OTHERS {
            let address = Address {
                incarnation: 1,
                shard: (number % u64::from(SHARDS)) as u16,
                connection: number as u32,
                generation: 0,
            };
            let body = Body::Register { user: fake::user(number), device: DeviceId(1), epoch: 1 };
            router.handle(now, Envelope::new(Class::Control, body).reply_to(address), &mut out);
        }
        let chat = ChatId([7; 16]);
        let frame = fake::entry_frame(&mut Encoder::new(), (chat, 41), fake::user(1), &BODY);
        Self { router, out: Counted::default(), now, chat, frame, members }
    }

    /// A push to every member, as the owner makes it.
    pub fn push(&self) -> Envelope {
        let recipient = |number| Recipient { user: fake::user(number), device: Some(DeviceId(1)), acked_seq: 40 };
        let body = Body::Push {
            chat: self.chat,
            seq: 41,
            frame: self.frame.clone(),
            recipients: (1..=self.members).map(recipient).collect(),
        };
        Envelope::new(Class::Live, body)
    }

    /// The router spreads it over the shards.
    #[inline(never)]
    pub fn spread(&mut self, push: Envelope) {
        self.router.handle(self.now, push, &mut self.out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_becomes_one_envelope_a_shard() {
        let mut fanout = FanOut::new(500);
        fanout.spread(fanout.push());
        assert_eq!(fanout.out, Counted { gateway: u64::from(SHARDS), ..Counted::default() });
    }
}
