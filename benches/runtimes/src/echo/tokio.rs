//! tokio, one thread: readiness, one shared buffer, writes at once and waited for only when the socket is full.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use tokio::net::{TcpListener as Listener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::{READ_BYTES, Shared};

/// Serves until a signal ends the process.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = Listener::from_std(listener)?;
        let state = super::shared();
        let buffer = Rc::new(RefCell::new(vec![0; READ_BYTES]));
        loop {
            let (stream, _) = listener.accept().await?;
            spawn_local(read(Rc::clone(&state), Rc::new(stream), Rc::clone(&buffer)));
        }
    })
}

async fn read(state: Shared<TcpStream>, stream: Rc<TcpStream>, buffer: Rc<RefCell<Vec<u8>>>) {
    let index = super::opened(&state, Rc::clone(&stream));
    while stream.readable().await.is_ok() {
        let mut buffer = buffer.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                let flush = |index, to| drop(spawn_local(write(Rc::clone(&state), index, to)));
                if !super::received(&state, index, &buffer[..count], flush) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    super::closed(&state, index);
}

async fn write(state: Shared<TcpStream>, index: u32, stream: Rc<TcpStream>) {
    let mut buffer = Vec::new();
    while let Some(output) = super::output(&state, index, buffer) {
        let mut from = 0;
        while from < output.len() {
            match stream.try_write(&output[from..]) {
                Ok(count) => from += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stream.writable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
        buffer = output;
    }
}
