//! Closing a recovered journal, so that the next recovery cannot see it differently.
//!
//! A block that was in flight when its process died may be on the disk, in a drive's volatile cache or still on its way: a
//! recovery may see it and the next one not, or the other way round. So before anything is built on what was accepted, a
//! last segment is written: it takes over after the last LSN known durable, repeats the accepted records above that, and
//! ends with the sealing block of a clean stop. What earlier segments show above it is superseded.

use fabric::disk::{Block, Disk};

use super::format::{
    BLOCK_CLEAN_STOP, BLOCK_SEALS, BlockHeader, HEADER_LEN, SEGMENT_CLOSES, SegmentHeader, generation,
};
use super::recover::io_error;
use super::scan::RecoverError;
use super::segment::{header_block, name};
use super::writer::finish_block;
use crate::lsn::{JournalId, Lsn};

/// A closing segment has this suffix until it is whole.
pub(super) const UNFINISHED: &str = ".closing";

/// An accepted block that no later one names durable: its header and its bytes, block header included.
pub(super) struct TailBlock {
    pub header: BlockHeader,
    pub bytes: Vec<u8>,
}

/// Writes the closing segment. `durable`: the last LSN known durable; `last`: the last one accepted; `tail`: the blocks
/// between. Returns its name.
pub(super) fn close(
    disk: &dyn Disk,
    journal: JournalId,
    ordinal: u32,
    durable: Lsn,
    tail: &[TailBlock],
) -> Result<std::sync::Arc<str>, RecoverError> {
    let align = disk.align_bytes();
    let generation = generation(journal, ordinal);
    let mut header = SegmentHeader {
        flags: SEGMENT_CLOSES,
        generation,
        journal,
        continues_after: Some(durable),
        len_bytes: 0,
        align_bytes: align as u32,
        salt: generation,
    };
    let mut bytes = vec![0u8; align];
    let mut last = durable;
    for block in tail {
        debug_assert_eq!(block.header.first_lsn, last.next());
        last = block.header.last_lsn();
        add_block(&mut bytes, &block.bytes, BlockHeader { generation, salt: header.salt, ..block.header }, align);
    }
    let flags = BLOCK_SEALS | BLOCK_CLEAN_STOP;
    let (first_lsn, salt) = (last.next(), header.salt);
    let seal = BlockHeader { flags, generation, journal, first_lsn, records: 0, payload_len: 0, durable: last, salt };
    add_block(&mut bytes, &[0; HEADER_LEN], seal, align);
    header.len_bytes = bytes.len() as u64;
    bytes[..align].copy_from_slice(header_block(&header).as_slice());

    let name = name(journal, ordinal);
    let unfinished = format!("{name}{UNFINISHED}");
    let written = disk
        .create_zeroed(&unfinished, header.len_bytes)
        .and_then(|()| disk.write_durable(&unfinished, 0, Block::copy_of(&bytes).as_slice()))
        .and_then(|()| disk.rename(&unfinished, &name));
    written.map_err(|error| io_error(&name, error))?;
    Ok(name)
}

fn add_block(out: &mut Vec<u8>, block: &[u8], header: BlockHeader, align: usize) {
    let start = out.len();
    let used = HEADER_LEN + header.payload_len as usize;
    out.extend_from_slice(&block[..used]);
    out.resize(start + used.next_multiple_of(align), 0);
    finish_block(&mut out[start..], used, &header);
}
