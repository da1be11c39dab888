//! `LCS`: the command around [`crate::value::lcs`].

use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::{Outcome, Slices};
use crate::keyspace::Key;
use crate::protocol::reply::Reply;
use crate::value::lcs::Lcs;
use crate::value::string::StringRef;
use bytes::Bytes;

/// Units of [`Lcs::step`] that are done at once: some half a millisecond.
const SLICE: usize = 256 * 1024;

/// Bytes of a cell of the table that Redis allocates: its limit is ours, though we need a thirtieth of it.
const CELL_BYTES: u64 = 4;

const NOT_STRINGS: CommandError = CommandError::text("ERR The specified keys must contain string values");
const BOTH: CommandError = CommandError::text("ERR If you want both the length and indexes, please just use IDX.");
const TOO_LONG: CommandError = CommandError::text("ERR String too long for LCS");
const TOO_LARGE: CommandError =
    CommandError::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const NO_MEMORY: CommandError =
    CommandError::text("ERR Insufficient memory, failed allocating transient memory for LCS");

/// What is replied.
#[derive(Clone, Copy, Default)]
struct Options {
    len: bool,
    idx: bool,
    min_match_len: usize,
    with_match_len: bool,
}

impl Options {
    fn read(args: &mut Args<'_>) -> Result<Options, CommandError> {
        let mut options = Options::default();
        while args.remaining() > 0 {
            if args.word("IDX") {
                options.idx = true;
            } else if args.word("LEN") {
                options.len = true;
            } else if args.word("WITHMATCHLEN") {
                options.with_match_len = true;
            } else if args.word("MINMATCHLEN") {
                options.min_match_len = min_match_len(args)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.idx && options.len { Err(BOTH) } else { Ok(options) }
    }

    fn reply(self, lcs: &Lcs, reply: &mut Reply<'_>) {
        if self.len {
            reply.count(lcs.len());
        } else if self.idx {
            self.reply_matches(lcs, reply);
        } else {
            reply.bulk_large(Bytes::from(lcs.text()));
        }
    }

    fn reply_matches(self, lcs: &Lcs, reply: &mut Reply<'_>) {
        let shown = || lcs.runs().iter().filter(|run| run.len >= self.min_match_len);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(shown().count());
        for run in shown() {
            reply.array(if self.with_match_len { 3 } else { 2 });
            for start in [run.a, run.b] {
                reply.array(2);
                reply.count(start);
                reply.count(start + run.len - 1);
            }
            if self.with_match_len {
                reply.count(run.len);
            }
        }
        reply.bulk(b"len");
        reply.count(lcs.len());
    }
}

/// A negative length asks for all matches.
fn min_match_len(args: &mut Args<'_>) -> Result<usize, CommandError> {
    let len = args.integer()?.max(0);
    Ok(usize::try_from(len).unwrap_or(usize::MAX))
}

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]`
///
/// Replies the longest common subsequence; with LEN its length; with IDX where its runs lie in both strings, the last
/// first. O(n * m / 64); long ones in slices, without a lock. Both keys are looked up before an error of the options is
/// given, because the error of their type goes first.
pub(super) fn lcs<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (first, second) = (args.key()?, args.key()?);
    let options = Options::read(args);

    let (a, b) = (text_of(ctx, first), text_of(ctx, second));
    let (a, b, options) = (a?, b?, options?);
    check_size(a.len(), b.len(), ctx.shared.config.proto_max_bulk_len())?;

    let mut lcs = Lcs::new(a, b, !options.len).map_err(|_| NO_MEMORY)?;
    if lcs.cost() > SLICE {
        return Ok(Outcome::Slices(Box::new(Running { lcs, options })));
    }
    while !lcs.step(SLICE) {}
    options.reply(&lcs, &mut ctx.reply);
    Ok(Outcome::Done)
}

fn text_of(ctx: &mut Context<'_>, key: Key<'_>) -> Result<Bytes, CommandError> {
    let string = ctx.db.string(key).map_err(|_| NOT_STRINGS)?;
    Ok(string.map_or_else(Bytes::new, StringRef::to_bytes))
}

fn check_size(a: usize, b: usize, limit: u64) -> Result<(), CommandError> {
    let edges = (u32::try_from(a), u32::try_from(b));
    let (Ok(a @ 0..0xffff_fffe), Ok(b @ 0..0xffff_fffe)) = edges else { return Err(TOO_LONG) };
    let cells = (u64::from(a) + 1) * (u64::from(b) + 1);
    if cells.checked_mul(CELL_BYTES).is_none_or(|bytes| bytes > limit) { Err(TOO_LARGE) } else { Ok(()) }
}

/// A comparison too long to be done at once.
struct Running {
    lcs: Lcs,
    options: Options,
}

impl Slices for Running {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        let done = self.lcs.step(SLICE);
        if done {
            self.options.reply(&self.lcs, &mut ctx.reply);
        }
        done
    }
}
