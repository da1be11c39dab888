//! What a handler sees while it runs.

use super::blocking::{Blocked, OnTimeout, awaited_kind};
use super::effects::Effect;
use super::error::CommandError;
use super::keys::declared_keys;
use super::notify;
use super::session::Session;
use super::shared::Shared;
use super::spec::{Flags, Outcome};
use super::table::Command;
use super::tracked::mode;
use crate::keyspace::attention::{Listener, Switch};
use crate::keyspace::{Key, Ticket, View};
use crate::protocol::batch::{OwnedRequest, RequestView};
use crate::protocol::reply::Reply;
use crate::util::clock::UnixMs;
use crate::util::sync::Mutex;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
    /// A change that is announced to nobody and that nobody waits for, such as an acknowledgement.
    Silent,
}

impl Event {
    /// Whether those who watch or cache the key are told. Of a stream they are told of its entries, not of its groups.
    fn modifies(self) -> bool {
        match self {
            Event::Stream(name) => matches!(name, "xadd" | "xtrim" | "xdel"),
            Event::Silent => false,
            _ => true,
        }
    }

    /// Whether somebody who waits for the key may find something after it. Of what happens to a stream, only a new entry and
    /// the end of a group are news to readers.
    fn serves(self) -> bool {
        match self {
            Event::Stream(name) => matches!(name, "xadd" | "xgroup-destroy"),
            Event::Silent => false,
            _ => true,
        }
    }
}

/// What it takes to wait for a key that nobody else waits for, its bytes not counted: measured.
const WAITING_BYTES: usize = 192;

/// What becomes of a command that finds nothing and would wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// Its client waits.
    Allowed,
    /// Its client gets the reply of one whose time is up: inside MULTI and scripts.
    Refused,
    /// It runs for a client that waits already.
    Serving,
}

/// One run of a command.
pub struct Context<'a> {
    /// The declared keys.
    pub db: View<'static>,
    /// Time, read once a batch.
    pub now: UnixMs,
    /// Where the reply goes.
    pub reply: Reply<'a>,
    /// The client that sent it.
    pub session: &'a mut Session,
    /// The server.
    pub shared: &'static Shared,
    /// The row that runs.
    pub command: &'static Command,
    /// The whole request.
    pub request: RequestView<'a>,
    /// What becomes of a command that finds nothing and would wait.
    pub blocking: Blocking,
    /// Changed keys that somebody waits for, with their databases.
    pub ready: Vec<(usize, Box<[u8]>)>,
    /// Number of changes made, as `rdb_changes_since_last_save` counts them.
    pub dirty: u64,
    /// What goes to the log; gathered only while somebody reads it.
    pub effects: Vec<Effect>,
    /// Whether `effects` has all that this command did, and the request itself is not to be logged.
    pub replaced: bool,
    /// Whether a script runs it.
    pub by_script: bool,
}

impl<'a> Context<'a> {
    /// Turns to the next request of its session, which `command` is to run; the one before is [closed](Context::close).
    #[inline]
    pub fn turn_to(&mut self, command: &'static Command, request: RequestView<'a>) {
        (self.command, self.request) = (command, request);
        (self.dirty, self.replaced) = (0, false);
        if !self.effects.is_empty() {
            self.effects.clear();
        }
        self.reply.set_resp(self.session.resp);
        self.db.turn_to(self.session.db, !self.session.no_touch);
    }
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
        self.dirty += 1;
        if self.shared.keyspace.attention().any() {
            self.announce(db, key, event);
        }
    }

    /// Tells those who watch or cache a key of the current database that its value has changed, which its event alone does not say.
    pub fn modified(&mut self, key: Key<'_>) {
        let (db, attention) = (self.session.db, self.shared.keyspace.attention());
        if attention.any() {
            if attention.has(Listener::Watching) {
                self.db.mark_changed(db, key);
            }
            self.tell(db, key, Event::Silent, true);
        }
    }

    /// Tells those who listen that a key changed.
    #[cold]
    fn announce(&mut self, db: usize, key: Key<'_>, event: Event) {
        self.hear_news();
        let attention = self.shared.keyspace.attention();
        if attention.has(Listener::Watching) && event.modifies() {
            self.db.mark_changed(db, key);
        }
        self.tell(db, key, event, event.modifies());
        if attention.has(Listener::Waiting) && event.serves() && self.db.rouse(db, key) {
            self.ready.push((db, key.bytes.into()));
        }
    }

    /// Whether somebody reads the log of effects: only then is it worth finding words for one.
    #[inline]
    pub fn logs(&self) -> bool {
        self.shared.keyspace.attention().is_on(Switch::Log)
    }

    /// Logs the deadline of `key` in place of the request, as the time that it is.
    pub fn effect_deadline(&mut self, key: Key<'_>, deadline: UnixMs) {
        if self.logs() {
            self.effect(&[b"PEXPIREAT", key.bytes, itoa::Buffer::new().format(deadline.0).as_bytes()]);
        }
    }

    /// Logs the request with the arguments in `range` replaced by `words`.
    pub fn effect_with(&mut self, range: std::ops::Range<usize>, words: &[&[u8]]) {
        if self.logs() {
            let request = self.request;
            let all: Vec<&[u8]> = (0..range.start)
                .map(|index| request.arg(index))
                .chain(words.iter().copied())
                .chain((range.end..request.argc()).map(|index| request.arg(index)))
                .collect();
            self.effect(&all);
        }
    }

    /// Logs these words in place of the request: for a command whose words would not do the same again. Several calls make
    /// several effects, in order.
    pub fn effect(&mut self, words: &[&[u8]]) {
        self.replaced = true;
        if self.shared.keyspace.attention().is_on(Switch::Log) {
            let request = OwnedRequest::from_args(words.iter().copied());
            self.effects.push(Effect { db: self.session.db, request });
        }
    }

    /// Replies an error: where a long command finds out late that it fails.
    pub fn fail(&mut self, error: &CommandError) {
        self.shared.stats.count_error(error);
        self.reply.error_bytes(&error.reply_text());
    }

    /// Everybody who waits for a key of database `db` looks again: the database was flushed or exchanged.
    pub fn touch_awaited(&mut self, db: usize) {
        if self.shared.blocked.any() {
            self.ready.extend(self.db.rouse_all(db).into_iter().map(|key| (db, key)));
        }
    }

    /// Lets the client wait until one of `keys` changes, and runs the same request again then; after `timeout` (`None`: never)
    /// it gets `on_timeout`. Where waiting is not allowed it gets that at once.
    pub fn block(
        &mut self,
        keys: &[Key<'_>],
        timeout: Option<Duration>,
        on_timeout: OnTimeout,
    ) -> Result<Outcome, CommandError> {
        match self.blocking {
            Blocking::Allowed => self.block_as(self.request.to_owned_request(), keys, timeout, on_timeout),
            _ => self.block_as(OwnedRequest::new(), keys, timeout, on_timeout),
        }
    }

    /// As [`Context::block`], with another request to be run: one whose words that depend on the moment are replaced.
    pub fn block_as(
        &mut self,
        request: OwnedRequest,
        keys: &[Key<'_>],
        timeout: Option<Duration>,
        on_timeout: OnTimeout,
    ) -> Result<Outcome, CommandError> {
        match self.blocking {
            Blocking::Refused => {
                on_timeout.reply(&mut self.reply);
                return Ok(Outcome::Done);
            }
            Blocking::Serving => return Ok(Outcome::StillBlocked),
            Blocking::Allowed => {}
        }
        let client = Arc::clone(&self.session.client);
        let (kind, number) = (awaited_kind(self.command.spec.group), self.shared.blocked.next_number());
        let ticket = Arc::new(Ticket::new(client.id, kind, number));
        let (mut names, mut seen): (Vec<Box<[u8]>>, HashSet<&[u8]>) = Default::default();
        for key in keys {
            if seen.insert(key.bytes) {
                self.db.enqueue(*key, &ticket);
                names.push(key.bytes.into());
            }
        }
        let key_bytes: usize = names.iter().map(|name| WAITING_BYTES + 2 * name.len()).sum();
        client.blocked_bytes.store(request.held_bytes() + key_bytes, Relaxed);
        let (db, resp, touch) = (self.session.db, self.session.resp, !self.session.no_touch);
        let (keys, reply, probe, synced) = (names, Mutex::default(), OnceLock::new(), AtomicBool::new(false));
        let blocked =
            Blocked { ticket, client, request, db, resp, touch, timeout, on_timeout, keys, reply, probe, synced };
        let blocked = Arc::new(blocked);
        self.shared.blocked.add(Arc::clone(&blocked));
        Ok(Outcome::Block(blocked))
    }

    /// Announces a further event of a change that [`Context::touch`] has counted: SET with a deadline is both `set` and
    /// `expire`.
    #[inline]
    pub fn notify(&mut self, key: Key<'_>, event: Event) {
        if self.shared.keyspace.attention().is_on(Switch::Events) {
            self.tell(self.session.db, key, event, false);
        }
    }

    /// Tells those who have a changed key in their caches, and those who listen to events.
    #[cold]
    fn tell(&mut self, db: usize, key: Key<'_>, event: Event, changed: bool) {
        let (own, attention) = (self.session.client.id, self.shared.keyspace.attention());
        if changed && attention.has(Listener::Tracking) {
            self.session.own_pushes |= self.shared.invalidate(key.bytes, own, &mut self.session.changed);
        }
        if attention.is_on(Switch::Events)
            && let Some(named) = event.named()
        {
            self.session.own_pushes |= notify::publish(self.shared, db, key.bytes, named, own);
        }
    }

    /// Tells all who cache keys that all of them are gone; its own client only with `own_too`, else [`Context::touch_all_own`] is to
    /// follow behind the reply.
    pub fn touch_all(&mut self, own_too: bool) {
        self.session.own_pushes |= self.shared.invalidate_all(self.session.client.id, own_too);
    }

    /// Tells its own client, should it cache keys, that all of them are gone.
    pub fn touch_all_own(&mut self) {
        self.session.own_pushes |= self.shared.tell_all_gone(&self.session.client);
    }

    /// Enters the keys that the command has read for a client that caches them. Under the locks of the keys.
    pub(super) fn remember(&mut self) {
        let tracked = &self.session.client.tracked;
        let flags = self.command.spec.flags;
        // Those of a script are entered by the commands that it runs.
        let reads = flags.has(Flags::READONLY) && !flags.has(Flags::NOSCRIPT);
        if !reads || !tracked.is(mode::ON) || !tracked.remembers() {
            return;
        }
        let (request, mut keys) = (self.request, Vec::new());
        let _ = declared_keys(self.command.spec, request, &mut |index, _| keys.push(request.arg(index)));
        self.session.own_pushes |= self.shared.remember_reads(&self.session.client, keys.into_iter());
    }

    /// The whole name of the command, as error texts quote it: `get`, `config|set`.
    pub fn command_name(&self) -> String {
        self.command.full_name()
    }
}
