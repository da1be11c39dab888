//! One connection: reads a batch, dispatches it, writes once.
//!
//! Invariants: replies leave in the order of their requests; reading goes on while replies wait to be taken (a client may
//! send its whole pipeline before it reads), within `client-output-buffer-limit`; a connection at rest owns no
//! buffer, it borrows its worker's. Small reads are *parked*: parsed and planned at once, run when the other connections
//! that are ready have been read too, so that the cache lines they need are loaded meanwhile, and so that a client that
//! talks over many connections is woken once for all of them. Must not know: any particular command.

use super::socket::Socket;
use super::worker::{Bench, PARKED_BYTES, READ_BYTES};
use crate::call::blocking::Blocked;
use crate::call::error::CommandError;
use crate::call::open_files::spare_files;
use crate::call::session::Session;
use crate::call::shared::Shared;
use crate::call::spec::Slices;
use crate::call::tracked::mode;
use crate::dispatch::{FULL_BYTES, Next};
use crate::protocol::batch::{Batch, OwnedRequest};
use crate::protocol::error::ProtocolError;
use crate::protocol::reply::{Output, Reply};
use crate::protocol::request::{Limits, Need, Parser, Progress};
use crate::util::clock::UnixMs;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

/// Pieces of one vectored write.
const PIECES: usize = 64;

/// A request of many arguments is read in steps of at most this many bytes, so that memory grows with what arrives.
const LARGE_STEP: usize = 1024 * 1024;

/// Bytes of an unfinished request that a client may hold before it has authenticated.
const STRANGER_BYTES: u64 = 64 * 1024;

/// Requests that a client may send ahead while it waits for keys; then it is not read from.
const WAITING_REQUESTS: usize = 1024;

/// How long a wait whose time is up gives a service in progress.
const SERVICE_LOOK: Duration = Duration::from_millis(1);

/// Reads up to this size are parked.
const PARKED_READ: usize = 2048;

/// How long a paused request waits before it looks at the pause again.
const PAUSE_LOOK: Duration = Duration::from_millis(50);

/// How the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Reads and serves.
    Open,
    /// Sends what is written, then closes.
    Closing,
    /// Is over.
    Closed,
}

/// A large argument on its way.
struct Gather {
    bytes: Vec<u8>,
    want: usize,
}

impl Gather {
    /// Makes room for `more` bytes, and beyond that for as many as have come: memory grows with what comes, not with what is announced, and
    /// the whole ends up in an allocation of its own size.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if self.bytes.capacity() < needed {
            let total = self.want.min(needed.saturating_mul(2));
            self.bytes.reserve_exact(total - self.bytes.len());
        }
    }
}

/// Requests in the worker's read buffer that have yet to run.
#[derive(Clone)]
struct Parked {
    at: usize,
    len: usize,
    /// Which requests of the worker's parked batch they are.
    requests: Range<usize>,
    /// What parsing them came to.
    progress: Progress,
}

/// One client's connection.
pub struct Connection {
    socket: Socket,
    session: Session,
    shared: &'static Shared,
    bench: Rc<RefCell<Bench>>,
    parser: Parser,
    /// Bytes of an unfinished request.
    tail: Vec<u8>,
    gather: Option<Gather>,
    /// Replies that the socket did not take.
    unsent: Output,
    /// Requests that wait for a long or a paused one.
    waiting: VecDeque<OwnedRequest>,
    slices: Option<Box<dyn Slices>>,
    /// The wait for keys, and its end.
    blocked: Option<(Arc<Blocked>, Pin<Box<Sleep>>)>,
    state: State,
    parked: Option<Parked>,
    turn: Turn,
    /// The socket takes nothing, and the mailbox knows.
    stalled: bool,
    /// What has to be in the log before the replies in `unsent` may leave; 0 for nothing.
    owed: u64,
    /// They have had to wait for that, and the log will wake the client.
    held: bool,
    /// When it was last read from, as [`super::pace`] counts.
    span: u32,
}

/// When the replies of a batch leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// Nothing is put off.
    Idle,
    /// Small replies were written to `unsent`; the connection has yet to queue behind the others that are ready.
    Queue,
    /// It has queued: when its turn comes, it sends.
    Send,
}

/// Replies up to this size wait until the other connections that are ready have been read: a client that talks over
/// many connections is then woken once for all of them, which saves both sides more than the detour costs.
const PUT_OFF_BYTES: usize = 32 * 1024;

/// So many requests take longer than sending their replies and going on with them do.
const MANY_REQUESTS: usize = 4;

impl Drop for Connection {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What was replied until then must not reach the next client of this worker.
            self.bench.borrow_mut().out.clear();
        }
        if self.parked.is_some() {
            self.bench.borrow_mut().unpark();
        }
        self.stop_waiting();
        self.session.discard(self.shared);
    }
}

impl Connection {
    /// A connection that has read nothing yet.
    pub fn new(socket: Socket, session: Session, shared: &'static Shared, bench: Rc<RefCell<Bench>>) -> Connection {
        Connection {
            socket,
            session,
            shared,
            bench,
            parser: Parser::new(),
            tail: Vec::new(),
            gather: None,
            unsent: Output::new(),
            waiting: VecDeque::new(),
            slices: None,
            blocked: None,
            state: State::Open,
            parked: None,
            turn: Turn::Idle,
            stalled: false,
            owed: 0,
            held: false,
            span: 0,
        }
    }

    /// Serves the client until one side ends the connection.
    pub async fn serve(mut self) {
        let client = Arc::clone(&self.session.client);
        let mut woken = std::pin::pin!(client.wake().notified());
        while self.state != State::Closed {
            if let Some(slices) = &self.slices {
                if self.shared.scripts.long.any() && !slices.holds_locks() {
                    tokio::time::sleep(SERVICE_LOOK).await; // a long script has the locks that this would wait for
                    continue;
                }
                let waits = slices.waits();
                self.step();
                if waits {
                    tokio::time::sleep(SERVICE_LOOK).await;
                } else {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            if self.blocked.is_some() {
                poll_fn(|cx| {
                    if woken.as_mut().poll(cx).is_ready() {
                        woken.set(client.wake().notified());
                        self.end_wait(); // messages about what it got come behind that
                        self.read_mail();
                        return Poll::Ready(());
                    }
                    self.poll_blocked(cx)
                })
                .await;
                self.end_wait();
                continue;
            }
            if !self.waiting.is_empty() {
                self.run_waiting();
                if self.slices.is_none() && self.blocked.is_none() && !self.waiting.is_empty() {
                    let _ = tokio::time::timeout(PAUSE_LOOK, client.wake().notified()).await;
                    self.read_mail();
                }
                continue;
            }
            poll_fn(|cx| {
                let polled = self.poll(cx);
                // Whoever queues comes again at once, and who wakes it meanwhile leaves a permit: there is no need to look for that yet.
                if polled.is_pending() && !self.queues() && woken.as_mut().poll(cx).is_ready() {
                    woken.set(client.wake().notified());
                    self.read_mail();
                    return Poll::Ready(());
                }
                polled
            })
            .await;
        }
    }

    /// Whether the worker polls it again by itself, once others have had their turn.
    fn queues(&self) -> bool {
        self.turn != Turn::Idle || self.parked.is_some()
    }

    /// While the client waits for keys: watches the clock, and goes on reading, so that the end of the connection is seen.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some((blocked, sleep)) = &mut self.blocked {
            if blocked.ticket.is_done() {
                return Poll::Ready(());
            }
            if blocked.timeout.is_some() && sleep.as_mut().poll(cx).is_ready() {
                if !blocked.end(blocked.timeout_reply()) {
                    // Somebody is serving it just now.
                    sleep.as_mut().reset(tokio::time::Instant::now() + SERVICE_LOOK);
                    let _ = sleep.as_mut().poll(cx);
                }
                return Poll::Ready(());
            }
        }
        if self.waiting.len() < WAITING_REQUESTS { self.poll(cx) } else { Poll::Pending }
    }

    /// Goes on if the wait for keys is over.
    fn end_wait(&mut self) {
        let Some((blocked, _)) = self.blocked.take_if(|(blocked, _)| blocked.ticket.is_done()) else { return };
        self.shared.blocked.remove(&blocked, &self.shared.keyspace);
        if let Some(reply) = blocked.reply.lock().take()
            && self.session.after_reply()
        {
            self.unsent.raw_large(reply);
            self.session.logged = true; // whoever served it has changed something for it
            self.owe();
        }
        self.flush();
    }

    /// Gives up a wait for keys.
    fn stop_waiting(&mut self) {
        if let Some((blocked, _)) = self.blocked.take() {
            blocked.ticket.abandon();
            self.shared.blocked.remove(&blocked, &self.shared.keyspace);
        }
    }

    /// Sends and receives what can be; ready after something was done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.turn {
            Turn::Idle => {}
            Turn::Queue => return self.queue(cx),
            Turn::Send => self.send_put_off(),
        }
        if let Some(parked) = self.parked.clone() {
            self.run_parked(parked);
            return if self.turn == Turn::Queue && !self.is_busy() { self.queue(cx) } else { Poll::Ready(()) };
        }
        let held = self.is_held();
        if !self.unsent.is_empty() && !held && self.socket.poll_write_ready(cx).is_ready() {
            self.flush();
            return Poll::Ready(());
        }
        match self.state {
            State::Closed => return Poll::Ready(()),
            State::Closing if self.unsent.is_empty() => {
                self.state = State::Closed;
                return Poll::Ready(());
            }
            State::Closing => return Poll::Pending,
            State::Open => {}
        }
        let client = &self.session.client;
        if client.has_mail() || (client.lags() && self.unsent.is_empty()) {
            self.read_mail();
            return Poll::Ready(());
        }
        if held {
            return Poll::Pending; // what it sends further would only make its replies wait longer
        }
        let result = match &self.gather {
            Some(_) => self.poll_gather(cx),
            None => self.poll_requests(cx),
        };
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(true)) => Poll::Ready(()),
            Poll::Ready(Ok(false)) => {
                self.hear_no_more();
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) => {
                self.state = State::Closed;
                Poll::Ready(())
            }
        }
    }

    /// Lets the others that are ready go first.
    fn queue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn = Turn::Send;
        self.bench.borrow_mut().put_off(cx);
        Poll::Pending
    }

    /// The other side sends nothing more. It may have ended its half alone, to read on what it has asked for; messages, which
    /// never end, do not keep the connection open.
    fn hear_no_more(&mut self) {
        let client = &self.session.client;
        let is_told = client.subscribed.load(Relaxed) || client.monitor.load(Relaxed) || client.tracked.is(mode::ON);
        let reads_on = self.state == State::Open && !self.unsent.is_empty() && !self.is_busy() && !is_told;
        self.close(if reads_on { State::Closing } else { State::Closed });
    }

    /// Reads requests and runs them; `false` at the end of the stream.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let bench = Rc::clone(&self.bench);
        let bench = &mut *bench.borrow_mut();
        bench.keep_read();
        if self.tail.is_empty() {
            let at = bench.parked_bytes;
            let mut buffer = ReadBuf::new(bench.room());
            if self.socket.poll_read(cx, &mut buffer)?.is_pending() {
                return Poll::Pending;
            }
            let count = buffer.filled().len();
            self.note_read(bench, count);
            if (1..=PARKED_READ).contains(&count) && at + count <= PARKED_BYTES && !self.is_busy() {
                self.park(bench, at, count);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Taken out and put back, because the batch that is run lies in it.
            let read = std::mem::take(&mut bench.read);
            let bytes = &read[at..at + count];
            let consumed = self.received(bench, bytes, None);
            if self.gather.is_none() {
                self.tail.extend_from_slice(&bytes[consumed..]);
            }
            bench.read = read;
            return Poll::Ready(Ok(count > 0));
        }
        let mut tail = std::mem::take(&mut self.tail);
        let read = self.read_on(cx, bench, &mut tail);
        let Poll::Ready(Ok(count)) = read else {
            self.tail = tail;
            return read.map_ok(|_| false);
        };
        self.note_read(bench, count);
        let consumed = self.received(bench, &tail, None);
        if self.gather.is_none() {
            tail.drain(..consumed);
            if tail.is_empty() {
                tail = Vec::new();
            }
            self.tail = tail;
        }
        Poll::Ready(Ok(count > 0))
    }

    /// Reads on behind the part of a request that has come. While that is short, by way of the worker's room: who waits for the rest keeps no
    /// more than what has come, or all keys of a small cache would go for it.
    fn read_on(&mut self, cx: &mut Context<'_>, bench: &mut Bench, tail: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let before = tail.len();
        if before <= READ_BYTES {
            let mut buffer = ReadBuf::new(bench.room());
            ready!(self.socket.poll_read(cx, &mut buffer))?;
            tail.extend_from_slice(buffer.filled());
            return Poll::Ready(Ok(buffer.filled().len()));
        }
        tail.resize(before + before.min(LARGE_STEP), 0);
        let mut buffer = ReadBuf::new(&mut tail[before..]);
        let polled = self.socket.poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        tail.truncate(before + count);
        ready!(polled)?;
        Poll::Ready(Ok(count))
    }

    /// Notes that bytes of something long have come or gone, which keeps the connection from being idle.
    fn note_activity(&self) {
        self.session.client.active_ms.store(UnixMs::now().0, Relaxed);
    }

    fn note_read(&mut self, bench: &Bench, count: usize) {
        bench.pace.note_read(&mut self.span);
        let client = &self.session.client;
        let stats = &self.shared.stats.workers[client.worker];
        stats.reads.add(1);
        stats.net_in.add(count as u64);
        client.net_in.store(client.net_in.load(Relaxed) + count as u64, Relaxed);
    }

    /// Parses and plans what was just read, and leaves it where it lies.
    fn park(&mut self, bench: &mut Bench, at: usize, len: usize) {
        let limits = self.limits();
        let first = bench.parked.len();
        let bytes = &bench.read[at..at + len];
        let progress = self.parser.parse(bytes, &mut bench.parked, &limits);
        let requests = first..bench.parked.len();
        bench.pace.note_requests(requests.len());
        bench.dispatcher.park(&bench.parked, bytes, requests.clone(), self.session.db);
        bench.parked_bytes += len;
        bench.note_parked();
        self.parked = Some(Parked { at, len, requests, progress });
    }

    /// Runs what was parked. It counts as parked until then: a bug that ends the connection in the middle must not leave it behind.
    fn run_parked(&mut self, parked: Parked) {
        let bench = Rc::clone(&self.bench);
        let bench = &mut *bench.borrow_mut();
        if self.state == State::Open {
            let read = std::mem::take(&mut bench.read);
            let bytes = &read[parked.at..parked.at + parked.len];
            let consumed = self.received(bench, bytes, Some(parked));
            if self.gather.is_none() {
                self.tail.extend_from_slice(&bytes[consumed..]);
            }
            bench.read = read;
        }
        self.parked = None;
        bench.unpark();
    }

    /// Parses and runs what `bytes` hold, and first of all what of them was parsed before; returns how many are done with.
    fn received(&mut self, bench: &mut Bench, bytes: &[u8], mut parked: Option<Parked>) -> usize {
        let mut consumed = 0;
        // What was parked has queued already. But where others have many requests to run, these take longer than the client takes for
        // replies, and it would be woken for each; unless they may take so long that it is better not to wait for them.
        let few = |parked: &Parked| parked.requests.len() < MANY_REQUESTS;
        let at_once =
            parked.as_ref().is_some_and(few) || parked.is_some() && (bench.parkers == 1 || bench.dispatcher.is_slow());
        loop {
            let need = match parked.take() {
                Some(Parked { requests, progress, .. }) => {
                    let (done, next) = bench.dispatcher.run_parked(
                        &bench.parked,
                        bytes,
                        requests.clone(),
                        &mut self.session,
                        &mut bench.out,
                    );
                    self.keep(&bench.parked, bytes, done..requests.end);
                    self.go_on(next);
                    consumed = progress.consumed;
                    progress.need
                }
                None => self.run_requests(bench, bytes, &mut consumed),
            };
            match need {
                Need::Again => {}
                Need::Nothing | Need::More => break,
                Need::Large { len, payload_at } => {
                    self.begin_gather(bytes, consumed, payload_at, len);
                    break;
                }
                Need::Overflow => {
                    self.shared.stats.query_limit_disconnections.fetch_add(1, Relaxed);
                    self.state = State::Closed;
                    break;
                }
                Need::Error(error) => {
                    self.refuse(bench, error);
                    break;
                }
            }
            if self.state != State::Open {
                break;
            }
        }
        self.session.client.query_bytes.store(bytes.len() - consumed + self.parser.held_bytes(), Relaxed);
        self.send(bench, at_once);
        consumed
    }

    fn is_busy(&self) -> bool {
        self.slices.is_some() || self.blocked.is_some() || !self.waiting.is_empty()
    }

    /// Parses one batch from `bytes[consumed..]` and runs it.
    fn run_requests(&mut self, bench: &mut Bench, bytes: &[u8], consumed: &mut usize) -> Need {
        let rest = &bytes[*consumed..];
        let limits = self.limits();
        bench.batch.clear();
        let progress = self.parser.parse(rest, &mut bench.batch, &limits);
        bench.pace.note_requests(bench.batch.len());
        if !bench.batch.is_empty() {
            if self.is_busy() {
                self.keep(&bench.batch, rest, 0..bench.batch.len());
            } else {
                bench.dispatcher.begin();
                let out = &mut bench.out;
                let (done, next) = bench.dispatcher.run_batch(&bench.batch, rest, &mut self.session, out);
                self.keep(&bench.batch, rest, done..bench.batch.len());
                self.go_on(next);
            }
        }
        *consumed += progress.consumed;
        match progress.need {
            Need::Large { len, payload_at } => {
                Need::Large { len, payload_at: payload_at + *consumed - progress.consumed }
            }
            need => need,
        }
    }

    /// Copies these requests of a batch, to be run later.
    fn keep(&mut self, batch: &Batch, buffer: &[u8], requests: Range<usize>) {
        for index in requests {
            self.waiting.push_back(batch.request(index, buffer).to_owned_request());
        }
    }

    fn go_on(&mut self, next: Next) {
        match next {
            Next::Continue | Next::Paused | Next::Full => {}
            Next::Overflow => self.overflowed(),
            Next::Close => self.close(State::Closing),
            Next::Abort => self.close(State::Closed),
            Next::Slices(slices) => self.slices = Some(slices),
            Next::Block(blocked) => {
                // Without one, the client may be served though it has just gone.
                if (self.shared.blocked.len() as u64) <= spare_files(&self.shared.config)
                    && let Ok(probe) = self.socket.probe()
                {
                    let _ = blocked.probe.set(probe);
                }
                let sleep = Box::pin(tokio::time::sleep(blocked.timeout.unwrap_or_default()));
                self.blocked = Some((blocked, sleep));
            }
        }
    }

    fn close(&mut self, state: State) {
        self.state = state;
        self.waiting.clear();
        self.slices = None;
        self.stop_waiting();
        self.session.client.closing.store(true, Relaxed);
    }

    fn limits(&self) -> Limits {
        let config = &self.shared.config;
        let authenticated = self.session.authenticated;
        let query = config.client_query_buffer_limit();
        Limits {
            max_bulk_len: config.proto_max_bulk_len(),
            query_buffer_limit: if authenticated { query } else { query.min(STRANGER_BYTES) },
            authenticated,
            ..Limits::default()
        }
    }

    fn refuse(&mut self, bench: &mut Bench, error: ProtocolError) {
        let error = CommandError::Bytes(error.reply_text());
        Reply::new(&mut bench.out, self.session.resp).error_bytes(&error.reply_text());
        self.shared.stats.count_error(&error);
        self.close(State::Closing);
    }

    /// Starts a large argument with those of its bytes that are here.
    fn begin_gather(&mut self, bytes: &[u8], consumed: usize, payload_at: usize, len: usize) {
        self.tail = bytes[consumed..payload_at].to_vec();
        let want = len + 2;
        self.gather = Some(Gather { bytes: bytes[payload_at..].to_vec(), want });
    }

    /// Reads more of a large argument; when it is whole, hands it to the parser and goes on with what follows.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(mut gather) = self.gather.take() else { return Poll::Ready(Ok(true)) };
        let missing = gather.want.saturating_sub(gather.bytes.len());
        if missing > 0 {
            let before = gather.bytes.len();
            let polled = if before < READ_BYTES {
                let bench = Rc::clone(&self.bench);
                let bench = &mut *bench.borrow_mut();
                bench.keep_read();
                let room = bench.room();
                let most = room.len().min(missing);
                let mut buffer = ReadBuf::new(&mut room[..most]);
                let polled = self.socket.poll_read(cx, &mut buffer);
                gather.make_room(buffer.filled().len());
                gather.bytes.extend_from_slice(buffer.filled());
                polled
            } else {
                let room = missing.min(before).min(READ_BYTES * 4);
                gather.make_room(room);
                gather.bytes.resize(before + room, 0);
                let mut buffer = ReadBuf::new(&mut gather.bytes[before..]);
                let polled = self.socket.poll_read(cx, &mut buffer);
                let count = buffer.filled().len();
                gather.bytes.truncate(before + count);
                polled
            };
            let count = gather.bytes.len() - before;
            let whole = gather.bytes.len() == gather.want;
            let pending = polled?.is_pending();
            if count > 0 {
                self.note_activity();
            }
            let client = &self.session.client;
            client.net_in.store(client.net_in.load(Relaxed) + count as u64, Relaxed);
            self.shared.stats.workers[client.worker].net_in.add(count as u64);
            client.query_bytes.store(gather.bytes.len(), Relaxed);
            if pending || !whole {
                let held = gather.bytes.len() + self.parser.held_bytes();
                self.gather = Some(gather);
                if held as u64 > self.limits().query_buffer_limit {
                    self.shared.stats.query_limit_disconnections.fetch_add(1, Relaxed);
                    self.state = State::Closed;
                    return Poll::Ready(Ok(true));
                }
                return if pending { Poll::Pending } else { Poll::Ready(Ok(count > 0)) };
            }
        }
        let bench = Rc::clone(&self.bench);
        let bench = &mut *bench.borrow_mut();
        match self.parser.supply_large(Bytes::from(gather.bytes)) {
            Ok(()) => {
                let mut tail = std::mem::take(&mut self.tail);
                let consumed = self.received(bench, &tail, None);
                if self.gather.is_none() {
                    tail.drain(..consumed);
                    self.tail = tail;
                }
            }
            Err(error) => {
                self.refuse(bench, error);
                self.send(bench, false);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Does some more of a long command.
    fn step(&mut self) {
        let bench = Rc::clone(&self.bench);
        let bench = &mut *bench.borrow_mut();
        if let Some(mut slices) = self.slices.take() {
            let done = bench.dispatcher.resume(&mut *slices, &mut self.session, &mut bench.out);
            if !done {
                self.slices = Some(slices);
            }
        }
        self.send(bench, false);
        if self.session.client.has_mail() {
            self.read_mail();
        }
    }

    /// Runs requests that had to wait, until one makes the rest wait again.
    fn run_waiting(&mut self) {
        if self.session.client.has_mail() {
            self.read_mail(); // perhaps it was killed
        }
        let bench = Rc::clone(&self.bench);
        let bench = &mut *bench.borrow_mut();
        while self.state == State::Open && self.slices.is_none() && self.blocked.is_none() {
            let Some(request) = self.waiting.pop_front() else { break };
            let next = bench.dispatcher.run_one(&request, &mut self.session, &mut bench.out);
            if matches!(next, Next::Paused) {
                self.waiting.push_front(request);
                break;
            }
            self.go_on(next);
            if bench.out.len() > FULL_BYTES {
                self.send(bench, false);
            }
        }
        self.send(bench, false);
    }

    /// Takes what others left for this client.
    fn read_mail(&mut self) {
        if self.held && !self.is_held() {
            // What has waited long enough is not to wait for what comes behind it.
            let mut unsent = std::mem::take(&mut self.unsent);
            self.write(&mut unsent);
            self.unsent = unsent;
        }
        let mut mail = self.session.client.take_mail();
        if !mail.pushes.is_empty() {
            self.owe();
        }
        if self.unsent.is_empty() {
            self.unsent = mail.pushes;
        } else if !mail.pushes.is_empty() {
            if self.stalled {
                mail.pushes.seal(); // it may be long, and is to be moved rather than copied
            }
            mail.pushes.move_rest_to(&mut self.unsent);
        }
        self.stalled = false;
        if self.unsent.is_empty() && !mail.killed {
            self.session.client.catch_up(&mut self.unsent);
        }
        if mail.overflowed {
            self.overflowed();
        } else if mail.killed {
            self.close(State::Closed);
        } else if self.shared.shutdown.requested.load(Acquire) {
            self.close(State::Closing);
        }
        self.flush();
    }

    /// Sends the replies of a batch, behind those that still wait; with `at_once` not even small ones are put off.
    fn send(&mut self, bench: &mut Bench, at_once: bool) {
        if !bench.out.is_empty() && self.state != State::Closed {
            bench.note_out();
            self.owe();
            if self.unsent.is_empty() && self.state == State::Open {
                // One write of the log is to do for all connections that are ready.
                let at_once = at_once && self.shared.append_log.frontier() >= self.owed;
                if !at_once && bench.out.len() <= PUT_OFF_BYTES && bench.out.contiguous().is_some() && !self.is_busy() {
                    let fresh = bench.take_spare();
                    self.unsent = std::mem::replace(&mut bench.out, fresh);
                    self.turn = Turn::Queue;
                    return;
                }
                self.write(&mut bench.out);
            }
            if !bench.out.is_empty() {
                bench.out.move_rest_to(&mut self.unsent);
                self.check_limits();
            }
        }
        bench.out.clear();
    }

    fn send_put_off(&mut self) {
        self.turn = Turn::Idle;
        let mut unsent = std::mem::take(&mut self.unsent);
        self.write(&mut unsent);
        if unsent.is_empty() {
            self.bench.borrow_mut().give_spare(unsent);
        } else {
            self.unsent = unsent;
            self.check_limits();
        }
    }

    fn flush(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        let before = unsent.len();
        self.write(&mut unsent);
        if unsent.len() < before {
            self.note_activity();
        }
        if !unsent.is_empty() {
            self.unsent = unsent;
        }
        self.check_limits();
        if self.unsent.is_empty() == self.stalled {
            self.stall();
        }
        if self.unsent.is_empty() && self.state == State::Closing {
            self.state = State::Closed;
        }
    }

    /// While the socket takes nothing, pushes gather in the mailbox and wake nobody.
    fn stall(&mut self) {
        if self.stalled {
            self.read_mail();
        } else {
            self.stalled = self.state == State::Open && self.session.client.stall();
        }
    }

    /// Notes what has to be in the log before the replies that are ready now may leave.
    #[inline]
    fn owe(&mut self) {
        if self.shared.append_log.is_on() {
            self.owed = self.shared.append_log.owed();
        }
    }

    /// Whether replies wait for the log.
    fn is_held(&self) -> bool {
        self.held && self.shared.append_log.frontier() < self.owed
    }

    /// Whether the log has what it has to have; if it has not, the client is woken when it does.
    fn may_leave(&mut self) -> bool {
        let log = &self.shared.append_log;
        self.held = !log.settle(self.owed, !self.session.logged) && log.wait(self.owed, &self.session.client);
        if !self.held {
            self.owed = 0;
            self.session.logged = false;
        }
        !self.held
    }

    /// Writes until everything has left or the socket takes no more; nothing while the log has to be waited for.
    fn write(&mut self, out: &mut Output) {
        if self.owed != 0 && !self.may_leave() {
            return;
        }
        while !out.is_empty() {
            let result = match out.contiguous() {
                Some(bytes) => self.socket.try_write(bytes),
                None => {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let count = out.io_slices(&mut pieces);
                    self.socket.try_write_vectored(&pieces[..count])
                }
            };
            match result {
                Ok(count) => {
                    out.advance(count);
                    let client = &self.session.client;
                    client.net_out.store(client.net_out.load(Relaxed) + count as u64, Relaxed);
                    let stats = &self.shared.stats.workers[client.worker];
                    stats.net_out.add(count as u64);
                    stats.writes.add(1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.state = State::Closed;
                    out.clear();
                }
            }
        }
    }

    /// Closes a client that lets too many replies wait.
    fn check_limits(&mut self) {
        let waiting = self.unsent.held_bytes() as u64;
        self.session.client.output_bytes.store(self.unsent.len(), Relaxed);
        if self.unsent.is_empty() {
            return;
        }
        let client = &self.session.client;
        let mut limit = self.shared.config.output_limits(client.class());
        if !self.session.authenticated {
            limit.hard_bytes = STRANGER_BYTES;
        }
        if client.exceeds(waiting, &limit, UnixMs::now()) {
            self.overflowed();
        }
    }

    fn overflowed(&mut self) {
        let client = &self.session.client;
        tracing::warn!(
            "Client id={} addr={} closed: what waits for it exceeds the output limit",
            client.id,
            client.addr
        );
        self.shared.stats.output_limit_disconnections.fetch_add(1, Relaxed);
        self.close(State::Closed);
    }
}
