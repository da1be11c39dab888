//! `cmsgpack`: values to and from MessagePack.
//!
//! Invariant: packing stops at sixteen nested tables, deeper ones become nil; unpacking keeps its own stack, as deep as
//! Valkey's, and makes a table no larger than the values that have arrived for it. Numbers without a fraction that fit
//! 64 bits are integers, others floats of the size that keeps them exact. Source: the MessagePack format, without its
//! binary and extension types.

mod unpack;

use super::call::{Arguments, Library, Refusal, Reply, one};
use super::{MAX_OUTPUT_BYTES, number};
use mlua::{Lua, Table, Value};

/// Tables inside tables; what is deeper is packed as nil.
const MAX_NESTING: usize = 16;

/// The first and the last integer that packs as one, as doubles.
const INTEGERS: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;

/// Makes the table `cmsgpack`. Errors: those of the interpreter.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    let library = Library::new(lua)?;
    library.function("pack", pack)?;
    library.function("unpack", unpack::all)?;
    library.function("unpack_one", unpack::one)?;
    library.function("unpack_limit", unpack::limited)?;
    library.value("_NAME", "cmsgpack")?;
    library.value("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.value("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    library.value("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(library.finish())
}

/// `cmsgpack.pack(...)`: the values, one behind the other.
fn pack(args: &Arguments<'_>) -> Reply {
    if args.len() == 0 {
        return Err(Refusal::argument(0, "MessagePack pack needs input."));
    }
    let mut packer = Packer { out: Vec::new() };
    for value in args.iter() {
        packer.value(value, 0)?;
    }
    one(args.lua(), args.lua().create_string(packer.out)?)
}

struct Packer {
    out: Vec<u8>,
}

impl Packer {
    fn value(&mut self, value: &Value, level: usize) -> Result<(), Refusal> {
        if self.out.len() > MAX_OUTPUT_BYTES {
            return Err(Refusal::memory());
        }
        match value {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Boolean(value) => self.out.push(if *value { 0xc3 } else { 0xc2 }),
            Value::Integer(value) => self.integer(*value),
            Value::Number(value) => self.number(*value),
            Value::Table(table) if level < MAX_NESTING => return self.table(table, level),
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    /// The head of a string, array or map: a short form, then 8 bits (`codes[0]`, strings alone), 16 and 32 bits.
    fn head(&mut self, length: usize, fixed: u8, fixed_below: usize, codes: [u8; 3]) {
        let (byte, word) = (u8::try_from(length), u16::try_from(length));
        let long = u32::try_from(length).unwrap_or(u32::MAX); // MAX_OUTPUT_BYTES is smaller
        match (byte, word) {
            (Ok(byte), _) if length < fixed_below => self.out.push(fixed | byte),
            (Ok(byte), _) if codes[0] != 0 => self.out.extend_from_slice(&[codes[0], byte]),
            (_, Ok(word)) => self.coded(codes[1], &word.to_be_bytes()),
            _ => self.coded(codes[2], &long.to_be_bytes()),
        }
    }

    fn coded(&mut self, code: u8, bytes: &[u8]) {
        self.out.push(code);
        self.out.extend_from_slice(bytes);
    }

    fn string(&mut self, text: &[u8]) {
        self.head(text.len(), 0xa0, 32, [0xd9, 0xda, 0xdb]);
        self.out.extend_from_slice(text);
    }

    #[expect(clippy::cast_possible_truncation, reason = "the float is compared with the double it came from")]
    fn number(&mut self, value: f64) {
        let small = value as f32;
        if INTEGERS.contains(&value) && value.fract() == 0.0 {
            self.integer(number::truncated(value));
        } else if f64::from(small) == value {
            self.coded(0xca, &small.to_be_bytes());
        } else {
            self.coded(0xcb, &value.to_be_bytes());
        }
    }

    /// The shortest form; what is not negative is unsigned.
    fn integer(&mut self, value: i64) {
        let [.., c, b, a] = value.to_be_bytes(); // the low three bytes; `a` is the lowest
        let low = value.to_be_bytes();
        match value {
            -32..0x80 => self.out.push(a),
            0x80..0x100 => self.out.extend_from_slice(&[0xcc, a]),
            -0x80..-32 => self.out.extend_from_slice(&[0xd0, a]),
            0x100..0x1_0000 => self.out.extend_from_slice(&[0xcd, b, a]),
            -0x8000..-0x80 => self.out.extend_from_slice(&[0xd1, b, a]),
            0x1_0000..0x1_0000_0000 => self.coded(0xce, &[low[4], c, b, a]),
            -0x8000_0000..-0x8000 => self.coded(0xd2, &[low[4], c, b, a]),
            0x1_0000_0000.. => self.coded(0xcf, &low),
            ..-0x8000_0000 => self.coded(0xd3, &low),
        }
    }

    /// An array when the keys are exactly 1 to n, in any order; an empty table is one.
    fn table(&mut self, table: &Table, level: usize) -> Result<(), Refusal> {
        let (count, is_sequence) = shape(table)?;
        if !is_sequence {
            self.head(count, 0x80, 16, [0, 0xde, 0xdf]);
            return self.members(table, level + 1);
        }
        self.head(count, 0x90, 16, [0, 0xdc, 0xdd]);
        for index in 1..=count {
            self.value(&table.get::<Value>(index)?, level + 1)?;
        }
        Ok(())
    }

    fn members(&mut self, table: &Table, level: usize) -> Result<(), Refusal> {
        let mut refusal = None;
        let walked = table.for_each(|key: Value, value: Value| {
            let packed = self.value(&key, level).and_then(|()| self.value(&value, level));
            packed.map_err(|why| {
                refusal = Some(why);
                mlua::Error::StackError // never seen: the refusal takes its place
            })
        });
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(walked?),
        }
    }
}

/// The number of pairs, and whether the keys are n different positive integers of which the greatest is n.
///
/// Looks at keys up to the first that is no index, then only counts: values seen as `bool` cost no reference.
fn shape(table: &Table) -> mlua::Result<(usize, bool)> {
    let (mut count, mut greatest, mut only_indices) = (0usize, 0i64, true);
    let looked = table.for_each(|key: Value, _: bool| {
        count += 1;
        match key {
            Value::Integer(index @ 1..) => greatest = greatest.max(index),
            _ => only_indices = false,
        }
        if only_indices { Ok(()) } else { Err(mlua::Error::StackError) } // ends the look, and is dropped below
    });
    if only_indices {
        looked?;
        return Ok((count, usize::try_from(greatest).is_ok_and(|greatest| greatest == count)));
    }
    count = 0;
    table.for_each(|_: bool, _: bool| {
        count += 1;
        Ok(())
    })?;
    Ok((count, false))
}
