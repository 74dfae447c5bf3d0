//! Connections that a core asks for: made by a task each, which holds no shard alive.
//!
//! What must stay true: the core hears `connected` or `closed` of each, once; a socket whose core has given it up meanwhile is
//! closed without a word.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use monoio::time::timeout;

use super::Skin;
use crate::core::{ConnId, Core, Protocol};
use crate::net::resolve::{Resolver, Target};
use crate::net::tcp;
use crate::shard::metrics::count;

/// The kernel would try for two minutes; whoever dials tries again anyway.
const CONNECT: Duration = Duration::from_secs(5);

/// Connects to an address, or to the first that answers of those that a name leads to.
async fn dial(target: &Target, resolver: Option<&Resolver>) -> io::Result<OwnedFd> {
    let name = match target {
        Target::Address(address) => return tcp::dial(*address).await,
        Target::Name(name) => name,
    };
    let Some(resolver) = resolver else { return Err(io::Error::other("nobody looks up names here")) };
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in resolver.resolve(name).await? {
        match tcp::dial(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

impl<C: Core + 'static> Skin<C> {
    pub(super) fn connect(self: &Rc<Self>, id: ConnId, target: Target) {
        self.connecting.borrow_mut().push(id);
        let (skin, resolver) = (Rc::downgrade(self), self.resolver.clone());
        monoio::spawn(async move {
            let made = timeout(CONNECT, dial(&target, resolver.as_ref())).await;
            let made = made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Some(skin) = skin.upgrade() {
                skin.connected(id, &target, made);
            }
        });
    }

    /// Forgets a connection that is being made; `false` if it is none of those.
    pub(super) fn give_up_connecting(&self, id: ConnId) -> bool {
        let mut connecting = self.connecting.borrow_mut();
        let place = connecting.iter().position(|&other| other == id);
        place.map(|place| connecting.swap_remove(place)).is_some()
    }

    fn connected(&self, id: ConnId, target: &Target, made: io::Result<OwnedFd>) {
        if !self.give_up_connecting(id) || self.is_ended() {
            return;
        }
        let now = self.now();
        self.dirty.mark();
        match made {
            Ok(socket) => {
                count(&self.tally.connects, 1);
                self.core.borrow_mut().connected(now, id);
                self.adopt(id, Protocol::Link, socket, None);
            }
            Err(error) => {
                count(&self.tally.connect_errors, 1);
                tracing::debug!(%target, %error, "a connection could not be made");
                if let (Target::Name(name), Some(resolver)) = (target, &self.resolver) {
                    resolver.say(name, &error);
                }
                self.core.borrow_mut().closed(now, id);
            }
        }
    }
}
