//! What a script may ask of the server.
//!
//! The engine knows nothing else of the server: no keyspace, no client, no command. Tests stand in a host of their own.

use crate::protocol::batch::RequestView;
use crate::protocol::reply::{Output, Reply, Resp};

/// How important a line of the log is, as scripts number them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// `LOG_DEBUG`, 0.
    Debug,
    /// `LOG_VERBOSE`, 1.
    Verbose,
    /// `LOG_NOTICE`, 2.
    Notice,
    /// `LOG_WARNING`, 3.
    Warning,
}

/// The server, to a script that runs.
pub trait Host {
    /// Runs a command and appends its reply, an error too, to `out` in version `resp`.
    fn call(&mut self, request: RequestView<'_>, resp: Resp, out: &mut Output);

    /// Whether the user may run a command; `None` when there is no such command.
    fn may_run(&mut self, request: RequestView<'_>) -> Option<bool>;

    /// Writes a line to the log.
    fn log(&mut self, level: LogLevel, text: &[u8]);

    /// Chooses what becomes of the effects of later commands: bit 0 the file, bit 1 the replicas.
    fn set_propagation(&mut self, flags: u8);

    /// Counts an error within the script's reply, unless that of a command, which has been counted: the script has failed.
    fn count_error(&mut self, text: Vec<u8>, counted: bool);

    /// Where the script's own reply goes.
    fn reply(&mut self) -> Reply<'_>;
}
