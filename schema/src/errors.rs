//! The error table: one code, one fault, one retry rule and one scope for whatever can be answered to a client.
//!
//! `errors.toml` is the source; the enum and the rows are generated. HTTP status and WebSocket close codes come from the
//! same row, so that every protocol says the same thing.

pub use crate::generated::errors::{ErrorCode, TABLE};

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Fault {
    /// The request is wrong.
    Client = 0,
    /// The asker may not.
    Auth = 1,
    /// A limit is reached.
    Limit = 2,
    /// It conflicts with what happened before.
    Conflict = 3,
    /// The server cannot at the moment.
    Unavailable = 4,
    /// A fault of the server.
    Internal = 5,
}

/// Whether and when to try again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Retry {
    /// It will never work.
    Never = 0,
    /// At once, the same request.
    Same = 1,
    /// The same request after `retry_after_ms`.
    Backoff = 2,
    /// On a new connection, after `retry_after_ms`.
    AfterReconnect = 3,
}

/// What an error ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Scope {
    /// This request; the session goes on.
    Request = 0,
    /// The session is closed.
    Session = 1,
    /// The whole host is meant.
    Host = 2,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorInfo {
    /// Stable number and enum.
    pub code: ErrorCode,
    /// Stable name, shown in JSON.
    pub name: &'static str,
    /// Whose fault.
    pub fault: Fault,
    /// Whether and when to try again.
    pub retry: Retry,
    /// What it ends.
    pub scope: Scope,
    /// The HTTP status that says it.
    pub http_status: u16,
    /// The WebSocket close code that says it.
    pub close_code: u16,
    /// Default time to wait, ms; 0 = none.
    pub retry_after_ms: u32,
    /// For people. Never holds content.
    pub text: &'static str,
}

impl ErrorCode {
    /// The table's row.
    pub fn info(self) -> &'static ErrorInfo {
        // Codes are 1..=N in table order; the schema's tests hold the table to it.
        &TABLE[self as usize - 1]
    }

    /// The code of a number from the wire.
    pub fn from_code(code: u16) -> Option<Self> {
        TABLE.get(usize::from(code).checked_sub(1)?).map(|info| info.code)
    }
}

impl core::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.info().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_rows_place() {
        for (place, info) in TABLE.iter().enumerate() {
            assert_eq!(info.code as usize, place + 1, "{}", info.name);
            assert_eq!(info.code.info(), info);
            assert_eq!(ErrorCode::from_code(info.code as u16), Some(info.code));
        }
        assert_eq!(ErrorCode::from_code(0), None);
        assert_eq!(ErrorCode::from_code(TABLE.len() as u16 + 1), None);
    }

    #[test]
    fn every_row_has_a_status_and_a_close_code_that_exist() {
        for info in TABLE {
            assert!((400..600).contains(&info.http_status), "{}", info.name);
            let registered = (1_000..1_016).contains(&info.close_code);
            assert!(registered || (4_000..5_000).contains(&info.close_code), "{}", info.name);
            assert!(info.retry != Retry::Never || info.retry_after_ms == 0, "{} never comes back", info.name);
        }
    }
}
