//! The effects of stream commands whose words depend on the moment: an id that the clock gives, a trimming to whole nodes, a
//! delivery.
//!
//! A delivery is logged as what it left behind: who has which entry pending, since when, how often; so that the log says the
//! same whatever was new, idle or gone when the command ran.

use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::keyspace::Key;
use crate::value::object::Collection;
use crate::value::stream::Stream;
use crate::value::stream::group::Pending;
use crate::value::stream::id::StreamId;
use crate::value::stream::trim::Refs;

/// Logs a new entry under the id that it has got, and the trimming that came with it.
pub(super) fn log_entry(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    id: StreamId,
    fields: &[(&[u8], &[u8])],
    trimmed: Option<Refs>,
) -> Result<(), CommandError> {
    if !ctx.logs() {
        return Ok(());
    }
    let id = id.text();
    let head = [&b"XADD"[..], key.bytes, &id];
    let words: Vec<&[u8]> = head.into_iter().chain(fields.iter().flat_map(|(name, value)| [*name, *value])).collect();
    ctx.effect(&words);
    match trimmed {
        Some(refs) => log_trim(ctx, key, refs),
        None => Ok(()),
    }
}

/// Logs a trimming as one to the length that the stream has now: those that went are the first that could.
pub(super) fn log_trim(ctx: &mut Context<'_>, key: Key<'_>, refs: Refs) -> Result<(), CommandError> {
    if !ctx.logs() {
        return Ok(());
    }
    let len = ctx.db.get_mut::<Stream>(key)?.map_or(0, |stream| Collection::len(stream));
    // The word that means what is meant without one is left out: servers that do not know it read the log too.
    let refs: &[&[u8]] = match refs {
        Refs::Keep => &[],
        Refs::Forget => &[b"DELREF"],
        Refs::Respect => &[b"ACKED"],
    };
    let mut digits = itoa::Buffer::new();
    let trim: [&[u8]; 5] = [b"XTRIM", key.bytes, b"MAXLEN", b"=", digits.format(len).as_bytes()];
    ctx.effect(&[&trim[..], refs].concat());
    Ok(())
}

/// A consumer that has been given entries.
pub(super) struct Delivery<'a> {
    pub key: Key<'a>,
    pub group: &'a [u8],
    pub consumer: &'a [u8],
    /// The consumer was made.
    pub made: bool,
    /// What it was given.
    pub given: Vec<StreamId>,
    /// What is pending no more, because the entries are gone.
    pub gone: Vec<StreamId>,
}

impl Delivery<'_> {
    /// Logs what the delivery left behind.
    pub fn log(&self, ctx: &mut Context<'_>) -> Result<(), CommandError> {
        if !ctx.logs() {
            return Ok(());
        }
        let stream = ctx.db.get_mut::<Stream>(self.key)?;
        let Some(group) = stream.and_then(|stream| stream.groups().get(self.group)) else { return Ok(()) };
        // What has run over cannot be said in a request.
        let (last_id, read) = (group.last_id.text(), group.entries_read.filter(|read| *read >= 0));
        let pending: Vec<(StreamId, Pending)> =
            self.given.iter().filter_map(|id| Some((*id, *group.pending_at(*id)?))).collect();
        let [key, name, consumer] = [self.key.bytes, self.group, self.consumer];
        if self.made {
            ctx.effect(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
        }
        for (id, pending) in pending {
            self.log_pending(ctx, id, pending, &last_id);
        }
        if !self.gone.is_empty() {
            let ids: Vec<Vec<u8>> = self.gone.iter().map(|id| id.text().to_vec()).collect();
            let words: Vec<&[u8]> = [&b"XACK"[..], key, name].into_iter().chain(ids.iter().map(|id| &**id)).collect();
            ctx.effect(&words);
        }
        match read {
            Some(read) => {
                let read = read.to_string();
                ctx.effect(&[b"XGROUP", b"SETID", key, name, &last_id, b"ENTRIESREAD", read.as_bytes()]);
            }
            None => ctx.effect(&[b"XGROUP", b"SETID", key, name, &last_id]),
        }
        Ok(())
    }

    fn log_pending(&self, ctx: &mut Context<'_>, id: StreamId, pending: Pending, last_id: &[u8]) {
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        ctx.effect(&[
            b"XCLAIM",
            self.key.bytes,
            self.group,
            self.consumer,
            b"0",
            &id.text(),
            b"TIME",
            time.format(pending.delivered_ms).as_bytes(),
            b"RETRYCOUNT",
            count.format(pending.count).as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            last_id,
        ]);
    }
}
