//! How entries were shown to devices, compared with what their logs make of them once every log is known.
//!
//! What must stay true: whoever asks is shown whatever was known to anybody when they asked; nothing that was blanked is
//! ever shown with a body as if it had none taken.

use std::collections::BTreeSet;

use client::Entry;
use schema::ids::{ChatId, UserId};
use schema::wire::EntryKind;

use super::model::Model;
use super::talk::{Line, Talk, Wanted};
use super::trace::hash_of;

/// An entry as somebody was shown it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Form {
    chat: ChatId,
    seq: u64,
    ttl_s: u32,
    refers_seq: u64,
    replaces_seq: u64,
    edited_seq: u64,
    edited_ms: u64,
    deleted_ms: u64,
    /// The body's hash; `None`: it is empty.
    body: Option<u64>,
    mentions: Vec<UserId>,
    /// So much of the chat was known when it was asked for.
    known: u64,
}

/// See the module.
#[derive(Default)]
pub struct Shown(BTreeSet<Form>);

fn body(bytes: &[u8]) -> Option<u64> {
    (!bytes.is_empty()).then(|| hash_of(bytes))
}

impl Shown {
    /// Notes an entry, asked for when `known` entries of its chat were known; 0 = it was pushed.
    pub fn note(&mut self, entry: &Entry, known: u64) {
        self.0.insert(Form {
            chat: entry.chat(),
            seq: entry.seq(),
            ttl_s: entry.ttl_s(),
            refers_seq: entry.refers_seq(),
            replaces_seq: entry.replaces_seq(),
            edited_seq: entry.edited_seq(),
            edited_ms: entry.edited_ms(),
            deleted_ms: entry.deleted_ms(),
            body: body(entry.body()),
            mentions: entry.users().collect(),
            known,
        });
    }

    /// Compares with the logs. Returns how many forms were amended: edited, blanked.
    pub fn check(&self, model: &Model) -> (u64, u64) {
        let (mut edited, mut blanked) = (0, 0);
        for form in &self.0 {
            let talk = &model.talks[&form.chat];
            let line = talk.line(form.seq).expect("every log is known");
            check(model, talk, line, form);
            edited += u64::from(form.edited_seq > 0);
            blanked += u64::from(form.deleted_ms > 0);
        }
        (edited, blanked)
    }
}

fn check(model: &Model, talk: &Talk, line: &Line, form: &Form) {
    let (chat, seq) = (form.chat, form.seq);
    let refers = (form.refers_seq, form.replaces_seq) == (line.refers_seq, line.replaces_seq);
    assert!(refers, "invariant amendments: seq {seq} of {chat} is {form:?}, and should be {line:?}");
    match line.kind {
        EntryKind::message | EntryKind::timer => {
            assert!(form.ttl_s == line.ttl_s, "invariant disappearing: seq {seq} of {chat}: {form:?}, and {line:?}");
        }
        // They go when what they amend has gone, which is counted from another moment.
        EntryKind::edited | EntryKind::reacted => {
            let stays = talk.line(line.refers_seq).is_some_and(|original| original.ttl_s == 0);
            assert!(
                stays == (form.ttl_s == 0),
                "invariant disappearing: seq {seq} of {chat} amends what goes: {form:?}"
            );
        }
        _ => assert!(form.ttl_s == 0, "invariant disappearing: seq {seq} of {chat} is no message: {form:?}"),
    }
    if form.deleted_ms > 0 {
        let when = line.blanked.is_some_and(|(_, ms)| ms == form.deleted_ms);
        let empty = form.body.is_none() && form.mentions.is_empty();
        assert!(when && empty, "invariant amendments: seq {seq} of {chat} is shown blank: {form:?}, and is {line:?}");
        return;
    }
    let due = line.blanked.is_some_and(|(by, _)| by <= form.known);
    assert!(!due, "invariant amendments: seq {seq} of {chat} is shown with a body that is gone: {form:?}, {line:?}");
    let last = line.edits.iter().rev().find(|&&edit| edit <= form.known).copied().unwrap_or(0);
    assert!(
        form.edited_seq >= last,
        "invariant amendments: seq {seq} of {chat} is shown without edit {last}: {form:?}"
    );
    if form.edited_seq == 0 {
        return;
    }
    let edit = talk.line(form.edited_seq).filter(|_| line.edits.contains(&form.edited_seq));
    let Some(edit) = edit else {
        panic!("invariant amendments: {form:?} of {chat} is edited by what does not: {line:?}")
    };
    let wanted = model.wanted.get(&edit.client_msg_id).map(|(_, wanted)| wanted);
    let same = form.edited_ms == edit.ms
        && form.body == body(&model.body_of(&edit.client_msg_id))
        && form.mentions == wanted.map_or(&[][..], Wanted::mentions);
    assert!(same, "invariant amendments: seq {seq} of {chat} is not as edit {} says: {form:?}", form.edited_seq);
}
