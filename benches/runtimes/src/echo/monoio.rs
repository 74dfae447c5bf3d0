//! monoio, as the product's shards use it: SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN; readiness, then one shared buffer;
//! writes through the ring.

use std::cell::{RefCell, UnsafeCell};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;

use monoio::io::AsyncWriteRentExt as _;
use monoio::net::{TcpListener as Listener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder, spawn};

use super::{READ_BYTES, Shared};

/// Serves until a signal ends the process.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    let mut ring = monoio_ring();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun();
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new().with_entries(4_096).uring_builder(ring).build()?;
    runtime.block_on(async move {
        let listener = Listener::from_std(listener)?;
        let state = super::shared();
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        loop {
            let (stream, _) = listener.accept().await?;
            spawn(read(Rc::clone(&state), Rc::new(Stream(UnsafeCell::new(stream))), Rc::clone(&buffer)));
        }
    })
}

fn monoio_ring() -> io_uring_06::Builder {
    io_uring_06::IoUring::builder()
}

/// A stream that one task reads while another writes, which monoio declares sound (its streams are `Split`).
struct Stream(UnsafeCell<TcpStream>);

impl Stream {
    fn get(&self) -> &TcpStream {
        // SAFETY: the only exclusive borrow, in `write`, is used for nothing but starting sends; one thread.
        unsafe { &*self.0.get() }
    }
}

async fn read(state: Shared<Stream>, stream: Rc<Stream>, buffer: Rc<RefCell<Vec<u8>>>) {
    let index = super::opened(&state, Rc::clone(&stream));
    while stream.get().readable(false).await.is_ok() {
        let mut buffer = buffer.borrow_mut();
        let fd = stream.get().as_raw_fd();
        // SAFETY: pointer and length describe `buffer`.
        let count = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        match count {
            0 => break,
            1.. => {
                let flush = |index, to| drop(spawn(write(Rc::clone(&state), index, to)));
                if !super::received(&state, index, &buffer[..count as usize], flush) {
                    break;
                }
            }
            _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    super::closed(&state, index);
}

async fn write(state: Shared<Stream>, index: u32, stream: Rc<Stream>) {
    let mut buffer = Vec::new();
    while let Some(output) = super::output(&state, index, buffer) {
        // SAFETY: see `Stream::get`; `Conn::in_flight` keeps writers to one.
        let stream = unsafe { &mut *stream.0.get() };
        let (result, output) = stream.write_all(output).await;
        if result.is_err() {
            return;
        }
        buffer = output;
    }
}
