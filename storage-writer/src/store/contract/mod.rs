//! What every store must do, as checks that run over any of them: [`store_contract!`](crate::store_contract) makes a test
//! of each.
//!
//! A check opens a [`Place`], works on the store, and may close and open it again as a restart would.

mod entries;
mod shared;
mod states;

use bytes::Bytes;
use schema::ids::{ChatId, ChatKind, DeviceId, MessageId, UserId};
use schema::timeuuid::{UNIX_EPOCH_TICKS, from_parts};
use schema::wire::Role;
use smallvec::smallvec;

use super::{
    AccountState, ChatState, DeviceState, FlushEntry, FlushRun, GroupState, HistoryRange, MemberState, SeatState,
    Store, StoredEntry,
};
use crate::lsn::{JournalId, Lsn};

pub use entries::*;
pub use shared::*;
pub use states::*;

/// Where a store lives between its openings.
pub trait Place {
    /// Opens the store. The one opened before has been dropped.
    fn open(&self) -> Box<dyn Store>;
}

/// Makes a test of every check, each with a fresh place from `$place`.
#[macro_export]
macro_rules! store_contract {
    ($place:expr) => {
        $crate::store_contract!(@ $place,
            a_page_is_ascending_and_bounded, a_page_starts_anywhere, replays_change_nothing,
            overlapping_chunks_read_once, large_entries_are_kept, chats_do_not_mix, a_message_is_found_by_its_id,
            an_entry_is_found_by_its_seq, amended_entries_are_written_over, reads_go_on_during_flushes, an_empty_run_is_fine,
            the_latest_state_holds, applied_positions_only_rise, partial_runs_do_not_move_positions,
            dedupe_answers_are_kept_a_day, dedupe_answers_are_listed_since, everything_survives_a_restart,
            clocks_that_jump_do_not_fill_the_store,
        );
    };
    (@ $place:expr, $($check:ident,)*) => {
        $(#[test]
        fn $check() {
            $crate::store::contract::$check(&$place);
        })*
    };
}

/// Wall time the checks start at, ms since 1970.
pub const START_MS: u64 = 1_790_000_000_000;

/// A chat of its own number.
pub fn chat(number: u64) -> ChatId {
    ChatId::direct(user(2 * number + 1), user(2 * number + 2))
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("checks use users above 0")
}

/// The id every check gives a chat's seq.
pub fn message(seq: u64) -> MessageId {
    from_parts(UNIX_EPOCH_TICKS + START_MS * 10_000 + seq * 7, [0x91; 8])
}

/// An entry whose frame of `len` bytes depends on chat and seq.
pub fn entry(chat: ChatId, seq: u64, len: usize) -> StoredEntry {
    let byte = |at: usize| chat.0[at % 16] ^ (seq as u8).wrapping_add((at / 3) as u8);
    StoredEntry { seq, message: message(seq), frame: Bytes::from((0..len).map(byte).collect::<Vec<_>>()) }
}

/// Entries of 40 bytes.
pub fn entries(chat: ChatId, seqs: impl IntoIterator<Item = u64>) -> Vec<StoredEntry> {
    seqs.into_iter().map(|seq| entry(chat, seq, 40)).collect()
}

/// Entries as a run has them.
pub fn flat(entries: Vec<(ChatId, Vec<StoredEntry>)>) -> Vec<FlushEntry<'static>> {
    let of = |chat, StoredEntry { seq, message, frame }| FlushEntry {
        chat,
        seq,
        message,
        frame: frame.to_vec().into(),
        expires_s: 0,
    };
    entries.into_iter().flat_map(|(chat, entries)| entries.into_iter().map(move |entry| of(chat, entry))).collect()
}

/// A run of entries alone.
pub fn run(entries: Vec<(ChatId, Vec<StoredEntry>)>) -> FlushRun<'static> {
    FlushRun { entries: flat(entries), ..FlushRun::default() }
}

/// A run that moves one position alone.
pub fn position(journal: u32, lsn: u64) -> FlushRun<'static> {
    FlushRun { applied: vec![(JournalId(journal), Lsn(lsn))], ..FlushRun::default() }
}

/// Everything of a chat.
pub fn all(store: &dyn Store, chat: ChatId) -> Vec<StoredEntry> {
    let range = HistoryRange { after_seq: 0, up_to_seq: u64::MAX, limit_entries: usize::MAX, limit_bytes: usize::MAX };
    store.history(chat, range).expect("history")
}

/// A state whose watermarks follow its head; with an odd head it is a group's.
pub fn state(chat: ChatId, head_seq: u64) -> ChatState {
    let member = |id, own: Vec<u64>| MemberState {
        user: user(id),
        delivered: head_seq,
        read: head_seq / 2,
        devices: smallvec![DeviceState { device: DeviceId(id as u32), acked: head_seq.saturating_sub(1), own }],
    };
    let seat = |id, spans| SeatState { user: user(id), role: Role::admin, spans };
    let group = || GroupState {
        name: b"hiking".to_vec(),
        created_by: Some(user(5)),
        seats: vec![seat(5, smallvec![(1, u64::MAX)]), seat(6, smallvec![(1, 3), (head_seq, u64::MAX)])],
    };
    let account = || AccountState {
        settings: [(b"app.theme".to_vec(), b"dark".to_vec())].into(),
        hidden: [(chat, vec![message(head_seq + 1)])].into(),
        ..AccountState::default()
    };
    let is_group = head_seq % 2 == 1;
    ChatState {
        chat,
        kind: if is_group { ChatKind::Group } else { ChatKind::Direct },
        head_seq,
        head_message: (head_seq > 0).then(|| message(head_seq)),
        last_ms: START_MS + head_seq,
        members: smallvec![member(5, vec![]), member(6, vec![head_seq + 1])],
        group: is_group.then(|| Box::new(group())),
        account: head_seq.is_multiple_of(3).then(|| Box::new(account())),
        shown: if is_group { Vec::new() } else { vec![(user(5), head_seq / 4)] },
        ticked_ms: if head_seq > 4 { START_MS + 2 * head_seq } else { 0 },
        ttl_s: head_seq.is_multiple_of(3).then_some(head_seq as u32),
    }
}

fn states(store: &dyn Store) -> Vec<ChatState> {
    let mut states = Vec::new();
    store.load_chats(&mut |state| states.push(state)).expect("chats");
    states
}
