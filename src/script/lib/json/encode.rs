//! From values to JSON.

use super::{InvalidNumbers, NEXT, Options, stack_is_full};
use crate::script::lib::call::{Refusal, type_name};
use crate::script::lib::{MAX_HELD, MAX_OUTPUT_BYTES, number};
use mlua::{Function, Lua, Table, Value};
use std::vec::IntoIter;

/// The most tables inside one object that are kept aside while the rest of it is written; objects with more are walked
/// with `next`.
const MAX_ASIDE: usize = 256;

/// The JSON text of `value`. O(its size).
pub(super) fn encode(lua: &Lua, options: &Options, value: Value) -> Result<Vec<u8>, Refusal> {
    let mut encoder = Encoder { lua, options, out: Vec::new(), stack: Vec::new(), used: 1, held: 0, next: None };
    encoder.value(value)?;
    while let Some(frame) = encoder.stack.pop() {
        match frame {
            Frame::Array { table, index, length } => encoder.element(table, index, length)?,
            Frame::Text(text) => encoder.text(text)?,
            Frame::Walk { table, key, is_first } => encoder.step(table, key, is_first)?,
        }
    }
    Ok(encoder.out)
}

/// A collection that is not written to its end.
enum Frame {
    /// An array of `length`, to be written from `index` on; without its table it is written. What is missing is null.
    Array { table: Option<Table>, index: u32, length: u32 },
    /// An object that is written but for the tables in it.
    Text(Text),
    /// An object with many tables in it, behind `key`.
    Walk { table: Table, key: Value, is_first: bool },
}

/// The text of an object from its first table on, with the places where its tables belong.
struct Text {
    text: Vec<u8>,
    copied: usize,
    tables: IntoIter<(usize, Table)>,
    /// Why the text ends before the object does.
    refusal: Option<Refusal>,
}

struct Encoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    out: Vec<u8>,
    stack: Vec<Frame>,
    /// Values that the C library would have on its stack.
    used: usize,
    /// References into the interpreter that the stack holds, at most.
    held: usize,
    /// The interpreter's `next`, once it is needed.
    next: Option<Function>,
}

/// What a look at the keys of a table tells; it ends at the first that makes it an object.
#[derive(Default)]
struct Shape {
    count: u32,
    greatest: u32,
    is_object: bool,
}

impl Shape {
    fn of(table: &Table) -> mlua::Result<Self> {
        let mut shape = Self::default();
        let looked = table.for_each(|key: Value, _: bool| match key {
            Value::Integer(index @ 1..=0x7fff_ffff) => {
                shape.greatest = shape.greatest.max(u32::try_from(index).unwrap_or(u32::MAX));
                shape.count = shape.count.saturating_add(1);
                Ok(())
            }
            _ => {
                shape.is_object = true;
                Err(mlua::Error::StackError) // ends the look, and is dropped below
            }
        });
        if shape.is_object { Ok(shape) } else { looked.map(|()| shape) }
    }
}

impl Encoder<'_> {
    fn value(&mut self, value: Value) -> Result<(), Refusal> {
        self.room(0)?;
        if let Value::Table(table) = value { self.open(table) } else { self.scalar(&value) }
    }

    fn scalar(&mut self, value: &Value) -> Result<(), Refusal> {
        match value {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(integer) if self.options.precision == 14 && integer.unsigned_abs() < 100_000_000_000_000 => {
                self.out.extend_from_slice(itoa::Buffer::new().format(*integer).as_bytes());
            }
            #[expect(clippy::cast_precision_loss, reason = "every number of the interpreter is a double: this was one")]
            Value::Integer(integer) => self.number(*integer as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            other => return Err(unfit(other, "type not supported")),
        }
        Ok(())
    }

    /// Refuses output of `more` bytes beyond the limit.
    fn room(&self, more: usize) -> Result<(), Refusal> {
        if self.out.len().saturating_add(more) > MAX_OUTPUT_BYTES { Err(Refusal::memory()) } else { Ok(()) }
    }

    fn open(&mut self, table: Table) -> Result<(), Refusal> {
        let depth = self.stack.len() + 1;
        let most = usize::try_from(self.options.encode_depth).unwrap_or(usize::MAX);
        if depth > most || stack_is_full(self.used, 3) || self.held + 2 > MAX_HELD {
            return Err(Refusal::failure(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        let shape = Shape::of(&table)?;
        if !self.is_array(&shape)? {
            return self.object(table);
        }
        self.room(usize::try_from(shape.greatest - shape.count).unwrap_or(usize::MAX).saturating_mul(5))?;
        self.out.push(b'[');
        self.used += 1;
        self.held += 1;
        self.stack.push(Frame::Array { table: Some(table), index: 1, length: shape.greatest });
        Ok(())
    }

    /// Writes an object in one walk and keeps its tables aside. What comes behind the first of them waits in a frame.
    fn object(&mut self, table: Table) -> Result<(), Refusal> {
        self.out.push(b'{');
        let begin = self.out.len();
        let may_hold = MAX_ASIDE.min((MAX_HELD / 2).saturating_sub(self.held));
        let (mut tables, mut refusal, mut too_many) = (Vec::new(), None, false);
        let walked = table.for_each(|key: Value, value: Value| {
            too_many = tables.len() == may_hold && value.is_table();
            let written = if too_many { Ok(()) } else { self.member(begin, &key, value, &mut tables) };
            refusal = written.err();
            if too_many || refusal.is_some() { Err(mlua::Error::StackError) } else { Ok(()) }
        });
        if too_many {
            self.out.truncate(begin);
            self.used += 2;
            self.held += 2;
            self.stack.push(Frame::Walk { table, key: Value::Nil, is_first: true });
            return Ok(());
        }
        match refusal {
            Some(refusal) if tables.is_empty() => return Err(refusal),
            None => {
                walked?;
                self.out.push(b'}');
            }
            Some(_) => {}
        }
        if let Some((first, _)) = tables.first() {
            let first = *first;
            let text = self.out.split_off(first);
            tables.iter_mut().for_each(|(place, _)| *place -= first);
            self.used += 2;
            self.held += tables.len();
            self.stack.push(Frame::Text(Text { text, copied: 0, tables: tables.into_iter(), refusal }));
        }
        Ok(())
    }

    /// Writes a member, or its name alone when it is a table, which goes to `tables`.
    fn member(
        &mut self,
        begin: usize,
        key: &Value,
        value: Value,
        tables: &mut Vec<(usize, Table)>,
    ) -> Result<(), Refusal> {
        self.room(0)?;
        self.name(self.out.len() == begin, key)?;
        if let Value::Table(table) = value {
            tables.push((self.out.len(), table));
            Ok(())
        } else {
            self.scalar(&value)
        }
    }

    /// Goes on to the next table of an object, or to its end.
    fn text(&mut self, mut text: Text) -> Result<(), Refusal> {
        let Some((place, table)) = text.tables.next() else {
            self.out.extend_from_slice(&text.text[text.copied..]);
            self.used -= 2;
            return text.refusal.map_or(Ok(()), Err);
        };
        self.out.extend_from_slice(&text.text[text.copied..place]);
        text.copied = place;
        self.held -= 1;
        self.stack.push(Frame::Text(text));
        self.open(table)
    }

    /// An array has positive integers for keys, at least one, and not too few for the greatest.
    fn is_array(&self, shape: &Shape) -> Result<bool, Refusal> {
        if shape.is_object || shape.count == 0 {
            return Ok(false);
        }
        let ratio = i64::from(self.options.sparse_ratio);
        let greatest = i64::from(shape.greatest);
        let is_sparse = ratio > 0
            && greatest > i64::from(shape.count).saturating_mul(ratio)
            && greatest > i64::from(self.options.sparse_safe);
        if is_sparse && !self.options.convert_sparse {
            return Err(Refusal::failure("Cannot serialise table: excessively sparse array"));
        }
        Ok(!is_sparse)
    }

    fn close(&mut self, bracket: u8, weight: usize) {
        self.out.push(bracket);
        self.used -= weight;
    }

    /// Writes element `index`. The table is let go with its last element, so that chains of arrays hold nothing.
    fn element(&mut self, table: Option<Table>, index: u32, length: u32) -> Result<(), Refusal> {
        let Some(table) = table else {
            self.close(b']', 1);
            return Ok(());
        };
        if index > 1 {
            self.out.push(b',');
        }
        let item: Value = table.raw_get(index)?;
        let table = if index == length {
            self.held -= 1;
            None
        } else {
            Some(table)
        };
        self.stack.push(Frame::Array { table, index: index + 1, length });
        self.value(item)
    }

    /// Writes the member behind `key`.
    fn step(&mut self, table: Table, key: Value, is_first: bool) -> Result<(), Refusal> {
        let next = match &self.next {
            Some(next) => next,
            None => self.next.insert(self.lua.named_registry_value(NEXT)?),
        };
        let (key, item): (Value, Value) = next.call((&table, key))?;
        if key.is_nil() {
            self.held -= 2;
            self.close(b'}', 2);
            return Ok(());
        }
        self.name(is_first, &key)?;
        self.stack.push(Frame::Walk { table, key, is_first: false });
        self.value(item)
    }

    fn name(&mut self, is_first: bool, key: &Value) -> Result<(), Refusal> {
        if !is_first {
            self.out.push(b',');
        }
        match key {
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                self.scalar(key)?;
                self.out.push(b'"');
            }
            other => return Err(unfit(other, "table key must be a number or string")),
        }
        self.out.push(b':');
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Refusal> {
        match self.options.encode_invalid {
            InvalidNumbers::Refuse if !number.is_finite() => {
                return Err(unfit(&Value::Number(number), "must not be NaN or Inf"));
            }
            InvalidNumbers::Null if !number.is_finite() => self.out.extend_from_slice(b"null"),
            InvalidNumbers::Write if number.is_nan() => self.out.extend_from_slice(b"nan"),
            _ => number::general(&mut self.out, number, usize::try_from(self.options.precision).unwrap_or(14)),
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<(), Refusal> {
        self.room(text.len().saturating_mul(6))?;
        self.out.reserve(text.len() + 2);
        self.out.push(b'"');
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            if matches!(byte, b' '..=b'~' | 0x80..) && !matches!(byte, b'"' | b'\\' | b'/') {
                continue;
            }
            self.out.extend_from_slice(&text[plain..at]);
            self.escape(*byte);
            plain = at + 1;
        }
        self.out.extend_from_slice(&text[plain..]);
        self.out.push(b'"');
        Ok(())
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' | b'/' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0c => b'f',
            b'\r' => b'r',
            _ => {
                self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                return;
            }
        };
        self.out.extend_from_slice(&[b'\\', short]);
    }
}

fn unfit(value: &Value, why: &str) -> Refusal {
    Refusal::failure(format!("Cannot serialise {}: {why}", type_name(value)))
}
