//! The list commands that move an element from one list to another, or round its own.

use super::pop::{pop_event, removed};
use super::push::push_event;
use super::{fill, side};
use crate::call::args::Args;
use crate::call::blocking::OnTimeout;
use crate::call::context::{Blocking, Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::{Key, Ttl};
use crate::value::list::{List, Side};
use crate::value::object::Collection;
use std::time::Duration;

/// From which end of which list to which end of which.
struct Transfer<'a> {
    source: Key<'a>,
    target: Key<'a>,
    from: Side,
    to: Side,
}

impl<'a> Transfer<'a> {
    /// Reads `source destination LEFT|RIGHT LEFT|RIGHT`.
    fn read(args: &mut Args<'a>) -> Result<Transfer<'a>, CommandError> {
        Ok(Transfer { source: args.key()?, target: args.key()?, from: side(args)?, to: side(args)? })
    }

    /// Reads `source destination`, for the old commands that move from the right to the left.
    fn read_old(args: &mut Args<'a>) -> Result<Transfer<'a>, CommandError> {
        Ok(Transfer { source: args.key()?, target: args.key()?, from: Side::Right, to: Side::Left })
    }

    /// Moves an element and replies it; `false`, and no reply, when the source is missing.
    fn run(&self, ctx: &mut Context<'_>) -> Result<bool, CommandError> {
        let fill = fill(ctx);
        if ctx.db.get_mut::<List>(self.source)?.is_none() {
            return Ok(false);
        }
        let made = ctx.db.get_mut::<List>(self.target)?.is_none();
        let Some(list) = ctx.db.get_mut::<List>(self.source)? else { return Ok(false) };
        let Some(element) = list.pop(self.from, |element| element.to_vec()) else { return Ok(false) };

        let mut fresh = List::default();
        let target = if made { Some(&mut fresh) } else { ctx.db.get_mut::<List>(self.target)? };
        if let Some(target) = target {
            target.grow(fill, element.len(), 1);
            target.push(self.to, &element);
        }
        if made {
            ctx.db.put(self.target, fresh, Ttl::Clear);
        }
        self.announce(ctx)?;
        ctx.reply.bulk(&element);
        let [from, to] = [self.from, self.to].map(|side| if side == Side::Left { &b"LEFT"[..] } else { b"RIGHT" });
        ctx.effect(&[b"LMOVE", self.source.bytes, self.target.bytes, from, to]);
        Ok(true)
    }

    /// Announces what was moved, and removes an emptied source.
    fn announce(&self, ctx: &mut Context<'_>) -> Result<(), CommandError> {
        let fill = fill(ctx);
        ctx.touch(self.target, Event::List(push_event(self.to)));
        let Some(list) = ctx.db.get_mut::<List>(self.source)? else { return Ok(()) };
        list.shrink(fill);
        let empty = list.is_empty();
        removed(ctx, self.source, pop_event(self.from), empty);
        ctx.dirty -= 1; // one change, though two keys
        Ok(())
    }

    fn run_or_wait(&self, ctx: &mut Context<'_>, timeout: Option<Duration>) -> Result<Outcome, CommandError> {
        if self.run(ctx)? {
            return Ok(Outcome::Done);
        }
        if ctx.blocking == Blocking::Refused {
            ctx.reply.null();
            return Ok(Outcome::Done);
        }
        ctx.block(&[self.source], timeout, OnTimeout::NullArray)
    }
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
///
/// Moves an element and replies it, or null for a missing source. O(1).
pub(super) fn lmove<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let transfer = Transfer::read(args)?;
    if !transfer.run(ctx)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// `RPOPLPUSH source destination`
///
/// LMOVE from the right to the left. O(1).
pub(super) fn rpoplpush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let transfer = Transfer::read_old(args)?;
    if !transfer.run(ctx)? {
        ctx.reply.null();
    }
    Ok(Outcome::Done)
}

/// `BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout`
///
/// As LMOVE; waits when the source is missing, and replies a null array when its time is up. O(1).
pub(super) fn blmove<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let transfer = Transfer::read(args)?;
    let timeout = args.timeout()?;
    transfer.run_or_wait(ctx, timeout)
}

/// `BRPOPLPUSH source destination timeout`
///
/// BLMOVE from the right to the left. O(1).
pub(super) fn brpoplpush<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let transfer = Transfer::read_old(args)?;
    let timeout = args.timeout()?;
    transfer.run_or_wait(ctx, timeout)
}
