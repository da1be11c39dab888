//! Makes histories: starts a server, lets clients loose on it, ends some of their connections.

use crate::client::{Client, Raw, Style};
use crate::history::{Action, Answer, Operation};
use crate::workload::{Flavour, Workload};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Clients of a history, and operations of each.
pub const CLIENTS: u32 = 16;
pub const OPERATIONS: usize = 300;

/// A server process; it ends with this.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// Starts the program in LARDER, else this package's own, with four workers (or with the words of LARDER_OPTIONS).
    pub fn start() -> Server {
        let program = std::env::var("LARDER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_larder").to_owned());
        let options = std::env::var("LARDER_OPTIONS").unwrap_or_else(|_| "--threads 4".to_owned());
        let port = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).unwrap().port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(std::env::temp_dir())
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program exists");
        let server = Server { child, port };
        let begun = now();
        while server.admin().is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not answer");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn admin(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.port, now(), "")?;
        match client.ask(&["PING"])? {
            Raw::Status(_) => Ok(client),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The one clock of a history.
#[expect(clippy::disallowed_methods, reason = "the test has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

struct Run<'s> {
    server: &'s Server,
    flavour: Flavour,
    seed: u64,
    prefix: String,
    clock: Instant,
    /// The numbers of the clients that may be killed, as the server counts them; 0 for none.
    ids: Vec<AtomicU64>,
    over: AtomicBool,
}

/// One history. In half of them some clients are killed.
pub fn history(server: &Server, flavour: Flavour, seed: u64) -> Vec<Operation> {
    let run = Run {
        server,
        flavour,
        seed,
        prefix: format!("lin{seed}"),
        clock: now(),
        ids: (0..CLIENTS).map(|_| AtomicU64::new(0)).collect(),
        over: AtomicBool::new(false),
    };
    let mut admin = server.admin().expect("the server answers");
    if flavour == Flavour::Vanishing {
        run.shorten_memory(&mut admin);
    }
    let mut operations = Vec::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let run = &run;
                    move || run.client(number)
                })
            })
            .collect();
        if seed % 2 == 1 {
            scope.spawn(|| run.kill_some());
        }
        for client in clients {
            operations.extend(client.join().expect("a client that ends well"));
        }
        run.over.store(true, Relaxed);
    });
    if flavour == Flavour::Vanishing {
        for setting in [["maxmemory", "0"], ["maxmemory-policy", "noeviction"]] {
            admin.ask(&["CONFIG", "SET", setting[0], setting[1]]).expect("the server answers");
        }
    }
    admin.ask(&["FLUSHALL"]).expect("the server answers");
    operations
}

impl Run<'_> {
    /// Fills the memory, so that writes evict, mostly the filling and now and then a key of the history.
    fn shorten_memory(&self, admin: &mut Client) {
        let filling = "x".repeat(1000);
        for number in 0..300 {
            admin.ask(&["SET", &format!("filling:{number}"), &filling]).expect("the server answers");
        }
        let Ok(Raw::Bulk(Some(info))) = admin.ask(&["INFO", "memory"]) else { panic!("no INFO") };
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("INFO has used_memory");
        admin.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).expect("the server answers");
        admin.ask(&["CONFIG", "SET", "maxmemory", used]).expect("the server answers");
    }

    fn kill_some(&self) {
        let mut random = StdRng::seed_from_u64(self.seed ^ 0x6b69_6c6c);
        let mut admin = self.server.admin().expect("the server answers");
        for _ in 0..12 {
            thread::sleep(Duration::from_millis(random.random_range(1..10)));
            let id = self.ids[random.random_range(0..self.ids.len())].swap(0, Relaxed);
            if self.over.load(Relaxed) {
                return;
            }
            if id != 0 {
                admin.ask(&["CLIENT", "KILL", "ID", &id.to_string()]).expect("the server answers");
            }
        }
    }

    fn connect(&self, number: u32) -> Client {
        let connect = || {
            let mut client = Client::connect(self.server.port, self.clock, &self.prefix)?;
            let id = client.id()?;
            self.ids[number as usize].store(id, Relaxed);
            io::Result::Ok(client)
        };
        connect().expect("the server answers")
    }

    /// What one client did, over one connection after another.
    fn client(&self, number: u32) -> Vec<Operation> {
        let mut random = StdRng::seed_from_u64(self.seed.rotate_left(32) ^ u64::from(number));
        let mut workload = Workload::new(self.flavour, self.seed, number);
        let (mut client, mut process, mut operations) = (self.connect(number), number, Vec::new());
        while operations.len() < OPERATIONS {
            let first = operations.len();
            let batch = workload.batch();
            let style = match random.random_range(0..3) {
                0 => Style::Apart,
                1 if self.flavour == Flavour::Scripts => Style::Script,
                _ => Style::Together,
            };
            let ended = exchange(&mut client, process, batch, style, &mut operations);
            for Operation { action, answer, .. } in &operations[first..] {
                workload.observe(action, answer);
            }
            if ended {
                client = self.connect(number);
                process += CLIENTS;
                workload.reconnected();
            }
            if random.random_bool(0.3) {
                // Deadlines pass in longer histories.
                let most = if self.flavour == Flavour::Expiry { 5000 } else { 500 };
                thread::sleep(Duration::from_micros(random.random_range(0..most)));
            }
        }
        operations
    }
}

/// Sends a batch and reads its answers; `true` when the connection ended meanwhile.
fn exchange(
    client: &mut Client,
    process: u32,
    batch: Vec<Action>,
    style: Style,
    operations: &mut Vec<Operation>,
) -> bool {
    let requests: Vec<(Vec<u8>, usize)> = batch.iter().map(|action| client.request(action, style)).collect();
    let bytes = requests.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect::<Vec<_>>();
    // Cut before the last request, which in a transaction is EXEC.
    let last = bytes.iter().rposition(|byte| *byte == b'*').unwrap_or(0);
    let cut = if style == Style::Apart && matches!(batch.last(), Some(Action::Exec(..))) { last } else { 0 };
    let early = client.now();
    let mut ended = cut > 0 && client.send(&bytes[..cut]).is_err();
    if cut > 0 {
        thread::sleep(Duration::from_micros(100));
    }
    let late = client.now();
    ended = ended || client.send(&bytes[cut..]).is_err();
    let count = batch.len();
    for (index, (action, (_, before))) in batch.into_iter().zip(requests).enumerate() {
        let answer = if ended { Ok(Answer::None) } else { client.answer(&action, before) };
        let answer = answer.unwrap_or_else(|error| {
            assert!(error.kind() != io::ErrorKind::InvalidData, "{action:?}: {error}");
            assert!(error.kind() != io::ErrorKind::WouldBlock, "{action:?}: no answer");
            ended = true;
            Answer::None
        });
        let called = if index + 1 < count { early } else { late };
        operations.push(Operation { process, action, answer, called, returned: client.now() });
    }
    ended
}
