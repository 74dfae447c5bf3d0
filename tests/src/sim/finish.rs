//! The end of a world: everything is healed, comes to rest, and is compared with what is true.

use std::collections::BTreeMap;

use bytes::Bytes;
use schema::ids::{ChatId, DeviceId, UserId};

use super::counts::gauge;
use super::device::Device;
use super::server::Server;
use super::world::{World, client_config};

/// How long a healed world may take to come to rest, simulated ns.
const REST_NS: u64 = 240_000_000_000;
/// How long a sender listens for receipts in a group before it asks, simulated ns.
const HEARD_NS: u64 = 10_000_000_000;
/// A last send: by whose device, where, who is to get it, which.
type Sent = (usize, ChatId, UserId, Bytes);
/// The device that reads everything in the end.
const AUDITOR: DeviceId = DeviceId(1_000);

impl World {
    /// Heals the world, lets it come to rest, restarts its server in both ways, and audits it.
    pub fn finish(&mut self) {
        self.heal();
        self.rest("after the faults");
        self.check_at_rest();
        self.ask_all();
        self.some_are_away();
        self.last_words();
        self.last_settings();
        self.clean_stop();
        self.rest("after a clean stop");
        self.check_store();
        self.crash_server();
        let users: std::collections::BTreeSet<_> = self.devices.iter().map(|device| device.user).collect();
        for user in users {
            let start_ns = self.env.later(1, 1_000_000);
            let mut auditor = Device::new(user, AUDITOR, client_config(user.get()), start_ns);
            auditor.audits = true;
            self.devices.push(auditor);
        }
        self.knock_all();
        self.rest("after a crash, with new devices");
        self.check_at_rest();
        self.ask_all();
        self.audit();
        self.check_told();
        self.check_answers();
        self.check_talks();
        self.check_store();
        self.sum_up();
    }

    /// Runs until nothing is left to do.
    pub(super) fn rest(&mut self, when: &str) {
        let until_ns = self.env.ns() + REST_NS;
        let mut steps = 0u64;
        loop {
            self.step();
            steps += 1;
            for at in 0..self.devices.len() {
                let count = self.devices[at].app.unhandled.len() as u64;
                self.handle(at, count);
            }
            if steps.is_multiple_of(64) {
                match self.unrest() {
                    None => return,
                    Some(why) => assert!(
                        self.env.ns() < until_ns,
                        "invariant liveness: {when}: {why}; partitions {:#?}",
                        self.server.as_ref().map(Server::partitions)
                    ),
                }
            }
        }
    }

    /// What is still to be done.
    fn unrest(&self) -> Option<String> {
        let Some(server) = self.server.as_ref().filter(|server| !server.is_stopping()) else {
            return Some("the server is down".into());
        };
        if let Some(busy) = server.partitions().iter().find(|p| p.poisoned || p.waiting_sends + p.waiting_reads > 0) {
            return Some(format!("partition {} is busy: {busy:?}", busy.partition));
        }
        let live = self.devices.iter().filter(|device| device.is_live()).count();
        if server.connections() > live || !server.is_background_idle() {
            return Some(format!("{} connections of {live} devices, or jobs, are left", server.connections()));
        }
        let knocks = |device: &&Device| device.revoked && device.start_ns != Some(u64::MAX);
        if let Some(device) = self.devices.iter().find(knocks) {
            return Some(format!("{:?} of {} knocks", device.device, device.user));
        }
        for (at, device) in self.devices.iter().enumerate().filter(|(_, device)| device.is_live()) {
            if self.is_revoked(device) {
                return Some(format!("device {at} is revoked and lives"));
            }
            let Some(core) = &device.core else { return Some(format!("device {at} is down")) };
            if !core.is_connected() || !device.synced {
                return Some(format!("device {at} is connected {} synced {}", core.is_connected(), device.synced));
            }
            if core.outbox_len() > 0 {
                return Some(format!("device {at} has {} sends without outcome", core.outbox_len()));
            }
            for chat in self.model.logs_of(device.user) {
                let (head, cursor) = (self.model.last_seen_by(device.user, chat), core.cursor(chat));
                // Of a group that somebody has left they may know where it is since.
                let is_pair = !self.model.groups.contains_key(&chat);
                if head > 0 && cursor.is_none_or(|cursor| cursor < head || (is_pair && cursor > head)) {
                    return Some(format!("device {at} has {chat} up to {cursor:?}, its head is {head}"));
                }
            }
        }
        None
    }

    fn check_at_rest(&mut self) {
        let Some(server) = &self.server else { return };
        let live = self.devices.iter().filter(|device| device.is_live()).count();
        assert!(self.streams.len() == live, "invariant leaks: {} streams of {live} devices", self.streams.len());
        let (connections, output) = (gauge(&server.registry, "gateway_connections"), server.connections() as u64);
        assert!(
            connections == output,
            "invariant leaks: the gateways count {connections} connections, the skin {output}"
        );
        for ((chat, user), &seq) in &self.watermarks {
            let head = self.model.head(*chat);
            assert!(seq <= head, "invariant watermark: {user} is at {seq} of {chat}, whose head is {head}");
        }
    }

    /// In the calm everybody sends once more: receipts have to come.
    fn last_words(&mut self) {
        let (before, lives) = (self.receipts_lost(), self.lives);
        let mut sent = Vec::new();
        for at in (0..self.devices.len()).filter(|&at| self.devices[at].is_live()).collect::<Vec<_>>() {
            if self.devices[at].is_guest() {
                continue;
            }
            let user = self.devices[at].user;
            let other = self.model.pairs_of(user).find(|&(_, peer)| peer != user);
            if let Some((chat, peer)) = other
                && let Some(id) = self.send(at, (chat, peer))
            {
                sent.push((at, chat, peer, id));
            }
            self.last_words_to_groups(at, &mut sent);
        }
        self.rest("after the last sends");
        let (in_groups, sent): (Vec<Sent>, Vec<Sent>) =
            sent.into_iter().partition(|(_, chat, _, _)| self.model.groups.contains_key(chat));
        let until_ns = self.env.ns() + REST_NS;
        let mut steps = 0u64;
        while let Some((at, chat, peer, seq)) = self.without_receipt(&sent) {
            steps += 1;
            // A loss of power that was due at the next flush may still come, and receipts do not outlive the process.
            // Reading metrics costs more than a step.
            if self.lives > lives || (steps.is_multiple_of(64) && self.receipts_lost() > before) {
                self.env.counts.add("receipts_lost_in_the_calm", 1);
                return;
            }
            assert!(
                self.env.ns() < until_ns,
                "invariant receipts: device {at} never heard that {peer} got seq {seq} of {chat}"
            );
            self.step();
            let count = self.devices[at].app.unhandled.len() as u64;
            self.handle(at, count);
        }
        self.heard_in_groups(&in_groups, (lives, before));
    }

    /// In groups a receipt goes to those whose messages the owner still has in memory; the others can ask.
    fn heard_in_groups(&mut self, sent: &[Sent], (lives, lost): (u64, u64)) {
        let until_ns = self.env.ns() + HEARD_NS;
        while self.env.ns() < until_ns && self.without_receipt(sent).is_some() {
            self.step();
        }
        for one in sent {
            if self.without_receipt(core::slice::from_ref(one)).is_none() {
                self.env.counts.add("group_receipts", 1);
                continue;
            }
            let &(at, chat, member, ref id) = one;
            let seq = self.model.seq_of(chat, id).expect("everything rests");
            let message = self.model.place(chat, seq).expect("it has its place").message;
            self.env.counts.add("group_receipts_asked_for", 1);
            let has = self.has_it(at, (chat, message), member);
            assert!(
                has || self.lives > lives || self.receipts_lost() > lost,
                "invariant receipts: {member} got seq {seq} of {chat}, and is said not to"
            );
        }
    }

    /// Whoever is in a group writes there; all others of it get it.
    fn last_words_to_groups(&mut self, at: usize, sent: &mut Vec<Sent>) {
        let user = self.devices[at].user;
        let groups = self.model.groups.iter().filter(|(_, group)| group.is_member(user));
        let groups: Vec<_> = groups.map(|(&chat, group)| (chat, group.members(group.seq()))).collect();
        for (group, members) in groups {
            let Some(id) = self.send_to_group(at, group) else { continue };
            let others = members.into_keys().filter(|&member| member != user);
            sent.extend(others.map(|member| (at, group, member, id.clone())));
        }
    }

    fn receipts_lost(&self) -> u64 {
        let registry = self.server.as_ref().map(|server| &server.registry);
        let lost = ["hub_gapped_total", "hub_marks_dropped_total", "gateway_receipts_dropped_total"];
        registry.map_or(0, |registry| lost.iter().map(|name| gauge(registry, name)).sum())
    }

    fn without_receipt(&self, sent: &[Sent]) -> Option<(usize, ChatId, UserId, u64)> {
        sent.iter().find_map(|(at, chat, peer, id)| {
            let seq = self.model.seq_of(*chat, id).unwrap_or(u64::MAX);
            let delivered = self.devices[*at].app.receipts.get(&(*chat, *peer)).map_or(0, |&(delivered, _)| delivered);
            (delivered < seq).then_some((*at, *chat, *peer, seq))
        })
    }

    fn audit(&self) {
        let now_ms = self.latest_ms();
        for device in &self.devices {
            if device.audits {
                self.model.audit(device.user, &device.app.seen, now_ms);
            } else if device.is_live() {
                self.audit_device(device);
            }
        }
    }

    fn audit_device(&self, device: &Device) {
        let me = (device.user, device.device);
        let is_own = |chat, seq| self.model.place(chat, seq).is_some_and(|place| (place.sender, place.device) == me);
        for &(chat, seq) in &device.app.own {
            let seen = device.app.seen.get(&chat).is_some_and(|seen| seen.contains_key(&seq));
            let hidden = !self.model.sees(me.0, chat, seq);
            let gone = self.model.may_be_gone(chat, seq, self.latest_ms());
            assert!(
                seen || hidden || gone || is_own(chat, seq),
                "invariant once: {me:?} was not handed seq {seq} of {chat}"
            );
        }
        for chat in self.model.logs_of(device.user) {
            for seq in 1..=self.model.head(chat) {
                let seen = device.app.seen.get(&chat).is_some_and(|seen| seen.contains_key(&seq));
                let sees = self.model.sees(me.0, chat, seq);
                let had = seen || is_own(chat, seq) || self.model.may_be_gone(chat, seq, self.latest_ms());
                assert!(had || !sees, "invariant nothing missed: {me:?} never got seq {seq} of {chat}");
                assert!(sees || !seen, "invariant spans: {me:?} got seq {seq} of {chat} without being a member");
            }
        }
        let strange = device.app.seen.keys().find(|&&chat| !self.model.logs_of(me.0).any(|own| own == chat));
        assert!(strange.is_none(), "invariant spans: {me:?} got entries of {strange:?}");
        self.audit_order(device);
    }

    /// Every send has an outcome, and those to one chat have their places in the order in which they were made.
    fn audit_order(&self, device: &Device) {
        let me = (device.user, device.device);
        let mut before: BTreeMap<ChatId, Vec<(u64, u64)>> = BTreeMap::new();
        for (chat, id) in device.app.sends.iter().filter(|(_, id)| !device.app.failed.contains(id)) {
            assert!(device.app.sent.contains(id), "invariant outcome: a send of {me:?} has none");
            let seq = self.model.seq_of(*chat, id).expect("what was acked was seen");
            let wish = self.model.wishes.get(id);
            let before = before.entry(*chat).or_default();
            // A refusal for good that was lost with its connection is not remembered: the send is judged again later.
            // Whoever stays a member has none for a message.
            let group = self.model.groups.get(chat);
            let ordered = |&&(after, _): &&(u64, u64)| group.is_none_or(|group| group.stayed(me.0, after, seq));
            let above = before.iter().filter(ordered).find(|&&(_, other)| other >= seq);
            assert!(
                above.is_none(),
                "invariant order: {me:?} sent {above:?} before {seq} of {chat}, the latter as {id:?}"
            );
            // The same holds of an amendment, and of who is mentioned.
            if wish.is_none_or(|wish| wish.change.is_none()) && !self.model.wanted.contains_key(id) {
                before.push((wish.map_or(0, |wish| wish.after), seq));
            }
        }
    }

    /// Counts what groups were through.
    fn count_changes(&mut self) {
        for ((chat, id), _) in self.model.places() {
            let name = self.model.kind_of(id).variant_name().unwrap_or("unknown");
            let where_to = if self.model.groups.contains_key(chat) { "group_entries" } else { "direct_entries" };
            self.env.counts.add(&format!("{where_to}.{name}"), 1);
        }
    }

    /// Adds what everybody counted.
    fn sum_up(&mut self) {
        if let Some(server) = &self.server {
            self.env.counts.add_registry(&server.registry);
        }
        let c = self.client_counters;
        let (net, disk) = (self.env.net.counters(), self.env.disk.counters());
        let back = self.model.groups.values().map(super::roster::Roster::came_back).sum();
        self.count_changes();
        let all = [
            ("group_members_back", back),
            ("operations", self.operations),
            ("events", self.env.trace.events()),
            ("seconds_simulated", self.env.ns() / 1_000_000_000),
            ("client_entries", c.entries),
            ("client_duplicates", c.duplicates),
            ("client_held", c.held),
            ("client_held_dropped", c.held_dropped),
            ("client_gap_fills", c.gap_fills),
            ("client_resends", c.resends_written),
            ("client_acks", c.acks),
            ("client_postponed", c.postponed),
            ("client_marks", c.marks_written),
            ("client_disconnects", c.disconnects),
            ("net_broken", net.broken),
            ("net_stalled", net.stalled),
            ("net_lost_bytes", net.lost_bytes),
            ("net_split", net.split),
            ("disk_crashes", disk.crashes),
            ("disk_lost_writes", disk.lost_writes),
            ("disk_torn_writes", disk.torn_writes),
            ("disk_garbled_writes", disk.garbled_writes),
            ("disk_kept_writes", disk.kept_writes),
            ("disk_forgotten_writes", disk.forgotten_writes),
            ("disk_failed_writes", disk.failed_writes),
            ("disk_slow_writes", disk.slow_writes),
            ("disk_full", disk.full),
            ("disk_interrupted", disk.interrupted),
            ("store_partial_flushes", self.env.store.partial_flushes()),
            ("wall_steps", self.env.clock.steps()),
        ];
        all.into_iter().for_each(|(name, count)| self.env.counts.add(name, count));
    }
}
