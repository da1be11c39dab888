//! BITFIELD: integers of any width inside a string.

use super::{len_with, offset};
use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::{KeyFlags, Outcome};
use crate::keyspace::Key;
use crate::protocol::batch::RequestView;
use crate::protocol::reply::Reply;
use crate::util::number;
use crate::value::bitmap::{Field, Overflow};
use crate::value::string::{StringRef, fill_up};
use smallvec::SmallVec;

/// What is done with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

/// One subcommand.
#[derive(Clone, Copy, Debug)]
struct Step {
    action: Action,
    field: Field,
    offset: u64,
}

type Steps = SmallVec<[Step; 4]>;

impl Step {
    /// Reads the subcommand whose name is taken, all but the name.
    fn read(ctx: &Context<'_>, args: &mut Args<'_>, name: Name, overflow: Overflow) -> Result<Step, CommandError> {
        let field = field_type(args.bytes()?)?;
        let offset = offset(ctx, args, Some(field.bits()))?;
        let action = match name {
            Name::Get => Action::Get,
            Name::Set => Action::Set(args.integer()?, overflow),
            Name::IncrBy => Action::Add(args.integer()?, overflow),
        };
        Ok(Step { action, field, offset })
    }

    fn reads_only(&self) -> bool {
        self.action == Action::Get
    }

    /// The number in the field, and the one that is to be there instead: `None` when it does not fit and is refused.
    fn judge(&self, text: &[u8]) -> (i64, Option<i64>) {
        let before = self.field.read(text, self.offset);
        let after = match self.action {
            Action::Get => Some(before),
            Action::Set(value, overflow) => self.field.fit(self.field.assigned(value), overflow),
            Action::Add(delta, overflow) => self.field.fit(i128::from(before) + i128::from(delta), overflow),
        };
        (before, after)
    }

    /// Does a step and replies.
    fn run(&self, text: &mut [u8], reply: &mut Reply<'_>) -> Stored {
        let (before, after) = self.judge(text);
        let Some(after) = after else {
            reply.null();
            return Stored::Nothing;
        };
        reply.integer(if matches!(self.action, Action::Add(..)) { after } else { before });
        if self.reads_only() {
            return Stored::Nothing;
        }
        self.field.write(text, self.offset, after);
        if before == after { Stored::Same } else { Stored::Other }
    }
}

/// What a step stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stored {
    Nothing,
    Same,
    Other,
}

/// The subcommands that name a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    Get,
    Set,
    IncrBy,
}

impl Name {
    /// Takes the name of a subcommand, if enough arguments follow.
    fn word(args: &mut Args<'_>) -> Option<Name> {
        let behind = args.remaining().saturating_sub(1);
        match behind {
            2.. if args.word("GET") => Some(Name::Get),
            3.. if args.word("SET") => Some(Name::Set),
            3.. if args.word("INCRBY") => Some(Name::IncrBy),
            _ => None,
        }
    }
}

/// The type of a field: `u1` to `u63`, `i1` to `i64`.
fn field_type(text: &[u8]) -> Result<Field, CommandError> {
    const ERROR: CommandError = CommandError::text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
    );
    let (sign, bits) = text.split_first().ok_or(ERROR)?;
    let signed = match sign {
        b'i' => true,
        b'u' => false,
        _ => return Err(ERROR),
    };
    number::parse_i64(bits).and_then(|bits| Field::new(signed, bits)).ok_or(ERROR)
}

/// Reads all subcommands.
fn steps(ctx: &Context<'_>, args: &mut Args<'_>) -> Result<Steps, CommandError> {
    const BAD_OVERFLOW: CommandError = CommandError::text("ERR Invalid OVERFLOW type specified");
    let (mut steps, mut overflow) = (Steps::new(), Overflow::Wrap);
    while args.remaining() > 0 {
        if let Some(name) = Name::word(args) {
            steps.push(Step::read(ctx, args, name, overflow)?);
        } else if args.remaining() > 1 && args.word("OVERFLOW") {
            overflow = match () {
                () if args.word("WRAP") => Overflow::Wrap,
                () if args.word("SAT") => Overflow::Saturate,
                () if args.word("FAIL") => Overflow::Fail,
                () => return Err(BAD_OVERFLOW),
            };
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(steps)
}

/// What a BITFIELD does with its key: only GET and OVERFLOW leave it alone.
pub(super) fn bitfield_key_flags(request: RequestView<'_>) -> KeyFlags {
    let mut at = 2;
    while let Some(word) = request.get(at) {
        let behind = request.argc() - at - 1;
        at += match behind {
            2.. if word.eq_ignore_ascii_case(b"GET") => 3,
            1.. if word.eq_ignore_ascii_case(b"OVERFLOW") => 2,
            _ => return KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
        };
    }
    KeyFlags::RO.and(KeyFlags::ACCESS)
}

/// `BITFIELD key [GET encoding offset | [OVERFLOW WRAP | SAT | FAIL] SET encoding offset value | INCRBY encoding offset
/// increment ...]`
///
/// Replies an array with a number for each subcommand: what was there, for INCRBY what is there now, null where FAIL refused
/// the number. O(subcommands), in place; a string too short is filled up with zero bytes first, even if FAIL then refuses
/// everything.
pub(super) fn bitfield<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let steps = steps(ctx, args)?;

    if steps.iter().all(Step::reads_only) {
        return read(ctx, key, &steps);
    }
    let last = steps.iter().filter(|step| !step.reads_only());
    let last = last.map(|step| step.offset + u64::from(step.field.bits()) - 1).max().unwrap_or(0);
    let len = len_with(last);
    let grows = ctx.db.string_to_change(key)?.is_none_or(|string| string.len() < len);
    let mut changes = 0;
    ctx.db.edit_string(key, |text| {
        fill_up(text, len);
        ctx.reply.array(steps.len());
        for step in &steps {
            let stored = step.run(text, &mut ctx.reply);
            changes += u64::from(stored == Stored::Other || grows && stored == Stored::Same);
        }
    })?;
    if changes > 0 {
        ctx.touch(key, Event::String("setbit"));
        ctx.dirty += changes - 1;
    }
    Ok(Outcome::Done)
}

/// `BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]`
///
/// Replies an array with the numbers. O(subcommands).
pub(super) fn bitfield_ro<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let steps = steps(ctx, args)?;
    if !steps.iter().all(Step::reads_only) {
        return Err(const { CommandError::text("ERR BITFIELD_RO only supports the GET subcommand") });
    }
    read(ctx, key, &steps)
}

fn read(ctx: &mut Context<'_>, key: Key<'_>, steps: &[Step]) -> Result<Outcome, CommandError> {
    let text = ctx.db.string(key)?.map(StringRef::text).unwrap_or_default();
    ctx.reply.array(steps.len());
    for step in steps {
        ctx.reply.integer(step.field.read(&text, step.offset));
    }
    Ok(Outcome::Done)
}
