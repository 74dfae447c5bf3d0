//! A raw ring: registered file and buffers, `RWF_DSYNC`.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use io_uring::{IoUring, opcode, types};

use super::{BLOCK_BYTES, Load, Memory, open};

/// Writes until the time is over.
pub fn run(path: &Path, mut load: Load) -> io::Result<Load> {
    let file = open(path, 0)?;
    let mut ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().build(8)?;
    let mut blocks = [Memory::new(), Memory::new()];
    let parts: Vec<libc::iovec> =
        blocks.iter().map(|block| libc::iovec { iov_base: block.pointer().cast(), iov_len: BLOCK_BYTES }).collect();
    // SAFETY: the blocks live until the ring is gone.
    unsafe { ring.submitter().register_buffers(&parts)? };
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let mut turn = 0;
    let mut next = load.fill(blocks[turn].bytes());
    while let Some((len, at)) = next {
        let write = opcode::WriteFixed::new(types::Fixed(0), blocks[turn].pointer(), len as u32, turn as u16)
            .offset(at)
            .rw_flags(libc::RWF_DSYNC)
            .build();
        // SAFETY: the block is not touched before its completion.
        unsafe { ring.submission().push(&write).map_err(io::Error::other)? };
        ring.submit()?;
        turn = 1 - turn;
        let ahead = load.is_ahead();
        if ahead {
            next = load.fill(blocks[turn].bytes());
        }
        ring.submit_and_wait(1)?;
        let result = ring.completion().next().map_or(-libc::EIO, |done: io_uring::cqueue::Entry| done.result());
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        if !ahead {
            next = load.fill(blocks[turn].bytes());
        }
    }
    Ok(load)
}
