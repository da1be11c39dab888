//! Those who listen to one name, and the messages that are kept for those of them whose sockets take nothing.
//!
//! Leaving a message with each of a thousand clients that do not read would cost a thousand visits. So a client that takes
//! nothing and listens to this name alone *lags*: it is moved to the backlog, where messages are kept once for all who lag, with
//! the number of the first that it has not got. Nobody visits it from then on; its connection fetches the messages when its socket
//! takes something again, and joins the others when it has all. Those who lag are ordered by how much may still be published
//! before too much waits for them, so that one look at the first tells whether any is to be closed.
//!
//! Invariants: a client stands among those who read or among those who lag, never in both, and [`Client::lags`] says which;
//! messages are kept from the first that somebody lacks; whatever else is sent to one who lags comes behind what was kept for it
//! ([`Client::settle`]). Must not know: names, subscriptions, sockets.

use super::clients::Client;
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::shrink::shrink;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// So many bytes are fetched at once by who lags (64 KiB): about what a socket takes that took nothing before.
const FETCHED_BYTES: usize = 64 * 1024;

/// One message, encoded when the first receiver of a protocol version is met.
pub struct Message<'a> {
    words: &'a [&'a [u8]],
    encoded: [OnceCell<Bytes>; 2],
}

impl<'a> Message<'a> {
    /// A message of these bulk strings.
    pub fn new(words: &'a [&'a [u8]]) -> Message<'a> {
        Message { words, encoded: Default::default() }
    }

    #[inline]
    fn bytes(&self, resp: Resp) -> &Bytes {
        self.encoded[usize::from(resp == Resp::V3)].get_or_init(|| push_of(self.words, resp))
    }
}

/// A push message of bulk strings.
fn push_of(words: &[&[u8]], resp: Resp) -> Bytes {
    let mut out = Output::new();
    let mut reply = Reply::new(&mut out, resp);
    reply.push(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    Bytes::from(out.to_vec())
}

/// A kept message. Its two encodings are equally long, and differ in the first byte.
struct Kept {
    v2: Bytes,
    v3: OnceCell<Bytes>,
    /// How many clients lack this one, and have got those before it.
    starts: usize,
}

impl Kept {
    fn bytes(&self, resp: Resp) -> &Bytes {
        match resp {
            Resp::V2 => &self.v2,
            Resp::V3 => self.v3.get_or_init(|| {
                let mut bytes = BytesMut::from(&self.v2[..]);
                bytes[..1].copy_from_slice(b">");
                bytes.freeze()
            }),
        }
    }
}

/// One who lags.
struct Laggard {
    client: Arc<Client>,
    /// The number of the first message that it lacks.
    next: u64,
    /// Where that begins, in bytes that were ever kept.
    from: u64,
    /// Where too much waits for it.
    full_at: u64,
    limit_bytes: usize,
}

impl Laggard {
    fn key(&self) -> (u64, u64) {
        (self.full_at, self.client.id)
    }

    /// Works out `full_at` anew, with so many bytes waiting for it elsewhere.
    fn set_room(&mut self, elsewhere_bytes: usize) {
        self.full_at = self.from.saturating_add(self.limit_bytes.saturating_sub(elsewhere_bytes) as u64);
    }
}

/// What is kept, and for whom.
#[derive(Default)]
struct Backlog {
    lagging: BTreeMap<u64, Laggard>,
    /// The keys of `lagging`.
    order: BTreeSet<(u64, u64)>,
    kept: VecDeque<Kept>,
    /// The number of the first kept message.
    first: u64,
    /// Bytes that were ever kept.
    end: u64,
    /// How many lack nothing yet but the next message.
    starts: usize,
}

impl Backlog {
    /// The place in `kept` of a message by its number.
    fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.first).unwrap_or(usize::MAX)
    }

    fn starts_at(&mut self, number: u64) -> &mut usize {
        let place = self.place(number);
        self.kept.get_mut(place).map_or(&mut self.starts, |kept| &mut kept.starts)
    }

    fn insert(&mut self, laggard: Laggard) {
        *self.starts_at(laggard.next) += 1;
        self.order.insert(laggard.key());
        self.lagging.insert(laggard.client.id, laggard);
    }

    /// A client that takes nothing from the next message on.
    fn add(&mut self, client: &Arc<Client>, limit_bytes: usize) {
        let next = self.first + self.kept.len() as u64;
        let mut laggard = Laggard { client: Arc::clone(client), next, from: self.end, full_at: 0, limit_bytes };
        laggard.set_room(client.waiting_elsewhere_bytes());
        self.insert(laggard);
    }

    /// Takes a client out, and leaves in place what is kept for it: [`Backlog::trim`] comes after its use.
    fn take(&mut self, id: u64) -> Option<Laggard> {
        let laggard = self.lagging.remove(&id)?;
        self.order.remove(&laggard.key());
        *self.starts_at(laggard.next) -= 1;
        Some(laggard)
    }

    /// Forgets the messages that nobody lacks any more. O(messages forgotten).
    fn trim(&mut self) {
        while self.kept.front().is_some_and(|kept| kept.starts == 0) {
            self.kept.pop_front();
            self.first += 1;
        }
        if self.kept.is_empty() {
            self.kept = VecDeque::new();
        }
        shrink(&mut self.kept); // one who lags for ever keeps some
    }

    fn keep(&mut self, message: &Message<'_>) {
        if self.lagging.is_empty() {
            return;
        }
        let v2 = message.bytes(Resp::V2).clone();
        let v3 = message.encoded[1].clone();
        self.end += v2.len() as u64;
        self.kept.push_back(Kept { v2, v3, starts: std::mem::take(&mut self.starts) });
    }

    /// Appends what a client lacks to `out`, until that holds `bytes`; whether that is all.
    fn give(&self, laggard: &mut Laggard, out: &mut Output, bytes: usize) -> bool {
        let resp = laggard.client.protocol();
        for kept in self.kept.range(self.place(laggard.next)..) {
            if out.len() >= bytes {
                return false;
            }
            out.raw_shared(kept.bytes(resp));
            laggard.next += 1;
            laggard.from += kept.v2.len() as u64;
        }
        true
    }

    /// One for whom too much waits.
    fn full(&mut self) -> Option<Laggard> {
        while let Some(&(full_at, id)) = self.order.first()
            && full_at < self.end
        {
            let mut laggard = self.take(id)?;
            laggard.set_room(laggard.client.waiting_elsewhere_bytes()); // part of it may have been taken
            if laggard.full_at < self.end {
                return Some(laggard);
            }
            self.insert(laggard);
        }
        None
    }
}

/// What became of a message.
#[derive(Clone, Copy)]
pub struct Told {
    /// How many get it.
    pub receivers: usize,
    /// Whether the client that was asked about is among them.
    pub own: bool,
}

#[derive(Default)]
struct All {
    reading: BTreeMap<u64, Arc<Client>>,
    backlog: Backlog,
}

impl All {
    fn count(&self) -> usize {
        self.reading.len() + self.backlog.lagging.len()
    }

    /// Lets one who lagged read again. It is to have got all that was kept for it.
    fn reads(&mut self, laggard: Laggard) {
        laggard.client.set_lags(false);
        self.reading.insert(laggard.client.id, laggard.client);
        self.backlog.trim();
    }
}

/// Those who listen to one name.
#[derive(Default)]
pub struct Listeners {
    all: Mutex<All>,
}

impl Listeners {
    /// Adds a client.
    pub fn add(&self, client: &Arc<Client>) {
        self.all.lock().reading.insert(client.id, Arc::clone(client));
    }

    /// Removes a client that does not lag; how many are left.
    pub fn remove(&self, client: &Client) -> usize {
        let mut all = self.all.lock();
        all.reading.remove(&client.id);
        all.count()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.lock().count()
    }

    /// Leaves a message with each; `own` is the number of the client asked about. O(those who read).
    pub fn tell(&self, message: &Message<'_>, own: u64, limit_bytes: usize) -> Told {
        let mut all = self.all.lock();
        let told = Told {
            receivers: all.count(),
            own: all.reading.contains_key(&own) || all.backlog.lagging.contains_key(&own),
        };
        let All { reading, backlog } = &mut *all;
        let mut behind = Vec::new();
        for client in reading.values() {
            if !client.leave_letter(message.bytes(client.protocol()), limit_bytes, true) {
                backlog.add(client, limit_bytes);
                behind.push(Arc::clone(client));
            }
        }
        backlog.keep(message);
        for client in behind {
            reading.remove(&client.id);
            client.set_lags(true);
        }
        while let Some(laggard) = all.backlog.full() {
            laggard.client.overflow();
            all.reads(laggard);
        }
        told
    }

    /// Puts all that is kept for a client into its mailbox, so that it does not lag. Waits for a message on its way.
    pub fn settle(&self, client: &Client) {
        let mut all = self.all.lock();
        if let Some(mut laggard) = all.backlog.take(client.id) {
            client.with_pushes(|pushes| {
                all.backlog.give(&mut laggard, pushes, usize::MAX);
            });
            all.reads(laggard);
        }
    }

    /// Moves some of what is kept for a client to `out`; with the last of it the client does not lag any more.
    pub fn catch_up(&self, client: &Client, out: &mut Output) {
        let mut all = self.all.lock();
        let Some(mut laggard) = all.backlog.take(client.id) else { return };
        if all.backlog.give(&mut laggard, out, FETCHED_BYTES) {
            return all.reads(laggard);
        }
        laggard.set_room(out.len());
        all.backlog.insert(laggard);
        all.backlog.trim();
    }

    /// Bytes that are kept for a client, together with others.
    pub fn kept_bytes(&self, client: &Client) -> usize {
        let all = self.all.lock();
        let bytes = all.backlog.lagging.get(&client.id).map_or(0, |laggard| all.backlog.end - laggard.from);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}
