//! Frames of the client cores to and from their connections: as they are, or through a WebSocket.

use client::Input;

use super::Worker;
use super::user::Link;
use crate::wire::Tools;

impl Worker {
    /// Writes one native frame of a user's client with the next flush.
    pub(super) fn say(&mut self, user: u32, frame: &[u8]) {
        let state = &mut self.users[user as usize];
        let Some(socket) = &mut state.socket else { return };
        if let (Some(websocket), Some(speech)) = (&mut state.websocket, &self.plan.speech) {
            let mut tools = Tools {
                speech,
                host: &self.plan.targets.of(self.first + user, state.moves).host,
                encoder: &mut self.encoder,
                entropy: &mut self.entropy,
                scratch: &mut self.scratch,
            };
            if let Err(error) = websocket.say(&mut tools, frame, socket.writer()) {
                self.error(&format!("not said: {error}"));
            }
        } else {
            socket.write(frame);
        }
        self.mark_dirty(user);
    }

    /// Takes what one receive brought: one batch for the client.
    pub(super) fn received(&mut self, user: u32, bytes: &[u8]) {
        let state = &mut self.users[user as usize];
        let (Some(websocket), Some(socket), Some(speech)) =
            (&mut state.websocket, &mut state.socket, &self.plan.speech)
        else {
            return self.tell(user, Input::Bytes(bytes));
        };
        let mut frames = core::mem::take(&mut self.heard);
        frames.clear();
        let mut tools = Tools {
            speech,
            host: &self.plan.targets.of(self.first + user, state.moves).host,
            encoder: &mut self.encoder,
            entropy: &mut self.entropy,
            scratch: &mut self.scratch,
        };
        let result = websocket.hear(&mut tools, bytes, &mut frames, socket.writer());
        if socket.waiting() > 0 {
            self.mark_dirty(user);
        }
        let generation = self.users[user as usize].generation;
        if !frames.is_empty() {
            self.tell(user, Input::Bytes(&frames));
        }
        self.heard = frames;
        let state = &self.users[user as usize];
        // A client that was told why has closed the connection by itself.
        if let Err(error) = result
            && state.generation == generation
            && state.link == Link::Up
        {
            self.error(&format!("websocket: {error}"));
            self.ended(user);
        }
    }
}
