//! A thread of its own that calls `pwrite`, as where there is no ring.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::{Load, Memory, open};

/// Writes until the time is over.
pub fn run(path: &Path, mut load: Load) -> io::Result<Load> {
    let file = open(path, libc::O_DSYNC)?;
    let (give, take) = sync_channel::<(Memory, usize, u64)>(1);
    let (done, written) = sync_channel::<io::Result<Memory>>(1);
    let writer = std::thread::spawn(move || {
        while let Ok((block, len, at)) = take.recv() {
            let result = file.write_all_at(block.first(len), at).map(|()| block);
            if done.send(result).is_err() {
                break;
            }
        }
    });
    let (mut block, mut spare) = (Memory::new(), Memory::new());
    let mut next = load.fill(block.bytes());
    let gone = || io::Error::other("the writer is gone");
    while let Some((len, at)) = next {
        give.send((block, len, at)).map_err(|_| gone())?;
        let ahead = load.is_ahead();
        if ahead {
            next = load.fill(spare.bytes());
        }
        let back = written.recv().map_err(|_| gone())??;
        block = std::mem::replace(&mut spare, back);
        if !ahead {
            next = load.fill(block.bytes());
        }
    }
    drop(give);
    writer.join().map_err(|_| gone())?;
    Ok(load)
}
