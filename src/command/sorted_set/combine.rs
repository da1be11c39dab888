//! Unions, intersections and differences of sorted sets.
//!
//! The smallest operand comes first, except in a difference: that is the order in which scores are added up, and sums of
//! doubles depend on it. Operands are looked at side by side in the keyspace and not copied.

use super::{limits, reply_members, store};
use crate::call::args::Args;
use crate::call::context::Context;
use crate::call::error::CommandError;
use crate::call::spec::Outcome;
use crate::keyspace::entry::EntryRef;
use crate::keyspace::{Key, View};
use crate::value::listpack::Item;
use crate::value::object::{Collection, ObjectRef};
use crate::value::set::Set;
use crate::value::sorted_set::{Collected, Limits, SortedSet};
use std::collections::HashMap;

const NOT_WEIGHT: CommandError = CommandError::text("ERR weight value is not a float");
const NEGATIVE_LIMIT: CommandError = CommandError::text("ERR LIMIT can't be negative");

/// What is made of the operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of a member in several operands become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn read(args: &mut Args<'_>) -> Result<Aggregate, CommandError> {
        match () {
            () if args.word("SUM") => Ok(Aggregate::Sum),
            () if args.word("MIN") => Ok(Aggregate::Min),
            () if args.word("MAX") => Ok(Aggregate::Max),
            () => Err(CommandError::Syntax),
        }
    }

    fn merge(self, one: f64, other: f64) -> f64 {
        match self {
            // Infinities of both signs cancel out.
            Aggregate::Sum => number(one + other),
            Aggregate::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Aggregate::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// 0 in place of NaN, which 0 times infinity gives.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A key with what its scores are multiplied by.
#[derive(Clone, Copy)]
struct Operand<'a> {
    key: Key<'a>,
    weight: f64,
}

/// What a request asks for.
struct Query<'a> {
    operation: Operation,
    operands: Vec<Operand<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Of ZINTERCARD; 0: none.
    limit: usize,
}

/// Which words a command takes behind its keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

impl<'a> Query<'a> {
    /// Reads `numkeys`, the keys, looks whether they hold what can be combined, and reads the words behind them: that
    /// order shows in the errors.
    fn read(
        ctx: &mut Context<'a>,
        args: &mut Args<'a>,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Query<'a>, CommandError> {
        let operands = read_keys(ctx, args)?;
        for operand in &operands {
            ctx.db.read(operand.key);
            check_type(&mut ctx.db, operand.key)?;
        }
        let mut query = Query { operation, operands, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        while args.remaining() > 0 {
            query.read_word(args, purpose)?;
        }
        Ok(query)
    }

    fn read_word(&mut self, args: &mut Args<'a>, purpose: Purpose) -> Result<(), CommandError> {
        let weighted = self.operation != Operation::Diff && purpose != Purpose::Count;
        if weighted && args.remaining() > self.operands.len() && args.word("WEIGHTS") {
            for operand in &mut self.operands {
                operand.weight = args.float_or(NOT_WEIGHT)?;
            }
        } else if weighted && args.remaining() > 1 && args.word("AGGREGATE") {
            self.aggregate = Aggregate::read(args)?;
        } else if purpose == Purpose::Reply && args.word("WITHSCORES") {
            self.with_scores = true;
        } else if purpose == Purpose::Count && args.remaining() > 1 && args.word("LIMIT") {
            self.limit = usize::try_from(args.integer_or(NEGATIVE_LIMIT)?).map_err(|_| NEGATIVE_LIMIT)?;
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(())
    }

    /// Runs it. O(members of all operands) for a union, else O(members of the first * operands), where a key that is named
    /// again costs an addition a member and no lookup.
    fn run(&self, db: &View<'_>) -> Collected {
        let sources = self.sources(db);
        match self.operation {
            Operation::Union => union(&sources, self.aggregate),
            Operation::Inter => inter(&sources, self.aggregate),
            Operation::Diff => diff(&sources),
        }
    }

    /// The operands' contents, the smallest first where the order is free.
    fn sources<'db>(&self, db: &'db View<'_>) -> Vec<Source<'db>> {
        let source = |operand: &Operand<'_>| Source { content: Content::of(db, operand.key), weight: operand.weight };
        let mut sources: Vec<Source<'db>> = self.operands.iter().map(source).collect();
        if self.operation != Operation::Diff {
            sources.sort_by_key(Source::len);
        }
        sources
    }
}

fn read_keys<'a>(ctx: &Context<'a>, args: &mut Args<'a>) -> Result<Vec<Operand<'a>>, CommandError> {
    let number = args.integer()?;
    let number = match usize::try_from(number) {
        Ok(number) if number > 0 => number,
        _ => {
            let name = ctx.command_name();
            return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
        }
    };
    if number > args.remaining() {
        return Err(CommandError::Syntax);
    }
    (0..number).map(|_| Ok(Operand { key: args.key()?, weight: 1.0 })).collect()
}

/// Refuses keys that hold neither a sorted set nor a set.
fn check_type(db: &mut View<'_>, key: Key<'_>) -> Result<(), CommandError> {
    match db.peek(key).map(EntryRef::object) {
        None | Some(Some(ObjectRef::SortedSet(_) | ObjectRef::Set(_))) => Ok(()),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// What a key holds.
#[derive(Clone, Copy)]
enum Content<'db> {
    Nothing,
    SortedSet(&'db SortedSet),
    /// Every member counts as one with the score 1.
    Set(&'db Set),
}

impl<'db> Content<'db> {
    fn of(db: &'db View<'_>, key: Key<'_>) -> Content<'db> {
        match db.glance(key) {
            Some(ObjectRef::SortedSet(set)) => Content::SortedSet(set),
            Some(ObjectRef::Set(set)) => Content::Set(set),
            _ => Content::Nothing,
        }
    }

    fn len(self) -> usize {
        match self {
            Content::Nothing => 0,
            Content::SortedSet(set) => set.len(),
            Content::Set(set) => set.len(),
        }
    }

    /// Where it lies, which tells it from what other keys hold; 0 for nothing.
    fn address(self) -> usize {
        match self {
            Content::Nothing => 0,
            Content::SortedSet(set) => std::ptr::from_ref(set).addr(),
            Content::Set(set) => std::ptr::from_ref(set).addr(),
        }
    }

    fn score(self, member: Item<'_>) -> Option<f64> {
        match self {
            Content::Nothing => None,
            Content::SortedSet(set) => set.score(member.text(&mut itoa::Buffer::new())),
            Content::Set(set) => set.contains_item(member).then_some(1.0),
        }
    }

    /// Shows the members with their scores while `visit` wants more.
    fn each(self, visit: &mut dyn FnMut(Item<'_>, f64) -> bool) {
        match self {
            Content::Nothing => {}
            Content::SortedSet(set) => {
                set.iter().all(|(member, score)| visit(member, score));
            }
            Content::Set(set) => {
                set.iter().all(|member| visit(member, 1.0));
            }
        }
    }
}

/// What an operand holds.
struct Source<'db> {
    content: Content<'db>,
    weight: f64,
}

impl Source<'_> {
    fn len(&self) -> usize {
        self.content.len()
    }
}

/// What several operands hold, each content once: a request may name the same key 100,000 times.
struct Distinct<'db> {
    /// In the order in which operands first name them.
    contents: Vec<Content<'db>>,
    /// For each operand, which of the contents it is.
    places: Vec<usize>,
}

impl<'db> Distinct<'db> {
    /// O(operands).
    fn of(sources: &[Source<'db>]) -> Distinct<'db> {
        let (mut contents, mut known) = (Vec::new(), HashMap::new());
        let place = |source: &Source<'db>| {
            *known.entry(source.content.address()).or_insert_with(|| {
                contents.push(source.content);
                contents.len() - 1
            })
        };
        let places = sources.iter().map(place).collect();
        Distinct { contents, places }
    }
}

fn union(sources: &[Source<'_>], aggregate: Aggregate) -> Collected {
    let mut result = Collected::default();
    for source in sources {
        source.content.each(&mut |member, score| {
            let score = number(score * source.weight);
            result.add(member.text(&mut itoa::Buffer::new()), score, |one, other| aggregate.merge(one, other));
            true
        });
    }
    result
}

/// Scores are merged operand by operand, for sums of doubles depend on it, but looked up once for all operands with the
/// same key.
fn inter(sources: &[Source<'_>], aggregate: Aggregate) -> Collected {
    let (mut result, distinct) = (Collected::default(), Distinct::of(sources));
    let ([first, others @ ..], [first_content, other_contents @ ..]) = (sources, &distinct.contents[..]) else {
        return result;
    };
    let mut scores = Vec::with_capacity(distinct.contents.len());
    first_content.each(&mut |member, score| {
        scores.clear();
        scores.push(score);
        scores.extend(other_contents.iter().map_while(|content| content.score(member)));
        if scores.len() == distinct.contents.len() {
            let merge = |merged, (source, place): (&Source<'_>, &usize)| {
                aggregate.merge(merged, scores[*place] * source.weight)
            };
            let score = others.iter().zip(&distinct.places[1..]).fold(number(score * first.weight), merge);
            result.add(member.text(&mut itoa::Buffer::new()), score, |_, other| other);
        }
        true
    });
    result
}

fn diff(sources: &[Source<'_>]) -> Collected {
    let (mut result, distinct) = (Collected::default(), Distinct::of(sources));
    let ([first, others @ ..], [_, again @ ..]) = (&distinct.contents[..], &distinct.places[..]) else { return result };
    if !again.contains(&0) {
        first.each(&mut |member, score| {
            if others.iter().all(|content| content.score(member).is_none()) {
                result.add(member.text(&mut itoa::Buffer::new()), score, |_, other| other);
            }
            true
        });
    }
    result
}

/// `ZUNION numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
///
/// Replies the members of any operand, in the order of their scores. O(N + M log M).
pub(super) fn zunion<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_result(ctx, args, Operation::Union)
}

/// `ZINTER numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]`
///
/// Replies the members of all operands, in the order of their scores. O(N * keys + M log M).
pub(super) fn zinter<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_result(ctx, args, Operation::Inter)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`
///
/// Replies the members of the first operand that no other has, in the order of their scores. O(N * keys + M log M).
pub(super) fn zdiff<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    reply_result(ctx, args, Operation::Diff)
}

fn reply_result<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>, operation: Operation) -> Result<Outcome, CommandError> {
    let query = Query::read(ctx, args, operation, Purpose::Reply)?;
    args.finish()?;

    // A listpack would lose the sign of -0.
    let result = query.run(&ctx.db).finish(Limits { entries: 0, value_bytes: 0 });
    reply_members(&mut ctx.reply, result.iter(), query.with_scores);
    Ok(Outcome::Done)
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
///
/// Replies how many members all operands have, but no more than the limit. O(N * keys), less with a limit.
pub(super) fn zintercard<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let query = Query::read(ctx, args, Operation::Inter, Purpose::Count)?;
    args.finish()?;

    let contents = Distinct::of(&query.sources(&ctx.db)).contents;
    let mut count = 0;
    if let [first, others @ ..] = &contents[..] {
        first.each(&mut |member, _| {
            count += usize::from(others.iter().all(|content| content.score(member).is_some()));
            query.limit == 0 || count < query.limit
        });
    }
    ctx.reply.count(count);
    Ok(Outcome::Done)
}

/// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
///
/// Stores what [`zunion`] replies and replies its size; an empty result deletes the destination.
pub(super) fn zunionstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store_result(ctx, args, Operation::Union, "zunionstore")
}

/// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ...] [AGGREGATE SUM|MIN|MAX]`
///
/// Stores what [`zinter`] replies and replies its size; an empty result deletes the destination.
pub(super) fn zinterstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store_result(ctx, args, Operation::Inter, "zinterstore")
}

/// `ZDIFFSTORE destination numkeys key [key ...]`
///
/// Stores what [`zdiff`] replies and replies its size; an empty result deletes the destination.
pub(super) fn zdiffstore<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    store_result(ctx, args, Operation::Diff, "zdiffstore")
}

fn store_result<'a>(
    ctx: &mut Context<'a>,
    args: &mut Args<'a>,
    operation: Operation,
    event: &'static str,
) -> Result<Outcome, CommandError> {
    let destination = args.key()?;
    let query = Query::read(ctx, args, operation, Purpose::Store)?;
    args.finish()?;

    let result = query.run(&ctx.db).finish(limits(ctx));
    store(ctx, destination, result, event);
    Ok(Outcome::Done)
}
