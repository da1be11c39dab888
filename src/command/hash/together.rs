//! The hash commands that deal with values and their fields' deadlines, or presence, at once: HGETEX, HSETEX, HGETDEL.

use super::deadline::{NUMFIELDS, has_fields, log_deadlines, read_deadline, read_fields};
use super::store::announce_removal;
use super::{Pairs, limits, reply_found};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::expiry::TimeForm;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::keyspace::entry::EntryRef;
use crate::util::clock::UnixMs;
use crate::value::hash::{Hash, Lifetime, Limits};
use crate::value::object::Kind;

/// What the options say about deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Span<'a> {
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX and its like, with the number.
    Until(TimeForm, &'a [u8]),
}

impl<'a> Span<'a> {
    /// Reads EX and its like, or `word`, which says `named`. A word that contradicts one before is a syntax error, as is one that
    /// is no option.
    fn read_word(&mut self, args: &mut Args<'a>, word: &str, named: Span<'a>) -> Result<(), CommandError> {
        let read = match TimeForm::word(args) {
            // FIELDS cannot be the number: it ends the options wherever it stands first.
            Some(_) if args.peek().is_some_and(|next| next.eq_ignore_ascii_case(b"FIELDS")) => {
                return Err(CommandError::Syntax);
            }
            Some(form) => Span::Until(form, args.bytes()?),
            None if args.word(word) => named,
            None => return Err(CommandError::Syntax),
        };
        let agrees = match (*self, read) {
            (Span::Unsaid, _) => true,
            (Span::Until(before, _), Span::Until(form, _)) => before == form,
            (before, read) => before == read,
        };
        *self = read;
        if agrees { Ok(()) } else { Err(CommandError::Syntax) }
    }

    /// The deadline that it states, if any.
    fn deadline(self, now: UnixMs, command: &'static str) -> Result<Option<UnixMs>, CommandError> {
        match self {
            Span::Until(form, text) => read_deadline(form, text, now, command).map(Some),
            _ => Ok(None),
        }
    }
}

/// `HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS
/// numfields field [field ...]`
///
/// Replies the values, null for a missing one, and gives the fields that deadline, or none. A time that is past removes
/// them. O(fields named).
pub(super) fn hgetex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if !has_fields(args) {
        return Err(NUMFIELDS);
    }
    let mut span = Span::Unsaid;
    while !args.word("FIELDS") {
        span.read_word(args, "PERSIST", Span::Persist)?;
    }
    let fields = read_fields(args, 1, NUMFIELDS)?;
    let named = fields.clone();

    ctx.db.get::<Hash>(key)?;
    let (now, count) = (ctx.now, fields.len());
    let deadline = span.deadline(now, "hgetex")?;
    let (reply, mut changed) = (&mut ctx.reply, 0);
    let edited = ctx.db.edit(key, |hash: &mut Hash| {
        reply.array(count);
        for field in fields {
            let value = hash.get(field, now.0);
            let found = value.is_some();
            reply_found(reply, value);
            changed += usize::from(found && apply(hash, field, span, deadline, now));
        }
    })?;
    if edited.is_none() {
        ctx.reply.array(count);
        (0..count).for_each(|_| ctx.reply.null());
    }
    if changed > 0 {
        ctx.touch(key, Event::Hash(event_of(deadline, now)));
        if deadline.is_some_and(|deadline| deadline <= now) {
            ctx.db.count_expired_fields(key, changed);
        }
        log_deadlines(ctx, key, deadline, named);
    }
    announce_removal(ctx, key, edited.is_some_and(|edited| edited.removed));
    Ok(Outcome::Done)
}

/// Does to the deadline of a field that exists what the options say; `true` when that changes something.
fn apply(hash: &mut Hash, field: &[u8], span: Span<'_>, deadline: Option<UnixMs>, now: UnixMs) -> bool {
    match deadline {
        Some(deadline) if deadline <= now => hash.remove(field, now.0),
        Some(deadline) => hash.set_deadline(field, Some(deadline.0), now.0),
        None if span == Span::Persist => {
            hash.deadline(field, now.0).flatten().is_some() && hash.set_deadline(field, None, now.0)
        }
        None => false,
    }
}

/// The event of a change of deadlines, none of which is a deadline taken off.
fn event_of(deadline: Option<UnixMs>, now: UnixMs) -> &'static str {
    match deadline {
        None => "hpersist",
        Some(deadline) if deadline <= now => "hexpired",
        Some(_) => "hexpire",
    }
}

/// The options of HSETEX; of those that come in pairs, `Some(true)` is the first.
#[derive(Clone, Copy)]
struct SetOptions<'a> {
    /// XX: there is such a key; NX: there is none.
    key: Option<bool>,
    /// FXX: all fields exist; FNX: none does.
    fields: Option<bool>,
    span: Span<'a>,
}

impl<'a> SetOptions<'a> {
    /// Reads up to the word FIELDS, which must come.
    fn read(args: &mut Args<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut options = SetOptions { key: None, fields: None, span: Span::Unsaid };
        while !args.word("FIELDS") {
            if args.word("XX") {
                require(&mut options.key, true)?;
            } else if args.word("NX") {
                require(&mut options.key, false)?;
            } else if args.word("FXX") {
                require(&mut options.fields, true)?;
            } else if args.word("FNX") {
                require(&mut options.fields, false)?;
            } else {
                options.span.read_word(args, "KEEPTTL", Span::Keep)?;
            }
        }
        Ok(options)
    }

    /// Whether the condition on the fields of `pairs` holds in a hash.
    fn allow(self, hash: &Hash, mut pairs: Pairs<'a>, now: i64) -> bool {
        self.fields.is_none_or(|wanted| pairs.all(|(field, _)| hash.contains(field, now) == wanted))
    }

    fn lifetime(self, deadline: Option<UnixMs>) -> Lifetime {
        match deadline {
            Some(deadline) => Lifetime::Until(deadline.0),
            None if self.span == Span::Keep => Lifetime::Keep,
            None => Lifetime::Clear,
        }
    }
}

/// Notes a condition; the opposite one is a syntax error.
fn require(condition: &mut Option<bool>, wanted: bool) -> Result<(), CommandError> {
    if *condition == Some(!wanted) {
        return Err(CommandError::Syntax);
    }
    *condition = Some(wanted);
    Ok(())
}

/// `HSETEX key [NX | XX] [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds |
/// KEEPTTL] FIELDS numfields field value [field value ...]`
///
/// Sets all with one deadline, or none, and replies 1; 0 when a condition stopped it. A time that is past removes the fields
/// instead. O(fields named).
pub(super) fn hsetex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if !has_fields(args) {
        return Err(NUMFIELDS);
    }
    let options = SetOptions::read(args)?;
    let pairs = Pairs(read_fields(args, 2, NUMFIELDS)?);
    let named = pairs.clone();

    let exists = match ctx.db.peek(key).map(EntryRef::kind) {
        Some(Kind::Hash) => true,
        Some(_) => return Err(CommandError::WrongType),
        None => false,
    };
    if options.key.is_some_and(|wanted| wanted != exists) {
        ctx.reply.integer(0);
        return Ok(Outcome::Done);
    }
    let (now, limits) = (ctx.now, limits(ctx));
    let deadline = options.span.deadline(now, "hsetex")?;
    let edited = ctx.db.edit_or_new(key, |hash: &mut Hash| {
        let allowed = options.allow(hash, pairs.clone(), now.0);
        if allowed {
            set_all(hash, pairs, options.lifetime(deadline), now.0, limits);
        }
        allowed
    })?;
    if edited.result {
        ctx.touch(key, Event::Hash("hset"));
        if let Some(deadline) = deadline {
            ctx.notify(key, Event::Hash("hexpire"));
            if deadline <= now {
                ctx.db.count_expired_fields(key, named.clone().count());
                ctx.notify(key, Event::Hash("hexpired"));
            }
        }
        announce_removal(ctx, key, edited.removed);
        log_pairs(ctx, key, deadline, named);
    }
    ctx.reply.integer(i64::from(edited.result));
    Ok(Outcome::Done)
}

/// Logs values that were set with a deadline, as the time that it is; those whose time is past are gone.
fn log_pairs(ctx: &mut Context<'_>, key: Key<'_>, deadline: Option<UnixMs>, pairs: Pairs<'_>) {
    let (true, Some(deadline)) = (ctx.logs(), deadline) else { return };
    let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (time, count) = (time.format(deadline.0), count.format(pairs.clone().count()));
    if deadline <= ctx.now {
        let words = [&b"HDEL"[..], key.bytes];
        let words: Vec<&[u8]> = words.into_iter().chain(pairs.map(|(field, _)| field)).collect();
        return ctx.effect(&words);
    }
    let words = [&b"HSETEX"[..], key.bytes, b"PXAT", time.as_bytes(), b"FIELDS", count.as_bytes()];
    let pairs = pairs.flat_map(|(field, value)| [field, value]);
    let words: Vec<&[u8]> = words.into_iter().chain(pairs).collect();
    ctx.effect(&words);
}

fn set_all(hash: &mut Hash, pairs: Pairs<'_>, lifetime: Lifetime, now: i64, limits: Limits) {
    if matches!(lifetime, Lifetime::Until(deadline) if deadline <= now) {
        for (field, _) in pairs {
            hash.remove(field, now);
        }
    } else {
        hash.set_all(pairs, lifetime, now, limits);
    }
}

/// `HGETDEL key FIELDS numfields field [field ...]`
///
/// Replies the values, null for a missing one, and removes the fields. O(fields named).
pub(super) fn hgetdel<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    if !args.word("FIELDS") {
        return Err(CommandError::Syntax);
    }
    let fields = read_fields(args, 1, NUMFIELDS)?;

    let (now, count) = (ctx.now.0, fields.len());
    let (reply, mut changed) = (&mut ctx.reply, false);
    let edited = ctx.db.edit(key, |hash: &mut Hash| {
        reply.array(count);
        for field in fields {
            reply_found(reply, hash.get(field, now));
            changed |= hash.remove(field, now);
        }
    })?;
    if edited.is_none() {
        ctx.reply.array(count);
        (0..count).for_each(|_| ctx.reply.null());
    }
    if changed {
        ctx.touch(key, Event::Hash("hdel"));
    }
    announce_removal(ctx, key, edited.is_some_and(|edited| edited.removed));
    Ok(Outcome::Done)
}
