//! The string commands that write values.

use super::reply_found;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::expiry::TimeForm;
use crate::call::spec::{KeyFlags, Outcome};
use crate::keyspace::{Key, Ttl, View};
use crate::protocol::batch::RequestView;
use crate::util::clock::UnixMs;
use crate::value::string::{self, StringRef, StringSource, fill_up};

/// Under which condition a value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition<'a> {
    Always,
    /// NX: there is no such key.
    Missing,
    /// XX: there is one.
    Present,
    /// IFEQ: it holds this string.
    Equal(&'a [u8]),
}

impl Condition<'_> {
    fn holds(self, db: &mut View<'_>, key: Key<'_>) -> Result<bool, CommandError> {
        Ok(match self {
            Condition::Always => true,
            Condition::Missing => db.meet(key).is_none(),
            Condition::Present => db.meet(key).is_some(),
            Condition::Equal(text) => db.string_to_change(key)?.is_some_and(|string| string.equals(text)),
        })
    }
}

/// What becomes of the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifetime<'a> {
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX and its like, with the number.
    Until(TimeForm, &'a [u8]),
}

/// The commands whose options are read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    Set,
    GetEx,
    MSetEx,
}

impl Reader {
    const fn name(self) -> &'static str {
        match self {
            Reader::Set => "set",
            Reader::GetEx => "getex",
            Reader::MSetEx => "msetex",
        }
    }
}

/// The options of SET, GETEX and MSETEX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Options<'a> {
    condition: Condition<'a>,
    lifetime: Lifetime<'a>,
    get: bool,
}

impl<'a> Options<'a> {
    /// Reads all that is left; words that contradict each other are a syntax error, one said twice is not.
    fn read(args: &mut Args<'a>, reader: Reader) -> Result<Options<'a>, CommandError> {
        let mut options = Options { condition: Condition::Always, lifetime: Lifetime::Unsaid, get: false };
        while args.remaining() > 0 {
            options.read_one(args, reader)?;
        }
        Ok(options)
    }

    fn read_one(&mut self, args: &mut Args<'a>, reader: Reader) -> Result<(), CommandError> {
        if let Some(form) = TimeForm::word(args) {
            return self.live(Lifetime::Until(form, args.bytes()?));
        }
        match reader {
            Reader::GetEx if args.word("PERSIST") => self.live(Lifetime::Persist),
            Reader::GetEx => Err(CommandError::Syntax),
            _ if args.word("NX") => self.only_if(Condition::Missing),
            _ if args.word("XX") => self.only_if(Condition::Present),
            _ if args.word("KEEPTTL") => self.live(Lifetime::Keep),
            Reader::Set if args.word("IFEQ") => self.only_if(Condition::Equal(args.bytes()?)),
            Reader::Set if args.word("GET") => {
                self.get = true;
                Ok(())
            }
            _ => Err(CommandError::Syntax),
        }
    }

    fn only_if(&mut self, condition: Condition<'a>) -> Result<(), CommandError> {
        let again = self.condition == condition && !matches!(condition, Condition::Equal(_));
        if self.condition != Condition::Always && !again {
            return Err(CommandError::Syntax);
        }
        self.condition = condition;
        Ok(())
    }

    fn live(&mut self, lifetime: Lifetime<'a>) -> Result<(), CommandError> {
        let agrees = match (self.lifetime, lifetime) {
            (Lifetime::Unsaid, _) => true,
            (Lifetime::Until(before, _), Lifetime::Until(form, _)) => before == form,
            (before, now) => before == now,
        };
        self.lifetime = lifetime;
        if agrees { Ok(()) } else { Err(CommandError::Syntax) }
    }

    /// What a write of `reader` does to the deadline; errors of the number come only after those of the syntax.
    fn ttl(&self, now: UnixMs, reader: Reader) -> Result<Ttl, CommandError> {
        Ok(match self.lifetime {
            Lifetime::Unsaid | Lifetime::Persist => Ttl::Clear,
            Lifetime::Keep => Ttl::Keep,
            Lifetime::Until(form, text) => Ttl::At(form.positive(text, now, reader.name())?),
        })
    }
}

/// Stores a value and announces it.
#[inline]
fn store(ctx: &mut Context<'_>, key: Key<'_>, value: StringSource<'_>, ttl: Ttl) {
    ctx.db.put_string(key, value, ttl);
    ctx.touch(key, Event::String("set"));
    if let Ttl::At(_) = ttl {
        ctx.notify(key, Event::Generic("expire"));
    }
}

/// `SET key value [NX | XX | IFEQ comparison-value] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds |
/// PXAT unix-time-milliseconds | KEEPTTL]`
///
/// Replies OK, or null when the condition does not hold; with GET the string before, or null. O(1). A deadline in the past
/// stores nothing and removes the key.
pub(super) fn set<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, value) = (args.key()?, args.value()?);
    if args.remaining() > 0 {
        return set_with_options(ctx, args, key, value);
    }

    store(ctx, key, value, Ttl::Clear);
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// What a SET does with its key: GET makes it a read too.
pub(super) fn set_key_flags(request: RequestView<'_>) -> KeyFlags {
    if request.iter().skip(3).any(|argument| argument.eq_ignore_ascii_case(b"GET")) {
        KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.and(KeyFlags::UPDATE)
    }
}

fn set_with_options<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    key: Key<'a>,
    value: StringSource<'a>,
) -> Result<Outcome, CommandError> {
    let options = Options::read(args, Reader::Set)?;
    let ttl = options.ttl(ctx.now, Reader::Set)?;

    let holds = options.condition.holds(&mut ctx.db, key)?;
    if options.get {
        reply_found(&mut ctx.reply, ctx.db.string(key)?);
    }
    if holds {
        store_or_expire(ctx, key, value, ttl);
        log_store(ctx, key, 2, ttl);
    }
    match (options.get, holds) {
        (true, _) => {}
        (false, true) => ctx.reply.ok(),
        (false, false) => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

fn store_or_expire(ctx: &mut Context<'_>, key: Key<'_>, value: StringSource<'_>, ttl: Ttl) {
    match ttl {
        Ttl::At(deadline) if deadline <= ctx.now => expire(ctx, key),
        ttl => store(ctx, key, value, ttl),
    }
}

fn expire(ctx: &mut Context<'_>, key: Key<'_>) {
    if ctx.db.expire(key) {
        ctx.touch(key, Event::Expired);
        ctx.effect(&[b"DEL", key.bytes]);
    }
}

/// Logs a stored value, which is argument `value` of the request, with its deadline as the time that it is.
#[inline]
fn log_store(ctx: &mut Context<'_>, key: Key<'_>, value: usize, ttl: Ttl) {
    if ctx.logs()
        && let Ttl::At(deadline) = ttl
        && deadline > ctx.now
    {
        let value = ctx.request.arg(value);
        ctx.effect(&[b"SET", key.bytes, value, b"PXAT", itoa::Buffer::new().format(deadline.0).as_bytes()]);
    }
}

/// `SETNX key value`
///
/// Stores if there is no such key; replies 1 if so, else 0. O(1).
pub(super) fn setnx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, value) = (args.key()?, args.value()?);
    args.finish()?;

    let missing = ctx.db.meet(key).is_none();
    if missing {
        store(ctx, key, value, Ttl::Clear);
    }
    ctx.reply.integer(i64::from(missing));
    Ok(Outcome::Done)
}

/// `SETEX key seconds value`
///
/// Stores with a deadline; replies OK. O(1).
pub(super) fn setex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store_for(ctx, args, TimeForm::Seconds, "setex")
}

/// `PSETEX key milliseconds value`
///
/// Stores with a deadline; replies OK. O(1).
pub(super) fn psetex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store_for(ctx, args, TimeForm::Millis, "psetex")
}

fn store_for<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    form: TimeForm,
    command: &'static str,
) -> Result<Outcome, CommandError> {
    let (key, time, value) = (args.key()?, args.bytes()?, args.value()?);
    args.finish()?;
    let deadline = form.positive(time, ctx.now, command)?;

    store(ctx, key, value, Ttl::At(deadline));
    log_store(ctx, key, 3, Ttl::At(deadline));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `GETSET key value`
///
/// Stores and replies the string before, or null. O(1).
pub(super) fn getset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, value) = (args.key()?, args.value()?);
    args.finish()?;

    reply_found(&mut ctx.reply, ctx.db.string(key)?);
    store(ctx, key, value, Ttl::Clear);
    Ok(Outcome::Done)
}

/// `GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]`
///
/// Replies the string, or null, and gives its key that deadline, or none. O(1). A deadline in the past removes the key.
pub(super) fn getex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let options = Options::read(args, Reader::GetEx)?;
    let ttl = options.ttl(ctx.now, Reader::GetEx)?;

    let found = reply_found(&mut ctx.reply, ctx.db.string(key)?);
    match ttl {
        _ if !found => {}
        Ttl::At(deadline) if deadline <= ctx.now => expire(ctx, key),
        Ttl::At(deadline) => {
            ctx.db.set_deadline(key, Some(deadline));
            ctx.touch(key, Event::Generic("expire"));
            ctx.effect_deadline(key, deadline);
        }
        Ttl::Clear if options.lifetime == Lifetime::Persist => persist(ctx, key),
        Ttl::Clear | Ttl::Keep => {}
    }
    Ok(Outcome::Done)
}

fn persist(ctx: &mut Context<'_>, key: Key<'_>) {
    if ctx.db.peek(key).is_some_and(|entry| entry.deadline().is_some()) {
        ctx.db.set_deadline(key, None);
        ctx.touch(key, Event::Generic("persist"));
        ctx.effect(&[b"PERSIST", key.bytes]);
    }
}

/// The next `count` keys and values.
fn pairs<'a>(mut args: Args<'a>, count: usize) -> impl Iterator<Item = (Key<'a>, StringSource<'a>)> {
    std::iter::from_fn(move || Some((args.key().ok()?, args.value().ok()?))).take(count)
}

/// The keys of the next `count` keys and values.
fn keys<'a>(mut args: Args<'a>, count: usize) -> impl Iterator<Item = Key<'a>> {
    std::iter::from_fn(move || {
        let key = args.key().ok()?;
        args.bytes().ok()?;
        Some(key)
    })
    .take(count)
}

/// How many pairs are left; an odd number of arguments is one of the wrong number.
fn count_pairs(args: &Args<'_>, command: &'static str) -> Result<usize, CommandError> {
    let left = args.remaining();
    if left.is_multiple_of(2) { Ok(left / 2) } else { Err(CommandError::WrongArity(command.into())) }
}

/// `MSET key value [key value ...]`
///
/// Stores all and replies OK. O(pairs). A key named twice gets its last value.
pub(super) fn mset<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = count_pairs(args, "mset")?;

    for (key, value) in pairs(args.clone(), count) {
        store(ctx, key, value, Ttl::Clear);
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `MSETNX key value [key value ...]`
///
/// Stores all if none of the keys exists; replies 1 if so, else 0. O(pairs).
pub(super) fn msetnx<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = count_pairs(args, "msetnx")?;

    let missing = keys(args.clone(), count).all(|key| ctx.db.meet(key).is_none());
    if missing {
        for (key, value) in pairs(args.clone(), count) {
            store(ctx, key, value, Ttl::Clear);
        }
    }
    ctx.reply.integer(i64::from(missing));
    Ok(Outcome::Done)
}

/// `MSETEX numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds |
/// PXAT unix-time-milliseconds | KEEPTTL]`
///
/// Stores all with one deadline if the condition holds for every key; replies 1 if so, else 0. O(pairs). A deadline in the
/// past is stored like any other, so that the keys are gone at once.
pub(super) fn msetex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let count = number_of_keys(args)?;
    let values = args.clone();
    for _ in 0..count {
        args.key()?;
        args.bytes()?;
    }
    let options = Options::read(args, Reader::MSetEx)?;
    let ttl = options.ttl(ctx.now, Reader::MSetEx)?;

    let mut holds = true;
    for key in keys(values.clone(), count) {
        holds = holds && options.condition.holds(&mut ctx.db, key)?;
    }
    if holds {
        for (key, value) in pairs(values, count) {
            store(ctx, key, value, ttl);
        }
        if let Ttl::At(deadline) = ttl {
            let words = 2 + 2 * count..ctx.request.argc();
            ctx.effect_with(words, &[b"PXAT", itoa::Buffer::new().format(deadline.0).as_bytes()]);
        }
    }
    ctx.reply.integer(i64::from(holds));
    Ok(Outcome::Done)
}

fn number_of_keys(args: &mut Args<'_>) -> Result<usize, CommandError> {
    const ERROR: CommandError = CommandError::text("ERR invalid numkeys value or out of range");
    let number = args.integer_or(ERROR)?;
    let count = i32::try_from(number).ok().filter(|count| *count > 0).ok_or(ERROR)?;
    usize::try_from(count).map_err(|_| ERROR)
}

/// `APPEND key value`
///
/// Adds to the end of the string, or stores it; replies the new length. O(bytes added), amortised. An error above
/// `proto-max-bulk-len`.
pub(super) fn append<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, suffix) = (args.key()?, args.bytes()?);
    args.finish()?;

    let found = ctx.db.string_to_change(key)?.map(StringRef::len);
    let len = match found {
        Some(len) => {
            check_len(ctx, len, suffix.len())?;
            ctx.db.edit_string(key, |text| string::append(text, suffix))?
        }
        None => {
            args.back();
            let value = args.value()?;
            ctx.db.put_string(key, value, Ttl::Clear);
            suffix.len()
        }
    };
    ctx.touch(key, Event::String("append"));
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `SETRANGE key offset value`
///
/// Writes over the string from `offset` on, filling up with zero bytes before; replies the new length. O(bytes written). An
/// empty value changes nothing. Errors for a negative offset and above `proto-max-bulk-len`.
pub(super) fn setrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, offset, value) = (args.key()?, args.integer()?, args.bytes()?);
    args.finish()?;
    let offset = usize::try_from(offset).map_err(|_| CommandError::OutOfRange("offset"))?;

    let len = ctx.db.string_to_change(key)?.map_or(0, StringRef::len);
    if value.is_empty() {
        ctx.reply.count(len);
        return Ok(Outcome::Done);
    }
    check_len(ctx, offset, value.len())?;

    let end = offset + value.len();
    let len = ctx.db.edit_string(key, |text| {
        fill_up(text, end);
        text[offset..end].copy_from_slice(value);
    })?;
    ctx.touch(key, Event::String("setrange"));
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// An error if a string of `len` and `more` bytes would be longer than `proto-max-bulk-len`.
fn check_len(ctx: &Context<'_>, len: usize, more: usize) -> Result<(), CommandError> {
    let limit = ctx.shared.config.proto_max_bulk_len();
    let total = len.checked_add(more).and_then(|total| u64::try_from(total).ok());
    if total.is_some_and(|total| total <= limit) { Ok(()) } else { Err(CommandError::StringTooLong) }
}
