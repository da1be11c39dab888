//! Running a command on shards that are locked already: for transactions, scripts and clients that wait; and what is said
//! about a run while its locks are still held.
//!
//! Invariant: what a run did is announced and logged before its locks are released, and news of the keys it met (one
//! that had expired) stand before what it did itself. Must not know: how the locks were taken, any particular command.

use super::account::{Record, Wanted};
use super::args::{Args, KeyUse};
use super::context::{Blocking, Context};
use super::effects::Effect;
use super::error::CommandError;
use super::keys::declared_keys;
use super::notify::publish;
use super::shared::Shared;
use super::spec::Outcome;
use super::table::Command;
use crate::config::notify;
use crate::keyspace::attention::{Listener, Switch};
use crate::keyspace::{Happening, Key, News, View};
use crate::protocol::batch::{OwnedRequest, RequestView};
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::clock::Ticks;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

/// A command to run on locks that are held.
#[derive(Clone, Copy)]
pub struct Nested<'r> {
    /// Its row.
    pub command: &'static Command,
    /// Index of the first argument behind the name.
    pub first_arg: usize,
    /// Its arguments.
    pub request: RequestView<'r>,
    /// The protocol version of its reply.
    pub resp: Resp,
    /// A script runs it.
    pub by_script: bool,
}

impl Context<'_> {
    /// Runs a command on the locks of this run, which must include those it needs, and appends its reply to `out`. It runs in
    /// the database that the client has selected. What it changes, whom it serves and its effects count as this run's. It
    /// is counted and logged as a command of its own; returns whether it answered an error.
    pub fn run_nested(&mut self, nested: Nested<'_>, out: &mut Output) -> bool {
        let Nested { command, first_arg, request, resp, by_script } = nested;
        let (shared, mark, before, started) = (self.shared, out.mark(), out.len(), Ticks::now());
        let (mut keys, hasher): (SmallVec<[KeyUse; 4]>, _) = (SmallVec::new(), shared.keyspace.hasher());
        let _ = declared_keys(command.spec, request, &mut |index, _| {
            keys.push(KeyUse { index, hash: hasher.hash(request.arg(index)) });
        });
        let db = self.session.db;
        let mut view = std::mem::replace(&mut self.db, View::empty(&shared.keyspace, db, self.now));
        view.turn_to(db, !self.session.no_touch);
        let mut inner = Context {
            db: view,
            now: self.now,
            reply: Reply::new(out, resp),
            session: &mut *self.session,
            shared,
            command,
            request,
            blocking: Blocking::Refused,
            ready: std::mem::take(&mut self.ready),
            dirty: 0,
            effects: std::mem::take(&mut self.effects),
            replaced: false,
            by_script,
        };
        let outcome = (command.spec.run)(&mut inner, &mut Args::new(request, first_arg, &keys, hasher));
        let outcome = inner.finish_slices(outcome);
        inner.announce_end();
        let Context { db: view, ready, dirty, effects, .. } = inner;
        (self.db, self.ready, self.effects) = (view, ready, effects);
        self.dirty += dirty;
        // What the command did is in the log as it did it.
        self.replaced = true;
        if let Err(error) = &outcome {
            out.truncate_to(mark);
            Reply::new(out, resp).error_bytes(&error.reply_text());
            shared.stats.count_error(error);
        }
        let nanos = self.count(command, started, outcome.is_err());
        let record =
            Record { command, request, client: &self.session.client, db: self.session.db, now: self.now, by_script };
        let replied = out.len() - before;
        let bytes = (request.payload_bytes() + replied) as u64;
        record.note_time(shared, nanos);
        if Wanted::of(shared).has(request, replied) {
            record.note(shared, replied);
        }
        if self.command.spec.keys.is_empty() {
            // Otherwise what runs the command has keys of its own, which stand for those of what it runs.
            let keys = keys.iter().map(|key| request.arg(key.index));
            shared.hot.note_nested(self.session.client.worker, db, self.now, nanos, bytes, keys);
        }
        outcome.is_err()
    }

    /// A long command inside a transaction or a script runs to its end at once.
    fn finish_slices(&mut self, outcome: Result<Outcome, CommandError>) -> Result<Outcome, CommandError> {
        match outcome {
            Ok(Outcome::Slices(mut slices)) => {
                while !slices.step(self) {}
                Ok(Outcome::Done)
            }
            other => other,
        }
    }

    fn count(&self, command: &Command, started: Ticks, failed: bool) -> u64 {
        let nanos = Ticks::now().nanos_since(started);
        let worker = &self.shared.stats.workers[self.session.client.worker];
        worker.processed.add(1);
        let counters = &worker.commands[command.id];
        counters.ran(1, nanos, self.shared.config.latency_tracking());
        counters.failed.add(u64::from(failed));
        nanos
    }

    // What is said while the locks are held

    /// Announces what is left to announce of this run and adds its effects to those it has gathered. To be called once, after the
    /// handler.
    #[inline]
    pub fn announce_end(&mut self) {
        if self.shared.keyspace.attention().any() {
            self.announce_rest();
        }
    }

    #[cold]
    fn announce_rest(&mut self) {
        self.hear_news();
        self.remember();
        let logs = self.shared.keyspace.attention().is_on(Switch::Log);
        if logs && self.dirty > 0 && !self.replaced && self.request.argc() > 0 {
            self.effects.push(Effect { db: self.session.db, request: self.request.to_owned_request() });
            self.replaced = true;
        }
    }

    /// As [`Context::announce_end`], for a run that is not part of another: appends its effects to the log.
    #[inline]
    pub fn close(&mut self) {
        if self.shared.keyspace.attention().any() {
            self.close_unit();
        }
        if self.dirty != 0 {
            self.shared.stats.dirty.fetch_add(self.dirty, Relaxed);
        }
    }

    #[cold]
    fn close_unit(&mut self) {
        self.hear_news();
        let own = self.session.client.id;
        self.session.own_pushes |= self.shared.broadcast(&mut self.session.changed, own);
        self.session.logged |= self.dirty > 0 && self.logs();
        if self.effects.is_empty() && self.dirty > 0 && !self.replaced && self.request.argc() > 0 {
            if self.shared.keyspace.attention().is_on(Switch::Log) {
                self.shared.effects.append_one(self.session.db, self.request);
            }
            return self.remember();
        }
        self.announce_rest();
        self.shared.effects.append(&self.effects);
    }

    /// Announces what happened to keys of the locked shards without a command.
    pub(super) fn hear_news(&mut self) {
        if !self.db.has_news() {
            return;
        }
        let (shared, effects, own) = (self.shared, &mut self.effects, self.session.client.id);
        let (told, changed) = (&mut self.session.own_pushes, &mut self.session.changed);
        self.db.take_news(&mut |db, news| *told |= shared.hear(db, &news, effects, changed, own));
    }
}

impl Shared {
    /// Announces what happened to a key without a command, and adds its effect, and its name to those [to be broadcast](Shared::broadcast);
    /// whether client number `own` is among those told. Under the lock of the key's shard.
    pub fn hear(
        &self,
        db: usize,
        news: &News,
        effects: &mut Vec<Effect>,
        changed: &mut Vec<Box<[u8]>>,
        own: u64,
    ) -> bool {
        let told = self.announce_news(db, news, changed, own);
        if self.keyspace.attention().is_on(Switch::Log) {
            let words: Vec<&[u8]> = match &news.what {
                Happening::Expired | Happening::Evicted | Happening::FieldsExpired { emptied: true, .. } => {
                    vec![b"DEL", &news.key]
                }
                Happening::FieldsExpired { fields, .. } => {
                    [&b"HDEL"[..], &news.key].into_iter().chain(fields.iter().map(|name| &**name)).collect()
                }
                Happening::Missed | Happening::Created => return told,
            };
            effects.push(Effect { db, request: OwnedRequest::from_args(words) });
        }
        told
    }

    fn announce_news(&self, db: usize, news: &News, names: &mut Vec<Box<[u8]>>, own: u64) -> bool {
        let (changed, events): (bool, &[(u32, &str)]) = match &news.what {
            Happening::Expired => (true, &[(notify::EXPIRED, "expired")]),
            Happening::Evicted => (true, &[(notify::EVICTED, "evicted")]),
            Happening::FieldsExpired { emptied: false, .. } => (true, &[(notify::HASH, "hexpired")]),
            Happening::FieldsExpired { .. } => (true, &[(notify::HASH, "hexpired"), (notify::GENERIC, "del")]),
            Happening::Missed => (false, &[(notify::KEY_MISS, "keymiss")]),
            Happening::Created => (false, &[(notify::NEW, "new")]),
        };
        let caches = changed && self.keyspace.attention().has(Listener::Tracking);
        let told = caches && self.invalidate(&news.key, own, names);
        events.iter().fold(told, |told, event| told | publish(self, db, &news.key, *event, own))
    }

    /// As [`Shared::hear`], for the news of a shard that no run holds; appends the effects.
    pub fn hear_all(&self, db: usize, news: &[News]) {
        let (mut effects, mut changed) = (Vec::new(), Vec::new());
        for one in news {
            self.hear(db, one, &mut effects, &mut changed, 0);
        }
        self.broadcast(&mut changed, 0);
        self.effects.append(&effects);
    }

    /// A key with the hash that this server gives it.
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.keyspace.hasher().key(bytes)
    }
}
