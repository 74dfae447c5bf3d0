//! Journal files as the format table of `storage_writer::journal` documents them, read by code of their own: which blocks a
//! stopped server left, what they name durable, which messages are in them.

use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 64;
const RECORD_HEADER_BYTES: usize = 32;
const APPEND: u8 = 1;

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its file.
    pub file: PathBuf,
    /// Where it begins.
    pub offset: usize,
    /// The journal it belongs to.
    pub journal: u64,
    /// Header and records, bytes; padding not counted.
    pub used_bytes: usize,
    /// First LSN.
    pub first_lsn: u64,
    /// Records in it.
    pub records: u32,
    /// The highest LSN known durable when it was submitted.
    pub durable: u64,
    /// (chat, message id) of each message in it, 16 bytes each.
    pub messages: Vec<([u8; 16], [u8; 16])>,
}

impl Block {
    /// Its last record's LSN.
    pub const fn last_lsn(&self) -> u64 {
        self.first_lsn + self.records as u64 - 1
    }
}

/// A segment.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its file.
    pub file: PathBuf,
    /// Blocks are aligned to this.
    pub align: usize,
    /// Where the first block would begin that is not there.
    pub end: usize,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

fn messages(mut records: &[u8]) -> Vec<([u8; 16], [u8; 16])> {
    let mut out = Vec::new();
    while records.len() >= RECORD_HEADER_BYTES {
        let payload = RECORD_HEADER_BYTES + number(records, 4, 4) as usize;
        if records[8] == APPEND && payload <= records.len() {
            let id = |at: usize| records[RECORD_HEADER_BYTES + at..][..16].try_into().expect("16 bytes");
            out.push((id(0), id(16)));
        }
        records = records.get(payload..).unwrap_or_default();
    }
    out
}

fn segment(file: PathBuf) -> Option<Segment> {
    let bytes = std::fs::read(&file).ok()?;
    if bytes.get(..4)? != b"SWJS" {
        return None;
    }
    let (generation, journal, salt) = (number(&bytes, 8, 8), number(&bytes, 16, 8), number(&bytes, 48, 8));
    let align = number(&bytes, 40, 4) as usize;
    let (mut at, mut blocks) = (align, Vec::new());
    while at + HEADER_BYTES <= bytes.len() {
        let head = &bytes[at..];
        if &head[..4] != b"SWJB" || number(head, 8, 8) != generation || number(head, 48, 8) != salt {
            break;
        }
        let used_bytes = HEADER_BYTES + number(head, 36, 4) as usize;
        blocks.push(Block {
            file: file.clone(),
            offset: at,
            journal,
            used_bytes,
            first_lsn: number(head, 24, 8),
            records: number(head, 32, 4) as u32,
            durable: number(head, 40, 8),
            messages: messages(&head[HEADER_BYTES..used_bytes.min(head.len())]),
        });
        at += used_bytes.next_multiple_of(align);
    }
    Some(Segment { file, align, end: at, blocks })
}

/// Every segment of a folder, in the order of their names.
///
/// # Panics
/// When the folder cannot be read.
pub fn segments(folder: &Path) -> Vec<Segment> {
    let entries = std::fs::read_dir(folder).expect("the journals' folder");
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
    files.sort();
    files.into_iter().filter_map(segment).collect()
}

/// The highest LSN that a block of `journal` names durable.
pub fn covered(segments: &[Segment], journal: u64) -> u64 {
    let blocks = segments.iter().flat_map(|segment| &segment.blocks);
    blocks.filter(|block| block.journal == journal).map(|block| block.durable).max().unwrap_or(0)
}

/// Changes bytes of a file in place.
///
/// # Panics
/// When the file cannot be changed.
pub fn change(file: &Path, offset: usize, len: usize, change: impl FnOnce(&mut [u8])) {
    use std::os::unix::fs::FileExt as _;
    let handle = std::fs::OpenOptions::new().read(true).write(true).open(file).expect("a journal file");
    let mut bytes = vec![0; len];
    handle.read_exact_at(&mut bytes, offset as u64).expect("the bytes are there");
    change(&mut bytes);
    handle.write_all_at(&bytes, offset as u64).expect("the file can be changed");
}
