//! The HyperLogLog commands, as the group "hyperloglog" of the Redis command reference has them.
//!
//! A HyperLogLog is a string. Must not know: what its bytes mean. Source: Valkey 9.1.

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::keyspace::Key;
use crate::value::hyperloglog::{self, Corrupted, Mark, Registers};
use crate::value::string::StringRef;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
        categories: Categories::HYPERLOGLOG,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::INSERT))],
        since: "2.8.9",
        group: Group::HyperLogLog,
        summary: "Adds elements to a HyperLogLog, which is created when missing.",
        complexity: "O(N) where N is the number of elements.",
        syntax: "key:key#0 [element:string...]",
        run: pfadd,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY.and(Flags::MAY_REPLICATE),
        categories: Categories::HYPERLOGLOG,
        keys: &[KeySpec {
            notes: "Changed too: the estimate is kept in the value",
            ..KeySpec::range(1, -1, 1, KeyFlags::RW.and(KeyFlags::ACCESS))
        }],
        since: "2.8.9",
        group: Group::HyperLogLog,
        summary: "Estimates how many different elements were added to one HyperLogLog or to any of several.",
        complexity: "O(N) where N is the number of keys, with a large constant; a single key that did not change since is O(1).",
        syntax: "key:key#0...",
        run: pfcount,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ADMIN),
        categories: Categories::HYPERLOGLOG,
        keys: &[KeySpec::one(2, KeyFlags::RW.and(KeyFlags::ACCESS))],
        since: "2.8.9",
        group: Group::HyperLogLog,
        summary: "Shows how a HyperLogLog is held.",
        complexity: "O(N) where N is the number of registers.",
        syntax: "subcommand:string key:key#0",
        internal: true,
        run: pfdebug,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pfmerge",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::HYPERLOGLOG,
        keys: &[
            KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::INSERT)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "2.8.9",
        group: Group::HyperLogLog,
        summary: "Adds what several HyperLogLogs stand for to another, which is created when missing.",
        complexity: "O(N) where N is the number of keys, with a large constant.",
        syntax: "destkey:key#0 [sourcekey:key#1...]",
        run: pfmerge,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "pfselftest",
        arity: 1,
        flags: Flags::ADMIN,
        categories: Categories::HYPERLOGLOG,
        since: "2.8.9",
        group: Group::HyperLogLog,
        summary: "Checks the HyperLogLog code on made-up elements.",
        complexity: "Some milliseconds.",
        internal: true,
        run: pfselftest,
        ..CommandSpec::DEFAULT
    },
];

const NOT_HYPERLOGLOG: CommandError = CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: CommandError = CommandError::text("INVALIDOBJ Corrupted HLL object detected");

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> CommandError {
        CORRUPTED
    }
}

/// An error unless the string is a HyperLogLog.
fn check(text: &[u8]) -> Result<(), CommandError> {
    if hyperloglog::is_hyperloglog(text) { Ok(()) } else { Err(NOT_HYPERLOGLOG) }
}

fn sparse_max(ctx: &Context<'_>) -> usize {
    usize::try_from(ctx.shared.config.hll_sparse_max_bytes()).unwrap_or(usize::MAX)
}

/// Whether a string is held as one that was changed in place; what PFADD and its like looked at always is.
fn is_raw(string: StringRef<'_>) -> bool {
    matches!(string, StringRef::Inline(_, true) | StringRef::Large(_))
}

/// `PFADD key [element ...]`
///
/// Replies 1 when a register changed or the key was created, else 0. O(elements). An element that changes nothing, as most
/// do in the long run, costs a look at the string and no copy.
fn pfadd<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, max) = (args.key()?, sparse_max(ctx));

    let created = match ctx.db.string_to_change(key)? {
        None => true,
        Some(string) => {
            let text = string.text();
            check(&text)?;
            skip_known(args, &text);
            if args.remaining() == 0 && is_raw(string) {
                ctx.reply.integer(0);
                return Ok(Outcome::Done);
            }
            false
        }
    };
    let mut changes = Ok(u64::from(created));
    ctx.db.edit_string(key, |text| {
        if created {
            *text = hyperloglog::empty();
            hyperloglog::forget_estimate(text);
        }
        while let (Ok(count), Ok(element)) = (changes, args.bytes()) {
            changes = hyperloglog::add(text, Mark::of(element), max).map(|changed| count + u64::from(changed));
        }
    })?;
    let changes = changes?;
    if changes > 0 {
        ctx.touch(key, Event::String("pfadd"));
        ctx.dirty += changes - 1;
    }
    ctx.reply.integer(i64::from(changes > 0));
    Ok(Outcome::Done)
}

/// Takes the elements that change nothing, up to the first that does.
fn skip_known(args: &mut Args<'_>, text: &[u8]) {
    while let Some(element) = args.peek() {
        if hyperloglog::would_change(text, Mark::of(element)) {
            return;
        }
        // There is one: it was just looked at.
        let _ = args.bytes();
    }
}

/// `PFCOUNT key [key ...]`
///
/// Replies the estimate of how many different elements were added to any of the keys. O(1) for one key that did not change
/// since the last time, else O(registers of all).
fn pfcount<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let estimate = match args.remaining() {
        1 => estimate_one(ctx, args.key()?)?,
        _ => {
            let mut registers = Registers::new();
            while args.remaining() > 0 {
                merge(ctx, args.key()?, &mut registers)?;
            }
            registers.estimate()
        }
    };
    ctx.reply.integer(estimate.cast_signed());
    Ok(Outcome::Done)
}

/// The estimate of one key. A new one is kept in the value; as in Redis that is a change without an event.
fn estimate_one(ctx: &mut Context<'_>, key: Key<'_>) -> Result<u64, CommandError> {
    let Some(string) = ctx.db.string(key)? else { return Ok(0) };
    let text = string.text();
    check(&text)?;
    if let Some(estimate) = hyperloglog::kept_estimate(&text)
        && is_raw(string)
    {
        return Ok(estimate);
    }
    let kept = hyperloglog::kept_estimate(&text);
    let estimate = kept.map_or_else(|| hyperloglog::estimate(&text), Ok);
    ctx.db.edit_string(key, |text| {
        if let Ok(estimate) = estimate {
            hyperloglog::keep_estimate(text, estimate);
        }
    })?;
    let estimate = estimate?;
    if kept.is_none() {
        ctx.dirty += 1;
        ctx.modified(key);
    }
    Ok(estimate)
}

/// Raises registers to those of a key, if it exists; says whether it is dense.
fn merge(ctx: &mut Context<'_>, key: Key<'_>, registers: &mut Registers) -> Result<bool, CommandError> {
    let Some(string) = ctx.db.string(key)? else { return Ok(false) };
    let text = string.text();
    check(&text)?;
    registers.merge(&text)?;
    Ok(!hyperloglog::is_sparse(&text))
}

/// `PFMERGE destkey [sourcekey ...]`
///
/// Replies OK. O(registers of all). The result is dense when one of the keys is, or when it has to be.
fn pfmerge<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, max) = (args.key()?, sparse_max(ctx));

    let mut registers = Registers::new();
    let mut dense = merge(ctx, key, &mut registers)?;
    while args.remaining() > 0 {
        dense |= merge(ctx, args.key()?, &mut registers)?;
    }
    let mut result = Ok(());
    ctx.db.edit_string(key, |text| {
        if text.is_empty() {
            *text = hyperloglog::empty();
        }
        result = registers.store(text, dense, max);
    })?;
    result?;
    ctx.touch(key, Event::String("pfadd"));
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// `PFDEBUG GETREG | DECODE | ENCODING | TODENSE key`, `PFDEBUG SIMD ON | OFF`
///
/// GETREG replies the registers, after making them dense; DECODE the runs of a sparse value; ENCODING `sparse` or `dense`;
/// TODENSE makes it dense and replies 1, or 0 when it was. SIMD replies what was asked for and does nothing: there is but
/// one way of counting here. O(registers).
fn pfdebug<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    // Redis reads the word as a C string.
    let name = args.bytes()?.split(|byte| *byte == 0).next().unwrap_or_default();
    if name.eq_ignore_ascii_case(b"SIMD") {
        return simd(ctx, args);
    }
    let key = args.key()?;
    args.finish()?;

    let sparse = hold_raw(ctx, key)?;
    if name.eq_ignore_ascii_case(b"GETREG") {
        make_dense(ctx, key)?;
        reply_registers(ctx, key)?;
    } else if name.eq_ignore_ascii_case(b"DECODE") {
        if !sparse {
            return Err(const { CommandError::text("ERR HLL encoding is not sparse") });
        }
        let runs = ctx.db.string_to_change(key)?.map(|string| hyperloglog::describe(&string.text()));
        ctx.reply.bulk(runs.unwrap_or_default().as_bytes());
    } else if name.eq_ignore_ascii_case(b"ENCODING") {
        ctx.reply.simple(if sparse { "sparse" } else { "dense" });
    } else if name.eq_ignore_ascii_case(b"TODENSE") {
        let changed = make_dense(ctx, key)?;
        ctx.reply.integer(i64::from(changed));
    } else {
        let mut text = b"ERR Unknown PFDEBUG subcommand '".to_vec();
        text.extend_from_slice(name);
        text.push(b'\'');
        return Err(CommandError::Bytes(text));
    }
    Ok(Outcome::Done)
}

/// Has a value held as one that was changed in place, as Redis does before it looks at it; says whether it is sparse.
fn hold_raw(ctx: &mut Context<'_>, key: Key<'_>) -> Result<bool, CommandError> {
    let found = ctx.db.string_to_change(key)?;
    let string = found.ok_or(const { CommandError::text("ERR The specified key does not exist") })?;
    let text = string.text();
    check(&text)?;
    let sparse = hyperloglog::is_sparse(&text);
    if !is_raw(string) {
        ctx.db.edit_string(key, |_| ())?;
    }
    Ok(sparse)
}

fn simd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<Outcome, CommandError> {
    let state = match () {
        () if args.word("ON") => "enabled",
        () if args.word("OFF") => "disabled",
        () => return Err(const { CommandError::text("ERR Argument must be ON or OFF") }),
    };
    ctx.reply.simple(state);
    Ok(Outcome::Done)
}

/// Makes a value dense; `true` when it was not. A change without an event.
fn make_dense(ctx: &mut Context<'_>, key: Key<'_>) -> Result<bool, CommandError> {
    let mut changed = Ok(false);
    ctx.db.edit_string(key, |text| changed = hyperloglog::to_dense(text))?;
    let changed = changed?;
    ctx.dirty += u64::from(changed);
    Ok(changed)
}

fn reply_registers(ctx: &mut Context<'_>, key: Key<'_>) -> Result<(), CommandError> {
    let mut registers = Registers::new();
    if let Some(string) = ctx.db.string_to_change(key)? {
        registers.merge(&string.text())?;
    }
    ctx.reply.array(registers.values().len());
    for value in registers.values() {
        ctx.reply.integer(i64::from(*value));
    }
    Ok(())
}

/// `PFSELFTEST`
///
/// Replies OK. Some milliseconds.
fn pfselftest<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    args.finish()?;
    if !hyperloglog::self_test() {
        return Err(const { CommandError::text("ERR TESTFAILED estimates are off or encodings disagree") });
    }
    ctx.reply.ok();
    Ok(Outcome::Done)
}
