//! The stream commands that delete entries by their ids.

use super::add::read_refs;
use super::exact_id;
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::value::stream::id::StreamId;
use crate::value::stream::trim::Refs;
use crate::value::stream::{Deletion, Stream};
use smallvec::SmallVec;

/// Ids of a request.
pub(super) type Ids = SmallVec<[StreamId; 8]>;

/// The rest of the arguments as ids.
pub(super) fn read_ids(args: &mut Args<'_>) -> Result<Ids, CommandError> {
    let mut ids = Ids::new();
    while args.remaining() > 0 {
        ids.push(exact_id(args.bytes()?)?);
    }
    Ok(ids)
}

/// `XDEL key id [id ...]`
///
/// Deletes entries and replies how many there were. O(1) an id. For a missing key the ids are not looked at, as in Redis.
pub(super) fn xdel<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let mut deleted = 0;
    if let Some(stream) = ctx.db.get_mut::<Stream>(key)? {
        for id in read_ids(args)? {
            deleted += usize::from(stream.delete(id, Refs::Keep) == Deletion::Deleted);
        }
    }
    if deleted > 0 {
        ctx.touch(key, Event::Stream("xdel"));
    }
    ctx.reply.count(deleted);
    Ok(Outcome::Done)
}

/// `[KEEPREF|DELREF|ACKED] IDS numids id [id ...]`, in either order.
struct Condition<'a> {
    refs: Refs,
    ids: Args<'a>,
    count: usize,
}

impl<'a> Condition<'a> {
    fn read(args: &mut Args<'a>) -> Result<Condition<'a>, CommandError> {
        let (mut refs, mut ids) = (None, None);
        while args.remaining() > 0 {
            if refs.is_none()
                && let Some(read) = read_refs(args)
            {
                refs = Some(read);
            } else if args.remaining() > 1 && args.word("IDS") {
                ids = Some(Condition::read_count(args)?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (ids, count) = ids.ok_or(CommandError::Syntax)?;
        Ok(Condition { refs: refs.unwrap_or_default(), ids, count })
    }

    /// The number of ids; steps over them, to be read when there is a stream to look in.
    fn read_count(args: &mut Args<'a>) -> Result<(Args<'a>, usize), CommandError> {
        let wrong = CommandError::text("ERR Number of IDs must be a positive integer");
        let count = args.integer_or(wrong.clone())?;
        let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(wrong)?;
        if count > args.remaining() {
            let text = "ERR The `numids` parameter must match the number of arguments";
            return Err(CommandError::text(text));
        }
        let ids = args.clone();
        (0..count).try_for_each(|_| args.bytes().map(|_| ()))?;
        Ok((ids, count))
    }

    fn ids(mut self) -> Result<Ids, CommandError> {
        (0..self.count).map(|_| exact_id(self.ids.bytes()?)).collect()
    }
}

/// `XDELEX key [KEEPREF|DELREF|ACKED] IDS numids id [id ...]`
///
/// Deletes entries and replies for each id 1, -1 where there is none, or 2 where a group still refers to it. O(1) an id,
/// times the groups.
pub(super) fn xdelex<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let condition = Condition::read(args)?;
    let (refs, count) = (condition.refs, condition.count);
    let mut fates: SmallVec<[Fate; 8]> = SmallVec::new();
    if let Some(stream) = ctx.db.get_mut::<Stream>(key)? {
        fates.extend(condition.ids()?.into_iter().map(|id| Fate::of(stream.delete(id, refs))));
    }
    if fates.contains(&Fate::Deleted) {
        ctx.touch(key, Event::Stream("xdel"));
    }
    reply_fates(ctx, &fates, count);
    Ok(Outcome::Done)
}

/// `XACKDEL key group [KEEPREF|DELREF|ACKED] IDS numids id [id ...]`
///
/// Acknowledges, deletes the entries, and replies for each id 1, -1 where it was not pending, or 2 where a group still
/// refers to it. O(log n) an id.
pub(super) fn xackdel<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, group) = (args.key()?, args.bytes()?);
    let condition = Condition::read(args)?;
    let (refs, count) = (condition.refs, condition.count);
    let mut fates: SmallVec<[Fate; 8]> = SmallVec::new();
    let mut deleted = false;
    if let Some(stream) = ctx.db.get_mut::<Stream>(key)?
        && stream.groups().get(group).is_some()
    {
        for id in condition.ids()? {
            let pending = stream.groups_mut().get_mut(group).and_then(|group| group.acknowledge(id));
            let fate = pending.map(|_| stream.delete(id, refs));
            deleted |= fate == Some(Deletion::Deleted);
            fates.push(match fate {
                None => Fate::Missing,
                Some(Deletion::Referenced) => Fate::Referenced,
                Some(_) => Fate::Deleted,
            });
        }
    }
    if fates.iter().any(|fate| *fate != Fate::Missing) {
        ctx.touch(key, if deleted { Event::Stream("xdel") } else { Event::Silent });
    }
    reply_fates(ctx, &fates, count);
    Ok(Outcome::Done)
}

/// What became of an id, as XDELEX and XACKDEL number it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Missing = -1,
    Deleted = 1,
    Referenced = 2,
}

impl Fate {
    fn of(deletion: Deletion) -> Fate {
        match deletion {
            Deletion::Missing => Fate::Missing,
            Deletion::Deleted => Fate::Deleted,
            Deletion::Referenced => Fate::Referenced,
        }
    }
}

/// One number an id; without a stream or a group, of which nothing is known, every id is missing.
fn reply_fates(ctx: &mut Context<'_>, fates: &[Fate], count: usize) {
    ctx.reply.array(count);
    for index in 0..count {
        ctx.reply.integer(fates.get(index).copied().unwrap_or(Fate::Missing) as i64);
    }
}
