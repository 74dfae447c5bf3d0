//! About how large an envelope is on the wire, without encoding it.

use schema::envelope::{Body, Envelope, GapScope};

/// Header, body table, what surrounds them.
const BASE: usize = 256;
/// An item of a list: a table with its ids, or less.
const ITEM: usize = 64;

/// Bytes that queues are bounded by. At least the frames and ids inside; a little more than what is sent.
pub fn weight(envelope: &Envelope) -> usize {
    BASE + match &envelope.body {
        Body::Send { frame, .. } => frame.bytes().len(),
        Body::Answer { frame } => frame.len(),
        Body::Push { frame, recipients, .. } => frame.len() + ITEM * recipients.len(),
        Body::Notify { frame, users } => frame.len() + 8 * users.len(),
        Body::Nudge { recipients, .. } => ITEM * recipients.len(),
        Body::Deliver { frame, targets, .. } => frame.len() + 16 * targets.len(),
        Body::DeliverNotice { frame, targets } => frame.len() + 8 * targets.len(),
        Body::DeliverNudge { targets, .. } => 16 * targets.len(),
        Body::Page { entries, ticks, .. } => {
            let entries: usize = entries.iter().map(|(_, frame)| ITEM + frame.len()).sum();
            entries + ticks.as_ref().map_or(0, bytes::Bytes::len)
        }
        Body::SyncPart { chats, .. } => ITEM * chats.len(),
        Body::SyncPage { chats, account, .. } => ITEM * chats.len() + 16 * account.revoked.len(),
        Body::ChatsPart { chats, .. } => chats.iter().map(|chat| ITEM + chat.frame.len()).sum(),
        Body::Owners { node, holdings, places, .. } => node.len() + 16 * holdings.len() + 18 * places.away().len(),
        Body::Move { node, .. } => node.len(),
        Body::Gap(GapScope::Users(users)) => 8 * users.len(),
        Body::Gap(GapScope::Sessions(sessions)) => 8 * sessions.len(),
        _ => 0,
    }
}
