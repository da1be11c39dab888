//! The bitmap commands, as the group "bitmap" of the Redis command reference has them.
//!
//! Here are the rows and the commands on single bits, ranges and whole strings; `field` has BITFIELD. Invariant: a command
//! that answers an error has changed nothing. Must not know: how bits are counted and combined. Source: Valkey 9.1; for
//! DIFF, DIFF1, ANDOR and ONE of BITOP, which it lacks, Redis 8.2.

mod field;

use crate::call::args::Args;
use crate::call::context::{Context, Event};
use crate::call::error::CommandError;
use crate::call::spec::{Categories, CommandSpec, Flags, Group, KeyFlags, KeySpec, Outcome};
use crate::keyspace::{Key, Ttl};
use crate::util::number;
use crate::value::bitmap::{self, Operation};
use crate::value::string::{INLINE_MAX, StringRef, StringSource, fill_up};
use bytes::Bytes;
use field::{bitfield, bitfield_key_flags, bitfield_ro};
use smallvec::SmallVec;
use std::ops::Range;

/// The rows.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitcount",
        arity: -2,
        flags: Flags::READONLY,
        categories: Categories::BITMAP,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.6.0",
        group: Group::Bitmap,
        summary: "Counts the bits of a string, or of a part of it, that are 1.",
        complexity: "O(N) where N is the number of bytes looked at.",
        syntax: "key:key#0 [range(start:integer [end-unit-block(end:integer [unit<byte=BYTE|bit=BIT>@7.0.0])])]",
        history: &[
            ("7.0.0", "The units `BYTE` and `BIT`."),
            ("8.0.0", "`end` may be left out and is the last byte then."),
        ],
        run: bitcount,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bitfield",
        arity: -2,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::BITMAP,
        keys: &[KeySpec {
            notes: "Read and changed, or only read, as the subcommands say",
            ..KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE_FLAGS))
        }],
        variable_flags: Some(bitfield_key_flags),
        since: "3.2.0",
        group: Group::Bitmap,
        summary: "Reads, sets and adds to integers of any width inside a string.",
        complexity: "O(N) where N is the number of subcommands; a longer string is filled up with zeros.",
        syntax: "key:key#0 [operation<GET get-block(encoding:string offset:integer)|write([OVERFLOW overflow-block<wrap=WRAP|sat=SAT|fail=FAIL>] write-operation<SET set-block(encoding:string offset:integer value:integer)|INCRBY incrby-block(encoding:string offset:integer increment:integer)>)>...]",
        run: bitfield,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bitfield_ro",
        arity: -2,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::BITMAP,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "6.0.0",
        group: Group::Bitmap,
        summary: "Reads integers of any width inside a string.",
        complexity: "O(N) where N is the number of subcommands.",
        syntax: "key:key#0 [GET get-block(encoding:string offset:integer)...+]",
        run: bitfield_ro,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bitop",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::BITMAP,
        keys: &[
            KeySpec::one(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
            KeySpec::range(3, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ],
        since: "2.6.0",
        group: Group::Bitmap,
        summary: "Combines strings bit by bit (also with DIFF, DIFF1, ANDOR and ONE) and stores the result.",
        complexity: "O(N) where N is the number of bytes of all strings.",
        syntax: "operation<and=AND|or=OR|xor=XOR|not=NOT> destkey:key#0 key:key#1...",
        run: bitop,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "bitpos",
        arity: -3,
        flags: Flags::READONLY,
        categories: Categories::BITMAP,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.8.7",
        group: Group::Bitmap,
        summary: "Finds the first bit of a string, or of a part of it, that is 1 or 0.",
        complexity: "O(N) where N is the number of bytes looked at.",
        syntax: "key:key#0 bit:integer [range(start:integer [end-unit-block(end:integer [unit<byte=BYTE|bit=BIT>@7.0.0])])]",
        history: &[("7.0.0", "The units `BYTE` and `BIT`.")],
        run: bitpos,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "getbit",
        arity: 3,
        flags: Flags::READONLY.and(Flags::FAST),
        categories: Categories::BITMAP,
        keys: &[KeySpec::one(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        since: "2.2.0",
        group: Group::Bitmap,
        summary: "Returns one bit of a string.",
        complexity: "O(1)",
        syntax: "key:key#0 offset:integer",
        run: getbit,
        ..CommandSpec::DEFAULT
    },
    CommandSpec {
        name: "setbit",
        arity: 4,
        flags: Flags::WRITE.and(Flags::DENYOOM),
        categories: Categories::BITMAP,
        keys: &[KeySpec::one(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
        since: "2.2.0",
        group: Group::Bitmap,
        summary: "Sets one bit of a string, which is made longer as needed.",
        complexity: "O(1) within the string; a longer one is filled up with zeros.",
        syntax: "key:key#0 offset:integer value:integer",
        run: setbit,
        ..CommandSpec::DEFAULT
    },
];

const BAD_OFFSET: CommandError = CommandError::text("ERR bit offset is not an integer or out of range");

/// The next argument as an offset in bits; `#n`, where `width` is given, is the place of field number n.
fn offset(ctx: &Context<'_>, args: &mut Args<'_>, width: Option<u8>) -> Result<u64, CommandError> {
    let text = args.bytes()?;
    let (text, width) = match (text.strip_prefix(b"#"), width) {
        (Some(number), Some(width)) => (number, i64::from(width)),
        _ => (text, 1),
    };
    // As in Redis, the product may wrap around.
    let offset = number::parse_i64(text).ok_or(BAD_OFFSET)?.wrapping_mul(width);
    let within = |offset: &u64| offset / 8 < ctx.shared.config.proto_max_bulk_len();
    u64::try_from(offset).ok().filter(within).ok_or(BAD_OFFSET)
}

/// Bytes of a string that holds the bit at `offset`.
fn len_with(offset: u64) -> usize {
    usize::try_from(offset / 8 + 1).unwrap_or(usize::MAX)
}

/// Whether a string is held as one that was changed in place, which OBJECT ENCODING calls `raw`.
fn is_raw(string: StringRef<'_>) -> bool {
    matches!(string, StringRef::Inline(_, true) | StringRef::Large(_))
}

/// `GETBIT key offset`
///
/// Replies the bit, 0 behind the end and for a missing key. O(1).
fn getbit<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let offset = offset(ctx, args, None)?;
    args.finish()?;

    let bit = ctx.db.string(key)?.is_some_and(|string| bitmap::bit(&string.text(), offset));
    ctx.reply.integer(i64::from(bit));
    Ok(Outcome::Done)
}

/// `SETBIT key offset value`
///
/// Sets the bit, filling up with zero bytes before it; replies what it was. O(1) within the string, which is changed in
/// place. A bit that is so already is no change.
fn setbit<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    const BAD_BIT: CommandError = CommandError::text("ERR bit is not an integer or out of range");
    let key = args.key()?;
    let offset = offset(ctx, args, None)?;
    let on = match args.integer_or(BAD_BIT)? {
        0 => false,
        1 => true,
        _ => return Err(BAD_BIT),
    };
    args.finish()?;

    let (before, inside, raw) = match ctx.db.string_to_change(key)? {
        Some(string) => (bitmap::bit(&string.text(), offset), len_with(offset) <= string.len(), is_raw(string)),
        None => (false, false, false),
    };
    let changes = !inside || before != on;
    if changes || !raw {
        ctx.db.edit_string(key, |text| {
            fill_up(text, len_with(offset));
            bitmap::set_bit(text, offset, on);
        })?;
    }
    if changes {
        ctx.touch(key, Event::String("setbit"));
    }
    ctx.reply.integer(i64::from(before));
    Ok(Outcome::Done)
}

/// A part of a string as BITCOUNT and BITPOS name it: counted from the end when negative, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Part {
    start: i64,
    end: Option<i64>,
    in_bits: bool,
}

impl Part {
    const WHOLE: Part = Part { start: 0, end: None, in_bits: false };

    /// Reads all that is left: `[start [end [BYTE | BIT]]]`. The unit is judged before the end is.
    fn read(args: &mut Args<'_>) -> Result<Part, CommandError> {
        if args.remaining() > 3 {
            return Err(CommandError::Syntax);
        }
        if args.remaining() == 0 {
            return Ok(Part::WHOLE);
        }
        let start = args.integer()?;
        if args.remaining() == 0 {
            return Ok(Part { start, ..Part::WHOLE });
        }
        let end = args.bytes()?;
        let in_bits = args.word("BIT");
        if !in_bits && !args.word("BYTE") {
            args.finish()?;
        }
        let end = number::parse_i64(end).ok_or(CommandError::NotInteger)?;
        Ok(Part { start, end: Some(end), in_bits })
    }

    /// The bits of a string of `len` bytes that are meant.
    fn bits(self, len: usize) -> Range<u64> {
        let unit = if self.in_bits { 1 } else { 8 };
        let total = i64::try_from(len).unwrap_or(i64::MAX).saturating_mul(8 / unit);
        let from_end = |index: i64| if index < 0 { (total + index).max(0) } else { index };
        let (start, end) = (from_end(self.start), from_end(self.end.unwrap_or(-1)).min(total - 1));
        if start > end {
            return 0..0;
        }
        let bit = |index: i64| u64::try_from(index.saturating_mul(unit)).unwrap_or(0);
        bit(start)..bit(end + 1)
    }

    /// Whether both ends count from the end of the string and the wrong way round.
    fn is_backwards(self) -> bool {
        self.end.is_some_and(|end| self.start < 0 && end < 0 && self.start > end)
    }
}

/// `BITCOUNT key [start [end [BYTE | BIT]]]`
///
/// Replies the number of bits that are 1, 0 for a missing key. O(bytes).
fn bitcount<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (key, part) = (args.key()?, Part::read(args)?);

    let count = match ctx.db.string(key)? {
        Some(_) if part.is_backwards() => 0,
        Some(string) => bitmap::count_range(&string.text(), part.bits(string.len())),
        None => 0,
    };
    ctx.reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
///
/// Replies the place of the first such bit, -1 when there is none. O(bytes). The string counts as followed by zeros when no
/// end is given, and a missing key as zeros without end.
fn bitpos<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let key = args.key()?;
    let on = match args.integer()? {
        0 => false,
        1 => true,
        _ => return Err(const { CommandError::text("ERR The bit argument must be 1 or 0.") }),
    };
    let part = Part::read(args)?;

    let place = match ctx.db.string(key)? {
        Some(string) => {
            let bits = part.bits(string.len());
            let behind = Some(string.len() as u64 * 8).filter(|_| !on && part.end.is_none() && !bits.is_empty());
            bitmap::first(&string.text(), bits, on).or(behind)
        }
        None => Some(0).filter(|_| !on),
    };
    ctx.reply.integer(place.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1));
    Ok(Outcome::Done)
}

/// The operations of BITOP by name.
const OPERATIONS: &[(&str, Operation)] = &[
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

/// An error unless the operation can combine so many strings.
fn check_sources(operation: Operation, name: &str, count: usize) -> Result<(), CommandError> {
    match operation {
        Operation::Not if count != 1 => {
            Err(const { CommandError::text("ERR BITOP NOT must be called with a single source key.") })
        }
        Operation::Diff | Operation::Diff1 | Operation::AndOr if count < 2 => {
            Err(format!("ERR BITOP {name} must be called with at least two source keys.").into())
        }
        _ => Ok(()),
    }
}

/// `BITOP AND | OR | XOR | NOT | DIFF | DIFF1 | ANDOR | ONE destkey key [key ...]`
///
/// Stores the strings combined and replies the length, that of the longest; a length of 0 removes `destkey`. O(bytes of all
/// strings). Valkey 9.1 has the first four operations; the others are those of Redis 8.2.
fn bitop<'a>(ctx: &mut Context<'a>, args: &mut Args<'a>) -> Result<Outcome, CommandError> {
    let (name, operation) = *OPERATIONS.iter().find(|(name, _)| args.word(name)).ok_or(CommandError::Syntax)?;
    let destination = args.key()?;
    check_sources(operation, name, args.remaining())?;

    let mut sources: SmallVec<[Bytes; 4]> = SmallVec::new();
    while args.remaining() > 0 {
        let key = args.key()?;
        sources.push(ctx.db.string(key)?.map_or_else(Bytes::new, StringRef::to_bytes));
    }
    let texts: SmallVec<[&[u8]; 4]> = sources.iter().map(|source| &source[..]).collect();
    let result = bitmap::combine(operation, &texts);
    ctx.reply.count(result.len());
    store(ctx, destination, result);
    Ok(Outcome::Done)
}

fn store(ctx: &mut Context<'_>, key: Key<'_>, result: Vec<u8>) {
    if result.is_empty() {
        if ctx.db.remove(key) {
            ctx.touch(key, Event::Generic("del"));
        }
        return;
    }
    let source = match result.len() {
        0..=INLINE_MAX => StringSource::changed(&result),
        _ => StringSource::Large(Bytes::from(result)),
    };
    ctx.db.put_string(key, source, Ttl::Clear);
    ctx.touch(key, Event::String("set"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_to_the_string() {
        let part = |start, end, in_bits| Part { start, end: Some(end), in_bits };
        assert_eq!(Part::WHOLE.bits(6), 0..48);
        assert_eq!(Part::WHOLE.bits(0), 0..0);
        assert_eq!(Part { start: -2, ..Part::WHOLE }.bits(6), 32..48);
        assert_eq!(part(1, 2, false).bits(6), 8..24);
        assert_eq!(part(1, 2, true).bits(6), 1..3);
        assert_eq!(part(5, 30, true).bits(2), 5..16);
        assert_eq!(part(-100, -200, false).bits(6), 0..8);
        assert_eq!(part(6, 100, false).bits(6), 0..0);
        assert_eq!(part(i64::MIN, i64::MAX, true).bits(6), 0..48);
    }
}
