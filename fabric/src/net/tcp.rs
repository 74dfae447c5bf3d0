//! TCP sockets: what the standard library has no call for, and how they join a monoio runtime.
//!
//! Readiness first: sockets are watched together ([`super::readiness`]) and read with [`recv_now`], so an idle connection
//! owns no buffer. Under io_uring accepted sockets stay blocking (the ring waits by itself), under epoll they must not block.

use std::io;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use monoio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel keeps for a listener until they are accepted, unless `net.core.somaxconn` is lower.
pub const BACKLOG: i32 = 16_384;

/// A listener that shares its port with others of this process (SO_REUSEPORT): the kernel spreads connections over them.
/// Non-blocking. Port 0 takes a free one.
///
/// # Errors
/// What `bind(2)` and `listen(2)` say.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Accepted sockets inherit it: small frames leave at once.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Takes one waiting connection, without blocking if `listener` does not block.
///
/// # Errors
/// `WouldBlock` when none waits; else what `accept4(2)` says of the connection or of this process.
pub fn accept_now(listener: BorrowedFd<'_>, nonblocking: bool) -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    let mut fd = -1;
    // SAFETY: `try_init` gives storage and a length that fit each other, and `accept4` fills both in when it succeeds.
    let ((), address) = unsafe {
        socket2::SockAddr::try_init(|storage, length| {
            fd = libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        })
    }?;
    // SAFETY: accept4 just made it; nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((socket, address))
}

/// Reads what has arrived, without waiting whatever the socket's mode. 0 = the peer's end.
///
/// # Errors
/// `WouldBlock` when nothing has arrived; else what `recv(2)` says.
pub fn recv_now(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe `buffer`.
    let count = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// Writes what fits into the socket's buffer, without waiting whatever the socket's mode.
///
/// # Errors
/// `WouldBlock` when nothing fits; else what `send(2)` says.
pub fn send_now(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length describe `bytes`.
    let count = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// Ends one or both directions; errors (not connected any more) are of no interest.
pub fn shutdown(socket: BorrowedFd<'_>, how: std::net::Shutdown) {
    let _ = socket2::SockRef::from(&socket).shutdown(how);
}

/// Gives a socket (or anything that polls like one, an eventfd) to the running monoio runtime.
///
/// # Errors
/// What registering it says.
pub fn adopt(socket: OwnedFd) -> io::Result<TcpStream> {
    TcpStream::from_std(socket.into())
}

/// A socket lent to the running monoio runtime for a ring operation; it stays its owner's, however that ends.
pub struct Lent(ManuallyDrop<TcpStream>);

impl Lent {
    /// Lends `socket`, which must stay open until the operation has ended.
    ///
    /// # Panics
    /// Under epoll, where a loan would have to be registered: wait for a duplicate to become writable instead.
    ///
    /// # Errors
    /// None under io_uring; the runtime's signature has them.
    pub fn new(socket: BorrowedFd<'_>) -> io::Result<Self> {
        assert!(!monoio::utils::is_legacy(), "sockets are lent to rings only");
        // SAFETY: the descriptor is open. The stream made of it never closes it: `give_back` takes the number out, and
        // without that call the stream is forgotten. Under io_uring making it only stores the number, which cannot fail.
        let stream = adopt(unsafe { OwnedFd::from_raw_fd(socket.as_raw_fd()) })?;
        Ok(Self(ManuallyDrop::new(stream)))
    }

    /// The socket as the runtime has it.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.0
    }

    /// Ends the loan. Without this call (a task that is dropped when its shard ends) a few bytes stay allocated.
    ///
    /// # Panics
    /// When an operation of the loan is still under way.
    pub fn give_back(self) {
        let _ = ManuallyDrop::into_inner(self.0).into_raw_fd();
    }
}

/// Ready when `socket` takes more to write, on the running monoio runtime.
///
/// # Errors
/// What duplicating, registering or waiting for it says.
pub async fn writable(socket: BorrowedFd<'_>) -> io::Result<()> {
    adopt(socket.try_clone_to_owned()?)?.writable(false).await
}

/// Connects on the running monoio runtime, from `source` if given. With a source of port 0 the port is chosen by the pair
/// of addresses (IP_BIND_ADDRESS_NO_PORT), so that every source address has a full range for each target. TCP_NODELAY is
/// set.
///
/// # Errors
/// What `bind(2)` and `connect(2)` say.
pub async fn connect(source: Option<SocketAddr>, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        bind_source(socket.as_fd(), source)?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => (),
    }
    let stream = adopt(socket.into())?;
    stream.writable(false).await?;
    // SAFETY: the stream owns the descriptor and outlives this borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let socket = socket2::SockRef::from(&fd);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    if !monoio::utils::is_legacy() {
        socket.set_nonblocking(false)?;
    }
    Ok(stream)
}

/// Connects on the running monoio runtime to a socket that belongs to no runtime: as one from [`accept_now`], blocking under
/// io_uring and not under epoll. TCP_NODELAY is set.
///
/// # Errors
/// What `connect(2)` says.
pub async fn dial(target: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => (),
    }
    writable(socket.as_fd()).await?;
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    if !monoio::utils::is_legacy() {
        socket.set_nonblocking(false)?;
    }
    Ok(socket.into())
}

/// Binds a socket that is about to connect. With port 0 the port is chosen at the connect, by the pair of addresses
/// (IP_BIND_ADDRESS_NO_PORT; over IPv6 it is chosen here).
///
/// # Errors
/// What `setsockopt(2)` and `bind(2)` say.
pub fn bind_source(socket: BorrowedFd<'_>, source: SocketAddr) -> io::Result<()> {
    if source.is_ipv4() && source.port() == 0 {
        bind_address_no_port(socket)?;
    }
    socket2::SockRef::from(&socket).bind(&source.into())
}

fn bind_address_no_port(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `on` is a c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
