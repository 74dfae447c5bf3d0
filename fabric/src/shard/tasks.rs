//! The tasks of a shard besides its connections: accepting, waking, the timer, and the main one that runs the turns.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use monoio::net::TcpStream;
use monoio::time::{Instant, sleep};

use super::metrics::count;
use super::skin::Skin;
use crate::core::{Core, Protocol};
use crate::net::tcp;
use crate::wake::Waker;

/// Connections taken from a listener before others have their turn.
const ACCEPTS: usize = 64;
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// How long a stopped shard waits for its sockets' tasks to end.
const END: Duration = Duration::from_secs(1);

/// Runs a shard until its core has stopped.
pub(super) async fn run<C: Core + 'static>(skin: Rc<Skin<C>>, waker: Waker, listeners: Vec<(Protocol, TcpListener)>) {
    let events = skin.events(&waker).expect("an epoll instance joins the runtime");
    let mut streams = Vec::new();
    for (protocol, listener) in listeners {
        let stream = Rc::new(tcp::adopt(OwnedFd::from(listener)).expect("a listener joins the runtime"));
        streams.push((protocol, stream.clone()));
        monoio::spawn(accept(skin.clone(), protocol, stream));
    }
    monoio::spawn(read(skin.clone(), events));
    monoio::spawn(timer(skin.clone()));

    // The first turn: cores may have something to do before any input.
    skin.dirty.mark();
    loop {
        skin.dirty.wait().await;
        // Before the core hears of it: what waits in a listener now is told to go with everybody else, and the next
        // connection finds whoever has the port then.
        if skin.stop_is_due() {
            close_listeners(&skin, &mut streams);
        }
        if skin.turn() {
            break;
        }
    }
    end(skin, &waker).await;
}

/// Takes the connections that the kernel has already made, then closes the listeners.
fn close_listeners<C: Core + 'static>(skin: &Skin<C>, listeners: &mut Vec<(Protocol, Rc<TcpStream>)>) {
    for (protocol, listener) in listeners.drain(..) {
        for _ in 0..tcp::BACKLOG {
            match tcp::accept_now(borrow(&listener), !skin.rings) {
                Ok((socket, peer)) => skin.accepted(protocol, socket, peer),
                Err(_) => break,
            }
        }
        // Its task holds the socket until it sees the end; the port is free from here on.
        tcp::shutdown(borrow(&listener), Shutdown::Both);
    }
}

/// Lets every task see the end, so that sockets are closed and the core is dropped on its thread.
async fn end<C: Core + 'static>(skin: Rc<Skin<C>>, waker: &Waker) {
    skin.close_all();
    let step = Duration::from_millis(1);
    for _ in 0..END.as_millis() {
        waker.begin_turn();
        if waker.try_sleep() {
            waker.wake();
        }
        if let Some(timer) = skin.timer.take() {
            timer.wake();
        }
        skin.release_waiting();
        if Rc::strong_count(&skin) == 1 && skin.writes_in_flight() == 0 {
            return;
        }
        sleep(step).await;
    }
    tracing::warn!(tasks = Rc::strong_count(&skin) - 1, "a stopped shard leaves tasks behind");
}

fn borrow(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns the descriptor and outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

async fn accept<C: Core + 'static>(skin: Rc<Skin<C>>, protocol: Protocol, listener: Rc<TcpStream>) {
    let mut backoff = BACKOFF[0];
    while !skin.is_stopping() {
        let mut failed = listener.readable(false).await.err();
        for _ in 0..ACCEPTS {
            if failed.is_some() || skin.is_stopping() {
                break;
            }
            match tcp::accept_now(borrow(&listener), !skin.rings) {
                Ok((socket, peer)) => {
                    backoff = BACKOFF[0];
                    skin.accepted(protocol, socket, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The peer's doing: go on with the next.
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {
                    count(&skin.tally.accept_errors, 1);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed.filter(|_| !skin.is_stopping()) {
            // No descriptors or memory: the connection waits in the kernel until there are some.
            count(&skin.tally.accept_errors, 1);
            tracing::warn!(%error, again_in = ?backoff, "a connection could not be accepted");
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF[1]);
        } else if !skin.rings && !skin.is_stopping() {
            skin.next_turn().await;
        }
    }
}

/// Reads whatever has something to read, and takes wakes by other threads.
async fn read<C: Core + 'static>(skin: Rc<Skin<C>>, events: TcpStream) {
    while !skin.is_ended() {
        if events.readable(false).await.is_err() {
            sleep(BACKOFF[0]).await;
        }
        // Under epoll sockets with data are ready at once: wait for the turn, or they would starve everything else.
        while skin.receive_ready() && !skin.is_ended() {
            skin.next_turn().await;
        }
        if !skin.rings && !skin.is_ended() {
            skin.next_turn().await;
        }
    }
}

/// One sleeping timer for the whole shard, set anew only when an earlier deadline appears.
async fn timer<C: Core + 'static>(skin: Rc<Skin<C>>) {
    const FAR: Duration = Duration::from_secs(24 * 60 * 60);
    let mut timer = pin!(sleep(FAR));
    let mut set_ns = u64::MAX;
    poll_fn(|context| {
        if skin.is_ended() {
            return Poll::Ready(());
        }
        *skin.timer.borrow_mut() = Some(context.waker().clone());
        let wanted_ns = skin.armed_ns.get();
        if wanted_ns != set_ns {
            set_ns = wanted_ns;
            let after = Duration::from_nanos(wanted_ns.saturating_sub(skin.mono_ns()));
            timer.as_mut().reset(Instant::now() + after.min(FAR));
        }
        while timer.as_mut().poll(context).is_ready() {
            set_ns = u64::MAX;
            skin.armed_ns.set(u64::MAX);
            timer.as_mut().reset(Instant::now() + FAR);
            skin.dirty.mark();
        }
        Poll::Pending
    })
    .await;
}
