//! Copying what of journals is not in the store, also while they are written.
//!
//! What must stay true: everything up to the LSNs given is in the copy, or there is an error; a copy holds whole blocks of
//! one chain only, however the writer was caught; a segment that was used again while it was read is never in it.

use std::collections::BTreeMap;
use std::io;

use fabric::disk::Disk;

use super::format::{HEADER_LEN, SegmentHeader};
use super::recover::{index_of, io_error, read_header, read_whole};
use super::scan::{Identity, Index, RecoverError};
use super::segment::parse_name;
use crate::lsn::{JournalId, Lsn};

/// Why journals could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// They cannot be read.
    #[error(transparent)]
    Source(#[from] RecoverError),
    /// A segment was freed and used again in the middle of it. A copy begun anew, from what the store has then, can succeed.
    #[error("journal {file} was used again while it was copied; the disk may be nearly full")]
    Reused {
        /// Which file.
        file: String,
    },
    /// The copy cannot be written.
    #[error("{file}: {source}")]
    Target {
        /// Which file.
        file: String,
        /// Why.
        source: io::Error,
    },
}

/// Writes a file of a copy: its name, all of its bytes.
pub type Write<'a> = dyn FnMut(&str, &[u8]) -> io::Result<()> + 'a;

/// Copies what of every journal in `disk` is above `applied`, segment by segment, oldest first. `live`: the journals that
/// are being written, held ([`super::Watch::hold`]), each with an LSN known committed; the copy has at least that. `listed`:
/// the folder's names, listed after that and before `applied` was read, so that a journal that goes meanwhile is missed.
/// Run [`super::recover()`] on the copy: it checks it, and closes its journals.
///
/// # Errors
/// See [`CopyError`].
pub fn copy(
    disk: &dyn Disk,
    listed: &[String],
    applied: &[(JournalId, Lsn)],
    live: &[(JournalId, Lsn)],
    write: &mut Write<'_>,
) -> Result<(), CopyError> {
    let mut journals: BTreeMap<JournalId, BTreeMap<u32, &str>> = BTreeMap::new();
    for file in listed {
        if let Some((journal, ordinal)) = parse_name(file) {
            journals.entry(journal).or_default().insert(ordinal, file);
        }
    }
    let of = |list: &[(JournalId, Lsn)], id| list.iter().find(|(journal, _)| *journal == id).map(|(_, lsn)| *lsn);
    for &(id, committed) in live {
        let applied = of(applied, id).unwrap_or(Lsn::ZERO);
        let files = journals.remove(&id).unwrap_or_default();
        Copying { disk, id, applied, write: &mut *write }.live(&files, committed)?;
    }
    for (id, files) in journals {
        let applied = of(applied, id).unwrap_or(Lsn::ZERO);
        Copying { disk, id, applied, write: &mut *write }.ended(&files)?;
    }
    Ok(())
}

/// One journal on its way.
struct Copying<'a, 'w> {
    disk: &'a dyn Disk,
    id: JournalId,
    applied: Lsn,
    write: &'a mut Write<'w>,
}

/// A segment as it was found.
struct Read {
    header: SegmentHeader,
    bytes: Vec<u8>,
    index: Index,
}

impl Read {
    fn last_lsn(&self) -> Option<Lsn> {
        self.index.blocks.last().map(|found| found.header.last_lsn())
    }
}

impl Copying<'_, '_> {
    /// `Ok(None)`: it holds nothing. `Err(Reused)`: it is not what it was.
    fn read(&self, ordinal: u32, file: &str) -> Result<Option<Read>, CopyError> {
        let gone = |error: RecoverError| match error {
            RecoverError::Io { file, source } if source.kind() == io::ErrorKind::NotFound => CopyError::Reused { file },
            other => CopyError::Source(other),
        };
        let Some(header) = read_header(self.disk, file, self.id, ordinal).map_err(gone)? else { return Ok(None) };
        let bytes = read_whole(self.disk, file).map_err(gone)?;
        // A segment is renamed before it is written over: with its name in place, so was what was read.
        self.disk.len(file).map_err(|error| gone(io_error(file, error)))?;
        let index = index_of(&bytes, file, &Identity::of(&header), false)?;
        Ok(Some(Read { header, bytes, index }))
    }

    fn put(&mut self, file: &str, bytes: &[u8]) -> Result<(), CopyError> {
        (self.write)(file, bytes).map_err(|source| CopyError::Target { file: file.to_owned(), source })
    }

    /// A journal nobody writes to: what is in it is judged by whoever reads the copy.
    fn ended(&mut self, files: &BTreeMap<u32, &str>) -> Result<(), CopyError> {
        let mut begun = false;
        for (&ordinal, file) in files {
            let Some(read) = self.read(ordinal, file)? else { continue };
            let damaged = read.index.is_damaged();
            begun |= damaged || read.last_lsn().is_some_and(|last| last > self.applied);
            if begun {
                let end = if damaged { read.bytes.len() } else { read.index.end.offset.min(read.bytes.len()) };
                self.put(file, &read.bytes[..end])?;
            }
        }
        Ok(())
    }

    /// A journal that is being written: the blocks that follow one another, up to `committed` at least.
    fn live(&mut self, files: &BTreeMap<u32, &str>, committed: Lsn) -> Result<(), CopyError> {
        let mut chain = Follow { next: None, broken: None };
        let (mut begun, mut reused) = (false, None);
        for (&ordinal, file) in files {
            let read = match self.read(ordinal, file) {
                Ok(Some(read)) => read,
                Ok(None) => continue,
                Err(CopyError::Reused { file }) if !begun => {
                    reused = Some(file);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let before = chain.next;
            let end = chain.follow(file, &read);
            begun |= chain.next.is_some_and(|next| next > self.applied.next());
            if begun && before.is_none() && first_lsn(&read) > self.applied.next() {
                // What came before was freed: the store has more by now than it had.
                let file = reused.unwrap_or_else(|| (*file).to_owned());
                return Err(CopyError::Reused { file });
            }
            if begun && end > 0 {
                self.put(file, &read.bytes[..end])?;
            }
        }
        let reached = chain.next.map_or(self.applied, |next| Lsn(next.0 - 1));
        if reached >= committed {
            return Ok(());
        }
        if let Some(file) = reused {
            return Err(CopyError::Reused { file });
        }
        let (file, offset) = chain.broken.unwrap_or_default();
        let what = "records known to be durable are missing from here on";
        Err(RecoverError::Corruption { file, offset: offset as u64, what }.into())
    }
}

fn first_lsn(read: &Read) -> Lsn {
    let after = read.header.continues_after.map(Lsn::next);
    after.or_else(|| read.index.blocks.first().map(|found| found.header.first_lsn)).unwrap_or(Lsn::ZERO)
}

/// How far the blocks of a journal follow one another.
struct Follow {
    /// The next LSN; `None` before the first block.
    next: Option<Lsn>,
    /// Where they ended, file and offset.
    broken: Option<(String, usize)>,
}

impl Follow {
    /// How many bytes of a segment belong to the chain; 0 = none.
    fn follow(&mut self, file: &str, read: &Read) -> usize {
        if let Some(after) = read.header.continues_after
            && self.next.is_none_or(|next| next > after)
        {
            (self.next, self.broken) = (Some(after.next()), None);
        }
        if self.broken.is_some() {
            return 0;
        }
        let align = read.header.align_bytes as usize;
        let mut end = align.min(read.bytes.len());
        for found in &read.index.blocks {
            if self.next.is_some_and(|next| next != found.header.first_lsn) {
                self.broken = Some((file.to_owned(), found.offset));
                return if end > align { end } else { 0 };
            }
            self.next = Some(found.header.last_lsn().next());
            end = found.offset + (HEADER_LEN + found.header.payload_len as usize).next_multiple_of(align);
        }
        if read.index.is_damaged() {
            self.broken = Some((file.to_owned(), end));
        }
        end
    }
}
