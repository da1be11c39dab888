//! The subcommands of DEBUG that look at keys or make some.

use super::done;
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Outcome, Slices};
use crate::keyspace::entry::EntryRef;
use crate::keyspace::{Key, LockPlan, Ttl, View, access_seconds};
use crate::persistence::rdb::bytes::finish;
use crate::persistence::rdb::value;
use crate::util::clock::Ticks;
use crate::util::clock::UnixMs;
use crate::util::memory::used_bytes;
use crate::util::number;
use crate::util::pieces::Pieces;
use crate::value::string::{StringRef, StringSource};

/// Seconds at which the access clock of entries starts again.
const CLOCK_PERIOD: u32 = 1 << 24;

/// The refusal of what looks at keys that it does not declare, while a script that began a moment before holds them.
pub const HELD_FOR_LONG: CommandError = CommandError::text("ERR a script that runs for long holds the data");

/// A view of the shard of one undeclared key, in the database that is selected.
///
/// # Errors
/// A script holds it for long.
pub fn lock<'a>(ctx: &Context<'a>, key: Key<'_>) -> Result<View<'a>, CommandError> {
    let (keyspace, hash) = (&ctx.shared.keyspace, std::iter::once(key.hash));
    let view = View::lock(keyspace, ctx.session.db, ctx.now, false, LockPlan::Keys, hash);
    if view.gave_up() { Err(HELD_FOR_LONG) } else { Ok(view) }
}

/// What `ask` says about the entry of a key that must be there; neither a use nor a hit.
fn about<'a, R>(ctx: &Context<'a>, key: Key<'_>, ask: impl FnOnce(EntryRef<'_>) -> R) -> Result<R, CommandError> {
    lock(ctx, key)?.peek(key).map(ask).ok_or(CommandError::NoSuchKey)
}

/// `DEBUG OBJECT key [fast]`: how the value is held; `fast` leaves the length in a snapshot out.
pub fn object<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let fast = args.word("fast");
    let now = access_seconds(ctx.now);
    let text = about(ctx, key, |entry| describe(entry, fast, now))?;
    ctx.reply.simple(&text);
    Ok(Outcome::Done)
}

fn describe(entry: EntryRef<'_>, fast: bool, now_seconds: u32) -> String {
    let (at, encoding, lru) = (entry.key().as_ptr(), entry.encoding(), entry.access());
    let length = match fast {
        true => String::new(),
        false => format!("serializedlength:{} ", entry.string().map_or_else(|| content_len(entry), serialized_len)),
    };
    let idle = now_seconds.wrapping_sub(lru) % CLOCK_PERIOD;
    format!("Value at:{at:p} refcount:1 encoding:{encoding} {length}lru:{lru} lru_seconds_idle:{idle}")
}

/// Bytes of a collection in a snapshot, were it not compressed, the type not counted. O(size).
fn content_len(entry: EntryRef<'_>) -> usize {
    let (mut pieces, mut out) = (Pieces::default(), Vec::new());
    value::save(entry, UnixMs(i64::MIN), &mut pieces);
    finish(&pieces, None, &mut out);
    out.len()
}

/// Bytes of a string in a snapshot, were it not compressed: integers of up to 32 bits, and spelled by up to 11 bytes, take
/// a byte more than themselves; other text takes 1, 2, 5 or 9 bytes for its length.
fn serialized_len(string: StringRef<'_>) -> usize {
    match string.integer().filter(|_| string.len() <= 11).map(i32::try_from) {
        Some(Ok(n)) if i8::try_from(n).is_ok() => 2,
        Some(Ok(n)) if i16::try_from(n).is_ok() => 3,
        Some(Ok(_)) => 5,
        _ => match string.len() {
            len @ ..64 => len + 1,
            len @ 64..16_384 => len + 2,
            len if u32::try_from(len).is_ok() => len + 5,
            len => len + 9,
        },
    }
}

/// `DEBUG SDSLEN key`: lengths of the key and of a string value, what is reserved behind them, and what they take.
pub fn sdslen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let text = about(ctx, key, |entry| match entry.string() {
        None | Some(StringRef::Int(_)) => None,
        Some(string) => Some(format!(
            "key_sds_len:{} key_sds_avail:0 obj_alloc:{} val_sds_len:{} val_sds_avail:0 val_alloc:0",
            entry.key().len(),
            entry.memory_bytes(),
            string.len(),
        )),
    })?;
    ctx.reply.simple(&text.ok_or(CommandError::text("ERR Not an sds encoded string."))?);
    Ok(Outcome::Done)
}

/// What is answered where Redis prints a structure on its standard output.
const NOT_PRINTED: CommandError = CommandError::text("ERR larder does not print the structure of values");

/// An error in any case: `other` when the value is not held in this `encoding`.
fn refuse<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    encoding: &str,
    other: &'static str,
) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let held = about(ctx, key, |entry| entry.encoding() == encoding)?;
    Err(if held { NOT_PRINTED } else { CommandError::text(other) })
}

/// `DEBUG LISTPACK key`: refused; a listpack is not printed.
pub fn listpack<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    refuse(ctx, args, "listpack", "ERR Not a listpack encoded object.")
}

/// `DEBUG QUICKLIST key [0|1]`: refused; a quicklist is not printed.
pub fn quicklist<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    refuse(ctx, args, "quicklist", "ERR Not a quicklist encoded object.")
}

/// `DEBUG HTSTATS-KEY key [full]`: refused; tables of values keep no such figures.
pub fn htstats_key<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const TEXT: &str = "ERR The value stored at the specified key is not represented using an hash table";
    refuse(ctx, args, "hashtable", TEXT)
}

/// `DEBUG HTSTATS database [full]`: figures of the table. Deadlines are in the entries; the second part counts them.
pub fn htstats<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let db = usize::try_from(args.integer()?).ok().filter(|db| *db < ctx.shared.keyspace.databases());
    let db = db.ok_or(CommandError::text("ERR Out of range database"))?;
    let (keys, timed) = (ctx.db.len(db), ctx.db.timed(db));
    let (segments, bytes) = (ctx.db.segments(db), ctx.db.table_bytes(db));
    let mut text = String::from("[Dictionary HT]\n");
    if keys > 0 {
        text.push_str(&format!(
            "Hash table 0 stats (main hash table):\n number of entries: {keys}\n segments: {segments}\n bytes: {bytes}\n"
        ));
    }
    text.push_str("[Expires HT]\n");
    if timed > 0 {
        text.push_str(&format!("Hash table 0 stats (main hash table):\n number of entries: {timed}\n"));
    }
    ctx.reply.verbatim(*b"txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// How long POPULATE works before others have their turn.
const SLICE_NANOS: u64 = 1_000_000;

/// Keys that POPULATE makes between two looks at the clock and at the memory in use.
const SLICE_KEYS: u64 = 64;

/// `DEBUG POPULATE count [prefix] [size]`: keys `prefix:0`, `prefix:1` .. (`key:0` ..) with the values `value:0` ..,
/// filled up with NULs or cut to `size` bytes (0: neither). Keys that exist stay as they are. Other requests run meanwhile.
/// Deviations: values may not be longer than `proto-max-bulk-len`, and it ends with an error at `maxmemory`.
pub fn populate<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = positive(args)?;
    let prefix = if args.remaining() > 0 { args.bytes()? } else { b"key" }.to_vec();
    let size = if args.remaining() > 0 { positive(args)? } else { 0 };
    if size > ctx.shared.config.proto_max_bulk_len() {
        return Err(CommandError::StringTooLong);
    }
    let mut work = Populate { next: 0, count, prefix, size: usize::try_from(size).unwrap_or(usize::MAX) };
    if work.step(ctx) { Ok(Outcome::Done) } else { Ok(Outcome::Slices(Box::new(work))) }
}

fn positive(args: &mut Args<'_>) -> Result<u64, CommandError> {
    let number = number::parse_i64(args.bytes()?).and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::text("ERR value is out of range, must be positive"))
}

/// A POPULATE in progress.
struct Populate {
    next: u64,
    count: u64,
    prefix: Vec<u8>,
    size: usize,
}

impl Populate {
    /// No change is logged: what DEBUG makes is not for replicas. That the key is new is announced. `false` while a script holds the
    /// shard for long.
    fn put_next(&mut self, ctx: &mut Context<'_>) -> bool {
        let name = [&self.prefix, &b":"[..], itoa::Buffer::new().format(self.next).as_bytes()].concat();
        let mut value = format!("value:{}", self.next).into_bytes();
        if self.size > 0 {
            value.resize(self.size, 0);
        }
        let key = ctx.shared.keyspace.hasher().key(&name);
        let Ok(mut view) = lock(ctx, key) else { return false };
        if view.peek(key).is_none() {
            view.put_string(key, StringSource::new(&value), Ttl::Clear);
            announce(ctx, &mut view);
        }
        self.next += 1;
        true
    }
}

/// Tells those who listen what a view of its own has met and made.
fn announce(ctx: &mut Context<'_>, view: &mut View<'_>) {
    if view.has_news() {
        let (shared, own, mut effects) = (ctx.shared, ctx.session.client.id, Vec::new());
        let (told, changed) = (&mut ctx.session.own_pushes, &mut ctx.session.changed);
        view.take_news(&mut |db, news| *told |= shared.hear(db, &news, &mut effects, changed, own));
        shared.effects.append(&effects);
    }
}

impl Slices for Populate {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        let started = Ticks::now();
        while self.next < self.count {
            if self.next.is_multiple_of(SLICE_KEYS) || self.size > 4096 {
                let limit = ctx.shared.config.maxmemory();
                if limit != 0 && used_bytes() > limit {
                    ctx.reply.error(&CommandError::OutOfMemory.to_string());
                    return true;
                }
                if Ticks::now().nanos_since(started) > SLICE_NANOS {
                    return false;
                }
            }
            if !self.put_next(ctx) {
                return false;
            }
        }
        let _ = done(ctx);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_lengths_are_those_of_redis_without_compression() {
        let cases = [("v", 2), ("12", 2), ("-129", 3), ("12345", 3), ("123456", 5), ("99999999999", 12), ("012", 4)];
        for (text, len) in cases {
            assert_eq!(serialized_len(StringRef::Inline(text.as_bytes(), false)), len, "{text}");
        }
        let (short, long) = ([b'x'; 63], [b'x'; 64]);
        assert_eq!(serialized_len(StringRef::Inline(&short, false)), 64);
        assert_eq!(serialized_len(StringRef::Inline(&long, false)), 66);
    }
}
