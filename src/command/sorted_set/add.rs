//! ZADD and ZINCRBY.

use super::{changed, limits};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::Key;
use crate::value::sorted_set::{Change, NotANumber, Rules, SortedSet};
use smallvec::SmallVec;

const BOTH: CommandError = CommandError::text("ERR XX and NX options at the same time are not compatible");
const SEVERAL: CommandError = CommandError::text("ERR GT, LT, and/or NX options at the same time are not compatible");
const ONE_PAIR: CommandError = CommandError::text("ERR INCR option supports a single increment-element pair");
const NAN: CommandError = CommandError::text("ERR resulting score is not a number (NaN)");

/// Members with their scores, in the order of the request.
pub(in crate::command) type Pairs<'a> = SmallVec<[(f64, &'a [u8]); 2]>;

/// The leading words of ZADD.
struct AddOptions {
    rules: Rules,
    /// Changed members count, too.
    count_changed: bool,
}

impl AddOptions {
    fn read(args: &mut Args<'_>) -> AddOptions {
        let (mut rules, mut count_changed) = (Rules::default(), false);
        loop {
            if args.word("NX") {
                rules.only_new = true;
            } else if args.word("XX") {
                rules.only_existing = true;
            } else if args.word("CH") {
                count_changed = true;
            } else if args.word("INCR") {
                rules.increment = true;
            } else if args.word("GT") {
                rules.only_greater = true;
            } else if args.word("LT") {
                rules.only_less = true;
            } else {
                return AddOptions { rules, count_changed };
            }
        }
    }

    /// Refuses words that contradict each other, or the number of members.
    fn check(&self, words: usize) -> Result<(), CommandError> {
        let Rules { increment, only_new, only_existing, only_greater, only_less } = self.rules;
        if words == 0 || !words.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        if only_new && only_existing {
            return Err(BOTH);
        }
        if only_new && (only_greater || only_less) || only_greater && only_less {
            return Err(SEVERAL);
        }
        if increment && words > 2 { Err(ONE_PAIR) } else { Ok(()) }
    }
}

fn read_pairs<'a>(args: &mut Args<'a>) -> Result<Pairs<'a>, CommandError> {
    let mut pairs = Pairs::with_capacity(args.remaining() / 2);
    while args.remaining() > 0 {
        pairs.push((args.float()?, args.bytes()?));
    }
    Ok(pairs)
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]`
///
/// Replies the number of members added (`CH`: added or changed); with `INCR` the new score, or null when a condition
/// stopped it. O(log n) a pair. All scores are read before the set is touched.
pub(super) fn zadd<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let options = AddOptions::read(args);
    options.check(args.remaining())?;
    let pairs = read_pairs(args)?;
    args.finish()?;

    let Tally { added, updated, score } = add(ctx, key, &pairs, options.rules)?;
    match score {
        _ if !options.rules.increment => ctx.reply.count(added + if options.count_changed { updated } else { 0 }),
        Some(score) => ctx.reply.double(score),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

/// `ZINCRBY key increment member`
///
/// Replies the new score. O(log n). A word of ZADD in place of the increment is a syntax error, as in Redis.
pub(super) fn zincrby<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let rules = Rules { increment: true, ..AddOptions::read(args).rules };
    AddOptions { rules, count_changed: false }.check(args.remaining())?;
    let pairs = read_pairs(args)?;
    args.finish()?;

    let score = add(ctx, key, &pairs, rules)?.score;
    ctx.reply.double(score.unwrap_or(0.0));
    Ok(Outcome::Done)
}

/// What became of some members.
#[derive(Default)]
pub(in crate::command) struct Tally {
    pub(in crate::command) added: usize,
    pub(in crate::command) updated: usize,
    /// Of the last member, unless a rule forbade its change.
    score: Option<f64>,
}

impl Tally {
    fn note(&mut self, change: Change) {
        self.score = match change {
            Change::Added(score) | Change::Updated(score) | Change::Same(score) => Some(score),
            Change::Refused => None,
        };
        self.added += usize::from(matches!(change, Change::Added(_)));
        self.updated += usize::from(matches!(change, Change::Updated(_)));
    }
}

/// Gives members scores as far as `rules` allow, in a set that is made when missing unless they forbid it.
pub(in crate::command) fn add(
    ctx: &mut Context<'_>,
    key: Key<'_>,
    pairs: &Pairs<'_>,
    rules: Rules,
) -> Result<Tally, CommandError> {
    let limits = limits(ctx);
    let found = if rules.only_existing { ctx.db.get_mut(key)? } else { Some(ctx.db.get_or_new::<SortedSet>(key)?) };
    let Some(set) = found else { return Ok(Tally::default()) };
    let longest = pairs.iter().map(|(_, member)| member.len()).max().unwrap_or(0);
    set.prepare(pairs.len(), longest, limits);
    let mut tally = Tally::default();
    for (score, member) in pairs {
        tally.note(set.add(member, *score, rules, limits).map_err(|NotANumber| NAN)?);
    }
    if tally.added + tally.updated > 0 {
        let event = if rules.increment { "zincr" } else { "zadd" };
        changed(ctx, key, event, tally.added + tally.updated);
    }
    Ok(tally)
}
