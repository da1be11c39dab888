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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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

/// A server without sockets. It is leaked: each order has its own.
fn server() -> &'static Shared {
    let (reclaimer, reclaiming) = Reclaimer::new();
    drop(reclaiming);
    let keyspace = Keyspace::new(1, 1, KeyHasher::with_seed(1), reclaimer);
    let identity = Identity {
        run_id: String::new(),
        started: UnixMs::now(),
        executable: String::new(),
        config_file: String::new(),
    };
    Box::leak(Box::new(Shared::new(Arc::new(Config::default()), keyspace, 1, GROUPS, identity)))
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
    loom::future::block_on(async {
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
    assert!(shared.blocked.is_empty() && shared.blocked.keys() == 0);
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

/// Reads mail as a connection at rest does, until `count` pieces have come.
fn read_mail(client: &Client, count: usize) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    loom::future::block_on(async {
        while pieces.len() < count {
            if client.has_mail() {
                pieces.extend(client.take_mail().pushes);
            } else {
                client.wake().notified().await;
            }
        }
    });
    pieces
}

#[test]
fn no_letter_is_lost_and_none_overtakes_another_of_its_sender() {
    explore(|| {
        let client = client(server());
        let send = |pieces: [&'static str; 2]| {
            let client = Arc::clone(&client);
            spawn(move || pieces.map(|piece| client.push(Bytes::from_static(piece.as_bytes()), usize::MAX)))
        };
        let (one, other) = (send(["a1", "a2"]), send(["b1", "b2"]));
        let pieces = read_mail(&client, 4);
        one.join().unwrap();
        other.join().unwrap();
        for sender in [b'a', b'b'] {
            let from: Vec<u8> = pieces.iter().filter(|piece| piece[0] == sender).map(|piece| piece[1]).collect();
            assert_eq!(from, b"12");
        }
        assert!(client.take_mail().pushes.is_empty());
    });
}

#[test]
fn a_letter_that_comes_while_mail_is_read_is_seen_next_time() {
    explore(|| {
        let client = client(server());
        let sender = spawn({
            let client = Arc::clone(&client);
            move || client.push(Bytes::from_static(b"1"), usize::MAX)
        });
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
        let killer = spawn({
            let client = Arc::clone(&client);
            move || shared.clients.kill(&client)
        });
        let pusher = spawn({
            let client = Arc::clone(&client);
            move || client.push(Bytes::from_static(b"1"), usize::MAX)
        });
        loom::future::block_on(async {
            while !client.take_mail().killed {
                client.wake().notified().await
            }
        });
        killer.join().unwrap();
        pusher.join().unwrap();
        assert!(shared.clients.find(client.id).is_none());
    });
}
