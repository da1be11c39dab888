//! Workers: threads that each run a current-thread runtime, on which their connections live from first to last byte.

use super::connection::Connection;
use super::expiry::{self, Courtesy};
use super::pace::{Pace, be_punctual};
use super::socket::RawSocket;
use super::threads;
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

/// A read takes at least this many bytes, however many are parked.
const LEAST_READ: usize = 16 * 1024;

/// Clients with mail that are woken before the sockets are looked at again: that costs a tenth of what writing to these does.
const MAIL_AT_ONCE: usize = 8;

/// So many are woken at once at most: some may have to be closed, which takes longer than writing.
const MAIL_AT_MOST: usize = 64;

/// About what it takes to write to one of them.
const MAIL_NANOS: u64 = 5_000;

/// Outputs that a worker keeps for reuse.
const SPARE_OUTPUTS: usize = 64;

/// Those that hold more are not kept.
const SPARE_BYTES: usize = 64 * 1024;

/// Requests of a small batch, and bytes of replies to it: what a worker with clients keeps room for.
const SMALL_BATCH: usize = 32;
const SMALL_REPLIES: usize = 2048;

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
            let runtime = runtime(shared, number, &pace)?;
            threads::start(&format!("larder-{number}"), move || {
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
fn runtime(shared: &'static Shared, number: usize, pace: &Arc<Pace>) -> io::Result<Runtime> {
    let (before, after, stats) = (Arc::clone(pace), Arc::clone(pace), &shared.stats.workers[number]);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            stats.turn_nanos.add(before.before_look(shared.config.coalesce_us()));
            stats.turns.add(1);
        })
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
    spare: Vec<Output>,
    /// How many of them nobody has taken since [`Bench::forget_spare`].
    unused: usize,
    /// The most bytes of replies since then that stood in `out`.
    most_out: usize,
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
    /// Sees to it that there is something to read into: a worker without clients has nothing, and a bug that ended a connection
    /// while its requests ran has taken it along.
    #[inline]
    pub fn keep_read(&mut self) {
        if self.read.is_empty() {
            self.read = vec![0; PARKED_BYTES + LEAST_READ];
        }
    }

    /// What the next read goes into, behind what is parked.
    #[inline]
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.read.len().min(self.parked_bytes + READ_BYTES);
        &mut self.read[self.parked_bytes..end]
    }

    /// An empty output; perhaps one that has memory.
    pub fn take_spare(&mut self) -> Output {
        let spare = self.spare.pop().unwrap_or_default();
        self.unused = self.unused.min(self.spare.len());
        spare
    }

    /// Takes an output back that holds nothing, to be used again.
    pub fn give_spare(&mut self, out: Output) {
        if self.spare.len() < SPARE_OUTPUTS && (1..=SPARE_BYTES).contains(&out.held_bytes()) {
            self.spare.push(out);
        }
    }

    /// Notes how much room the replies took that are about to leave.
    #[inline]
    pub fn note_out(&mut self) {
        self.most_out = self.most_out.max(self.out.len());
    }

    /// Frees what nobody has needed since it was called last: a small cache would have as much less room for keys, for good. While there are
    /// `clients`, what is read into stays, and so does what a small batch needs: room that came and went with each would cost such a
    /// cache keys each time.
    fn forget_spare(&mut self, clients: bool) {
        let (requests, bytes) = if clients { (SMALL_BATCH, SMALL_REPLIES) } else { (0, 0) };
        let kept = self.spare.pop_if(|spare| spare.held_bytes() <= bytes);
        self.spare.drain(..self.unused.min(self.spare.len()));
        self.spare.extend(kept);
        self.unused = self.spare.len();
        self.spare.shrink_to(2 * self.unused);
        let most = std::mem::take(&mut self.most_out);
        self.out.shrink_to((2 * most).max(bytes)); // room that doubles is twice too much at most
        if most == 0 && self.parkers == 0 {
            self.batch.shrink_to(requests);
            self.parked.shrink_to(requests);
            self.put_off = Vec::new();
            self.dispatcher.shrink_to(requests);
            if !clients {
                self.read = Vec::new();
            }
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
        read: Vec::new(),
        batch: Batch::new(),
        out: Output::new(),
        spare: Vec::new(),
        unused: 0,
        most_out: 0,
        parked: Batch::new(),
        parked_bytes: 0,
        parkers: 0,
        put_off: Vec::new(),
        dispatcher: Dispatcher::new(shared, number),
        pace,
    }));
    let (expiring, relieving) = (Rc::clone(&bench), Rc::clone(&bench));
    threads::keep("expiry", move || expiry::run(shared, number, Rc::clone(&expiring)));
    threads::keep("delivery", move || deliver(shared, number));
    threads::keep("relief", move || relieve(shared, number, Rc::clone(&relieving)));
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
        post.wait().await; // behind a look: who was there when a bug ended the task is not announced again
    }
}

/// How often a worker looks whether memory is over the limit, and what it keeps and does not need.
const RELIEVE_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Evicts in the background what is over the limit: after it was lowered, and what no request has had the time for. Does, too, what
/// had to wait until a long script gave its locks back.
async fn relieve(shared: &'static Shared, number: usize, bench: Rc<RefCell<Bench>>) {
    let mut tick = tokio::time::interval(RELIEVE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (keyspace, mut courtesy) = (&shared.keyspace, Courtesy::new());
        keyspace.catch_up();
        {
            let mut bench = bench.borrow_mut();
            bench.dispatcher.serve_late();
            bench.forget_spare(shared.stats.workers[number].clients.load(Relaxed) > 0);
        }
        // As in Redis, nothing that a file holds is evicted before all of it is there.
        while !shared.loading.is_on() && keyspace.engine().relieve(keyspace, UnixMs::now()) {
            if keyspace.attention().to_removals() {
                keyspace.drain_news(&mut |db, news| shared.hear_all(db, &news));
            }
            courtesy.let_others(&bench).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::args::Args;
    use crate::call::clients::Peer;
    use crate::call::context::Context as Call;
    use crate::call::error::CommandError;
    use crate::call::shared::Identity;
    use crate::call::spec::{CommandSpec, Outcome};
    use crate::command::GROUPS;
    use crate::config::Config;
    use crate::keyspace::reclaim::Reclaimer;
    use crate::keyspace::{KeyHasher, Keyspace};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    const BUGS: &[CommandSpec] = &[CommandSpec { name: "bug", arity: 1, run: bug, ..CommandSpec::DEFAULT }];

    /// Replies, and ends in the middle, as only a bug does.
    fn bug<'a>(ctx: &mut Call<'a>, _: &mut Args<'a>) -> Result<Outcome, CommandError> {
        ctx.reply.bulk(b"half a reply");
        panic!("planted")
    }

    /// A server with one worker, and a command that fails.
    fn workers() -> Workers {
        let config = Arc::new(Config::default());
        let (reclaimer, _) = Reclaimer::new(Arc::clone(&config));
        let keyspace = Keyspace::new(1, 1, KeyHasher::new(), reclaimer);
        let identity = Identity {
            run_id: String::new(),
            started: UnixMs::now(),
            executable: String::new(),
            config_file: String::new(),
        };
        let groups = [GROUPS, &[BUGS]].concat().leak();
        Workers::start(Box::leak(Box::new(Shared::new(config, keyspace, 1, groups, identity)))).unwrap()
    }

    fn connect(workers: &Workers) -> UnixStream {
        let peer = Peer { addr: "test:1".to_owned(), laddr: "test:2".to_owned(), fd: -1, unix: true, worker: 0 };
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let client = workers.shared.clients.add(peer, UnixMs::now());
        workers.send(0, Arrival { socket: RawSocket::Unix(theirs), client });
        ours
    }

    fn ask(client: &mut UnixStream, request: &str) -> String {
        client.write_all(request.as_bytes()).unwrap();
        let mut reply = [0; 100];
        let len = client.read(&mut reply).unwrap_or(0); // an error where it is closed
        String::from_utf8_lossy(&reply[..len]).into_owned()
    }

    #[test]
    fn a_bug_in_one_request_does_not_reach_other_clients() {
        let workers = workers();
        let (mut one, mut other) = (connect(&workers), connect(&workers));
        let long = format!("GET {}\r\nBUG\r\n", "k".repeat(4000)); // more than is parked
        for broken in ["BUG\r\n", "GET k\r\nBUG\r\nPING\r\n", "MULTI\r\nGET k\r\nBUG\r\nEXEC\r\n", &long] {
            assert_eq!(ask(&mut one, "PING\r\n"), "+PONG\r\n");
            assert_eq!(ask(&mut one, broken), "", "its client is gone");
            for request in ["PING\r\n", "PING\r\nPING\r\n", "BLPOP k 0.001\r\n", "GET k\r\n"] {
                let expected = request.replace("PING", "+PONG").replace("BLPOP k 0.001", "*-1").replace("GET k", "$-1");
                assert_eq!(ask(&mut other, request), expected);
            }
            one = connect(&workers);
        }
        assert_eq!(ask(&mut one, "PING\r\n") + &ask(&mut other, "PING\r\n"), "+PONG\r\n+PONG\r\n");
        assert_eq!(workers.shared.stats.workers[0].clients.load(Relaxed), 2);
    }
}
