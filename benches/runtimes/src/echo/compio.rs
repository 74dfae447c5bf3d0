//! compio: managed reads from its pool of provided buffers, writes of owned buffers through the ring.

use std::io;
use std::net::TcpListener;
use std::num::NonZero;
use std::rc::Rc;

use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncReadManaged as _, AsyncWriteExt as _};
use compio::net::{TcpListener as Listener, TcpStream};
use compio::runtime::{RuntimeBuilder, spawn};

use super::{READ_BYTES, Shared};

/// Buffers of the pool.
const BUFFERS: NonZero<u16> = NonZero::new(1_024).expect("not zero");

/// Serves until a signal ends the process.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let mut proactor = ProactorBuilder::new();
    proactor.buffer_pool_size(BUFFERS).buffer_pool_buffer_len(READ_BYTES);
    RuntimeBuilder::new().with_proactor(proactor).build()?.block_on(async move {
        let listener = Listener::from_std(listener)?;
        let state = super::shared();
        loop {
            let (stream, _) = listener.accept().await?;
            spawn(read(Rc::clone(&state), Rc::new(stream))).detach();
        }
    })
}

async fn read(state: Shared<TcpStream>, stream: Rc<TcpStream>) {
    let index = super::opened(&state, Rc::clone(&stream));
    loop {
        let bytes = match (&*stream).read_managed(0).await {
            Ok(Some(bytes)) if !bytes.is_empty() => bytes,
            // The pool is empty for now: others give back what they have read.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
            _ => break,
        };
        let flush = |index, to| spawn(write(Rc::clone(&state), index, to)).detach();
        if !super::received(&state, index, &bytes, flush) {
            break;
        }
    }
    super::closed(&state, index);
}

async fn write(state: Shared<TcpStream>, index: u32, stream: Rc<TcpStream>) {
    let mut buffer = Vec::new();
    while let Some(output) = super::output(&state, index, buffer) {
        let BufResult(result, output) = (&*stream).write_all(output).await;
        if result.is_err() {
            return;
        }
        buffer = output;
    }
}
