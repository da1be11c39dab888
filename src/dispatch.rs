//! The one path of a request: row, arity, authentication, pause, memory, locks, handler, counters, reply.
//!
//! A batch is planned first: every request gets its row and the hashes of its keys, and the cache lines that these keys
//! need are requested from memory before the first request runs. Invariant: a request that is refused changes nothing.
//! Must not know: sockets, tasks, any particular command.

use crate::call::account::{Record, Wanted};
use crate::call::args::{Args, KeyUse};
use crate::call::blocking::Blocked;
use crate::call::context::{Blocking, Context};
use crate::call::error::CommandError;
use crate::call::hot::Chance;
use crate::call::keys::declared_keys;
use crate::call::session::{ReplyMode, Session};
use crate::call::shared::Shared;
use crate::call::spec::{Flags, Group, Outcome, Scope, Slices};
use crate::call::table::{Command, Memo, Unknown};
use crate::call::tracked::mode;
use crate::keyspace::ahead::Ahead;
use crate::keyspace::entry::EntryRef;
use crate::keyspace::evict::engine::Room;
use crate::keyspace::{Key, LockPlan, View};
use crate::protocol::batch::{Batch, OwnedRequest, RequestView};
use crate::protocol::reply::{Mark, Output, Reply, Resp};
use crate::util::clock::{Ticks, UnixMs};
use crate::value::object::ObjectRef;
use crate::value::table::Table;
use bytes::Bytes;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Keys whose cache lines are requested before the first request of a group runs: about what a core's first-level cache
/// holds beside the batch itself.
const PREFETCHED_KEYS: usize = 128;

/// Keys whose entries are requested from memory before the request that needs them runs.
const KEYS_AHEAD: usize = 24;

/// Entries requested together: each may take two of the some twenty lines that a core can wait for at once.
const KEYS_AT_ONCE: usize = 8;

/// A command that takes less on average is quick even if that depends on the data.
const QUICK_NANOS: u64 = 20_000;

/// Elements of a collection that are requested from memory together.
const WARMED_ELEMENTS: usize = 32;

/// A reading of the clock is used for requests of other connections until it is this old.
const STALE_NANOS: u64 = 200_000;

/// Replies of so many bytes are sent, or found to be too many, before the next request runs.
pub const FULL_BYTES: usize = 1024 * 1024;

/// Bytes of an unknown command and of its arguments that the error quotes.
const QUOTED_BYTES: usize = 128;

/// What the connection does after a request.
pub enum Next {
    /// Goes on with the next one.
    Continue,
    /// Sends what is written and closes.
    Close,
    /// Closes at once.
    Abort,
    /// Calls [`Dispatcher::resume`] until it is done, before the next request.
    Slices(Box<dyn Slices>),
    /// Waits until [`Blocked::ticket`] is done, before the next request.
    Block(Arc<Blocked>),
    /// Tries the same request again when the pause is over.
    Paused,
    /// Sends what is written, which is much, before the next request.
    Full,
    /// Closes: a transaction has written more than may wait for the client.
    Overflow,
}

/// What comes between a request and the next one, which is rare: then it is not [`Next::Continue`]. In one register.
type Stop = Option<Box<Next>>;

fn stop(next: Next) -> Stop {
    Some(Box::new(next))
}

/// Replies of one batch may be a thousand times as long as its requests.
#[inline]
fn full(out: &Output) -> Stop {
    if out.len() > FULL_BYTES { stop(Next::Full) } else { None }
}

/// A request with its row and keys.
#[derive(Clone, Copy)]
struct Planned {
    command: Result<&'static Command, Unknown>,
    first_arg: usize,
    keys: (usize, usize),
    /// The command works on data alone, and takes so many arguments.
    plain: bool,
}

/// Runs requests for one worker. Owns what is reused from batch to batch.
pub struct Dispatcher {
    shared: &'static Shared,
    worker: usize,
    /// What is parked, then the batch that runs.
    planned: Vec<Planned>,
    keys: Vec<KeyUse>,
    /// What these need from memory, in the same order.
    ahead: Ahead,
    /// The command that was planned last.
    memo: Memo<'static>,
    /// Whether a command that works on elements is among those planned, and one that may take long.
    elements: bool,
    slow: bool,
    parked: Extent,
    /// The first parked key whose entry has not been prefetched.
    unfetched: usize,
    now: UnixMs,
    /// Whether data was being loaded when `now` was read.
    loading: bool,
    /// When `now` was read.
    begun: Ticks,
    /// The last reading of the cycle counter, and the cheap commands that have run since.
    ticks: Ticks,
    span: Span,
    /// Handlers that have run since the last [`Dispatcher::finish`].
    executed: u64,
    /// Which requests are looked at for hot keys.
    chance: Chance,
    course: Course,
    /// What runs is what a log holds.
    replays: bool,
    /// Bytes for which room has been made for the requests of this batch that have yet to run.
    room: Cell<u64>,
    /// Changed keys that somebody waits for, who could not be served because a script held locks for long.
    late: RefCell<Ready>,
}

/// Changed keys that somebody waits for, with their databases.
type Ready = Vec<(usize, Box<[u8]>)>;

/// How much of the lists of planned requests and of keys is taken.
#[derive(Clone, Copy, Default)]
struct Extent {
    planned: usize,
    keys: usize,
}

/// What holds for the requests of a session until one of them changes it: looked up for a run of requests, not for each.
#[derive(Clone, Copy)]
struct Course {
    /// Of what can refuse a request that works on data, its session and this worker have nothing: see [`Dispatcher::is_disturbed`] for
    /// the rest.
    plain: bool,
    /// Commands of constant cost are timed together.
    spans: bool,
    /// Which requests are written down somewhere.
    wanted: Wanted,
}

/// Runs of one command of constant cost, timed together: reading the clock costs a tenth of a GET.
#[derive(Clone, Copy, Default)]
struct Span {
    command: Option<&'static Command>,
    calls: u64,
}

/// Runs that are timed together at most.
const SPAN_CALLS: u64 = 16;

/// Keys of a request that are counted among the hot ones, when it is looked at.
const SAMPLED_KEYS: usize = 16;

/// How often a request lets others be served before it runs.
const SERVE_ROUNDS: usize = 16;

/// With a lower threshold of the slow log, in microseconds, every command is timed on its own.
const SPAN_SLOWLOG_US: i64 = 1000;

impl Dispatcher {
    /// A dispatcher for worker number `worker`.
    pub fn new(shared: &'static Shared, worker: usize) -> Dispatcher {
        let (now, ticks) = (UnixMs::now(), Ticks::now());
        Dispatcher {
            shared,
            worker,
            planned: Vec::new(),
            keys: Vec::new(),
            ahead: Ahead::default(),
            memo: Memo::default(),
            elements: false,
            slow: false,
            parked: Extent::default(),
            unfetched: 0,
            now,
            loading: false,
            begun: ticks,
            ticks,
            span: Span::default(),
            executed: 0,
            chance: Chance::new(u32::try_from(worker).unwrap_or(0)),
            course: Course { plain: false, spans: false, wanted: Wanted::NONE },
            replays: false,
            room: Cell::new(0),
            late: RefCell::default(),
        }
    }

    /// Time of the batch that runs.
    pub fn now(&self) -> UnixMs {
        self.now
    }

    /// Reads the clock: once a batch.
    pub fn begin(&mut self) {
        self.now = UnixMs::now();
        self.loading = self.shared.loading.is_on();
        self.ticks = Ticks::now();
        self.begun = self.ticks;
    }

    /// Runs the requests of `batch` in order, into `out`. Stops early when one asks the connection for something; then
    /// the number of requests that are done is returned with it.
    pub fn run_batch(
        &mut self,
        batch: &Batch,
        buffer: &[u8],
        session: &mut Session,
        out: &mut Output,
    ) -> (usize, Next) {
        let mut first = 0;
        let parked = self.parked.planned;
        while first < batch.len() {
            let end = self.plan(batch, buffer, first, session.db);
            self.make_room_ahead(parked, batch, buffer, first..end, session);
            let fetched = self.parked.keys;
            let mut fetch = fetched..self.keys.len().min(fetched + PREFETCHED_KEYS);
            if let Some(stopped) = self.run_all((batch, buffer), first..end, parked, &mut fetch, (session, out)) {
                self.finish(session);
                return stopped;
            }
            first = end;
        }
        self.finish(session);
        (batch.len(), Next::Continue)
    }

    /// Runs requests that are planned from number `planned` on, and requests what their keys, of which `fetch` are left, need from
    /// memory ahead. When one asks the connection for something it returns how many requests of the batch are done, and that.
    #[inline]
    fn run_all(
        &mut self,
        (batch, buffer): (&Batch, &[u8]),
        requests: Range<usize>,
        planned: usize,
        fetch: &mut Range<usize>,
        (session, out): (&mut Session, &mut Output),
    ) -> Option<(usize, Next)> {
        let (first, end, mut warm) = (requests.start, requests.end, requests.start);
        let keys = std::mem::take(&mut self.keys);
        self.course = self.course_of(session);
        let mut context = self.context(session, out);
        let mut stopped = None;
        for index in requests {
            let planned = planned + index - first;
            let Planned { command, first_arg, keys: (from, to), plain } = self.planned[planned];
            self.fetch_ahead(fetch, to);
            if self.elements && index == warm {
                warm = self.warm((planned, &keys), (batch, buffer), index..end, context.session.db);
            }
            let request = batch.request(index, buffer);
            let stop = match command {
                Ok(command) if plain && self.lets_pass(command, &request, context.session) => {
                    self.run_plain(command, first_arg, &keys[from..to], request, &mut context)
                }
                _ => self.run_planned(planned, &keys, request, &mut context),
            };
            let stop = stop.or_else(|| full(context.reply.output()));
            if let Some(next) = stop {
                stopped = Some((index + usize::from(!matches!(*next, Next::Paused)), *next));
                break;
            }
        }
        drop(context);
        self.keys = keys;
        stopped
    }

    /// Runs one request that was kept from an earlier batch.
    pub fn run_one(&mut self, request: &OwnedRequest, session: &mut Session, out: &mut Output) -> Next {
        self.begin();
        self.forget_batch();
        self.plan_one(request.view());
        session.client.paused.store(false, Relaxed);
        self.course = self.course_of(session);
        let keys = std::mem::take(&mut self.keys);
        let stop = self.run_planned(self.parked.planned, &keys, request.view(), &mut self.context(session, out));
        self.keys = keys;
        self.finish(session);
        stop.map_or(Next::Continue, |next| *next)
    }

    /// Runs what a log holds, in order: nothing is refused for want of memory, counted or logged, and nothing expires meanwhile, because
    /// the log says what has. An error that the server's own requests cannot have is handed to `warn`.
    ///
    /// # Errors
    /// A request that is no command, or has too few or too many arguments, and its number.
    pub fn replay(
        &mut self,
        (batch, buffer): (&Batch, &[u8]),
        session: &mut Session,
        out: &mut Output,
        warn: &mut dyn FnMut(RequestView<'_>, &[u8]),
    ) -> Result<(), (usize, CommandError)> {
        self.begin();
        self.replays = true;
        let mut first = 0;
        while first < batch.len() {
            let end = self.plan(batch, buffer, first, session.db);
            let (parked, fetched) = (self.parked.planned, self.parked.keys);
            let mut fetch = fetched..self.keys.len().min(fetched + PREFETCHED_KEYS);
            let keys = std::mem::take(&mut self.keys);
            let mut context = self.context(session, out);
            for index in first..end {
                let planned = self.planned[parked + index - first];
                self.fetch_ahead(&mut fetch, planned.keys.1);
                let request = batch.request(index, buffer);
                let command = planned.command.map_err(|unknown| (index, unknown_command(unknown, request)))?;
                if !command.spec.accepts(request.argc()) {
                    return Err((index, CommandError::WrongArity(command.full_name().into())));
                }
                let keys = &keys[planned.keys.0..planned.keys.1];
                self.execute_apart(command, planned.first_arg, keys, request, &mut context);
                let out = context.reply.output();
                if let Some(text) = out.contiguous().and_then(|reply| reply.strip_prefix(b"-")) {
                    warn(request, text.trim_ascii_end());
                }
                out.clear();
            }
            drop(context);
            self.keys = keys;
            first = end;
        }
        self.executed = 0;
        self.ahead.truncate(self.parked.keys);
        Ok(())
    }

    fn finish(&mut self, session: &Session) {
        self.end_span();
        self.ahead.truncate(self.parked.keys);
        self.room.set(0);
        let requests = std::mem::take(&mut self.executed);
        self.shared.stats.workers[self.worker].processed.add(requests);
        session.client.commands.store(session.client.commands.load(Relaxed) + requests, Relaxed);
        session.client.active_ms.store(self.now.0, Relaxed);
    }

    /// Finds rows and hashes of the requests from `first` on, until enough keys are gathered, and prefetches. Returns where
    /// the next group begins.
    fn plan(&mut self, batch: &Batch, buffer: &[u8], first: usize, db: usize) -> usize {
        self.forget_batch();
        let mut end = first;
        while end < batch.len() && self.keys.len() - self.parked.keys < PREFETCHED_KEYS {
            self.plan_one(batch.request(end, buffer));
            end += 1;
        }
        self.fetch_buckets(db);
        end
    }

    /// Requests the buckets of the keys behind those parked from memory.
    fn fetch_buckets(&mut self, db: usize) {
        let hashes = self.keys[self.parked.keys..].iter().map(|key| key.hash);
        self.ahead.note(&self.shared.keyspace, db, hashes, PREFETCHED_KEYS);
    }

    /// Requests from memory the entries of the keys before number `reached`, which come next, and of some keys behind them, a few at a
    /// time, so that the lines which a core can wait for at once are never all taken. `fetch` are the keys whose entries have not been
    /// requested.
    #[inline(always)]
    fn fetch_ahead(&self, fetch: &mut Range<usize>, reached: usize) {
        let wanted = (reached + KEYS_AHEAD).min(fetch.end);
        if wanted >= fetch.start + KEYS_AT_ONCE || (wanted == fetch.end && wanted > fetch.start) {
            self.ahead.fetch(fetch.start..wanted);
            fetch.start = wanted;
        }
    }

    fn forget_batch(&mut self) {
        self.planned.truncate(self.parked.planned);
        self.keys.truncate(self.parked.keys);
        self.ahead.truncate(self.parked.keys);
        if self.planned.is_empty() {
            (self.elements, self.slow) = (false, false);
        }
    }

    /// Plans requests of `parked` that are to run later with [`Dispatcher::run_parked`]; they are the next ones after those
    /// parked before. Buckets are requested from memory now; the entries of the first few keys when the next connection parks, the others
    /// while the requests before them run: by then the buckets are there.
    pub fn park(&mut self, parked: &Batch, buffer: &[u8], requests: Range<usize>, db: usize) {
        self.forget_batch();
        debug_assert_eq!(requests.start, self.planned.len());
        if self.planned.is_empty() {
            self.begin();
        }
        for index in requests {
            self.plan_one(parked.request(index, buffer));
        }
        self.fetch_buckets(db);
        let ahead = self.parked.keys.min(KEYS_AHEAD);
        if self.unfetched < ahead {
            self.ahead.fetch(self.unfetched..ahead);
            self.unfetched = ahead;
        }
        self.parked = Extent { planned: self.planned.len(), keys: self.keys.len() };
    }

    /// Runs parked requests; as [`Dispatcher::run_batch`].
    pub fn run_parked(
        &mut self,
        parked: &Batch,
        buffer: &[u8],
        requests: Range<usize>,
        session: &mut Session,
        out: &mut Output,
    ) -> (usize, Next) {
        self.ticks = Ticks::now();
        if self.ticks.nanos_since(self.begun) > STALE_NANOS {
            self.begin();
        }
        let end = requests.end;
        self.make_room_ahead(requests.start, parked, buffer, requests.clone(), session);
        let (first, mut fetch) = (requests.start, self.unfetched..self.parked.keys);
        let stopped = self.run_all((parked, buffer), requests, first, &mut fetch, (session, out));
        self.unfetched = fetch.start;
        self.finish(session);
        stopped.unwrap_or((end, Next::Continue))
    }

    /// Requests from memory what the coming requests of one command on one collection need. Returns the first request
    /// behind them. `planned` is the place of the first one in the list of planned requests.
    #[inline]
    fn warm(
        &self,
        (planned, keys): (usize, &[KeyUse]),
        (batch, buffer): (&Batch, &[u8]),
        requests: Range<usize>,
        db: usize,
    ) -> usize {
        match self.planned[planned].command {
            Ok(command) if command.spec.element != 0 && requests.len() > 1 => {
                self.warm_elements(command, (planned, keys), (batch, buffer), requests, db)
            }
            _ => requests.start + 1,
        }
    }

    fn warm_elements(
        &self,
        command: &Command,
        (planned, keys): (usize, &[KeyUse]),
        (batch, buffer): (&Batch, &[u8]),
        requests: Range<usize>,
        db: usize,
    ) -> usize {
        let key_of = |planned: &Planned| keys.get(planned.keys.0).map(|key| key.hash);
        let (first, element) = (self.planned[planned], command.spec.element);
        let like = |other: &&Planned| {
            other.command.is_ok_and(|other| other.id == command.id) && key_of(other) == key_of(&first)
        };
        let most = requests.len().min(WARMED_ELEMENTS);
        let count = self.planned[planned..planned + most].iter().take_while(like).count().max(1);
        let Some(hash) = key_of(&first).filter(|_| count > 1) else { return requests.start + count };
        let keyspace = &self.shared.keyspace;
        let key = Key { bytes: batch.request(requests.start, buffer).arg(1), hash };
        let mut view = View::lock(keyspace, db, self.now, false, LockPlan::Keys, std::iter::once(hash));
        if view.gave_up() {
            return requests.start + count; // a long script has the lock
        }
        if let Some(table) = view.peek(key).and_then(EntryRef::object).and_then(ObjectRef::table) {
            let names = (requests.start..requests.start + count).map(|index| batch.request(index, buffer).arg(element));
            let hashes: SmallVec<[u64; WARMED_ELEMENTS]> = names.map(Table::hash).collect();
            hashes.iter().for_each(|hash| table.prefetch(*hash));
            hashes.iter().for_each(|hash| table.prefetch_element(*hash));
        }
        requests.start + count
    }

    /// Whether a parked request may take long.
    pub fn is_slow(&self) -> bool {
        self.slow
    }

    /// Forgets what was parked.
    pub fn unpark(&mut self) {
        self.planned.clear();
        self.keys.clear();
        self.ahead.truncate(0);
        self.parked = Extent::default();
        self.unfetched = 0;
    }

    /// When nothing is parked: forgets what ran last, and gives memory back but for that of so many `requests` of a key each.
    pub fn shrink_to(&mut self, requests: usize) {
        self.unpark();
        self.planned.shrink_to(requests);
        self.keys.shrink_to(requests);
        self.ahead.shrink_to(requests);
    }

    /// Whether replies of others can wait for a command.
    #[inline]
    fn is_quick(&self, command: &Command) -> bool {
        command.quick || self.counters(command).usually_takes_less(QUICK_NANOS)
    }

    /// Finds the row and the hashes of the keys of a request.
    #[inline(always)]
    fn plan_one(&mut self, request: RequestView<'_>) {
        // Most requests of a pipeline are like the one before, and have one key.
        match self.memo.recall(request.arg(0)) {
            Some(command) if command.lone_key && command.quick && command.spec.accepts(request.argc()) => {
                let (before, hash) = (self.keys.len(), self.shared.keyspace.hasher().hash(request.arg(1)));
                self.keys.push(KeyUse { index: 1, hash });
                self.elements |= command.spec.element != 0;
                let keys = (before, before + 1);
                self.planned.push(Planned { command: Ok(command), first_arg: 1, keys, plain: command.plain });
            }
            _ => self.plan_any(request),
        }
    }

    #[inline(never)]
    fn plan_any(&mut self, request: RequestView<'_>) {
        let (command, first_arg) = self.shared.commands.resolve_next(request, &mut self.memo);
        let before = self.keys.len();
        self.slow |= command.is_ok_and(|command| !self.is_quick(command));
        let accepted = command.is_ok_and(|command| command.spec.accepts(request.argc()));
        if let Ok(command) = command
            && accepted
            && !command.spec.keys.is_empty()
        {
            self.elements |= command.spec.element != 0;
            let (keys, hasher) = (&mut self.keys, self.shared.keyspace.hasher());
            let mut note = |index| keys.push(KeyUse { index, hash: hasher.hash(request.arg(index)) });
            if command.lone_key {
                note(1);
            } else {
                // What cannot be found here the handler refuses, with the error that fits.
                let _ = declared_keys(command.spec, request, &mut |index, _| note(index));
            }
        }
        let plain = accepted && command.is_ok_and(|command| command.plain);
        self.planned.push(Planned { command, first_arg, keys: (before, self.keys.len()), plain });
    }

    /// What the handlers of requests of one session see, one after another: three dozen words, made once for a run of them.
    #[inline]
    fn context<'c>(&self, session: &'c mut Session, out: &'c mut Output) -> Context<'c> {
        Context {
            db: View::empty(&self.shared.keyspace, session.db, self.now),
            now: self.now,
            reply: Reply::new(out, session.resp),
            session,
            shared: self.shared,
            command: Command::NONE,
            request: RequestView::default(),
            blocking: if self.replays { Blocking::Refused } else { Blocking::Allowed },
            ready: Vec::new(),
            dirty: 0,
            effects: Vec::new(),
            replaced: false,
            by_script: false,
        }
    }

    /// What holds for a session's requests from now on.
    fn course_of(&self, session: &Session) -> Course {
        let (config, client) = (&self.shared.config, &session.client);
        let ordinary = session.authenticated && !session.monitor && session.transaction.is_none();
        let heard = session.reply_mode == ReplyMode::On && !client.tracked.is(mode::CACHING);
        Course {
            plain: ordinary && heard && !client.subscribed.load(Relaxed) && !self.loading,
            spans: !self.shared.hot.is_tracking()
                && !(0..SPAN_SLOWLOG_US).contains(&config.slowlog_log_slower_than_us()),
            wanted: Wanted::of(self.shared),
        }
    }

    /// Whether there is something in the server, which another thread may begin or end at any time, that can refuse or hold back a request.
    #[inline]
    fn is_disturbed(&self) -> bool {
        let shared = self.shared;
        shared.saving.is_failing()
            | shared.append_log.log.is_faulty()
            | shared.scripts.long.any()
            | shared.clients.is_paused()
    }

    /// Whether a request that is [plain](Planned::plain) passes all of [`Dispatcher::check`], in the way of nearly all requests; makes room for
    /// it.
    #[inline]
    fn lets_pass(&self, command: &Command, request: &RequestView<'_>, session: &Session) -> bool {
        self.course.plain
            && !self.is_disturbed()
            && (!command.spec.flags.has(Flags::DENYOOM) || self.check_room(*request, session).is_ok())
    }

    /// Runs a request that [may pass](Dispatcher::lets_pass).
    #[inline]
    fn run_plain<'c>(
        &mut self,
        command: &'static Command,
        first_arg: usize,
        keys: &'c [KeyUse],
        request: RequestView<'c>,
        context: &mut Context<'c>,
    ) -> Stop {
        let stop = self.execute(command, first_arg, keys, request, context);
        let session = &mut *context.session;
        if matches!(stop.as_deref(), Some(Next::Paused)) {
            session.client.paused.store(true, Relaxed);
        } else {
            put_own_pushes(session, context.reply.output());
        }
        stop
    }

    fn run_planned<'c>(
        &mut self,
        index: usize,
        keys: &'c [KeyUse],
        request: RequestView<'c>,
        context: &mut Context<'c>,
    ) -> Stop {
        let planned = self.planned[index];
        let mark = context.reply.output().mark();
        let session = &mut *context.session;
        let next = match self.check(planned, request, session) {
            Err(_) if is_cross_protocol(request) => return stop(Next::Abort),
            Err(error) => {
                let last = planned.command.ok().map(|command| command.id);
                session
                    .client
                    .last_command
                    .store(last.and_then(|id| u32::try_from(id).ok()).unwrap_or(u32::MAX), Relaxed);
                if let Ok(command) = planned.command {
                    self.counters(command).rejected.add(1);
                }
                let error = refuse_transaction(error, planned, session, self.shared);
                self.shared.stats.count_error(&error);
                Reply::new(context.reply.output(), session.resp).error_bytes(&error.reply_text());
                None
            }
            Ok(command) => match self.shared.clients.pause(self.now) {
                Some(pause) if pause.all || self.may_write(command, request, session) => stop(Next::Paused),
                _ if self.shared.scripts.long.any() && !is_heard_meanwhile(command, request) => stop(Next::Paused),
                _ if session.transaction.is_some() && !command.spec.at_once => {
                    self.queue(command, request, session, context.reply.output())
                }
                _ => {
                    let keys = &keys[planned.keys.0..planned.keys.1];
                    self.execute_apart(command, planned.first_arg, keys, request, context)
                }
            },
        };
        let session = &mut *context.session;
        if matches!(next.as_deref(), Some(Next::Paused)) {
            session.client.paused.store(true, Relaxed);
            return next;
        }
        if !matches!(next.as_deref(), Some(Next::Slices(_) | Next::Block(_))) {
            apply_reply_mode(session, context.reply.output(), mark);
        }
        // What CLIENT CACHING says holds for the next command that is none of CLIENT, or for the next transaction.
        if session.client.tracked.is(mode::CACHING)
            && session.transaction.is_none()
            && !planned.command.is_ok_and(is_about_the_client)
        {
            session.client.tracked.set_caching(false);
        }
        put_own_pushes(session, context.reply.output());
        next
    }

    /// Whether a pause of writes holds a request back: EXEC by what is queued, as it would be run now.
    #[cold]
    fn may_write(&self, command: &Command, request: RequestView<'_>, session: &Session) -> bool {
        let writes = |command: &Command, request: RequestView<'_>| {
            let only_reads = command.spec.only_reads.is_some_and(|only_reads| only_reads(self.shared, request));
            command.spec.flags.0 & PAUSED_FLAGS.0 != 0 && !only_reads
        };
        let queued = session.transaction.as_ref().filter(|_| matches!(command.spec.scope, Scope::Transaction));
        let mut queued = queued.iter().flat_map(|transaction| &transaction.queued).map(|request| request.view());
        writes(command, request)
            || queued
                .any(|request| self.shared.commands.resolve(request).0.is_ok_and(|command| writes(command, request)))
    }

    /// Everything that can refuse a request before it runs, in the order in which Redis looks at it.
    fn check(
        &self,
        planned: Planned,
        request: RequestView<'_>,
        session: &Session,
    ) -> Result<&'static Command, CommandError> {
        // First, so that a stranger does not even learn which commands there are.
        let open = planned.command.is_ok_and(|command| command.spec.flags.has(Flags::NO_AUTH));
        if !session.authenticated && !open && self.shared.config.requirepass().is_some() {
            return Err(CommandError::NoAuth);
        }
        let command = planned.command.map_err(|unknown| unknown_command(unknown, request))?;
        let spec = command.spec;
        if !spec.accepts(request.argc()) {
            return Err(CommandError::WrongArity(command.full_name().into()));
        }
        if session.transaction.is_some() && spec.flags.has(Flags::NO_MULTI) {
            let text = format!("ERR Command '{}' not allowed inside a transaction", command.full_name());
            return Err(CommandError::from(text));
        }
        let flags = flags_of(command, session);
        let runs_commands = matches!(spec.group, Group::Scripting | Group::Transactions);
        let held_up = self.shared.scripts.long.any();
        // Nothing is evicted, and so nothing refused, while a script runs for long or data is being loaded.
        if (flags.has(Flags::DENYOOM) || runs_commands) && !held_up && !self.loading {
            let room = self.check_room(request, session);
            // A script is refused only what it asks for.
            if flags.has(Flags::DENYOOM) {
                room?;
            }
        }
        if self.shared.saving.is_failing() || self.shared.append_log.log.is_faulty() {
            self.check_disk(command, flags, session)?;
        } else if runs_commands {
            session.writes_refused.take();
        }
        if session.resp == Resp::V2 && !spec.while_subscribed && session.client.subscribed.load(Relaxed) {
            return Err(not_while_subscribed(command));
        }
        if self.loading && self.needs_data(command, session) {
            return Err(CommandError::Loading);
        }
        if held_up && !is_heard_meanwhile(command, request) {
            self.check_busy()?;
        }
        if session.monitor && spec.flags.0 & KEYSPACE_FLAGS.0 != 0 {
            return Err(MONITOR_ONLY);
        }
        Ok(command)
    }

    /// Makes room for a request where memory is limited.
    #[inline]
    fn check_room(&self, request: RequestView<'_>, session: &Session) -> Result<(), CommandError> {
        let limit = self.shared.config.maxmemory();
        if limit == 0 {
            return Ok(());
        }
        let room = self.make_room(limit, request);
        session.no_room.set(room.is_err());
        room
    }

    /// Whether a command cannot run while data is being loaded: it, or, for EXEC, one of those that wait for it.
    #[cold]
    fn needs_data(&self, command: &Command, session: &Session) -> bool {
        let queued = session.transaction.as_ref().filter(|_| matches!(command.spec.scope, Scope::Transaction));
        let needs = |command: &Command| !command.spec.flags.has(Flags::LOADING);
        let mut queued = queued.iter().flat_map(|transaction| &transaction.queued);
        needs(command) || queued.any(|request| self.shared.commands.resolve(request.view()).0.is_ok_and(needs))
    }

    /// Refuses writes, and tells whoever asks after the server's health, while snapshots that are wanted fail.
    #[cold]
    fn check_disk(&self, command: &Command, flags: Flags, session: &Session) -> Result<(), CommandError> {
        let refused = self.shared.refuses_writes();
        if let Some(refused) = &refused
            && (flags.has(Flags::WRITE) || command.spec.name == "ping")
        {
            return Err(refused.error(false));
        }
        session.writes_refused.replace(refused);
        Ok(())
    }

    /// Evicts what must go for the request to be stored within `limit`.
    fn make_room(&self, limit: u64, request: RequestView<'_>) -> Result<(), CommandError> {
        let (keyspace, need) = (&self.shared.keyspace, request.payload_bytes() as u64);
        if let Some(left) = self.room.get().checked_sub(need) {
            self.room.set(left);
            return Ok(());
        }
        let room = keyspace.engine().make_room(limit, need, keyspace, self.now);
        self.announce_evictions();
        match room {
            Room::Full => Err(CommandError::OutOfMemory),
            Room::Made | Room::Soon => Ok(()),
        }
    }

    /// Evicts together what must go for the coming requests of a batch: their victims' cache lines are loaded at the same time, and
    /// the algorithm is asked once. `planned` is the place of the first one in the list of planned requests.
    #[inline]
    fn make_room_ahead(&self, planned: usize, batch: &Batch, buffer: &[u8], requests: Range<usize>, session: &Session) {
        self.room.set(0);
        let limit = self.shared.config.maxmemory();
        if limit == 0 || requests.len() < 2 || !session.authenticated && self.shared.config.requirepass().is_some() {
            return;
        }
        let planned = &self.planned[planned..planned + requests.len()];
        let stores = |planned: &Planned| planned.command.is_ok_and(|command| command.spec.flags.has(Flags::DENYOOM));
        let storing = planned.iter().zip(requests).filter(|(planned, _)| stores(planned));
        let need = storing.map(|(_, index)| batch.request(index, buffer).payload_bytes() as u64).sum();
        let keyspace = &self.shared.keyspace;
        if keyspace.engine().make_room_ahead(limit, need, keyspace, self.now) {
            self.room.set(need);
        }
        self.announce_evictions();
    }

    fn announce_evictions(&self) {
        let (shared, keyspace) = (self.shared, &self.shared.keyspace);
        if keyspace.attention().to_removals() {
            keyspace.drain_news(&mut |db, news| shared.hear_all(db, &news));
        }
    }

    /// Refuses what must not wait any longer for a script that runs for long.
    #[cold]
    fn check_busy(&self) -> Result<(), CommandError> {
        let threshold = self.shared.config.busy_reply_threshold_ms();
        match self.shared.scripts.long.first() {
            Some(run) if threshold != 0 && run.millis() >= threshold => Err(CommandError::text(run.busy())),
            _ => Ok(()),
        }
    }

    /// Keeps a request of a transaction for EXEC.
    #[cold]
    fn queue(
        &mut self,
        command: &'static Command,
        request: RequestView<'_>,
        session: &mut Session,
        out: &mut Output,
    ) -> Stop {
        let Some(transaction) = &mut session.transaction else { return None };
        transaction.queue(request, command.spec.flags);
        let (count, bytes) = (transaction.queued.len(), transaction.bytes);
        session.client.queued.store(i64::try_from(count).unwrap_or(i64::MAX), Relaxed);
        session.client.queued_bytes.store(bytes, Relaxed);
        if bytes as u64 > self.shared.config.client_query_buffer_limit() {
            self.shared.stats.query_limit_disconnections.fetch_add(1, Relaxed);
            return stop(Next::Abort);
        }
        Reply::new(out, session.resp).simple("QUEUED");
        None
    }

    #[inline]
    fn counters(&self, command: &Command) -> &crate::call::stats::CommandStats {
        &self.shared.stats.workers[self.worker].commands[command.id]
    }

    /// As [`Dispatcher::execute`], for requests that are not of the usual kind.
    #[inline(never)]
    fn execute_apart<'c>(
        &mut self,
        command: &'static Command,
        first_arg: usize,
        keys: &'c [KeyUse],
        request: RequestView<'c>,
        context: &mut Context<'c>,
    ) -> Stop {
        self.execute(command, first_arg, keys, request, context)
    }

    /// Locks what the command needs, runs its handler, gives the locks up, and counts and logs the run.
    #[inline(always)]
    fn execute<'c>(
        &mut self,
        command: &'static Command,
        first_arg: usize,
        keys: &'c [KeyUse],
        request: RequestView<'c>,
        context: &mut Context<'c>,
    ) -> Stop {
        if self.span.calls > 0 && self.span.command.is_none_or(|last| last.id != command.id) {
            self.end_span();
        }
        let out = context.reply.output();
        let (mark, db) = (out.mark(), context.session.db);
        self.executed += 1;
        context.session.client.last_command.store(u32::try_from(command.id).unwrap_or(u32::MAX), Relaxed);
        if !self.enter(command, keys, request, context) {
            return stop(Next::Paused);
        }
        let mut args = Args::new(request, first_arg, keys, self.shared.keyspace.hasher());
        let outcome = (command.spec.run)(context, &mut args);
        context.close();
        context.db.release();
        let (failed, next) = if matches!(outcome, Ok(Outcome::Done)) {
            std::mem::forget(outcome); // there is nothing in it to drop, which the compiler does not see
            (false, None)
        } else {
            self.conclude(outcome, mark, context)
        };
        if self.replays {
            context.ready.clear();
            return next;
        }
        if !context.ready.is_empty() {
            self.serve(std::mem::take(&mut context.ready));
        }
        if !command.plain {
            self.course = self.course_of(context.session);
        }
        let replied = context.reply.output().since(mark);
        self.account(command, request, context.session, Run { failed, replied, keys, db });
        next
    }

    /// Locks what a command needs. `false` when a long script has the locks: the next try finds that out before.
    #[inline(always)]
    fn enter<'c>(
        &self,
        command: &'static Command,
        keys: &'c [KeyUse],
        request: RequestView<'c>,
        context: &mut Context<'c>,
    ) -> bool {
        let shared = self.shared;
        // The row has no plan of its own where the request makes it; what it makes of it has one.
        let plan = command.locks.or_else(|| command.spec.scope.of(shared, request).locks()).unwrap_or(LockPlan::All);
        context.turn_to(command, request);
        if self.replays {
            let (now, looks_at) = replay_clocks(self.now, command, request);
            context.now = now;
            context.db.look_at(looks_at);
        }
        match plan {
            LockPlan::Set => take_transaction_locks(context),
            _ => context.db.take_locks(plan, keys.iter().map(|key| key.hash)),
        }
        if shared.blocked.any() && !self.replays {
            self.serve_first(&mut context.db, plan, keys, request);
        }
        !context.db.gave_up()
    }

    /// What is left to do behind a handler that did not just reply: whether it failed, and how the connection goes on.
    #[inline(never)]
    fn conclude(&self, outcome: Result<Outcome, CommandError>, mark: Mark, context: &mut Context<'_>) -> (bool, Stop) {
        let next = match outcome {
            Ok(Outcome::Done | Outcome::StillBlocked) => None,
            Ok(Outcome::Close) => stop(Next::Close),
            Ok(Outcome::Overflow) => stop(Next::Overflow),
            Ok(Outcome::Slices(slices)) => stop(Next::Slices(slices)),
            Ok(Outcome::Block(blocked)) => stop(Next::Block(blocked)),
            Err(error) => {
                context.reply.output().truncate_to(mark);
                context.reply.error_bytes(&error.reply_text());
                self.shared.stats.count_error(&error);
                return (true, None);
            }
        };
        (false, next)
    }

    /// Counts a run, and enters it in the logs that it belongs to.
    #[inline(always)]
    fn account(&mut self, command: &'static Command, request: RequestView<'_>, session: &Session, run: Run<'_>) {
        if run.failed {
            self.counters(command).failed.add(1);
        }
        if self.chance.hit() {
            self.sample(request, run.keys, run.db);
        }
        let course = self.course;
        if command.constant && course.spans {
            self.span.command = Some(command);
            self.span.calls += 1;
            if self.span.calls == SPAN_CALLS {
                self.end_span();
            }
        } else {
            self.time(command, request, session, run);
        }
        if course.wanted.has(request, run.replied) {
            self.record(command, request, session).note(self.shared, run.replied);
        }
    }

    /// Counts a run with the time that it took.
    fn time(&mut self, command: &'static Command, request: RequestView<'_>, session: &Session, run: Run<'_>) {
        let nanos = self.lap();
        self.counters(command).ran(1, nanos, self.shared.config.latency_tracking());
        self.record(command, request, session).note_time(self.shared, nanos);
        if self.shared.hot.is_tracking() {
            self.track(request, &run, nanos);
        }
    }

    fn record<'r>(&self, command: &'r Command, request: RequestView<'r>, session: &'r Session) -> Record<'r> {
        Record { command, request, client: &session.client, db: session.db, now: self.now, by_script: false }
    }

    /// Counts the keys of a request among the hot ones.
    #[cold]
    fn sample(&self, request: RequestView<'_>, keys: &[KeyUse], db: usize) {
        for key in keys.iter().take(SAMPLED_KEYS) {
            self.shared.hot.sample(self.worker, db, request.arg(key.index));
        }
    }

    #[cold]
    fn track(&self, request: RequestView<'_>, run: &Run<'_>, nanos: u64) {
        let keys = run.keys.iter().map(|key| request.arg(key.index));
        let bytes = (request.payload_bytes() + run.replied) as u64;
        self.shared.hot.track(self.now, nanos, bytes, keys);
    }

    /// Nanoseconds since the last lap.
    #[inline]
    fn lap(&mut self) -> u64 {
        let ended = Ticks::now();
        let nanos = ended.nanos_since(self.ticks);
        self.ticks = ended;
        nanos
    }

    /// Counts the runs that were to be timed together.
    fn end_span(&mut self) {
        let Span { command, calls } = std::mem::take(&mut self.span);
        if let Some(command) = command {
            let nanos = self.lap();
            self.counters(command).ran(calls, nanos, self.shared.config.latency_tracking());
        }
    }

    /// Does some more of a long command; `true` when it is over.
    pub fn resume(&mut self, slices: &mut dyn Slices, session: &mut Session, out: &mut Output) -> bool {
        self.begin();
        let id = usize::try_from(session.client.last_command.load(Relaxed)).unwrap_or(0);
        let Some(command) = self.shared.commands.get(id) else { return true };
        let request = OwnedRequest::new();
        let (db, resp, touch) = (session.db, session.resp, !session.no_touch);
        let mark = out.mark();
        let mut context = Context {
            db: View::lock(&self.shared.keyspace, db, self.now, touch, LockPlan::Keys, std::iter::empty()),
            now: self.now,
            reply: Reply::new(out, resp),
            session,
            shared: self.shared,
            command,
            request: request.view(),
            blocking: Blocking::Refused,
            ready: Vec::new(),
            dirty: 0,
            effects: Vec::new(),
            replaced: false,
            by_script: false,
        };
        let done = slices.step(&mut context);
        context.close();
        let Context { db: view, ready, .. } = context;
        drop(view);
        self.serve(ready);
        let nanos = Ticks::now().nanos_since(self.ticks);
        self.counters(command).nanos.add(nanos);
        if done {
            apply_reply_mode(session, out, mark);
            put_own_pushes(session, out);
        }
        done
    }
}

/// Serving clients that wait.
impl Dispatcher {
    /// Lets those who wait for the keys of a request be served before it runs, as they would have been had it come a little
    /// later: between a change and the service that follows it, a request of another worker can come in.
    fn serve_first(&self, view: &mut View<'static>, plan: LockPlan, keys: &[KeyUse], request: RequestView<'_>) {
        // Everybody is tried each time, if only by another worker; writers that never rest must not hold the request up.
        for _ in 0..SERVE_ROUNDS {
            if view.gave_up() {
                break;
            }
            let due = due_keys(view, keys, request);
            if due.is_empty() {
                break;
            }
            view.release();
            self.serve(due);
            view.take_locks(plan, keys.iter().map(|key| key.hash));
        }
    }

    /// Runs the requests of those who wait for these keys, first come first served, and of those whose keys are changed by
    /// that in turn. The time that a transaction or script stood still for is over for them.
    fn serve(&self, ready: Vec<(usize, Box<[u8]>)>) {
        if ready.is_empty() {
            return;
        }
        let (mut ready, now) = (VecDeque::from(ready), UnixMs::now());
        while let Some((db, key)) = ready.pop_front() {
            if !self.serve_key(db, &key, now, &mut ready) {
                self.late.borrow_mut().push((db, key));
            }
        }
    }

    /// Serves those who could not be served while a script held locks for long, and tells readers of streams that these went
    /// without a command. To be called now and then.
    pub fn serve_late(&mut self) {
        self.late.get_mut().extend(self.shared.keyspace.take_lost());
        if !self.late.get_mut().is_empty() && !self.shared.keyspace.is_impatient() {
            self.begin();
            self.serve(self.late.take());
        }
    }

    /// Serves those who wait for one key, together with whoever else does so just now; `false` when somebody holds for long
    /// what that needs.
    fn serve_key(&self, db: usize, key: &[u8], now: UnixMs, ready: &mut VecDeque<(usize, Box<[u8]>)>) -> bool {
        let key = self.shared.keyspace.hasher().key(key);
        loop {
            let hash = std::iter::once(key.hash);
            let mut view = View::lock(&self.shared.keyspace, db, now, false, LockPlan::Keys, hash);
            if view.gave_up() {
                return false;
            }
            let Some(ticket) = view.next_waiter(key) else { return true };
            drop(view);
            let blocked = self.shared.blocked.find(ticket.client);
            let blocked = blocked.filter(|blocked| Arc::ptr_eq(&blocked.ticket, &ticket) && !blocked.is_gone());
            let Some(blocked) = blocked else {
                // Its client has gone, or leaves the registry because the wait is over: either way it is not to be next again.
                ticket.withdraw();
                continue;
            };
            if !self.try_for(&blocked, key, now, ready) {
                return false;
            }
        }
    }

    /// Runs the request of a client that waits for `key`, unless it is not the next one any more: its wait is over, somebody else
    /// has tried it, or a change has put one before it that is to be tried first. `false` when somebody holds for long what that
    /// needs.
    fn try_for(&self, blocked: &Blocked, key: Key<'_>, now: UnixMs, ready: &mut VecDeque<(usize, Box<[u8]>)>) -> bool {
        let (shared, request) = (self.shared, blocked.request.view());
        let (Ok(command), first_arg) = shared.commands.resolve(request) else {
            blocked.ticket.withdraw(); // nor could it be served the next time
            return true;
        };
        let (mut keys, hasher) = (Vec::new(), shared.keyspace.hasher());
        let _ = declared_keys(command.spec, request, &mut |index, _| {
            keys.push(KeyUse { index, hash: hasher.hash(request.arg(index)) });
        });
        let hashes = keys.iter().map(|key| key.hash);
        let mut view = View::lock(&shared.keyspace, blocked.db, now, blocked.touch, LockPlan::Keys, hashes);
        if view.gave_up() {
            return false;
        }
        let is_next = view.next_waiter(key).is_some_and(|next| Arc::ptr_eq(&next, &blocked.ticket));
        if !is_next || !blocked.ticket.claim() {
            return true;
        }
        let mut session = Session::new(Arc::clone(&blocked.client), true);
        (session.db, session.resp, session.no_touch) = (blocked.db, blocked.resp, !blocked.touch);
        let mut out = Output::new();
        let mut context = Context {
            db: view,
            now,
            reply: Reply::new(&mut out, blocked.resp),
            session: &mut session,
            shared,
            command,
            request,
            blocking: Blocking::Serving,
            ready: Vec::new(),
            dirty: 0,
            effects: Vec::new(),
            replaced: false,
            by_script: false,
        };
        let outcome = (command.spec.run)(&mut context, &mut Args::new(request, first_arg, &keys, hasher));
        context.close();
        ready.extend(context.ready.drain(..));
        match outcome {
            Ok(Outcome::StillBlocked) => {
                context.db.pass_waiter(key, &blocked.ticket);
                blocked.ticket.release();
                return true;
            }
            Ok(_) => {}
            Err(error) => {
                context.reply.output().clear();
                context.reply.error_bytes(&error.reply_text());
                shared.stats.count_error(&error);
                self.counters(command).failed.add(1);
            }
        }
        for key in &blocked.keys {
            context.db.leave_queue(hasher.key(key), &blocked.ticket);
        }
        blocked.finish(Bytes::from(context.reply.output().to_vec()));
        true
    }
}

/// The time at which a request of a log is run, and the one at which keys are looked at. Keys and fields do not expire, and
/// deadlines that were set as times have not passed either, so that later requests find what they found. Only a request that
/// counts from now, as those of old logs, needs to know when that is.
#[cold]
fn replay_clocks(now: UnixMs, command: &Command, request: RequestView<'_>) -> (UnixMs, UnixMs) {
    let has = |names: [&str; 2]| {
        let is = |word: &[u8]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
        request.iter().skip(2).any(is)
    };
    let counts = match command.spec.name {
        "expire" | "pexpire" | "setex" | "psetex" | "hexpire" | "hpexpire" => true,
        "set" | "getex" | "hsetex" | "hgetex" | "msetex" => has(["ex", "px"]),
        "restore" => !has(["absttl", "absttl"]),
        _ => command.spec.group == Group::Stream,
    };
    (if counts { now } else { now.standing() }, now.standing())
}

/// Locks what the queued commands of a transaction and the keys that its client watches need.
#[cold]
fn take_transaction_locks(context: &mut Context<'_>) {
    let set = context.session.transaction_locks(context.shared);
    context.db.take_set(&set);
}

/// Those of a request's keys for which somebody who waits can be served.
fn due_keys(view: &mut View<'_>, keys: &[KeyUse], request: RequestView<'_>) -> Vec<(usize, Box<[u8]>)> {
    let db = view.db();
    let keys = keys.iter().map(|key| Key { bytes: request.arg(key.index), hash: key.hash });
    keys.filter(|key| view.is_due(*key)).map(|key| (db, Box::from(key.bytes))).collect()
}

/// Drops the reply since `mark` if `CLIENT REPLY` says so, and notes that this was the command to skip.
#[inline]
fn apply_reply_mode(session: &mut Session, out: &mut Output, mark: Mark) {
    if !session.after_reply() {
        out.truncate_to(mark);
    }
}

/// The flags of a command; of EXEC, those of what it is going to run too.
#[inline]
fn flags_of(command: &Command, session: &Session) -> Flags {
    match &session.transaction {
        Some(transaction) if matches!(command.spec.scope, Scope::Transaction) => command.spec.flags | transaction.flags,
        _ => command.spec.flags,
    }
}

/// Messages that a client has sent to itself come behind its reply.
#[inline]
fn put_own_pushes(session: &mut Session, out: &mut Output) {
    if session.own_pushes {
        session.own_pushes = false;
        session.client.take_pushes(out);
    }
}

/// A command that is refused inside MULTI refuses the transaction; an EXEC that is refused ends it, and says so.
#[cold]
fn refuse_transaction(error: CommandError, planned: Planned, session: &mut Session, shared: &Shared) -> CommandError {
    if let Some(transaction) = &mut session.transaction {
        transaction.refused = true;
    }
    match planned.command {
        Ok(command) if matches!(command.spec.scope, Scope::Transaction) => {
            session.discard(shared);
            let text = error.reply_text();
            let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
            CommandError::Bytes([b"EXECABORT Transaction discarded because of: ", text].concat())
        }
        _ => error,
    }
}

/// Commands that a pause of writes holds back.
const PAUSED_FLAGS: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE);

/// Whether a command is run while a script runs for long: it needs no lock, and may be what ends the script.
#[cold]
fn is_heard_meanwhile(command: &Command, request: RequestView<'_>) -> bool {
    // Whoever asks for the data to be saved first has to wait.
    let waits = command.spec.name == "shutdown" && !request.iter().any(|word| word.eq_ignore_ascii_case(b"nosave"));
    command.spec.flags.has(Flags::ALLOW_BUSY) && !waits
}

/// Commands that a monitor may not use.
const KEYSPACE_FLAGS: Flags = PAUSED_FLAGS.and(Flags::READONLY);

const MONITOR_ONLY: CommandError = CommandError::text("ERR Replica can't interact with the keyspace");

/// What is left to say about a request that has run.
#[derive(Clone, Copy)]
struct Run<'k> {
    failed: bool,
    replied: usize,
    /// Its keys, and their database.
    keys: &'k [KeyUse],
    db: usize,
}

/// A browser or another program speaking HTTP to us, perhaps made to by a hostile page: it gets no answer at all.
fn is_cross_protocol(request: RequestView<'_>) -> bool {
    [&b"post"[..], b"host:"].iter().any(|word| request.arg(0).eq_ignore_ascii_case(word))
}

/// A subcommand of CLIENT.
fn is_about_the_client(command: &Command) -> bool {
    command.spec.group == Group::Connection && command.parent.is_some()
}

#[cold]
fn not_while_subscribed(command: &Command) -> CommandError {
    let name = command.full_name();
    let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
    format!("ERR Can't execute '{name}': only {allowed} are allowed in this context").into()
}

#[cold]
fn unknown_command(unknown: Unknown, request: RequestView<'_>) -> CommandError {
    // Up to the first zero, where the texts of Redis end.
    let quote =
        |bytes: &[u8]| bytes.iter().copied().take(QUOTED_BYTES).take_while(|byte| *byte != 0).collect::<Vec<u8>>();
    let text = match unknown {
        Unknown::Subcommand(container) => {
            let hint = format!("'. Try {} HELP.", container.name.to_ascii_uppercase());
            [b"ERR unknown subcommand '", &quote(request.arg(1))[..], hint.as_bytes()].concat()
        }
        Unknown::Command => {
            let mut quoted = Vec::new();
            for argument in request.iter().skip(1) {
                if quoted.len() >= QUOTED_BYTES {
                    break;
                }
                let room = QUOTED_BYTES - quoted.len();
                quoted.push(b'\'');
                quoted.extend(argument.iter().copied().take(room).take_while(|byte| *byte != 0));
                quoted.extend_from_slice(b"' ");
            }
            let name = quote(request.arg(0));
            [b"ERR unknown command '", &name[..], b"', with args beginning with: ", &quoted].concat()
        }
    };
    CommandError::Bytes(text)
}
