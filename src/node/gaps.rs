//! Remembers which sessions missed something live because a lane was full, until the gap has been sent.

use schema::envelope::{Body, Class, Envelope, GapScope, Target};

/// Sessions named in one gap; beyond it the gap is for everyone.
const NAMED_MAX: usize = 1_024;

/// What one other shard has to be told.
#[derive(Default)]
struct Missed {
    sessions: Vec<(u32, u32)>,
    everyone: bool,
}

/// The gaps of one shard's lanes, by destination shard. Bounded: [`NAMED_MAX`] names a shard.
pub struct Gaps {
    missed: Vec<Missed>,
    any: bool,
}

impl Gaps {
    /// Nothing missed. `shards`: of the process.
    pub fn new(shards: u16) -> Self {
        Self { missed: (0..shards).map(|_| Missed::default()).collect(), any: false }
    }

    /// Whether anything waits to be sent.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Notes what a refused live envelope to `shard` was for. Bodies that nobody misses are dropped.
    pub fn note(&mut self, shard: u16, envelope: Envelope) {
        let missed = &mut self.missed[usize::from(shard)];
        match envelope.body {
            Body::Deliver { targets, .. } | Body::DeliverNudge { targets, .. } => {
                missed.sessions.extend(targets.iter().map(|target: &Target| (target.connection, target.generation)));
            }
            Body::DeliverNotice { targets, .. } => missed.sessions.extend(targets),
            _ => missed.everyone = true,
        }
        if missed.sessions.len() > NAMED_MAX {
            missed.everyone = true;
        }
        if missed.everyone {
            missed.sessions.clear();
        }
        self.any = true;
    }

    /// Takes the gaps: for sessions of a shard, `(shard, gap)`; `None` = all shards.
    pub fn take(&mut self) -> Vec<(Option<u16>, Envelope)> {
        self.any = false;
        let gap = |scope| Envelope::new(Class::Control, Body::Gap(scope));
        let mut gaps = Vec::new();
        for (shard, missed) in (0u16..).zip(&mut self.missed) {
            let missed = core::mem::take(missed);
            if missed.everyone {
                return self.everyone(gap(GapScope::All));
            }
            if !missed.sessions.is_empty() {
                gaps.push((Some(shard), gap(GapScope::Sessions(missed.sessions))));
            }
        }
        gaps
    }

    fn everyone(&mut self, gap: Envelope) -> Vec<(Option<u16>, Envelope)> {
        self.missed.iter_mut().for_each(|missed| *missed = Missed::default());
        vec![(None, gap)]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schema::ids::ChatId;
    use smallvec::smallvec;

    use super::*;

    fn deliver(connection: u32) -> Envelope {
        let target = Target { connection, generation: 1, acked_seq: 0 };
        let body = Body::Deliver { chat: ChatId([0; 16]), seq: 1, frame: Bytes::new(), targets: smallvec![target] };
        Envelope::new(Class::Live, body)
    }

    #[test]
    fn a_refused_delivery_becomes_a_gap_for_its_sessions() {
        let mut gaps = Gaps::new(3);
        gaps.note(2, deliver(7));
        gaps.note(2, deliver(8));
        assert!(gaps.any());
        let taken = gaps.take();
        assert!(!gaps.any());
        let [(Some(2), envelope)] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!(envelope.header.class, Class::Control);
        assert_eq!(envelope.body, Body::Gap(GapScope::Sessions(vec![(7, 1), (8, 1)])));
    }

    #[test]
    fn too_many_names_become_a_gap_for_everyone() {
        let mut gaps = Gaps::new(2);
        (0..=NAMED_MAX as u32).for_each(|connection| gaps.note(1, deliver(connection)));
        gaps.note(0, deliver(1));
        let taken = gaps.take();
        assert!(matches!(&taken[..], [(None, Envelope { body: Body::Gap(GapScope::All), .. })]), "{taken:?}");
        assert!(gaps.take().is_empty(), "taken once");
    }
}
