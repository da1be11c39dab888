//! The stream commands that add and trim, and XSETID.

use super::effect::{log_entry, log_trim};
use super::{exact_id, reply_id};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::limits;
use crate::call::spec::Outcome;
use crate::config::Config;
use crate::keyspace::Key;
use crate::value::object::Collection;
use crate::value::stream::Stream;
use crate::value::stream::entries::{MAX_ENTRY_BYTES, NewId};
use crate::value::stream::id::{IdText, StreamId};
use crate::value::stream::node::{Field, NodeLimits};
use crate::value::stream::trim::{Refs, Trim, TrimTo};
use smallvec::SmallVec;
use std::borrow::Cow;

/// Without LIMIT, approximate trimming stops after so many nodes full of entries.
const NODES_A_TRIM: u64 = 100;
/// The limit where nodes have no limit of entries.
const ENTRIES_A_TRIM: u64 = 10_000;
/// The greatest limit that is not asked for.
const MOST_A_TRIM: u64 = 1_000_000;

const UNLIMITED: CommandError =
    CommandError::text("ERR syntax error, LIMIT cannot be used without the special ~ option");
const ID_TOO_SMALL: CommandError =
    CommandError::text("ERR The ID specified in XADD is equal or smaller than the target stream top item");

/// `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value ...`
///
/// Replies the id of the new entry, null when NOMKSTREAM found no stream. O(fields), trimming O(entries that go).
pub(super) fn xadd<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let options = TrimOptions::read(args, true)?;
    let trim = options.trim(&ctx.shared.config)?;
    if trim.is_none() && options.limit.is_some() {
        return Err(UNLIMITED);
    }
    let id = match options.id {
        Some(IdText::Whole(id)) => NewId::Exactly(id),
        Some(IdText::Time(ms)) => NewId::Exactly(StreamId::new(ms, 0)),
        Some(IdText::AnySeq(ms)) => NewId::AnySeq(ms),
        None => NewId::Auto,
    };
    let fields = read_fields(args)?;
    if id == NewId::Exactly(StreamId::MIN) {
        return Err(CommandError::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    if fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MAX_ENTRY_BYTES {
        return Err(CommandError::text("ERR Elements are too large to be stored"));
    }

    let (limits, now_ms) = (node_limits(&ctx.shared.config), ctx.now.0.cast_unsigned());
    let Some(stream) = stream_to_extend(ctx, key, options.no_make)? else {
        ctx.reply.null();
        return Ok(Outcome::Done);
    };
    let id = append(stream, id, now_ms, &fields, limits)?;
    let refs = trim.as_ref().map(|trim| trim.refs);
    let trimmed = trim.map_or(0, |trim| stream.trim(&trim));

    ctx.touch(key, Event::Stream("xadd"));
    if trimmed > 0 {
        ctx.notify(key, Event::Stream("xtrim"));
    }
    log_entry(ctx, key, id, &fields, refs.filter(|_| trimmed > 0))?;
    reply_id(&mut ctx.reply, id);
    Ok(Outcome::Done)
}

fn read_fields<'a>(args: &mut Args<'a>) -> Result<SmallVec<[Field<'a>; 8]>, CommandError> {
    if args.remaining() < 2 || !args.remaining().is_multiple_of(2) {
        return Err(CommandError::WrongArity(Cow::Borrowed("xadd")));
    }
    let mut fields = SmallVec::new();
    while args.remaining() > 0 {
        fields.push((args.bytes()?, args.bytes()?));
    }
    Ok(fields)
}

fn node_limits(config: &Config) -> NodeLimits {
    limits::stream(config)
}

/// The stream at `key`, made where it is missing; `None` when it is and `no_make` forbids that.
fn stream_to_extend<'c>(
    ctx: &'c mut Context<'_>,
    key: Key<'_>,
    no_make: bool,
) -> Result<Option<&'c mut Stream>, CommandError> {
    if no_make { Ok(ctx.db.get_mut(key)?) } else { Ok(Some(ctx.db.get_or_new(key)?)) }
}

/// Adds an entry; an id that cannot be is refused before anything changes. A stream that was just made takes any.
fn append(
    stream: &mut Stream,
    id: NewId,
    now_ms: u64,
    fields: &[Field<'_>],
    limits: NodeLimits,
) -> Result<StreamId, CommandError> {
    let entries = stream.entries_mut();
    if entries.last_id() == StreamId::MAX {
        let text = "ERR The stream has exhausted the last possible ID, unable to add more items";
        return Err(CommandError::text(text));
    }
    let id = entries.next_id(id, now_ms).ok_or(ID_TOO_SMALL)?;
    entries.append(id, fields, limits);
    Ok(id)
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]`
///
/// Removes the oldest entries and replies how many. O(nodes that go, and the entries of one).
pub(super) fn xtrim<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let options = TrimOptions::read(args, false)?;
    let trim = options.trim(&ctx.shared.config)?;
    let trim = trim.ok_or(CommandError::text("ERR syntax error, XTRIM must be called with a trimming strategy"))?;

    let trimmed = ctx.db.get_mut::<Stream>(key)?.map_or(0, |stream| stream.trim(&trim));
    if trimmed > 0 {
        ctx.touch(key, Event::Stream("xtrim"));
        log_trim(ctx, key, trim.refs)?;
    }
    ctx.reply.integer(trimmed.cast_signed());
    Ok(Outcome::Done)
}

/// The options that XADD and XTRIM share, and those of XADD up to the id.
#[derive(Default)]
struct TrimOptions {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    refs: Option<Refs>,
    no_make: bool,
    /// The id of XADD; `None` for `*`.
    id: Option<IdText>,
}

impl TrimOptions {
    /// Reads words in any order; with `adding` up to the id and the id itself.
    fn read(args: &mut Args<'_>, adding: bool) -> Result<TrimOptions, CommandError> {
        let mut options = TrimOptions::default();
        while let Some(word) = args.peek() {
            if adding && word.split(|byte| *byte == 0).next() == Some(b"*") {
                args.bytes()?;
                return Ok(options);
            }
            if options.read_word(args, adding)? {
                continue;
            }
            if !adding {
                return Err(CommandError::Syntax);
            }
            options.id = Some(IdText::parse(args.bytes()?).ok_or(super::INVALID_ID)?);
            return Ok(options);
        }
        Ok(options)
    }

    /// Reads one option; `false` when the next word is none.
    fn read_word(&mut self, args: &mut Args<'_>, adding: bool) -> Result<bool, CommandError> {
        let followed = args.remaining() > 1;
        if followed && args.word("MAXLEN") {
            self.start(args)?;
            let len = u64::try_from(args.integer()?);
            let len = len.map_err(|_| CommandError::text("ERR The MAXLEN argument must be >= 0."))?;
            self.to = Some(TrimTo::Len(len));
        } else if followed && args.word("MINID") {
            self.start(args)?;
            self.to = Some(TrimTo::Id(exact_id(args.bytes()?)?));
        } else if followed && args.word("LIMIT") {
            let limit = u64::try_from(args.integer()?);
            self.limit = Some(limit.map_err(|_| CommandError::text("ERR The LIMIT argument must be >= 0."))?);
        } else if adding && args.word("NOMKSTREAM") {
            self.no_make = true;
        } else if self.refs.is_none()
            && let Some(refs) = read_refs(args)
        {
            self.refs = Some(refs);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// What MAXLEN and MINID have in common: they exclude each other, and `=` or `~` may follow.
    fn start(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        if self.to.is_some() {
            let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
            return Err(CommandError::text(text));
        }
        let operator = args.peek().filter(|_| args.remaining() > 1);
        self.approximate = operator == Some(b"~");
        if matches!(operator, Some(b"~" | b"=")) {
            args.bytes()?;
        }
        Ok(())
    }

    /// The trimming, if one was asked for.
    fn trim(&self, config: &Config) -> Result<Option<Trim>, CommandError> {
        let Some(to) = self.to else {
            let text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
            return if self.limit.is_some_and(|limit| limit > 0) { Err(CommandError::text(text)) } else { Ok(None) };
        };
        if self.limit.is_some() && !self.approximate {
            return Err(UNLIMITED);
        }
        let limit = match self.limit {
            Some(limit) => limit,
            None if self.approximate => usual_limit(config),
            None => 0,
        };
        Ok(Some(Trim { to, whole_nodes: self.approximate, limit, refs: self.refs.unwrap_or_default() }))
    }
}

fn usual_limit(config: &Config) -> u64 {
    match config.stream_node_max_entries().saturating_mul(NODES_A_TRIM) {
        0 => ENTRIES_A_TRIM,
        limit => limit.min(MOST_A_TRIM),
    }
}

/// Takes the next word if it says what becomes of references.
pub(super) fn read_refs(args: &mut Args<'_>) -> Option<Refs> {
    let words = [("KEEPREF", Refs::Keep), ("DELREF", Refs::Forget), ("ACKED", Refs::Respect)];
    words.into_iter().find(|(word, _)| args.word(word)).map(|(_, refs)| refs)
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`
///
/// Sets the figures of a stream. O(1).
pub(super) fn xsetid<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, id) = (args.key()?, exact_id(args.bytes()?)?);
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.word("ENTRIESADDED") {
            let number = u64::try_from(args.integer()?);
            added = Some(number.map_err(|_| CommandError::text("ERR entries_added must be positive"))?);
        } else if args.remaining() > 1 && args.word("MAXDELETEDID") {
            max_deleted = exact_id(args.bytes()?)?;
            if id < max_deleted {
                let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                return Err(CommandError::text(text));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let stream = ctx.db.get_mut::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    check_figures(stream, id, added)?;
    stream.entries_mut().set_last_id(id, added, Some(max_deleted).filter(|id| *id != StreamId::MIN));
    ctx.touch(key, Event::Stream("xsetid"));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// Whether the stream can have this last id and number of entries ever added.
fn check_figures(stream: &Stream, id: StreamId, added: Option<u64>) -> Result<(), CommandError> {
    let entries = stream.entries();
    let text = if id < entries.figures().max_deleted_id {
        "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
    } else if entries.last().is_some_and(|last| id < last.id) {
        "ERR The ID specified in XSETID is smaller than the target stream top item"
    } else if !stream.is_empty() && added.is_some_and(|added| added < entries.len()) {
        "ERR The entries_added specified in XSETID is smaller than the target stream length"
    } else {
        return Ok(());
    };
    Err(CommandError::text(text))
}
