//! Workers: threads that each run a current-thread runtime, on which their connections live from first to last byte.

use super::connection::Connection;
use super::expiry::{self, Courtesy};
use super::pace::{Pace, be_punctual};
use super::socket::RawSocket;
use crate::call::clients::Client;
use crate::call::session::Session;
use crate::call::shared::Shared;
use crate::dispatch::Dispatcher;
use crate::protocol::batch::Batch;
use crate::protocol::reply::Output;
use crate::util::clock::{Ticks, UnixMs};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// One read of a socket takes at most this many bytes: some thousand small requests.
pub const READ_BYTES: usize = 64 * 1024;

/// So many bytes of parked requests lie in the read buffer at most, before the part that is read into.
pub const PARKED_BYTES: usize = 64 * 1024;

/// Clients with mail that are woken before the sockets are looked at again: that costs a tenth of what writing to these does.
const MAIL_AT_ONCE: usize = 8;

/// So many are woken at once at most: some may have to be closed, which takes longer than writing.
const MAIL_AT_MOST: usize = 64;

/// About what it takes to write to one of them.
const MAIL_NANOS: u64 = 5_000;

/// A connection on its way to its worker.
pub struct Arrival {
    /// The socket.
    pub socket: RawSocket,
    /// Its record in the registry.
    pub client: Arc<Client>,
}

/// The workers as the acceptor sees them.
pub struct Workers {
    senders: Vec<UnboundedSender<Arrival>>,
    shared: &'static Shared,
}

impl Workers {
    /// Starts one thread for each worker.
    pub fn start(shared: &'static Shared) -> io::Result<Workers> {
        let mut senders = Vec::new();
        for number in 0..shared.stats.workers.len() {
            let (sender, arrivals) = unbounded_channel();
            let pace = Arc::new(Pace::new());
            let runtime = runtime(shared, &pace)?;
            std::thread::Builder::new().name(format!("larder-{number}")).spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                if !be_punctual() {
                    tracing::debug!("Pauses of worker {number} may take longer than coalesce-us");
                }
                tasks.block_on(&runtime, work(shared, number, pace, arrivals));
            })?;
            senders.push(sender);
        }
        Ok(Workers { senders, shared })
    }

    /// The worker with the fewest clients.
    pub fn least_loaded(&self) -> usize {
        let load = |worker: &usize| self.shared.stats.workers[*worker].clients.load(Relaxed);
        (0..self.senders.len()).min_by_key(load).unwrap_or(0)
    }

    /// Hands a connection to a worker.
    pub fn send(&self, worker: usize, arrival: Arrival) {
        self.shared.stats.workers[worker].clients.fetch_add(1, Relaxed);
        let client = Arc::clone(&arrival.client);
        if self.senders[worker].send(arrival).is_err() {
            self.shared.clients.remove(&client);
        }
    }
}

/// A runtime that asks `pace` before it looks at the sockets.
fn runtime(shared: &'static Shared, pace: &Arc<Pace>) -> io::Result<Runtime> {
    let (before, after) = (Arc::clone(pace), Arc::clone(pace));
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || before.before_look(shared.config.coalesce_us()))
        .on_thread_unpark(move || after.after_look())
        .build()
}

/// What the connections of a worker share, one at a time: the read buffer, the batch, the output, the dispatcher.
pub struct Bench {
    /// Bytes of a read, when a connection has none left over from before.
    pub read: Vec<u8>,
    /// Requests of a read.
    pub batch: Batch,
    /// Replies to them.
    pub out: Output,
    /// Outputs that connections have given back.
    pub spare: Vec<Output>,
    /// Requests that connections have read and not yet run; their bytes are the first `parked_bytes` of `read`.
    pub parked: Batch,
    /// See `parked`.
    pub parked_bytes: usize,
    /// Connections with requests in `parked`.
    pub parkers: usize,
    /// Those that have run, and send when the last of these has.
    put_off: Vec<Waker>,
    /// What runs them.
    pub dispatcher: Dispatcher,
    /// How the worker goes about looking for more.
    pub pace: Arc<Pace>,
}

impl Bench {
    /// Sees to it that there is something to read into. A bug that ended a connection while its requests ran has taken that along.
    #[inline]
    pub fn keep_read(&mut self) {
        if self.read.is_empty() {
            self.read.resize(PARKED_BYTES + READ_BYTES, 0);
        }
    }

    /// One more connection has parked requests.
    pub fn note_parked(&mut self) {
        self.parkers += 1;
    }

    /// Wakes the task of `cx` when everything that is parked has run: replies of one look at the sockets leave behind each other, and
    /// whoever takes them on another core is woken once, which costs more than sending does. At once where nothing is parked.
    pub fn put_off(&mut self, cx: &Context<'_>) {
        if self.parkers == 0 {
            cx.waker().wake_by_ref();
        } else {
            self.put_off.push(cx.waker().clone());
        }
    }

    /// One connection's parked requests have run, or never will; after the last one everything parked is forgotten.
    pub fn unpark(&mut self) {
        self.parkers -= 1;
        if self.parkers == 0 {
            self.parked.clear();
            self.parked_bytes = 0;
            self.dispatcher.unpark();
            self.put_off.drain(..).for_each(Waker::wake);
        }
    }
}

async fn work(shared: &'static Shared, number: usize, pace: Arc<Pace>, mut arrivals: UnboundedReceiver<Arrival>) {
    let bench = Rc::new(RefCell::new(Bench {
        read: vec![0; PARKED_BYTES + READ_BYTES],
        batch: Batch::new(),
        out: Output::new(),
        spare: Vec::new(),
        parked: Batch::new(),
        parked_bytes: 0,
        parkers: 0,
        put_off: Vec::new(),
        dispatcher: Dispatcher::new(shared, number),
        pace,
    }));
    tokio::task::spawn_local(expiry::run(shared, number, Rc::clone(&bench)));
    tokio::task::spawn_local(deliver(shared, number));
    tokio::task::spawn_local(relieve(shared, Rc::clone(&bench)));
    while let Some(Arrival { socket, client }) = arrivals.recv().await {
        let bench = Rc::clone(&bench);
        tokio::task::spawn_local(async move {
            let _registered = Registered { shared, client: Arc::clone(&client), worker: number };
            let trusted = shared.config.requirepass().is_none();
            let session = Session::new(client, trusted);
            match socket.register() {
                Ok(socket) => Connection::new(socket, session, shared, bench).serve().await,
                Err(error) => tracing::warn!("Can't serve a connection: {error}"),
            }
        });
    }
}

/// Takes a client off the registry when its connection ends, however it ends: a bug that stops one connection must not
/// count it for ever.
struct Registered {
    shared: &'static Shared,
    client: Arc<Client>,
    worker: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
        self.shared.pubsub.forget(&self.client);
        self.shared.untrack(&self.client);
        self.shared.stats.workers[self.worker].clients.fetch_sub(1, Relaxed);
    }
}

/// Wakes clients that have mail. Between a few of them and the next the sockets are looked at, so that requests come first,
/// and whoever is still to be woken gets what these requests send to it with what it has; but no more time goes into
/// requests than into mail.
async fn deliver(shared: &'static Shared, number: usize) {
    let (post, mut woken) = (shared.clients.post(number), Vec::new());
    loop {
        post.wait().await;
        let mut count = MAIL_AT_ONCE;
        loop {
            post.take(count, &mut woken);
            if woken.is_empty() {
                break;
            }
            let (began, writes) = (Ticks::now(), woken.len() as u64);
            woken.drain(..).for_each(|client| client.wake().notify_one());
            tokio::task::yield_now().await;
            let others_nanos = Ticks::now().nanos_since(began).saturating_sub(writes * MAIL_NANOS);
            count = usize::try_from(others_nanos / MAIL_NANOS).unwrap_or(0).clamp(MAIL_AT_ONCE, MAIL_AT_MOST);
        }
    }
}

/// How often a worker looks whether memory is over the limit.
const RELIEVE_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Evicts in the background what is over the limit: after it was lowered, and what no request has had the time for. Does, too, what
/// had to wait until a long script gave its locks back.
async fn relieve(shared: &'static Shared, bench: Rc<RefCell<Bench>>) {
    let mut tick = tokio::time::interval(RELIEVE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (keyspace, mut courtesy) = (&shared.keyspace, Courtesy::new());
        keyspace.catch_up();
        bench.borrow_mut().dispatcher.serve_late();
        // As in Redis, nothing that a file holds is evicted before all of it is there.
        while !shared.loading.is_on() && keyspace.engine().relieve(keyspace, UnixMs::now()) {
            if keyspace.attention().to_removals() {
                keyspace.drain_news(&mut |db, news| shared.hear_all(db, &news));
            }
            courtesy.let_others(&bench).await;
        }
    }
}
