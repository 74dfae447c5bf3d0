//! Dead letters: queued sends that were refused for good, a file each, `NUMBER.letter` in the spool's folder. One that is to go
//! again is renamed to `NUMBER.replay`, which the writer finds whether it runs or is started.
//!
//! What must stay true: a letter is whole and durable before its send leaves the spool; one that goes again is queued before its
//! file goes.

use std::io;

use fabric::disk::Disk;
use schema::envelope::Envelope;
use schema::errors::ErrorCode;

use super::files::whole;
use super::format::{self, Record};

const LETTER: &str = ".letter";
const REPLAY: &str = ".replay";

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its number: as its file is named.
    pub id: u64,
    /// When its sender was told `queued`, ms since 1970.
    pub queued_ms: u64,
    /// When it was given up, ms since 1970.
    pub dead_ms: u64,
    /// Why: the refusal; `None` = it was too old for a resend to be told from a first send.
    pub refused: Option<ErrorCode>,
    /// The send.
    pub send: Envelope,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub letters: usize,
    pub bytes: u64,
    /// Files of letters that are to go again.
    pub replays: Vec<String>,
}

fn name(id: u64, suffix: &str) -> String {
    format!("{id:016x}{suffix}")
}

/// Writes a letter, durable when it returns; one that a crash has cut off is written anew.
pub(super) fn put(disk: &dyn Disk, id: u64, bytes: &[u8]) -> io::Result<()> {
    let file = name(id, LETTER);
    disk.remove(&file)?;
    disk.create_zeroed(&file, bytes.len() as u64)?;
    disk.write_durable(&file, 0, bytes)
}

pub(super) fn look(disk: &dyn Disk) -> io::Result<Look> {
    let mut look = Look::default();
    for file in disk.list()? {
        if file.ends_with(REPLAY) {
            look.replays.push(file);
        } else if file.ends_with(LETTER) {
            // It may be dropped at any moment.
            look.bytes += disk.len(&file).unwrap_or(0);
            look.letters += 1;
        }
    }
    Ok(look)
}

/// A letter of this file; `None`: it is gone, or was never whole.
pub(super) fn read(disk: &dyn Disk, file: &str) -> io::Result<Option<Letter>> {
    let bytes = match whole(disk, file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let record = format::read(&bytes).ok().and_then(|mut batch| batch.records.pop());
    let Some(Record::Dead { id, queued_ms, dead_ms, code, send }) = record else { return Ok(None) };
    Ok(Some(Letter { id, queued_ms, dead_ms, refused: ErrorCode::from_code(code), send }))
}

/// All letters of a folder, the oldest first, and how many files are none. Blocks.
///
/// # Errors
/// What the disk says.
pub fn list(disk: &dyn Disk) -> io::Result<(Vec<Letter>, usize)> {
    let (mut letters, mut broken) = (Vec::new(), 0);
    for file in disk.list()?.iter().filter(|file| file.ends_with(LETTER)) {
        match read(disk, file)? {
            Some(letter) => letters.push(letter),
            None => broken += usize::from(disk.len(file).is_ok()),
        }
    }
    Ok((letters, broken))
}

/// Has a letter go again: a running writer finds it within a second or two. Whether it was there.
///
/// # Errors
/// What the disk says.
pub fn replay(disk: &dyn Disk, id: u64) -> io::Result<bool> {
    match disk.rename(&name(id, LETTER), &name(id, REPLAY)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}

/// Drops a letter for good. Whether it was there.
///
/// # Errors
/// What the disk says.
pub fn discard(disk: &dyn Disk, id: u64) -> io::Result<bool> {
    let file = name(id, LETTER);
    let there = disk.len(&file).is_ok();
    disk.remove(&file)?;
    Ok(there)
}
