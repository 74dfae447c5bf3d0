//! glommio's DmaFile, opened `O_DSYNC`.

use std::io;
use std::path::Path;
use std::time::Duration;

use glommio::io::OpenOptions;
use glommio::{LocalExecutorBuilder, Placement};

use super::{BLOCK_BYTES, Load};

/// Writes until the time is over.
pub fn run(path: &Path, mut load: Load) -> io::Result<Load> {
    let other = |error: glommio::GlommioError<()>| io::Error::other(error.to_string());
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(4 << 20)
        .ring_depth(128)
        .spin_before_park(Duration::ZERO)
        .make()
        .map_err(other)?;
    executor.run(async move {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_DSYNC).dma_open(path).await.map_err(other)?;
        let file = std::rc::Rc::new(file);
        let mut block = file.alloc_dma_buffer(BLOCK_BYTES);
        let mut next = load.fill(block.as_bytes_mut());
        while let Some((len, at)) = next {
            block.trim_to_size(len);
            let to = std::rc::Rc::clone(&file);
            let write = glommio::spawn_local(async move { to.write_at(block, at).await.map_err(other) });
            // It takes the buffer and gives none back.
            block = file.alloc_dma_buffer(BLOCK_BYTES);
            let ahead = load.is_ahead();
            if ahead {
                glommio::executor().yield_now().await;
                next = load.fill(block.as_bytes_mut());
            }
            write.await?;
            if !ahead {
                next = load.fill(block.as_bytes_mut());
            }
        }
        Ok(load)
    })
}
