//! The wire: bytes to requests, and typed replies to bytes.
//!
//! Invariant: every byte a peer can send is either a request, part of one, or a [`ProtocolError`]; nothing in here
//! panics, and nothing reserves memory for bytes that have not arrived.
//!
//! It knows no command and no key: it hands on arguments as byte ranges and is told what to reply.
//!
//! Source: the RESP2 and RESP3 specifications; the exact limits, orders of checks and error texts are Valkey 9.1's.

pub mod batch;
pub mod error;
pub mod inline;
pub mod reply;
pub mod request;

pub use batch::{Batch, OwnedRequest, RequestView};
pub use error::ProtocolError;
pub use reply::{Output, Reply, Resp};
pub use request::{Limits, Need, Parser, Progress};
