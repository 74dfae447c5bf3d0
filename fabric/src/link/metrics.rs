//! What a shard's links count.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use schema::envelope::{CLASS_COUNT, Class};

use crate::lane::CLASS_NAMES;

/// Why links ended, as a label.
const ENDS: [&str; 7] = ["peer", "silent", "stuck", "handshake", "refused", "broken", "planned"];

/// Why a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The peer ended it, or the network did.
    Peer,
    /// Nothing was heard.
    Silent,
    /// Nothing was taken by the peer.
    Stuck,
    /// It did not stand in time.
    Handshake,
    /// One of the two refused.
    Refused,
    /// The peer's bytes were wrong.
    Broken,
    /// One of the two nodes stops, or has another list of nodes, and has said so.
    Planned,
}

macro_rules! link_metrics {
    ($(#[$doc:meta] $field:ident: $name:literal, $help:literal);+ $(;)?) => {
        /// A shard's counters of links, shared between its thread and whoever shows them.
        #[derive(Clone, Debug, Default)]
        pub struct LinkMetrics {
            $(#[$doc] pub $field: Counter,)+
            /// Links this shard dialed that stand.
            pub up: Gauge,
            /// Links that were dialed to this shard and stand.
            pub heard: Gauge,
            /// Bytes that wait for links, about.
            pub queued_bytes: Gauge,
            classes: [ClassMetrics; CLASS_COUNT],
            ends: [Counter; ENDS.len()],
        }

        impl LinkMetrics {
            /// Names them in `registry`.
            pub fn register(&self, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
                registry.register("links_up", "Links dialed that stand", self.up.clone());
                registry.register("links_heard", "Links accepted that stand", self.heard.clone());
                registry.register("link_queued_bytes", "Bytes that wait for links, about", self.queued_bytes.clone());
                for (name, end) in ENDS.iter().zip(&self.ends) {
                    let registry = registry.sub_registry_with_label(("why".into(), (*name).into()));
                    registry.register("link_ends", "Links, and tries to link, that ended", end.clone());
                }
                for (name, class) in CLASS_NAMES.iter().zip(&self.classes) {
                    class.register(registry.sub_registry_with_label(("class".into(), (*name).into())));
                }
            }
        }
    };
}

link_metrics! {
    /// Links dialed.
    dials: "link_dials", "Tries to dial a link";
    /// Bytes of frames sent.
    bytes_out: "link_sent_bytes", "Bytes sent by links";
    /// Bytes of frames received.
    bytes_in: "link_received_bytes", "Bytes received by links";
    /// Envelopes of this version's format that could not be read.
    bad_envelopes: "link_bad_envelopes", "Envelopes from links that could not be read";
    /// Envelopes too large to send.
    oversize: "link_oversize", "Envelopes too large for a link";
}

#[derive(Clone, Debug, Default)]
pub(super) struct ClassMetrics {
    pub(super) pushed: Counter,
    pub(super) received: Counter,
    pub(super) dropped: Counter,
    pub(super) full: Counter,
    pub(super) down: Counter,
    pub(super) lost: Counter,
}

impl ClassMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("link_pushed", "Envelopes queued for links", self.pushed.clone());
        registry.register("link_received", "Envelopes received by links", self.received.clone());
        registry.register("link_dropped", "Envelopes dropped at a full or broken link", self.dropped.clone());
        registry.register("link_full", "Envelopes given back at a full link", self.full.clone());
        registry.register("link_down", "Envelopes given back because no link stood", self.down.clone());
        registry.register("link_lost", "Envelopes that waited for a link that broke", self.lost.clone());
    }
}

impl LinkMetrics {
    pub(super) fn class(&self, class: Class) -> &ClassMetrics {
        &self.classes[class as usize]
    }

    pub(super) fn ended(&self, why: Ending) -> &Counter {
        &self.ends[why as usize]
    }

    /// Links, and tries to link, that ended for this reason, by its label; 0 for another word.
    pub fn ends(&self, why: &str) -> u64 {
        let place = ENDS.iter().position(|known| *known == why);
        place.map_or(0, |place| self.ends[place].get())
    }

    /// Envelopes of `class` queued.
    pub fn pushed(&self, class: Class) -> u64 {
        self.class(class).pushed.get()
    }

    /// Envelopes of `class` received.
    pub fn received(&self, class: Class) -> u64 {
        self.class(class).received.get()
    }

    /// Envelopes of `class` dropped.
    pub fn dropped(&self, class: Class) -> u64 {
        self.class(class).dropped.get()
    }

    /// Envelopes of `class` given back because a queue was full.
    pub fn full(&self, class: Class) -> u64 {
        self.class(class).full.get()
    }

    /// Envelopes of `class` given back because no link stood.
    pub fn down(&self, class: Class) -> u64 {
        self.class(class).down.get()
    }

    /// Envelopes of `class` that were queued when their link broke.
    pub fn lost(&self, class: Class) -> u64 {
        self.class(class).lost.get()
    }
}
