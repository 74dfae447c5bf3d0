//! monoio, as the product: a file opened `O_DIRECT|O_DSYNC`, written through the shard's ring.

use std::io;
use std::path::Path;

use monoio::buf::IoBuf;
use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder};

use super::{Load, Memory, open};

/// A block and how much of it is written.
struct Lent(Memory, usize);

// SAFETY: the memory does not move; pointer and length describe its initialised begin.
unsafe impl IoBuf for Lent {
    fn read_ptr(&self) -> *const u8 {
        self.0.pointer()
    }

    fn bytes_init(&self) -> usize {
        self.1
    }
}

/// Writes until the time is over.
pub fn run(path: &Path, mut load: Load) -> io::Result<Load> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(64).uring_builder(ring).build()?;
    runtime.block_on(async move {
        let file = std::rc::Rc::new(File::from_std(open(path, libc::O_DSYNC)?)?);
        let (mut block, mut spare) = (Memory::new(), Memory::new());
        let mut next = load.fill(block.bytes());
        while let Some((len, at)) = next {
            let to = std::rc::Rc::clone(&file);
            let write = monoio::spawn(async move { to.write_all_at(Lent(block, len), at).await });
            let ahead = load.is_ahead();
            if ahead {
                // So that the write leaves before the next block is filled.
                yield_once().await;
                next = load.fill(spare.bytes());
            }
            let (result, lent) = write.await;
            result?;
            block = std::mem::replace(&mut spare, lent.0);
            if !ahead {
                next = load.fill(block.bytes());
            }
        }
        Ok(load)
    })
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
