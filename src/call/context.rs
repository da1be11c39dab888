//! What a handler sees while it runs.

use super::session::Session;
use super::shared::Shared;
use super::table::Command;
use crate::keyspace::{Key, View};
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::util::clock::UnixMs;

/// A keyspace event, by class, with the name that Redis gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A string command.
    String(&'static str),
    /// A list command.
    List(&'static str),
    /// A hash command.
    Hash(&'static str),
    /// A set command.
    Set(&'static str),
    /// A sorted set command, or a geospatial one.
    SortedSet(&'static str),
    /// A stream command.
    Stream(&'static str),
    /// A command on keys of any type.
    Generic(&'static str),
    /// A key went because a command gave it a deadline in the past (`expired`).
    Expired,
}

/// One run of a command.
pub struct Context<'a> {
    /// The declared keys.
    pub db: View<'a>,
    /// Time, read once a batch.
    pub now: UnixMs,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The client that sent it.
    pub session: &'a mut Session,
    /// The server.
    pub shared: &'a Shared,
    /// The row that runs.
    pub command: &'a Command,
    /// The whole request.
    pub request: RequestView<'a>,
    /// Number of changes made, as `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
}

impl Context<'_> {
    /// Notes that `key` of the current database changed, and why. To be called once for each changed key.
    #[inline]
    pub fn touch(&mut self, key: Key<'_>, event: Event) {
        self.touch_in(self.session.db, key, event);
    }

    /// As [`Context::touch`], for a key of another database.
    #[inline]
    pub fn touch_in(&mut self, db: usize, key: Key<'_>, event: Event) {
        // The log, keyspace notifications and client-side caches hang here; today the change is only counted.
        let _ = (db, key, event);
        self.dirty += 1;
    }

    /// Announces a further event of a change that [`Context::touch`] has counted: SET with a deadline is both `set` and
    /// `expire`.
    #[inline]
    pub fn notify(&mut self, key: Key<'_>, event: Event) {
        let _ = (self.session.db, key, event);
    }

    /// The whole name of the command, as error texts quote it: `get`, `config|set`.
    pub fn command_name(&self) -> String {
        self.command.full_name()
    }
}
