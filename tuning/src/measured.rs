//! What was measured of memory; the rules multiply with it. DESIGN's budgets bound it from above.

/// Where the figures of these rules were measured.
pub const WHERE: &str = "2 cores, 24 GiB, Linux 6.18, virtual machine";

/// What the server keeps for one idle session, bytes: the budget; 594 to 656 were measured.
pub const SESSION_BYTES: u64 = 1_024;
/// What one end of a connection costs the kernel, bytes: socket, file and poll.
pub const SOCKET_BYTES: u64 = 4_100;
/// What the load generator keeps for one user, bytes; 790 were measured for an idle one.
pub const USER_BYTES: u64 = 2_048;
/// The server without connections, bytes: its code, lanes, pools and the store's cache.
pub const SERVER_BYTES: u64 = 256 << 20;
/// A partition's memory tables (one fills, two wait) and journal blocks, bytes.
pub const PARTITION_BYTES: u64 = 200 << 20;
/// The load generator without users, bytes.
pub const GENERATOR_BYTES: u64 = 64 << 20;
