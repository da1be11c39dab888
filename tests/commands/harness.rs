//! A server without sockets: requests go through dispatch, replies come back as short texts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use larder::call::blocking::Blocked;
use larder::call::clients::Peer;
use larder::call::session::Session;
use larder::call::shared::{Identity, Shared, random_id};
use larder::command::GROUPS;
use larder::config::{CommandLine, Config};
use larder::dispatch::{Dispatcher, Next};
use larder::keyspace::reclaim::{Reclaimer, Reclaiming};
use larder::keyspace::{KeyHasher, Keyspace};
use larder::protocol::batch::OwnedRequest;
use larder::protocol::reply::{Output, Resp};
use larder::util::clock::UnixMs;
use std::ffi::OsStr;
use std::sync::Arc;

/// One client of a server of its own.
pub struct Client {
    pub shared: &'static Shared,
    dispatcher: Dispatcher,
    session: Session,
    blocked: Option<Arc<Blocked>>,
}

/// Runs `body` as a client that speaks RESP2, then as one that speaks RESP3, each on an empty server.
pub fn both(body: impl Fn(&mut Client)) {
    for resp in [Resp::V2, Resp::V3] {
        body(&mut Client::new(resp));
    }
}

impl Client {
    /// A client of an empty server.
    pub fn new(resp: Resp) -> Client {
        Client::with_reclaiming(resp).0 // without the second part what is replaced is freed at once
    }

    /// A client of an empty server, and what frees in the background for it.
    pub fn with_reclaiming(resp: Resp) -> (Client, Reclaiming) {
        let line = CommandLine::read(["--enable-debug-command", "yes"].map(OsStr::new));
        let config = Config::load(&line, &mut std::io::empty()).unwrap();
        Client::with(resp, config, |_| {})
    }

    /// As [`Client::with_reclaiming`], with options, and with parts of the server exchanged by `prepare`.
    pub fn with(resp: Resp, config: Config, prepare: impl FnOnce(&mut Shared)) -> (Client, Reclaiming) {
        let config = Arc::new(config);
        let (reclaimer, reclaiming) = Reclaimer::new(Arc::clone(&config));
        let keyspace = Keyspace::new(16, 1, KeyHasher::new(), reclaimer);
        let identity = Identity {
            run_id: random_id(),
            started: UnixMs::now(),
            executable: String::new(),
            config_file: String::new(),
        };
        let mut shared = Shared::new(config, keyspace, 1, GROUPS, identity);
        prepare(&mut shared);
        let shared = Box::leak(Box::new(shared));
        (Client::of(shared, resp), reclaiming)
    }

    /// Another client of the same server.
    pub fn beside(&self) -> Client {
        Client::of(self.shared, self.session.resp)
    }

    /// A session that is nobody's.
    pub fn new_session(&self) -> Session {
        Session::new(Arc::clone(&self.session.client), true)
    }

    /// A client of this server.
    pub fn of(shared: &'static Shared, resp: Resp) -> Client {
        let peer = Peer { addr: "test:1".to_owned(), laddr: "test:2".to_owned(), fd: -1, unix: false, worker: 0 };
        let mut session = Session::new(shared.clients.add(peer, UnixMs::now()), true);
        session.resp = resp;
        Client { shared, dispatcher: Dispatcher::new(shared, 0), session, blocked: None }
    }

    /// The reply that ended the wait of a request that was answered `blocked`; `blocked` while it lasts.
    pub fn served(&mut self) -> String {
        let blocked = self.blocked.take().expect("a client that waits");
        if !blocked.ticket.is_done() {
            self.blocked = Some(blocked);
            return "blocked".to_owned();
        }
        self.shared.blocked.remove(&blocked, &self.shared.keyspace);
        let reply = blocked.reply.lock().take().unwrap();
        show(&mut &reply[..])
    }

    /// Sends words separated by spaces, those that begin with a double quote up to the next one, and returns the reply as
    /// [`show`] shows it.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(&OwnedRequest::from_args(words(line).into_iter().map(str::as_bytes)))
    }

    /// Sends arguments of which the last is a large one in memory of its own, as a connection reads them.
    pub fn ask_large(&mut self, line: &str, last: Bytes) -> String {
        let mut request = OwnedRequest::from_args(line.split(' ').map(str::as_bytes));
        request.push_owned(last);
        self.send(&request)
    }

    /// Sends arguments and returns the reply as it is, without the head of a bulk string.
    pub fn bytes(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let reply = self.run(&OwnedRequest::from_args(words.iter().copied()));
        let head = reply.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if reply.starts_with(b"$") { reply[head..reply.len() - 2].to_vec() } else { reply }
    }

    /// Sends and compares.
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(self.ask(line), expected, "{line}");
    }

    /// As [`Client::ask`], for requests with any number of replies, the messages that the client sends itself among them.
    pub fn ask_all(&mut self, line: &str) -> String {
        show_all(&self.run(&OwnedRequest::from_args(line.split(' ').map(str::as_bytes))))
    }

    /// What others have left for this client.
    pub fn mail(&mut self) -> String {
        show_all(&self.raw_mail())
    }

    /// As [`Client::mail`], as bytes.
    pub fn raw_mail(&mut self) -> Vec<u8> {
        let mut out = Output::new();
        self.session.client.take_pushes(&mut out);
        out.to_vec()
    }

    /// Its socket takes nothing from now on.
    pub fn stall(&self) {
        assert!(self.session.client.stall(), "it has mail");
    }

    /// Its socket takes everything again: what its connection then sends.
    pub fn catch_up(&mut self) -> String {
        let mut out = Output::new();
        self.session.client.take_mail().pushes.move_rest_to(&mut out);
        while self.session.client.lags() {
            let mut more = Output::new();
            self.session.client.catch_up(&mut more);
            more.move_rest_to(&mut out);
        }
        show_all(&out.to_vec())
    }

    /// Whether what is sent to it is kept for it and others together.
    pub fn lags(&self) -> bool {
        self.session.client.lags()
    }

    /// Bytes that wait for it.
    pub fn waiting_bytes(&self) -> usize {
        self.session.client.waiting_bytes()
    }

    /// Whether others have asked for its end; to be asked once.
    pub fn is_killed(&self) -> bool {
        self.session.client.take_mail().killed
    }

    /// Removes all keys that have expired, as the active cycle does.
    pub fn expire(&mut self) {
        let keyspace = &self.shared.keyspace;
        for shard in 0..keyspace.shards() {
            while keyspace.expire_turn(shard, UnixMs::now(), &mut |db, news| self.shared.hear_all(db, &news)) {}
        }
    }

    /// Serves those who wait and could not be served at once, as workers do now and then.
    pub fn serve_late(&mut self) {
        self.dispatcher.serve_late();
    }

    /// Ends the connection.
    pub fn leave(self) {
        self.shared.pubsub.leave(&self.session.client);
        self.shared.untrack(&self.session.client);
        self.shared.clients.remove(&self.session.client);
    }

    /// Sends a request and returns the reply as [`show`] shows it.
    pub fn send(&mut self, request: &OwnedRequest) -> String {
        let bytes = self.run(request);
        if self.blocked.is_some() {
            return "blocked".to_owned();
        }
        let mut rest = &bytes[..];
        let shown = show(&mut rest);
        assert!(rest.is_empty(), "one reply a request");
        shown
    }

    /// Runs a request to its end, however many slices that takes, or until it blocks. Returns what was replied.
    fn run(&mut self, request: &OwnedRequest) -> Vec<u8> {
        let mut out = Output::new();
        self.blocked = None;
        match self.dispatcher.run_one(request, &mut self.session, &mut out) {
            Next::Slices(mut slices) => while !self.dispatcher.resume(&mut *slices, &mut self.session, &mut out) {},
            Next::Block(blocked) => self.blocked = Some(blocked),
            _ => {}
        }
        out.to_vec()
    }
}

fn words(line: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), Some(line));
    while let Some(text) = rest {
        let (word, behind) = match text.strip_prefix('"').and_then(|quoted| quoted.split_once('"')) {
            Some((word, behind)) => (word, behind.strip_prefix(' ')),
            None => text.split_once(' ').map_or((text, None), |(word, behind)| (word, Some(behind))),
        };
        words.push(word);
        rest = behind;
    }
    words
}

/// All of `bytes`, with spaces between.
fn show_all(mut bytes: &[u8]) -> String {
    let mut shown = Vec::new();
    while !bytes.is_empty() {
        shown.push(show(&mut bytes));
    }
    shown.join(" ")
}

/// The first reply of `bytes`: simple strings, errors and integers as they are, bulk and verbatim strings behind a `$`, any null as
/// `nil`, collections as `[a, b]`, maps among them.
fn show(bytes: &mut &[u8]) -> String {
    let line = take_line(bytes);
    let (kind, number) = (line.as_bytes()[0], line[1..].parse::<i64>());
    let mut elements = |count: i64| {
        let shown: Vec<String> = (0..count).map(|_| show(bytes)).collect();
        format!("[{}]", shown.join(", "))
    };
    match (kind, number) {
        (b'_', _) | (b'$' | b'*', Ok(-1)) => "nil".to_owned(),
        (b'$' | b'=', Ok(len)) => {
            let (text, rest) = bytes.split_at(usize::try_from(len).unwrap());
            *bytes = rest.strip_prefix(b"\r\n").unwrap();
            let text = if kind == b'=' { &text[4..] } else { text };
            format!("${}", String::from_utf8_lossy(text))
        }
        (b'*' | b'~' | b'>', Ok(count)) => elements(count),
        (b'%', Ok(pairs)) => elements(pairs * 2),
        _ => line,
    }
}

fn take_line(bytes: &mut &[u8]) -> String {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    *bytes = &bytes[end + 2..];
    line
}
