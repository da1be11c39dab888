//! One connection to the server under test: sends operations, reads their answers, notes when.

use crate::history::{Action, Answer, Command, Key, Reply};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A server that says nothing for so long is taken to hang.
const SILENCE: Duration = Duration::from_secs(20);

/// A reply as it comes.
#[derive(Debug)]
pub enum Raw {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Option<String>),
    Array(Option<Vec<Raw>>),
}

/// How transactions are put to the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// From MULTI to EXEC in one piece.
    Together,
    /// EXEC apart.
    Apart,
    /// As a script, where nothing is watched.
    Script,
}

/// A connection, and the clock of the history.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    at: usize,
    clock: Instant,
    prefix: String,
}

/// Runs its arguments, `count word word .. count word ..`, as commands; an error is an answer like others.
const SCRIPT: &str = "local at, answers = 1, {} while at <= #ARGV do local count = tonumber(ARGV[at]) \
    answers[#answers + 1] = redis.pcall(unpack(ARGV, at + 1, at + count)) at = at + count + 1 end return answers";

impl Client {
    /// Connects. The names of all keys begin with `prefix`.
    pub fn connect(port: u16, clock: Instant, prefix: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Client { stream, buffer: Vec::new(), at: 0, clock, prefix: prefix.to_owned() })
    }

    /// Nanoseconds since the history began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends one request and reads its reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<Raw> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.stream.write_all(&encode(&words))?;
        self.read()
    }

    /// The number of this client.
    pub fn id(&mut self) -> io::Result<u64> {
        match self.ask(&["CLIENT", "ID"])? {
            Raw::Int(id) => Ok(u64::try_from(id).unwrap_or(0)),
            other => Err(unexpected(&other)),
        }
    }

    fn name(&self, key: Key) -> String {
        // Without a hash tag: keys of one group lie in different shards.
        format!("{}:{key}", self.prefix)
    }

    /// The bytes of one operation, and how many replies come before the one that counts.
    pub fn request(&self, action: &Action, style: Style) -> (Vec<u8>, usize) {
        let name = |key| self.name(key);
        match action {
            Action::Run(command) => (encode(&command.words(&name)), 0),
            Action::Watch(keys) => {
                let keys = keys.iter().map(|key| name(*key));
                (encode(&std::iter::once("WATCH".to_owned()).chain(keys).collect::<Vec<_>>()), 0)
            }
            Action::Exec(commands, watched) if style == Style::Script && watched.is_empty() => {
                (encode(&self.script(commands)), 0)
            }
            Action::Exec(commands, _) => {
                let mut bytes = encode(&["MULTI".to_owned()]);
                commands.iter().for_each(|command| bytes.extend(encode(&command.words(&name))));
                bytes.extend(encode(&["EXEC".to_owned()]));
                (bytes, commands.len() + 1)
            }
        }
    }

    fn script(&self, commands: &[Command]) -> Vec<String> {
        if commands.iter().all(|command| command.keys().len() == 1) {
            return self.plain_script(commands);
        }
        let mut keys: Vec<Key> = commands.iter().flat_map(Command::keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut words = vec!["EVAL".to_owned(), SCRIPT.to_owned(), keys.len().to_string()];
        words.extend(keys.iter().map(|key| self.name(*key)));
        for command in commands {
            let command = command.words(&|key| self.name(key));
            words.push(command.len().to_string());
            words.extend(command);
        }
        words
    }

    /// A script from whose text the server can tell that it touches its keys alone: then it locks no others, from the second time on.
    fn plain_script(&self, commands: &[Command]) -> Vec<String> {
        let (mut calls, mut keys, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
        for command in commands {
            let words = command.words(&|key| self.name(key));
            keys.push(words[1].clone());
            let mut call = format!("redis.pcall('{}', KEYS[{}]", words[0], keys.len());
            for word in &words[2..] {
                arguments.push(word.clone());
                call.push_str(&format!(", ARGV[{}]", arguments.len()));
            }
            calls.push(call + ")");
        }
        let text = format!("return {{ {} }}", calls.join(", "));
        [vec!["EVAL".to_owned(), text, keys.len().to_string()], keys, arguments].concat()
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The answer of an operation, behind `before` replies that only say that it was understood.
    pub fn answer(&mut self, action: &Action, before: usize) -> io::Result<Answer> {
        for _ in 0..before {
            match self.read()? {
                Raw::Status(_) => {}
                other => return Err(unexpected(&other)),
            }
        }
        let raw = self.read()?;
        match (action, raw) {
            (Action::Run(command), raw) => Ok(Answer::Reply(reply(command, raw))),
            (Action::Watch(_), Raw::Status(_)) => Ok(Answer::Reply(Reply::Ok)),
            (Action::Exec(..), Raw::Array(None)) => Ok(Answer::Aborted),
            (Action::Exec(commands, _), Raw::Array(Some(replies))) if replies.len() == commands.len() => {
                Ok(Answer::Exec(commands.iter().zip(replies).map(|(command, raw)| reply(command, raw)).collect()))
            }
            (_, other) => Err(unexpected(&other)),
        }
    }

    fn read(&mut self) -> io::Result<Raw> {
        let line = self.line()?;
        let (kind, rest) = line.split_at(1);
        let count = || rest.parse::<i64>().map_err(|_| unexpected(&line));
        match kind {
            "+" => Ok(Raw::Status(rest.to_owned())),
            "-" => Ok(Raw::Error(rest.to_owned())),
            ":" => Ok(Raw::Int(count()?)),
            "$" => match usize::try_from(count()?) {
                Ok(len) => Ok(Raw::Bulk(Some(self.bulk(len)?))),
                Err(_) => Ok(Raw::Bulk(None)),
            },
            "*" => match usize::try_from(count()?) {
                Ok(len) => Ok(Raw::Array(Some((0..len).map(|_| self.read()).collect::<io::Result<_>>()?))),
                Err(_) => Ok(Raw::Array(None)),
            },
            _ => Err(unexpected(&line)),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(len) = self.buffer[self.at..].windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[self.at..self.at + len]).into_owned();
                self.at += len + 2;
                return if line.is_empty() { Err(unexpected(&line)) } else { Ok(line) };
            }
            self.more()?;
        }
    }

    fn bulk(&mut self, len: usize) -> io::Result<String> {
        while self.buffer.len() < self.at + len + 2 {
            self.more()?;
        }
        let text = String::from_utf8_lossy(&self.buffer[self.at..self.at + len]).into_owned();
        self.at += len + 2;
        Ok(text)
    }

    fn more(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + 4096, 0);
        let read = self.stream.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other.map(|_| ()),
        }
    }
}

fn encode(words: &[String]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn unexpected(what: &impl std::fmt::Debug) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected reply {what:?}"))
}

/// What `raw` says to `command`. A reply that no server may give fails the test: it is worse than any order.
fn reply(command: &Command, raw: Raw) -> Reply {
    let text = |bulk: &str| bulk.parse::<i64>().unwrap_or_else(|_| panic!("{command:?} was answered {bulk:?}"));
    match raw {
        Raw::Status(status) if status == "OK" => Reply::Ok,
        Raw::Int(number) => Reply::Int(number),
        Raw::Bulk(None) | Raw::Array(None) => Reply::Nil,
        Raw::Bulk(Some(bulk)) => Reply::Text(text(&bulk)),
        Raw::Array(Some(elements)) => {
            let element = |element: Raw| match element {
                Raw::Bulk(bulk) => bulk.as_deref().map(text),
                other => panic!("{command:?} was answered {other:?} in an array"),
            };
            if let Command::BLPop(_) = command {
                // The key, then the element.
                return elements.into_iter().nth(1).and_then(element).map_or(Reply::Nil, Reply::Text);
            }
            let mut list: Vec<Option<i64>> = elements.into_iter().map(element).collect();
            if let Command::SMembers(_) = command {
                list.sort_unstable();
            }
            Reply::List(list)
        }
        Raw::Error(error) if error.starts_with("WRONGTYPE") => Reply::WrongType,
        Raw::Error(error) if error == "ERR no such key" => Reply::NoSuchKey,
        Raw::Error(error) if error.starts_with("OOM") => Reply::OutOfMemory,
        other => panic!("{command:?} was answered {other:?}"),
    }
}
