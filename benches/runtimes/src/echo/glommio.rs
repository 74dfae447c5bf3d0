//! glommio: a byte is peeked for readiness, so that an idle connection owns no large buffer, then one shared buffer is read.

use std::cell::{RefCell, UnsafeCell};
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, IntoRawFd as _};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::io::{AsyncRead as _, AsyncWriteExt as _};
use glommio::net::{TcpListener as Listener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

use super::{READ_BYTES, Shared};

/// Serves until a signal ends the process.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let other = |error: glommio::GlommioError<()>| io::Error::other(error.to_string());
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(1 << 20)
        .ring_depth(4_096)
        .spin_before_park(Duration::ZERO)
        .make()
        .map_err(other)?;
    executor.run(async move {
        // SAFETY: the descriptor was just given up by its owner.
        let listener = unsafe { Listener::from_raw_fd(listener.into_raw_fd()) };
        let state = super::shared();
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        loop {
            let stream = Rc::new(Stream(UnsafeCell::new(listener.accept().await.map_err(other)?)));
            spawn_local(read(Rc::clone(&state), stream, Rc::clone(&buffer))).detach();
        }
    })
}

/// A stream that one task reads while another writes: glommio keeps a source for each direction.
struct Stream(UnsafeCell<TcpStream>);

async fn read(state: Shared<Stream>, stream: Rc<Stream>, buffer: Rc<RefCell<Vec<u8>>>) {
    let index = super::opened(&state, Rc::clone(&stream));
    let mut one = [0];
    loop {
        // SAFETY: exclusive borrows last no longer than a poll that touches the other direction's source; one thread.
        let peeked = unsafe { &*stream.0.get() }.peek(&mut one).await;
        if !matches!(peeked, Ok(1..)) {
            break;
        }
        // Something is there: the first poll has it.
        let read = poll_fn(|context| {
            // SAFETY: as above.
            let stream = unsafe { &mut *stream.0.get() };
            Pin::new(stream).poll_read(context, &mut buffer.borrow_mut())
        });
        let Ok(count @ 1..) = read.await else { break };
        let flush = |index, to| drop(spawn_local(write(Rc::clone(&state), index, to)).detach());
        if !super::received(&state, index, &buffer.borrow()[..count], flush) {
            break;
        }
    }
    super::closed(&state, index);
}

async fn write(state: Shared<Stream>, index: u32, stream: Rc<Stream>) {
    let mut buffer = Vec::new();
    while let Some(output) = super::output(&state, index, buffer) {
        // SAFETY: as in `read`; `Conn::in_flight` keeps writers to one.
        let stream = unsafe { &mut *stream.0.get() };
        if stream.write_all(&output).await.is_err() {
            return;
        }
        buffer = output;
    }
}
