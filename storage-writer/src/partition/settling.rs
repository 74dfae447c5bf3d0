//! Chats that leave a partition when it is opened, and those that have come.
//!
//! What must stay true: nobody serves a partition that a chat is to leave, so a row of the table of pinned chats is settled
//! before its partition is served, after everything that the partition's log has is in the tables, and while the tenure
//! is held; then the partition is read again, from the tables, without the chat.

use std::sync::Arc;

use fabric::time::Now;
use schema::dedupe::DedupeKey;

use super::OpenError;
use super::job::amended;
use super::open::answer_found;
use crate::lease::Tenure;
use crate::lsn::{JournalId, Lsn};
use crate::owner::Memory;
use crate::pins::{Pins, Residents};
use crate::store::{DedupeHit, FlushRun, SharedStore, StoreError};

/// Writes everything that was replayed into the tables, up to block `last`, and gives away the chats that are to leave, as the
/// table was read. False: somebody has changed it since.
pub(super) fn settle(
    tenure: &Tenure,
    mut memory: Memory,
    last: u64,
    pins: &Pins,
    store: &Arc<dyn SharedStore>,
) -> Result<bool, OpenError> {
    let partition = tenure.partition();
    memory.replayed();
    if !memory.tables.active.is_empty() {
        memory.tables.freeze(Lsn(last), None, false);
        for frozen in &memory.tables.frozen {
            let table = &frozen.table;
            let states = table.chats.iter().map(|part| memory.chats.get(part.index).to_state()).collect();
            let applied = vec![(JournalId(u32::from(partition)), Lsn(last))];
            let run = FlushRun { applied, amended: amended(table, &**store)?, states, ..table.to_run() };
            store.flush_owned(tenure, run)?;
        }
    }
    // Asked after the table was read: whoever owns the partition next finds the row, and does not serve before one of the two
    // has settled it. So the other's transaction fails.
    if !tenure.is_held() {
        return Err(StoreError::not_owned(tenure).into());
    }
    let settled = pins.settled(partition, store.sharing().partitions, store.stamp(partition));
    let done = store.change_pins(&settled)?;
    if done {
        tracing::info!(partition, version = settled.version, "pinned chats have left");
    }
    Ok(done)
}

/// Loads the chats of other partitions that are here, with their answers. Returns how many there are.
pub(super) fn load_guests(
    memory: &mut Memory,
    residents: &Residents,
    store: &dyn SharedStore,
) -> Result<u64, StoreError> {
    let mut found = 0;
    for (chat, _) in residents.guests() {
        if let Some(state) = store.load_chat(chat)? {
            memory.chats.load(&state);
            found += 1;
        }
    }
    Ok(found)
}

/// Loads answers: a partition's, and those of its guests, which are kept with their own partition's.
pub(super) fn load_answers(
    memory: &mut Memory,
    (partition, residents): (u16, &Residents),
    store: &dyn SharedStore,
    (now, from_ms): (Now, u64),
) -> Result<(), StoreError> {
    let mut homes: Vec<u16> = residents.guests().map(|(_, home)| home).chain([partition]).collect();
    homes.sort_unstable();
    homes.dedup();
    let mut each = |key: DedupeKey, hit: DedupeHit| {
        if residents.has(hit.chat) {
            answer_found(memory, now, key, &hit);
        }
    };
    homes.into_iter().try_for_each(|home| store.dedupe_since_of(home, from_ms, &mut each))
}
