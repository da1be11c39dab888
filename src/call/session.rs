//! What a connection is to the commands it sends.

use super::clients::Client;
use super::saving::WritesRefused;
use super::transaction::{Transaction, Watch};
use crate::protocol::reply::Resp;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// What `CLIENT REPLY` chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No reply is sent until further notice.
    Off,
    /// The reply of the next command is not sent.
    SkipNext,
    /// The reply of this command is not sent.
    Skip,
}

/// The state of one client that only its own connection reads and changes.
pub struct Session {
    /// What others see of it.
    pub client: Arc<Client>,
    /// Selected database.
    pub db: usize,
    /// Protocol version.
    pub resp: Resp,
    /// Whether commands that need it are allowed.
    pub authenticated: bool,
    /// What `CLIENT REPLY` chose.
    pub reply_mode: ReplyMode,
    /// `CLIENT NO-TOUCH`: reads do not count as uses.
    pub no_touch: bool,
    /// `MONITOR`: sees every command, sends few.
    pub monitor: bool,
    /// It has sent messages to itself: what its mailbox holds goes out behind the reply.
    pub own_pushes: bool,
    /// Keys that it has changed, of which those are yet to be told to whom prefixes are broadcast.
    pub changed: Vec<Box<[u8]>>,
    /// What TIME answers throughout a transaction or script, in microseconds, once it has been asked.
    pub frozen_us: Option<i64>,
    /// It has changed something that is in the log and that it has not been told of.
    pub logged: bool,
    /// Nothing could be evicted to make room before the request that runs, if it is one that needs room or may run such.
    pub no_room: Cell<bool>,
    /// Why writes were refused when the request that runs came, if it is one that may run commands. Another thread may find the disk
    /// failing at any moment, and of a transaction all is refused or nothing.
    pub writes_refused: RefCell<Option<WritesRefused>>,
    /// What is queued since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// What it watches.
    pub watch: Option<Box<Watch>>,
}

impl Session {
    /// A fresh session; `authenticated` when no password is set.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Session {
        let (db, resp, reply_mode) = (0, Resp::V2, ReplyMode::On);
        Session {
            client,
            db,
            resp,
            authenticated,
            reply_mode,
            no_touch: false,
            monitor: false,
            own_pushes: false,
            changed: Vec::new(),
            logged: false,
            no_room: Cell::new(false),
            writes_refused: RefCell::default(),
            frozen_us: None,
            transaction: None,
            watch: None,
        }
    }

    /// Whether the reply of the command that runs will be sent.
    pub fn keeps_replies(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::On | ReplyMode::SkipNext)
    }

    /// Whether the reply just made is to be sent, as `CLIENT REPLY` chose. To be called once a reply.
    #[inline]
    pub fn after_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => return true,
            ReplyMode::Off => {}
            ReplyMode::Skip => self.reply_mode = ReplyMode::On,
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::Skip;
                return true;
            }
        }
        false
    }
}
