//! What a peer can do wrong on the wire.
//!
//! Invariant: each variant has one text, the one that Redis clients and test suites know. The connection sends it as
//! an error reply, after the replies of the requests that came before, and closes.

use std::fmt;

/// A violation of the request protocol: replied once, then the connection closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// The count after `*` is no integer in range.
    InvalidMultibulkLength,
    /// The length after `$` is no integer in range, or exceeds the longest argument allowed.
    InvalidBulkLength,
    /// More than 10 arguments before the client has authenticated.
    UnauthenticatedMultibulkLength,
    /// An argument over 16,384 bytes before the client has authenticated.
    UnauthenticatedBulkLength,
    /// Something else than `$` where the header of an argument belongs.
    ExpectedBulk(
        /// The byte found there.
        u8,
    ),
    /// A header line or an argument that does not end in CR LF.
    InvalidCrlf,
    /// A line after `*` that is longer than an inline request may be.
    TooBigMultibulkCount,
    /// A line after `$` that is longer than an inline request may be.
    TooBigBulkCount,
    /// An inline request longer than 64 KiB.
    TooBigInline,
    /// An inline request with an open quote at its end.
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text of the error reply, code included, without the leading `-` and the line end.
    ///
    /// Bytes, not a string: an unexpected byte is quoted as it came. O(1).
    #[must_use]
    pub fn reply_text(self) -> Vec<u8> {
        let mut text = b"ERR ".to_vec();
        match self {
            Self::ExpectedBulk(found) => {
                text.extend_from_slice(b"Protocol error: expected '$', got '");
                text.extend_from_slice(&[found, b'\'']);
            }
            other => text.extend_from_slice(other.to_string().as_bytes()),
        }
        text
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::ExpectedBulk(found) => {
                return write!(f, "Protocol error: expected '$', got '{}'", found.escape_ascii());
            }
            Self::InvalidCrlf => "invalid CRLF in request",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::TooBigInline => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
        };
        write!(f, "Protocol error: {what}")
    }
}

impl std::error::Error for ProtocolError {}
