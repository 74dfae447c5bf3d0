//! Bytes to frames, and what each frame means where.

use super::LinkEvent;
use super::conn::Stage;
use super::links::Links;
use super::metrics::Ending;
use super::wire::{self, Kind, WireError};
use crate::core::ConnId;
use crate::count::Tally as _;
use crate::time::Now;

impl Links {
    /// Bytes came. All of them are taken; what they were is in the events.
    pub fn received(&mut self, now: Now, conn: ConnId, bytes: &[u8]) {
        let Some(index) = self.find(conn) else { return };
        if self.end_if_older(now, index) {
            return;
        }
        let Some(conn) = &mut self.conns[index] else { return };
        if conn.is_closing() {
            return;
        }
        conn.heard_ns = now.mono_ns;
        conn.received += bytes.len() as u64;
        self.metrics.bytes_in.add(bytes.len() as u64);
        let mut input = std::mem::take(&mut conn.input);
        input.extend_from_slice(bytes);
        loop {
            let Some(conn) = self.conns[index].as_mut().filter(|conn| !conn.is_closing()) else { return };
            let whole = wire::frame_bytes(&input, conn.frame_limit());
            match whole.map(|bytes| bytes.filter(|&bytes| bytes <= input.len())) {
                Ok(None) => {
                    conn.input = input;
                    return;
                }
                Ok(Some(bytes)) => {
                    let mut frame = input.split_to(bytes).freeze();
                    let kind = Kind::from_byte(frame[wire::LENGTH_BYTES]);
                    let payload = frame.split_off(wire::LENGTH_BYTES + 1);
                    if let Err(error) = kind.and_then(|kind| self.frame(now, index, kind, payload)) {
                        return self.broken(now, index, &error);
                    }
                }
                Err(error) => return self.broken(now, index, &error),
            }
        }
    }

    fn frame(&mut self, now: Now, index: usize, kind: Kind, payload: bytes::Bytes) -> Result<(), WireError> {
        let Some(conn) = &mut self.conns[index] else { return Ok(()) };
        match (kind, &mut conn.stage) {
            (Kind::Parcel, Stage::Accepted { peer, count, .. }) => {
                let (from, expected) = (*peer, *count);
                *count = count.wrapping_add(1);
                let (to, envelope) = wire::parcel(payload, expected)?;
                self.metrics.class(envelope.header.class).received.one();
                self.events.push_back(LinkEvent::Parcel { from, to, envelope });
            }
            (Kind::Heartbeat, Stage::Dialed { .. } | Stage::Accepted { .. }) => {
                let (received, word, hears) = wire::heartbeat(&payload)?;
                conn.confirm(now.mono_ns, received);
                if let (Some(hears), Stage::Accepted { peer, .. }) = (hears, &conn.stage)
                    && conn.hears.as_ref() != Some(&hears)
                {
                    conn.hears = Some(hears.clone());
                    self.events.push_back(LinkEvent::Hears { peer: *peer, whom: hears });
                }
                let before = std::mem::replace(&mut conn.word, word);
                self.heard(now, index);
                if word.leaves() && !before.leaves() {
                    self.leaves(index);
                }
            }
            (Kind::Heartbeat, Stage::AwaitReady { .. }) => {
                wire::heartbeat(&payload)?;
                self.is_ready(now, index);
            }
            (Kind::Bye, Stage::Dialed { .. } | Stage::Accepted { .. }) => {
                self.end(now, index, Ending::Planned, &"the peer has said goodbye");
            }
            (Kind::Hello, Stage::AwaitHello { .. }) => self.greet(now, index, &payload)?,
            (Kind::Welcome, Stage::AwaitWelcome { .. }) => self.welcomed(now, index, &payload)?,
            (Kind::Proof, Stage::AwaitProof(_)) => self.proved(now, index, &payload),
            (Kind::Refusal, _) => {
                let (code, said) = wire::refusal(&payload)?;
                self.refused(now, index, code, said);
            }
            (kind, _) => return Err(WireError::Unexpected(kind as u8)),
        }
        Ok(())
    }

    fn broken(&mut self, now: Now, index: usize, error: &WireError) {
        if matches!(error, WireError::Envelope(_)) {
            self.metrics.bad_envelopes.one();
        }
        self.end(now, index, Ending::Broken, error);
    }
}
