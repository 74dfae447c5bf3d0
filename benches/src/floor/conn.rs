//! One connection: who it is, what is partly read, what waits to be written.

use schema::limits::FRAME_LIMIT_BYTES;

/// A reader this far behind is closed, bytes.
pub const OUTPUT_LIMIT_BYTES: usize = 64 << 20;

/// A connection's state. Its index is its direct descriptor's.
#[derive(Default)]
pub struct Conn {
    /// 0 before Hello and after it has gone.
    pub user: u64,
    /// The receiver it sent to last: user, connection, chat.
    pub peer: (u64, u32, u32),
    /// The beginning of a frame whose rest has not come.
    pub partial: Vec<u8>,
    /// Not yet given to the kernel.
    pub out: Vec<u8>,
    /// What the send in flight points into; not touched while `in_flight`.
    pub sending: Vec<u8>,
    /// A send operation is in the ring.
    pub in_flight: bool,
    /// A recv is armed in the ring.
    pub receiving: bool,
    /// It is in the list of connections to flush.
    pub dirty: bool,
    /// It ends as soon as no send is in flight.
    pub closing: bool,
    /// The descriptor is in use.
    pub open: bool,
}

impl Conn {
    /// Makes it new for a descriptor that is used again; buffers keep their memory.
    pub fn reset(&mut self) {
        self.user = 0;
        self.peer = (0, 0, 0);
        self.partial.clear();
        self.out.clear();
        self.sending.clear();
        (self.in_flight, self.receiving, self.dirty) = (false, false, false);
        (self.closing, self.open) = (false, true);
    }
}

/// The first whole frame of `bytes`: `Ok(None)` when it is not whole yet.
///
/// # Errors
/// When its length is none a frame can have.
pub fn first_frame(bytes: &[u8]) -> Result<Option<usize>, schema::frame::FrameError> {
    Ok(schema::frame::frame_len(bytes, FRAME_LIMIT_BYTES)?.filter(|len| *len <= bytes.len()))
}
