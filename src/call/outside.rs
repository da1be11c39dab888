//! What CONFIG SET changes beyond what is shared: sockets and the log.
//!
//! Must not know: how that is done; the room with the sockets does it.

use crate::config::LogLevel;

/// Who does it.
pub trait Outside: Send + Sync {
    /// Listens on what `bind` and `port` name now and on nothing else; waits until that is so.
    ///
    /// # Errors
    /// One of them cannot be listened on; then all is as it was, and the log says why.
    fn listen(&self) -> Result<(), CannotListen>;

    /// Logs from this level on.
    fn log_from(&self, level: LogLevel);
}

/// The addresses and the port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CannotListen;
