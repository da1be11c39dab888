//! SCAN and KEYS: walks through a database in hash order.
//!
//! Invariants: a key that is there from start to end is met, and no key is met twice in one walk, whatever the tables do
//! meanwhile: a position is a hash, and a key is met by the one call whose range its hash falls into. A walk holds no
//! lock between two looks at some hundreds of keys. Must not know: how tables place their keys.

use super::quoted;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Outcome, Slices};
use crate::keyspace::View;
use crate::keyspace::entry::EntryRef;
use crate::protocol::reply::{Output, Reply, Resp};
use crate::util::clock::Ticks;
use crate::util::{glob, number};
use bytes::Bytes;

/// Bits of a position that a cursor leaves out, so that clients which keep it in a double lose nothing. A table of 2^37
/// segments would need them.
pub const CURSOR_SHIFT: u32 = 11;

/// Keys of a home bucket on average, in a well-filled table.
const KEYS_PER_HOME: usize = 6;

/// Homes walked under one lock: some 400 keys, about 40 us.
const HOMES_PER_LOCK: usize = 64;

/// Homes that every SCAN may walk, so that a nearly empty database is answered by one call: 40 us.
const MIN_HOMES: usize = 1024;

/// How long a worker does nothing but walk.
const SLICE_NANOS: u64 = 1_000_000;

/// Replies are collected in parts of this many bytes, so that none is ever copied as a whole.
const PART_BYTES: usize = 64 * 1024;

/// What COUNT is when it is not given.
pub const DEFAULT_COUNT: usize = 10;

/// The types that keys can have, by the names of TYPE.
const TYPES: [&str; 6] = ["string", "list", "set", "zset", "hash", "stream"];

/// How far a walk may go on.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    keys: usize,
    homes: usize,
}

impl Budget {
    /// Until about `count` keys were met, or ten buckets a key were looked at.
    pub fn count(count: usize) -> Budget {
        Budget { keys: count, homes: count.saturating_mul(10).max(MIN_HOMES) }
    }

    /// To the end.
    pub const ALL: Budget = Budget { keys: usize::MAX, homes: usize::MAX };

    /// Whether it is used up.
    pub fn is_spent(self) -> bool {
        self.keys == 0 || self.homes == 0
    }
}

/// A place on a walk through a database.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    db: usize,
    /// The hash to go on at; `None` at the end.
    position: Option<u64>,
}

impl Walk {
    /// The place in database `db` that `cursor` stands for; 0 is the start.
    pub fn resume(db: usize, cursor: u64) -> Walk {
        Walk { db, position: Some(cursor << CURSOR_SHIFT) }
    }

    /// The cursor for clients, of at most 53 bits; 0 at the end.
    pub fn cursor(self) -> u64 {
        self.position.map_or(0, |position| position >> CURSOR_SHIFT)
    }

    /// Whether everything has been met.
    pub fn is_over(self) -> bool {
        self.position.is_none()
    }

    /// Walks on, under one lock, through as much of `budget` as that allows, and takes it off there. `visit` meets the
    /// keys that have not expired. About 40 us; to be called until the walk is over or the budget spent.
    pub fn step(&mut self, view: &mut View<'_>, budget: &mut Budget, visit: &mut dyn FnMut(EntryRef<'_>)) {
        let Some(from) = self.position else { return };
        let homes = (budget.keys / KEYS_PER_HOME).clamp(1, HOMES_PER_LOCK).min(budget.homes);
        let (hasher, mut met) = (view.keyspace().hasher(), 0);
        self.position = view.walk(self.db, from, homes, &mut |entry| {
            // The first bucket may begin before `from`, when its segment has shrunk since; those keys have been met.
            if hasher.hash(entry.key()) >= from {
                met += 1;
                visit(entry);
            }
        });
        budget.keys = budget.keys.saturating_sub(met);
        budget.homes -= homes;
    }
}

/// Which of the keys met are answered.
#[derive(Default)]
struct Filter {
    pattern: Option<Vec<u8>>,
    type_name: Option<&'static str>,
}

impl Filter {
    fn set_pattern(&mut self, pattern: &[u8]) {
        // Alone, it takes the empty key too, unlike in other patterns.
        self.pattern = (pattern != b"*").then(|| pattern.to_vec());
    }

    fn takes(&self, entry: EntryRef<'_>) -> bool {
        self.type_name.is_none_or(|name| name == entry.type_name())
            && self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, entry.key(), false))
    }
}

/// Keys as bulk strings, in parts.
#[derive(Default)]
struct Found {
    count: usize,
    parts: Vec<Bytes>,
    last: Output,
}

impl Found {
    fn add(&mut self, key: &[u8], resp: Resp) {
        Reply::new(&mut self.last, resp).bulk(key);
        self.count += 1;
        if self.last.len() >= PART_BYTES {
            self.parts.push(Bytes::from(self.last.to_vec()));
            self.last.clear();
        }
    }

    fn reply(&mut self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        for part in self.parts.drain(..) {
            reply.output().raw_large(part);
        }
        self.last.move_rest_to(reply.output());
    }
}

/// A SCAN or KEYS in progress.
struct Search {
    walk: Walk,
    budget: Budget,
    filter: Filter,
    found: Found,
    /// The reply begins with the cursor.
    paged: bool,
}

impl Search {
    fn new(walk: Walk, budget: Budget, filter: Filter, paged: bool) -> Search {
        Search { walk, budget, filter, found: Found::default(), paged }
    }

    /// Runs to the end if that takes no longer than a slice.
    fn run(mut self, ctx: &mut Context<'_>) -> Outcome {
        if self.step(ctx) { Outcome::Done } else { Outcome::Slices(Box::new(self)) }
    }

    fn reply(&mut self, reply: &mut Reply<'_>) {
        if self.paged {
            reply.array(2);
            reply.bulk(self.walk.cursor().to_string().as_bytes());
        }
        self.found.reply(reply);
    }
}

impl Slices for Search {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        let (start, resp) = (Ticks::now(), ctx.reply.resp());
        let Search { walk, budget, filter, found, .. } = self;
        while !walk.is_over() && !budget.is_spent() {
            if Ticks::now().nanos_since(start) > SLICE_NANOS {
                return false;
            }
            walk.step(&mut ctx.db, budget, &mut |entry| {
                if filter.takes(entry) {
                    found.add(entry.key(), resp);
                }
            });
        }
        self.reply(&mut ctx.reply);
        true
    }
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
///
/// Replies the next cursor, "0" at the end, and keys. Every key that is there from start to end is answered once; others
/// may be. About `count` keys are looked at, of which the filters leave some. O(count); more than a millisecond of work
/// lets other requests in between.
pub fn scan<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let cursor = read_cursor(args.bytes()?).ok_or(CommandError::text("ERR invalid cursor"))?;
    let (mut filter, mut count) = (Filter::default(), DEFAULT_COUNT);
    while args.remaining() > 0 {
        if args.word("COUNT") {
            count = read_count(args)?;
        } else if args.word("MATCH") {
            filter.set_pattern(args.bytes()?);
        } else if args.word("TYPE") {
            filter.type_name = Some(read_type(args.bytes()?)?);
        } else if args.word("NOVALUES") {
            return Err(CommandError::text("ERR NOVALUES option can only be used in HSCAN"));
        } else if args.word("NOSCORES") {
            return Err(CommandError::text("ERR NOSCORES option can only be used in ZSCAN"));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let walk = Walk::resume(ctx.session.db, cursor);
    Ok(Search::new(walk, Budget::count(count), filter, true).run(ctx))
}

/// `KEYS pattern`
///
/// Replies the keys that match. O(keys) in slices, between which other requests run: not a picture of one moment, but as
/// for SCAN every key that is there from start to end is answered, once.
pub fn keys<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let mut filter = Filter::default();
    filter.set_pattern(args.bytes()?);
    args.finish()?;
    let walk = Walk::resume(ctx.session.db, 0);
    Ok(Search::new(walk, Budget::ALL, filter, false).run(ctx))
}

/// The argument of COUNT.
pub fn read_count(args: &mut Args<'_>) -> Result<usize, CommandError> {
    let count = args.integer()?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(CommandError::Syntax),
    }
}

fn read_type(name: &[u8]) -> Result<&'static str, CommandError> {
    let known = TYPES.into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    known.ok_or_else(|| CommandError::Bytes([b"ERR unknown type name '", quoted(name), b"'"].concat()))
}

/// A cursor as Valkey reads it: a canonical integer that is not negative, or what C's `strtoull` takes as a whole: white
/// space, a sign that negates modulo 2^64, digits. A NUL ends it.
pub fn read_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next()?;
    if let Some(number) = number::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let number = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    (!digits.is_empty()).then_some(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cursors_as_valkey_does() {
        for (text, cursor) in [
            ("0", 0),
            ("007", 7),
            (" 1", 1),
            ("\t+2", 2),
            ("-0", 0),
            (" -5", u64::MAX - 4),
            ("3\0x", 3),
            ("18446744073709551615", u64::MAX),
            ("-18446744073709551615", 1),
        ] {
            assert_eq!(read_cursor(text.as_bytes()), Some(cursor), "{text:?}");
        }
        for text in ["", "-1", "+", "- 0", "--0", "0 ", "0x0", "1.0", "18446744073709551616", "\0", "\u{85}0"] {
            assert_eq!(read_cursor(text.as_bytes()), None, "{text:?}");
        }
    }
}
