//! Cutting copied journals at a point in time.
//!
//! What must stay true: what is left of a journal is a whole one, closed, that ends before its first entry of a later time.

use std::collections::BTreeMap;
use std::sync::Arc;

use fabric::disk::{Block, Disk};
use schema::timeuuid::unix_ms;

use super::close::{TailBlock, close};
use super::format::{BlockHeader, HEADER_LEN, SegmentHeader};
use super::record::Record;
use super::recover::{index_of, io_error, read_header, read_whole};
use super::scan::{Found, Identity, RecoverError, each_record};
use super::segment::parse_name;
use crate::lsn::{JournalId, Lsn};

/// A journal that had later entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Which.
    pub journal: JournalId,
    /// Its last record now.
    pub last_lsn: Lsn,
}

/// Where a journal is cut.
struct Place {
    ordinal: u32,
    file: Arc<str>,
    bytes: Vec<u8>,
    found: Found,
    /// Records of the block that stay, and their bytes.
    records: u32,
    payload_len: u32,
}

/// Ends every journal of `disk` before its first entry of a time after `until_ms` (ms since 1970, by its id). The journals
/// are closed ones ([`super::recover()`]) that nobody else uses. Positions have no time of their own: they go with the
/// entries around them. When it fails, the folder is of no use any more.
///
/// # Errors
/// [`RecoverError`].
pub fn cut(disk: &dyn Disk, until_ms: u64) -> Result<Vec<Cut>, RecoverError> {
    let mut journals: BTreeMap<JournalId, BTreeMap<u32, Arc<str>>> = BTreeMap::new();
    for file in disk.list().map_err(|error| io_error("", error))? {
        if let Some((journal, ordinal)) = parse_name(&file) {
            journals.entry(journal).or_default().insert(ordinal, file.into());
        }
    }
    let mut cuts = Vec::new();
    for (journal, files) in journals {
        if let Some(place) = find(disk, journal, &files, until_ms)? {
            cuts.push(Cut { journal, last_lsn: cut_at(disk, journal, &files, &place)? });
        }
    }
    Ok(cuts)
}

fn find(
    disk: &dyn Disk,
    journal: JournalId,
    files: &BTreeMap<u32, Arc<str>>,
    until_ms: u64,
) -> Result<Option<Place>, RecoverError> {
    let mut segments: Vec<(u32, &Arc<str>, SegmentHeader)> = Vec::new();
    for (&ordinal, file) in files {
        if let Some(header) = read_header(disk, file, journal, ordinal)? {
            segments.push((ordinal, file, header));
        }
    }
    for (i, (ordinal, file, header)) in segments.iter().enumerate() {
        let superseded = segments[i + 1..].iter().filter_map(|(.., later)| later.continues_after).min();
        let bytes = read_whole(disk, file)?;
        let blocks = index_of(&bytes, file, &Identity::of(header), false)?.blocks;
        for found in blocks {
            if superseded.is_some_and(|after| found.header.first_lsn > after) {
                break;
            }
            if let Some((records, payload_len)) = keeps(&bytes, &found, file, until_ms)? {
                return Ok(Some(Place {
                    ordinal: *ordinal,
                    file: Arc::clone(file),
                    bytes,
                    found,
                    records,
                    payload_len,
                }));
            }
        }
    }
    Ok(None)
}

/// How much of a block stays, if not all of it.
fn keeps(bytes: &[u8], found: &Found, file: &str, until_ms: u64) -> Result<Option<(u32, u32)>, RecoverError> {
    for (records, (offset, head, payload)) in (0..).zip(each_record(bytes, found)) {
        let record = Record::decode(head.kind, head.format, payload);
        let record =
            record.map_err(|source| RecoverError::Record { file: file.to_owned(), offset: offset as u64, source })?;
        if let Record::Append(append) = record
            && unix_ms(append.message) > until_ms
        {
            return Ok(Some((records, (offset - found.offset - HEADER_LEN) as u32)));
        }
    }
    Ok(None)
}

fn cut_at(
    disk: &dyn Disk,
    journal: JournalId,
    files: &BTreeMap<u32, Arc<str>>,
    place: &Place,
) -> Result<Lsn, RecoverError> {
    for file in files.range(place.ordinal..).map(|(_, file)| file) {
        disk.remove(file).map_err(|error| io_error(file, error))?;
    }
    let Found { offset, header } = place.found;
    let (file, kept) = (&place.file, &place.bytes[..offset]);
    disk.create_zeroed(file, kept.len() as u64)
        .and_then(|()| disk.write_durable(file, 0, Block::copy_of(kept).as_slice()))
        .map_err(|error| io_error(file, error))?;
    let before = Lsn(header.first_lsn.0 - 1);
    let header = BlockHeader { records: place.records, payload_len: place.payload_len, ..header };
    let bytes = place.bytes[offset..offset + HEADER_LEN + place.payload_len as usize].to_vec();
    let tail = if place.records > 0 { vec![TailBlock { header, bytes }] } else { Vec::new() };
    close(disk, journal, place.ordinal + 1, before, &tail)?;
    Ok(Lsn(before.0 + u64::from(place.records)))
}
