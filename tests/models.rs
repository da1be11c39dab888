//! Every order in which threads can meet in the locks of shards, in the tickets of those who wait and in the mailboxes of
//! clients, tried on the code itself: `cargo test --features model --test models`.
//!
//! The feature puts loom's locks and atomics (`util/sync.rs`) under the keyspace and the clients, and loom runs each test
//! below once for every order of their operations with at most `PREEMPTIONS` involuntary switches of threads. A deadlock, a
//! wake-up that is lost (then somebody sleeps for ever) and a failed assertion are found wherever they can happen. What is
//! not modelled is left whole between two such operations: the table of a shard under its lock, tokio's `Notify`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use larder::call::blocking::Blocked;
use larder::call::clients::{Client, Peer};
use larder::call::session::Session;
use larder::call::shared::{Identity, Shared};
use larder::command::GROUPS;
use larder::config::Config;
use larder::dispatch::{Dispatcher, Next};
use larder::keyspace::reclaim::Reclaimer;
use larder::keyspace::{KeyHasher, Keyspace};
use larder::protocol::batch::OwnedRequest;
use larder::protocol::reply::Output;
use larder::util::clock::UnixMs;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

/// Two find all but the rarest faults, in seconds; three take minutes (`LOOM_MAX_PREEMPTIONS=3`).
const PREEMPTIONS: usize = 2;

/// Words of the stack of a thread: dispatch needs more than loom gives.
const STACK: usize = 128 * 1024;

/// Runs `test` in every order.
fn explore(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(PREEMPTIONS));
    model.max_branches = 100_000;
    let (test, orders) = (Arc::new(test), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&orders);
    model.check(move || {
        count.fetch_add(1, Relaxed);
        let test = Arc::clone(&test);
        spawn(move || test()).join().unwrap();
    });
    let orders = orders.load(Relaxed);
    println!("{orders} orders");
    assert!(orders > 1, "threads that meet can do so in more than one order");
}

fn spawn<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> loom::thread::JoinHandle<R> {
    loom::thread::Builder::new().stack_size(STACK).spawn(act).unwrap()
}

/// Wakes a thread of the model.
#[derive(Default)]
struct Bell {
    rung: loom::sync::Mutex<bool>,
    ring: loom::sync::Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        *self.rung.lock().unwrap() = true;
        self.ring.notify_one();
    }
}

/// Runs a future on this thread, which sleeps until it is woken. (loom's own minds when a waker outlives its future.)
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (bell, mut future) = (Arc::new(Bell::default()), pin!(future));
    let waker = Waker::from(Arc::clone(&bell));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let mut rung = bell.rung.lock().unwrap();
        while !std::mem::take(&mut *rung) {
            rung = bell.ring.wait(rung).unwrap();
        }
    }
}

/// A server without sockets. It is leaked: each order has its own.
fn server() -> &'static Shared {
    let config = Arc::new(Config::default());
    let (reclaimer, reclaiming) = Reclaimer::new(Arc::clone(&config));
    drop(reclaiming);
    let keyspace = Keyspace::new(1, 1, KeyHasher::with_seed(1), reclaimer);
    let identity = Identity {
        run_id: String::new(),
        started: UnixMs::now(),
        executable: String::new(),
        config_file: String::new(),
    };
    Box::leak(Box::new(Shared::new(config, keyspace, 1, GROUPS, identity)))
}

fn client(shared: &'static Shared) -> Arc<Client> {
    let peer = Peer { addr: "test:1".to_owned(), laddr: "test:2".to_owned(), fd: -1, unix: false, worker: 0 };
    shared.clients.add(peer, UnixMs::now())
}

/// What a request came to.
enum Done {
    Replied(String),
    Waits(Arc<Blocked>),
}

fn run(shared: &'static Shared, client: &Arc<Client>, line: &str) -> Done {
    let mut session = Session::new(Arc::clone(client), true);
    let request = OwnedRequest::from_args(line.split(' ').map(str::as_bytes));
    let mut out = Output::new();
    match Dispatcher::new(shared, 0).run_one(&request, &mut session, &mut out) {
        Next::Block(blocked) => Done::Waits(blocked),
        _ => Done::Replied(text(&out.to_vec())),
    }
}

/// RESP with its line ends as spaces.
fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end().replace("\r\n", " ")
}

/// The reply to a request that does not wait.
fn ask(shared: &'static Shared, line: &str) -> String {
    match run(shared, &client(shared), line) {
        Done::Replied(reply) => reply,
        Done::Waits(_) => panic!("{line} waits"),
    }
}

/// Waits as a connection does, and leaves as it does.
fn wait(shared: &'static Shared, blocked: &Blocked) -> String {
    block_on(async {
        while !blocked.ticket.is_done() {
            blocked.client.wake().notified().await;
        }
    });
    leave(shared, blocked)
}

fn leave(shared: &'static Shared, blocked: &Blocked) -> String {
    shared.blocked.remove(blocked, &shared.keyspace);
    let reply = blocked.reply.lock().take();
    reply.map_or_else(|| "no reply".to_owned(), |reply| text(&reply))
}

/// The reply to a request that may wait.
fn ask_and_wait(shared: &'static Shared, line: &str) -> String {
    match run(shared, &client(shared), line) {
        Done::Replied(reply) => reply,
        Done::Waits(blocked) => wait(shared, &blocked),
    }
}

/// A client that waits already.
fn waiting(shared: &'static Shared, line: &str) -> Arc<Blocked> {
    match run(shared, &client(shared), line) {
        Done::Waits(blocked) => blocked,
        Done::Replied(reply) => panic!("{line} was answered {reply}"),
    }
}

fn nobody_waits(shared: &'static Shared) {
    assert!(shared.blocked.is_empty() && shared.blocked.keys(|_| true) == 0);
    assert_eq!(ask(shared, "EXISTS a b"), ask(shared, "EXISTS b a"), "the shards can be locked");
}

// The order of locks

#[test]
fn commands_on_the_same_shards_in_other_orders_do_not_deadlock() {
    explore(|| {
        let shared = server();
        ask(shared, "SET a 1");
        ask(shared, "SET c 2");
        let one = spawn(move || ask(shared, "RENAME a b"));
        let other = spawn(move || ask(shared, "RENAME b a"));
        assert_eq!(ask(shared, "MSET c 3 b 3 a 3"), "+OK");
        let replies = [one.join().unwrap(), other.join().unwrap()];
        assert!(replies.iter().all(|reply| reply == "+OK" || reply == "-ERR no such key"), "{replies:?}");
    });
}

#[test]
fn a_command_on_several_shards_is_seen_whole() {
    explore(|| {
        let shared = server();
        let writer = spawn(move || ask(shared, "MSET a 1 b 1 c 1"));
        let deleter = spawn(move || ask(shared, "DEL c b a"));
        let seen = ask(shared, "MGET c a b");
        assert!(seen == "*3 $1 1 $1 1 $1 1" || seen == "*3 $-1 $-1 $-1", "{seen}");
        writer.join().unwrap();
        let deleted = deleter.join().unwrap();
        assert!(deleted == ":0" || deleted == ":3", "{deleted}");
    });
}

#[test]
fn increments_are_not_lost() {
    explore(|| {
        let shared = server();
        let one = spawn(move || ask(shared, "INCR a"));
        let other = spawn(move || ask(shared, "INCR a"));
        let mut replies = [one.join().unwrap(), other.join().unwrap()];
        replies.sort();
        assert_eq!(replies, [":1", ":2"]);
    });
}

/// The replies to a client's requests, sent one after another.
fn talk(shared: &'static Shared, lines: &[&str]) -> Vec<String> {
    let mut session = Session::new(client(shared), true);
    let mut dispatcher = Dispatcher::new(shared, 0);
    let replies = lines.iter().map(|line| {
        let request = OwnedRequest::from_args(line.split(' ').map(str::as_bytes));
        let mut out = Output::new();
        let _ = dispatcher.run_one(&request, &mut session, &mut out);
        text(&out.to_vec())
    });
    replies.collect()
}

#[test]
fn a_transaction_is_seen_whole_and_sees_nothing_half() {
    explore(|| {
        let shared = server();
        let transfer = ["MULTI", "INCR a", "GET b", "INCR b", "EXEC"];
        let one = spawn(move || talk(shared, &transfer));
        let other = spawn(move || talk(shared, &transfer));
        let seen = ask(shared, "MGET b a");
        assert!(["*2 $-1 $-1", "*2 $1 1 $1 1", "*2 $1 2 $1 2"].contains(&&seen[..]), "{seen}");
        let mut replies = [one, other].map(|talk| talk.join().unwrap().pop().unwrap());
        replies.sort();
        assert_eq!(replies, ["*3 :1 $-1 :1", "*3 :2 $1 1 :2"]);
    });
}

#[test]
fn a_watched_key_has_not_changed_when_exec_runs() {
    explore(|| {
        let shared = server();
        let writer = spawn(move || ask(shared, "MSET b 1 a 1"));
        let replies = talk(shared, &["WATCH a", "GET a", "MULTI", "GET a", "SET c 1", "EXEC"]);
        writer.join().unwrap();
        let (before, exec) = (&replies[1], &replies[5]);
        assert!(exec == "*-1" || *exec == format!("*2 {before} +OK"), "{replies:?}");
        assert_eq!(ask(shared, "EXISTS c"), if exec == "*-1" { ":0" } else { ":1" });
    });
}

#[test]
fn of_two_optimistic_writers_one_is_told_to_try_again() {
    explore(|| {
        let shared = server();
        let write = ["WATCH a", "MULTI", "INCR a", "EXEC"];
        let one = spawn(move || talk(shared, &write));
        let other = spawn(move || talk(shared, &write));
        let replies = [one, other].map(|talk| talk.join().unwrap().pop().unwrap());
        let done = replies.iter().filter(|reply| *reply != "*-1").count();
        assert!(done >= 1, "the first to come to EXEC goes through");
        assert_eq!(ask(shared, "GET a"), format!("$1 {done}"));
    });
}

#[test]
fn a_transaction_serves_those_who_wait_when_it_is_over() {
    explore(|| {
        let shared = server();
        let blocked = waiting(shared, "BLPOP a b 0");
        let pusher = spawn(move || talk(shared, &["MULTI", "RPUSH a 1", "RPUSH b 2", "LLEN a", "EXEC"]));
        assert_eq!(wait(shared, &blocked), "*2 $1 a $1 1");
        assert_eq!(pusher.join().unwrap().pop().unwrap(), "*3 :1 :1 :1");
        assert_eq!(ask(shared, "LRANGE b 0 -1"), "*1 $1 2");
        nobody_waits(shared);
    });
}

// Those who wait

#[test]
fn who_comes_while_an_element_comes_gets_it() {
    explore(|| {
        let shared = server();
        let pusher = spawn(move || ask(shared, "RPUSH a 1"));
        assert_eq!(ask_and_wait(shared, "BLPOP a 0"), "*2 $1 a $1 1");
        assert_eq!(pusher.join().unwrap(), ":1");
        assert_eq!(ask(shared, "EXISTS a"), ":0");
        nobody_waits(shared);
    });
}

#[test]
fn one_who_waits_for_two_keys_is_served_once() {
    explore(|| {
        let shared = server();
        let blocked = waiting(shared, "BLPOP a b 0");
        let one = spawn(move || ask(shared, "RPUSH a 1"));
        let other = spawn(move || ask(shared, "RPUSH b 2"));
        let reply = wait(shared, &blocked);
        one.join().unwrap();
        other.join().unwrap();
        let left = if reply == "*2 $1 a $1 1" { ["0", "1"] } else { ["1", "0"] };
        assert_eq!(
            ["LLEN a", "LLEN b"].map(|line| ask(shared, line)),
            left.map(|count| format!(":{count}")),
            "{reply}"
        );
        nobody_waits(shared);
    });
}

#[test]
fn two_who_wait_are_served_in_turn() {
    explore(|| {
        let shared = server();
        let (first, second) = (waiting(shared, "BLPOP a 0"), waiting(shared, "BLPOP a 0"));
        let one = spawn(move || ask(shared, "RPUSH a 1"));
        let other = spawn(move || ask(shared, "RPUSH a 2"));
        let mut replies = [wait(shared, &first), wait(shared, &second)];
        one.join().unwrap();
        other.join().unwrap();
        replies.sort();
        assert_eq!(replies, ["*2 $1 a $1 1", "*2 $1 a $1 2"]);
        assert_eq!(ask(shared, "EXISTS a"), ":0");
        nobody_waits(shared);
    });
}

#[test]
fn what_one_who_waits_moves_serves_another() {
    explore(|| {
        let shared = server();
        let (mover, popper) = (waiting(shared, "BLMOVE a b LEFT LEFT 0"), waiting(shared, "BLPOP b 0"));
        let pusher = spawn(move || ask(shared, "RPUSH a 1"));
        assert_eq!(wait(shared, &popper), "*2 $1 b $1 1");
        assert_eq!(wait(shared, &mover), "$1 1");
        pusher.join().unwrap();
        assert_eq!(ask(shared, "EXISTS a b"), ":0");
        nobody_waits(shared);
    });
}

#[test]
fn a_wait_ends_by_service_or_by_the_clock() {
    explore(|| {
        let shared = server();
        let blocked = waiting(shared, "BLPOP a 1");
        let pusher = spawn(move || ask(shared, "RPUSH a 1"));
        let clock = spawn({
            let blocked = Arc::clone(&blocked);
            move || blocked.end(Bytes::from_static(b"*-1\r\n"))
        });
        let reply = wait(shared, &blocked);
        pusher.join().unwrap();
        let timed_out = clock.join().unwrap();
        let (wanted, left) = if timed_out { ("*-1", ":1") } else { ("*2 $1 a $1 1", ":0") };
        assert_eq!((&reply[..], &ask(shared, "LLEN a")[..]), (wanted, left));
        nobody_waits(shared);
    });
}

#[test]
fn an_element_that_comes_while_one_leaves_goes_to_the_next() {
    explore(|| {
        let shared = server();
        let (first, second) = (waiting(shared, "BLPOP a 1"), waiting(shared, "BLPOP a 0"));
        let pusher = spawn(move || ask(shared, "RPUSH a 1"));
        let timed_out = first.end(Bytes::from_static(b"*-1\r\n"));
        if timed_out {
            assert_eq!(leave(shared, &first), "*-1");
            assert_eq!(wait(shared, &second), "*2 $1 a $1 1");
        } else {
            assert_eq!(wait(shared, &first), "*2 $1 a $1 1");
            assert!(second.end(Bytes::new()));
            leave(shared, &second);
        }
        pusher.join().unwrap();
        assert_eq!(ask(shared, "EXISTS a"), ":0");
        nobody_waits(shared);
    });
}

#[test]
fn who_is_killed_gets_an_element_at_most_once_and_leaves_no_trace() {
    explore(|| {
        let shared = server();
        let blocked = waiting(shared, "BLPOP a 0");
        let pusher = spawn(move || ask(shared, "RPUSH a 1"));
        shared.kill_client(&blocked.client);
        // The connection, when it reads its mail.
        assert!(blocked.client.take_mail().killed);
        blocked.ticket.abandon();
        leave(shared, &blocked);
        pusher.join().unwrap();
        let left = ask(shared, "LLEN a");
        assert!(left == ":1" || left == ":0", "given out in vain at worst: {left}");
        nobody_waits(shared);
    });
}

// Mailboxes

/// What a worker does for one connection at rest: tells it of its mail, and lets it read, until `count` bytes have come or
/// it is killed.
fn read_mail(shared: &'static Shared, client: &Client, count: usize) -> Vec<u8> {
    let mut letters = Vec::new();
    block_on(async {
        let post = shared.clients.post(client.worker);
        let (mut waits, mut wakes) = (pin!(post.wait()), pin!(client.wake().notified()));
        std::future::poll_fn(|cx| {
            while waits.as_mut().poll(cx).is_ready() {
                waits.set(post.wait());
                let mut told = Vec::new();
                post.take(usize::MAX, &mut told);
                told.iter().for_each(|client| client.wake().notify_one());
            }
            while wakes.as_mut().poll(cx).is_ready() {
                wakes.set(client.wake().notified());
                let mail = client.take_mail();
                letters.extend(mail.pushes.to_vec());
                if mail.killed {
                    return Poll::Ready(());
                }
            }
            if letters.len() >= count { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    letters
}

fn sender(client: &Arc<Client>, letters: &'static [&'static [u8]]) -> loom::thread::JoinHandle<()> {
    let client = Arc::clone(client);
    spawn(move || letters.iter().for_each(|letter| client.push(&Bytes::from_static(letter), usize::MAX)))
}

// Two letters a test: at the third, loom lets a `swap` find what another has found already, which no machine does (who
// swaps finds the last value), and reports a letter that nobody is told of.

#[test]
fn no_letter_is_lost() {
    explore(|| {
        let shared = server();
        let client = client(shared);
        let senders = [sender(&client, &[b"A"]), sender(&client, &[b"1"])];
        let letters = read_mail(shared, &client, 2);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(letters == b"A1" || letters == b"1A", "{letters:?}");
        assert!(client.take_mail().pushes.is_empty());
    });
}

#[test]
fn no_letter_overtakes_another_of_its_sender() {
    explore(|| {
        let shared = server();
        let client = client(shared);
        let sender = sender(&client, &[b"A", b"B"]);
        assert_eq!(read_mail(shared, &client, 2), b"AB");
        sender.join().unwrap();
    });
}

#[test]
fn a_letter_that_comes_while_mail_is_read_is_seen_next_time() {
    explore(|| {
        let client = client(server());
        let sender = sender(&client, &[b"1"]);
        let early = client.take_mail().pushes.len();
        sender.join().unwrap();
        assert!(early == 1 || client.has_mail(), "a connection that never rests asks only `has_mail`");
        assert_eq!(early + client.take_mail().pushes.len(), 1);
    });
}

#[test]
fn who_is_killed_learns_it() {
    explore(|| {
        let shared = server();
        let client = client(shared);
        let sender = sender(&client, &[b"1"]);
        let killer = spawn({
            let client = Arc::clone(&client);
            move || shared.clients.kill(&client)
        });
        let letters = read_mail(shared, &client, usize::MAX);
        assert!(letters.len() <= 1);
        killer.join().unwrap();
        sender.join().unwrap();
        assert!(shared.clients.find(client.id).is_none());
    });
}

#[test]
fn who_was_not_told_while_nothing_could_be_sent_finds_all_when_it_looks() {
    explore(|| {
        let shared = server();
        let client = client(shared);
        let sender = sender(&client, &[b"1", b"2"]);
        let mut letters = Vec::new();
        if !client.stall() {
            letters = client.take_mail().pushes.to_vec(); // some were there already
        }
        // The socket can send again: from here on the connection is told as ever.
        letters.extend(client.take_mail().pushes.to_vec());
        letters.extend(read_mail(shared, &client, 2 - letters.len()));
        sender.join().unwrap();
        assert_eq!(letters, b"12");
    });
}
