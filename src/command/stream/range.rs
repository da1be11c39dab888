//! The stream commands that read without a group and do not wait.

use super::{range_end, range_start, reply_entries};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::protocol::reply::Reply;
use crate::value::object::Collection;
use crate::value::stream::Stream;
use crate::value::stream::entries::Entries;
use crate::value::stream::node::Entry;

/// `XLEN key`
///
/// Replies the number of entries, 0 for a missing key. O(1).
pub(super) fn xlen<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    args.finish()?;
    let len = ctx.db.get::<Stream>(key)?.map_or(0, Stream::len);
    ctx.reply.count(len);
    Ok(Outcome::Done)
}

/// `XRANGE key start end [COUNT count]`
///
/// Replies the entries between the two ids, both included unless written behind `(`. O(entries replied).
pub(super) fn xrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (start, end) = (range_start(args.bytes()?)?, range_end(args.bytes()?)?);
    let count = Count::read(args)?;
    answer(&mut ctx.reply, ctx.db.get(key)?, count, |entries| entries.range(start, end))
}

/// `XREVRANGE key end start [COUNT count]`
///
/// As XRANGE, the last entry first.
pub(super) fn xrevrange<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let (end, start) = (args.bytes()?, args.bytes()?);
    let (start, end) = (range_start(start)?, range_end(end)?);
    let count = Count::read(args)?;
    answer(&mut ctx.reply, ctx.db.get(key)?, count, |entries| entries.range_back(start, end))
}

/// How many entries are asked for; `None`: all.
#[derive(Clone, Copy)]
struct Count(Option<usize>);

impl Count {
    /// The rest of the arguments: `COUNT count` any number of times, of which the last holds. A negative one is 0.
    fn read(args: &mut Args<'_>) -> Result<Count, CommandError> {
        let mut count = Count(None);
        while args.remaining() > 0 {
            if !args.word("COUNT") || args.remaining() == 0 {
                return Err(CommandError::Syntax);
            }
            count.0 = Some(usize::try_from(args.integer()?).unwrap_or(0));
        }
        Ok(count)
    }
}

/// The reply of a range: nothing of what is missing, a null where nothing was asked for.
fn answer<'e, I: Iterator<Item = Entry<'e>>>(
    reply: &mut Reply<'_>,
    stream: Option<&'e Stream>,
    count: Count,
    entries: impl FnOnce(&'e Entries) -> I,
) -> Result<Outcome, CommandError> {
    match (stream, count.0) {
        (None, _) => reply.array(0),
        (Some(_), Some(0)) => reply.null_array(),
        (Some(stream), count) => {
            reply_entries(reply, entries(stream.entries()).take(count.unwrap_or(usize::MAX)));
        }
    }
    Ok(Outcome::Done)
}
