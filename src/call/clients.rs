//! The registry of clients: what any worker may read of a client of another, and the letters it may leave for it.
//!
//! Invariant: nothing here owns a connection. A client is named by its id, looked up, and perhaps gone; its connection
//! reads its mailbox when it is woken. Must not know: sockets.

use super::listeners::Listeners;
use super::tracked::{Name, Tracked};
use crate::config::{ClientClass, OutputLimit};
use crate::protocol::reply::{Output, Resp};
use crate::util::clock::UnixMs;
use crate::util::shrink::shrink_parts;
use crate::util::sync::atomic::AtomicBool as ModelBool;
use crate::util::sync::{Mutex, Notify, PlainMutex};
use bytes::Bytes;
use dashmap::DashMap;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Texts of a client that `CLIENT` subcommands set.
#[derive(Clone, Default, Debug)]
pub struct Labels {
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Vec<u8>,
}

/// What is waiting for a client's connection.
#[derive(Default)]
pub struct Mailbox {
    /// Bytes to send, in order.
    pub pushes: Output,
    /// The connection is to be closed now.
    pub killed: bool,
    /// More waited than the client's class may let wait; `killed` is set too.
    pub overflowed: bool,
    /// The socket takes nothing: the connection looks when it does, and is not woken for pushes before.
    stalled: bool,
}

impl Mailbox {
    fn overflow(&mut self) {
        (self.killed, self.overflowed) = (true, true);
        self.pushes = Output::new();
    }
}

/// Clients of one worker that have mail and do not know. The worker tells them, a few at a time, when it has read the requests
/// that are there: what is sent meanwhile goes out in the same write, and who sends much is not held up by writing.
#[derive(Default)]
pub struct Post {
    waiting: Mutex<VecDeque<Arc<Client>>>,
    wake: Notify,
}

impl Post {
    /// Takes up to `count` clients out, the first first, into `taken`.
    pub fn take(&self, count: usize, taken: &mut Vec<Arc<Client>>) {
        let mut waiting = self.waiting.lock();
        let count = count.min(waiting.len());
        taken.extend(waiting.drain(..count));
    }

    /// Until somebody waits.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    fn add(&self, client: &Arc<Client>) {
        let mut waiting = self.waiting.lock();
        waiting.push_back(Arc::clone(client));
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.wake.notify_one();
        }
    }
}

/// Kinds of subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// `SUBSCRIBE`.
    Channel,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}

/// What a client listens to.
#[derive(Default, Debug)]
pub struct Subscriptions {
    sets: [BTreeSet<Name>; 3],
}

impl Subscriptions {
    /// The names of one kind.
    pub fn names(&mut self, kind: Listen) -> &mut BTreeSet<Name> {
        &mut self.sets[kind as usize]
    }

    /// How many there are of one kind.
    pub fn count(&self, kind: Listen) -> usize {
        self.sets[kind as usize].len()
    }

    /// Whether there is none of any kind.
    pub fn is_empty(&self) -> bool {
        self.sets.iter().all(BTreeSet::is_empty)
    }
}

/// One client as others see it. Counters are written by its own worker alone.
pub struct Client {
    /// Number, never used twice.
    pub id: u64,
    /// `ip:port` of the peer, or the path of the unix socket with `:0`.
    pub addr: String,
    /// The same of this side.
    pub laddr: String,
    /// File descriptor.
    pub fd: i32,
    /// Whether it came over the unix socket.
    pub unix: bool,
    /// Worker that serves it.
    pub worker: usize,
    /// When it connected.
    pub connected: UnixMs,
    /// Texts.
    pub labels: PlainMutex<Labels>,
    /// When it last sent something, in milliseconds since the epoch.
    pub active_ms: AtomicI64,
    /// Selected database.
    pub db: AtomicUsize,
    /// 2 or 3.
    pub resp: AtomicU32,
    /// Id of its last command in the command table; `u32::MAX` for none.
    pub last_command: AtomicU32,
    /// Commands queued since MULTI; -1 outside of a transaction.
    pub queued: AtomicI64,
    /// Bytes of these.
    pub queued_bytes: AtomicUsize,
    /// Keys that it watches.
    pub watched: AtomicUsize,
    /// Bytes of these.
    pub watched_bytes: AtomicUsize,
    /// Bytes of its wait for keys.
    pub blocked_bytes: AtomicUsize,
    /// Bytes of what it listens to.
    pub listening_bytes: AtomicUsize,
    /// Bytes of its unfinished request.
    pub query_bytes: AtomicUsize,
    /// Bytes of replies that it has not taken.
    pub output_bytes: AtomicUsize,
    /// Since when more than the soft limit waits for it, in milliseconds since the epoch; 0 for not.
    over_soft_ms: AtomicI64,
    /// Bytes received.
    pub net_in: AtomicU64,
    /// Bytes sent.
    pub net_out: AtomicU64,
    /// Commands processed.
    pub commands: AtomicU64,
    /// `MONITOR`.
    pub monitor: AtomicBool,
    /// `CLIENT NO-EVICT`.
    pub no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: AtomicBool,
    /// `CLIENT CAPA REDIRECT`.
    pub follows_redirects: AtomicBool,
    /// Held back by `CLIENT PAUSE`, or waiting for keys.
    pub paused: AtomicBool,
    /// Closes once its replies have left.
    pub closing: AtomicBool,
    /// What it listens to; changed through the registry of channels.
    pub subscriptions: Mutex<Subscriptions>,
    /// Whether that is anything; changed with it.
    pub subscribed: AtomicBool,
    /// What it is told of the keys that it caches; changed through the table of these.
    pub tracked: Tracked,
    /// See [`Client::has_home`].
    home: PlainMutex<Option<Arc<Listeners>>>,
    lags: AtomicBool,
    mailbox: Mutex<Mailbox>,
    mail: ModelBool,
    wake: Notify,
    post: Arc<Post>,
}

impl Client {
    /// Whether it is on this machine: over the unix socket or the loopback interface.
    pub fn is_local(&self) -> bool {
        let address = self.addr.parse::<std::net::SocketAddr>();
        self.unix || address.is_ok_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// Which output limits hold for it.
    pub fn class(&self) -> ClientClass {
        if self.subscribed.load(Relaxed) { ClientClass::Pubsub } else { ClientClass::Normal }
    }

    /// The protocol version that it speaks, as others see it.
    #[inline]
    pub fn protocol(&self) -> Resp {
        if self.resp.load(Relaxed) == 3 { Resp::V3 } else { Resp::V2 }
    }

    /// Sends it bytes, RESP already, out of band and in order. When more than `limit_bytes` wait it is closed instead, as one
    /// that does not read.
    pub fn push(self: &Arc<Client>, bytes: &Bytes, limit_bytes: usize) {
        self.settle();
        self.leave_letter(bytes, limit_bytes, false);
    }

    /// The same for a message of those who listen; `false`, and nothing is left, when the client takes nothing and `may_lag`.
    pub(super) fn leave_letter(self: &Arc<Client>, bytes: &Bytes, limit_bytes: usize, may_lag: bool) -> bool {
        let mut mailbox = self.mailbox.lock();
        if mailbox.killed {
            return true;
        }
        if mailbox.stalled && may_lag && self.home.lock().is_some() {
            return false;
        }
        mailbox.pushes.raw_shared(bytes);
        if mailbox.pushes.held_bytes() + self.output_bytes.load(Relaxed) > limit_bytes {
            mailbox.overflow();
        } else if mailbox.stalled {
            return true;
        }
        drop(mailbox);
        self.send_for();
        true
    }

    /// Lets its connection look at its mail; who has been woken and has not looked yet will find all of it.
    fn send_for(self: &Arc<Client>) {
        if !self.mail.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.post.add(self);
        }
    }

    /// Closes its connection because of what waits for it, which is forgotten.
    pub fn overflow(self: &Arc<Client>) {
        self.mailbox.lock().overflow();
        self.send_for();
    }

    /// Whether so many waiting bytes are too many: more than the hard limit, or for too long more than the soft one.
    pub fn exceeds(&self, waiting_bytes: u64, limit: &OutputLimit, now: UnixMs) -> bool {
        if limit.soft_bytes == 0 || waiting_bytes <= limit.soft_bytes {
            self.over_soft_ms.store(0, Relaxed);
        } else if self.over_soft_ms.load(Relaxed) == 0 {
            self.over_soft_ms.store(now.0, Relaxed);
        }
        let (since_ms, allowed_s) = (self.over_soft_ms.load(Relaxed), i64::try_from(limit.soft_seconds));
        let allowed_ms = allowed_s.unwrap_or(i64::MAX).saturating_mul(1000);
        let too_long = since_ms != 0 && now.0.saturating_sub(since_ms) > allowed_ms;
        too_long || (limit.hard_bytes != 0 && waiting_bytes > limit.hard_bytes)
    }

    /// Lets it lag behind those who listen to the only name that it listens to, when it takes nothing.
    pub(super) fn has_home(&self, listeners: Arc<Listeners>) {
        *self.home.lock() = Some(listeners);
    }

    /// From now on it does not lag.
    pub(super) fn has_no_home(&self) {
        let home = self.home.lock().take();
        if let Some(listeners) = home {
            listeners.settle(self); // waits for a message on its way, which may have found the home there
        }
    }

    /// What would be sent to it is no longer of interest.
    pub(super) fn is_gone(&self) {
        self.mailbox.lock().overflow();
    }

    /// Whether messages are kept for it in the backlog of its home.
    #[inline]
    pub fn lags(&self) -> bool {
        self.lags.load(Relaxed)
    }

    /// Notes whether it lags; under the lock of its home. If it takes something by now it is told.
    pub(super) fn set_lags(self: &Arc<Client>, lags: bool) {
        self.lags.store(lags, Relaxed);
        if lags && !self.mailbox.lock().stalled {
            self.send_for();
        }
    }

    /// Puts what is kept for it elsewhere into its mailbox, for those who want to put something behind that.
    #[inline]
    pub fn settle(&self) {
        if self.lags() {
            let home = self.home.lock().clone();
            if let Some(listeners) = home {
                listeners.settle(self);
            }
        }
    }

    /// Does `act` with the pushes of its mailbox, unless it is being closed.
    pub(super) fn with_pushes(&self, act: impl FnOnce(&mut Output)) {
        let mut mailbox = self.mailbox.lock();
        if !mailbox.killed {
            act(&mut mailbox.pushes);
        }
    }

    /// Appends some of what is kept for it to `out`; for its connection, when nothing else waits to be sent.
    pub fn catch_up(&self, out: &mut Output) {
        if self.lags() {
            let home = self.home.lock().clone();
            if let Some(listeners) = home {
                listeners.catch_up(self, out);
            }
        }
    }

    /// Closes its connection.
    pub fn kill(&self) {
        self.mailbox.lock().killed = true;
        self.notify();
    }

    /// Wakes its connection, to look at its mailbox or try a paused request again.
    pub fn notify(&self) {
        self.mail.store(true, std::sync::atomic::Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether the mailbox may hold something; one load.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.mail.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Empties the mailbox; for its connection.
    pub fn take_mail(&self) -> Mailbox {
        self.mail.store(false, std::sync::atomic::Ordering::Release);
        std::mem::take(&mut *self.mailbox.lock())
    }

    /// Moves what was pushed so far behind the bytes of `out`, for its own connection.
    pub fn take_pushes(&self, out: &mut Output) {
        self.settle();
        self.mailbox.lock().pushes.move_rest_to(out);
    }

    /// From now until the next [`Client::take_mail`] pushes do not wake the connection, unless there are some already: `false`.
    pub fn stall(&self) -> bool {
        let mut mailbox = self.mailbox.lock();
        mailbox.stalled = mailbox.pushes.is_empty() && !mailbox.killed;
        mailbox.stalled
    }

    /// Bytes that it takes, the arguments of a running request not counted.
    pub fn memory_bytes(&self) -> usize {
        let entered = [&self.queued_bytes, &self.watched_bytes, &self.blocked_bytes, &self.listening_bytes];
        let entered = entered.iter().map(|bytes| bytes.load(Relaxed)).sum::<usize>() + self.tracked.prefix_bytes();
        size_of::<Client>() + self.query_bytes.load(Relaxed) + self.waiting_bytes() + entered
    }

    /// Bytes that wait for it: replies not taken, and pushes on their way.
    pub fn waiting_bytes(&self) -> usize {
        let home = if self.lags() { self.home.lock().clone() } else { None };
        home.map_or(0, |listeners| listeners.kept_bytes(self)) + self.waiting_elsewhere_bytes()
    }

    /// Of these, the ones that are not in a backlog.
    pub(super) fn waiting_elsewhere_bytes(&self) -> usize {
        self.output_bytes.load(Relaxed) + self.mailbox.lock().pushes.len()
    }

    /// What wakes its connection.
    pub fn wake(&self) -> &Notify {
        &self.wake
    }
}

/// Where a connection comes from and goes to.
pub struct Peer {
    /// See [`Client::addr`].
    pub addr: String,
    /// See [`Client::laddr`].
    pub laddr: String,
    /// File descriptor.
    pub fd: i32,
    /// Whether it came over the unix socket.
    pub unix: bool,
    /// Worker that serves it.
    pub worker: usize,
}

/// A pause that `CLIENT PAUSE` set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pause {
    /// Until when.
    pub until: UnixMs,
    /// Whether reads wait too.
    pub all: bool,
}

/// What all clients hold in buffers, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Buffers {
    /// Of unfinished requests and of replies not taken.
    pub bytes: usize,
    /// The longest unfinished request.
    pub longest_query: usize,
    /// The most that one has not taken.
    pub longest_output: usize,
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    map: DashMap<u64, Arc<Client>>,
    posts: Mutex<Vec<Arc<Post>>>,
    last_id: AtomicU64,
    monitors: AtomicUsize,
    paused: AtomicBool,
    pause: Mutex<Option<Pause>>,
}

impl Clients {
    /// Registers a new client.
    pub fn add(&self, peer: Peer, now: UnixMs) -> Arc<Client> {
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let Peer { addr, laddr, fd, unix, worker } = peer;
        let client = Arc::new(Client {
            id,
            addr,
            laddr,
            fd,
            unix,
            worker,
            connected: now,
            labels: PlainMutex::default(),
            active_ms: AtomicI64::new(now.0),
            db: AtomicUsize::new(0),
            resp: AtomicU32::new(2),
            last_command: AtomicU32::new(u32::MAX),
            queued: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            watched_bytes: AtomicUsize::new(0),
            blocked_bytes: AtomicUsize::new(0),
            listening_bytes: AtomicUsize::new(0),
            query_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            over_soft_ms: AtomicI64::new(0),
            net_in: AtomicU64::new(0),
            net_out: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            monitor: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            follows_redirects: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            subscriptions: Mutex::default(),
            subscribed: AtomicBool::new(false),
            tracked: Tracked::default(),
            home: PlainMutex::default(),
            lags: AtomicBool::new(false),
            mailbox: Mutex::default(),
            mail: ModelBool::new(false),
            wake: Notify::new(),
            post: self.post(worker),
        });
        self.map.insert(id, Arc::clone(&client));
        client
    }

    /// The post of a worker.
    pub fn post(&self, worker: usize) -> Arc<Post> {
        let mut posts = self.posts.lock();
        while posts.len() <= worker {
            posts.push(Arc::default());
        }
        Arc::clone(&posts[worker])
    }

    /// Forgets a client whose connection has ended.
    pub fn remove(&self, client: &Client) {
        if self.map.remove(&client.id).is_some() {
            self.set_monitor(client, false);
        }
    }

    /// Closes a client's connection; from now on it is no more to be seen here.
    pub fn kill(&self, client: &Client) {
        self.remove(client);
        client.kill();
    }

    /// Gives back the room of clients that have gone, when it is much. A lock for each part of the registry.
    pub fn give_back(&self) {
        shrink_parts(&self.map);
    }

    /// The client of this id, if it is still there.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.map.get(&id).map(|client| Arc::clone(&client))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.map.iter().map(|client| Arc::clone(&client)).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// What they hold in buffers. O(clients).
    pub fn buffers(&self) -> Buffers {
        let mut sum = Buffers::default();
        for client in &self.map {
            let (query, output) = (client.query_bytes.load(Relaxed), client.waiting_bytes());
            sum.bytes += query + output;
            sum.longest_query = sum.longest_query.max(query);
            sum.longest_output = sum.longest_output.max(output);
        }
        sum
    }

    /// Makes a client a monitor, or not one any more.
    pub fn set_monitor(&self, client: &Client, on: bool) {
        if client.monitor.swap(on, Relaxed) != on {
            let _ = if on { self.monitors.fetch_add(1, Relaxed) } else { self.monitors.fetch_sub(1, Relaxed) };
        }
    }

    /// How many monitors there are; one load.
    #[inline]
    pub fn monitors(&self) -> usize {
        self.monitors.load(Relaxed)
    }

    /// Pauses until the later of `pause` and the pause in force at `now`, and reads too when either says so.
    pub fn add_pause(&self, pause: Pause, now: UnixMs) {
        let mut current = self.pause.lock();
        let former = current.filter(|former| former.until > now);
        *current = Some(
            former.map_or(pause, |former| Pause { until: former.until.max(pause.until), all: former.all || pause.all }),
        );
        drop(current);
        self.paused.store(true, Relaxed);
    }

    /// Sets or (with `None`) ends the pause; ending it wakes every client.
    pub fn set_pause(&self, pause: Option<Pause>) {
        *self.pause.lock() = pause;
        self.paused.store(pause.is_some(), Relaxed);
        if pause.is_none() {
            self.all().iter().for_each(|client| client.notify());
        }
    }

    /// Wakes those who were kept back, to try again.
    pub fn wake_paused(&self) {
        self.map.iter().filter(|client| client.paused.load(Relaxed)).for_each(|client| client.notify());
    }

    /// Whether a pause may be in force; one load.
    #[inline]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    /// The pause in force at `now`, if any; one load when there is none.
    #[inline]
    pub fn pause(&self, now: UnixMs) -> Option<Pause> {
        if !self.is_paused() {
            return None;
        }
        let pause = *self.pause.lock();
        pause.filter(|pause| pause.until > now)
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_clients_that_have_gone_is_given_back() {
        let clients = Clients::default();
        let peer = || Peer { addr: String::new(), laddr: String::new(), fd: -1, unix: true, worker: 0 };
        let stays = clients.add(peer(), UnixMs(0));
        let (few, all): (usize, Vec<_>) =
            (clients.map.capacity(), (0..1000).map(|_| clients.add(peer(), UnixMs(0))).collect());
        clients.give_back();
        assert!(clients.map.capacity() > 1000, "not while they are there");
        all.iter().for_each(|client| clients.remove(client));
        clients.give_back();
        assert!(clients.map.capacity() <= few, "{} > {few}", clients.map.capacity());
        assert!(clients.find(stays.id).is_some());
    }
}
