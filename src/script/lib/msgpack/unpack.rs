//! From MessagePack to values.

use crate::script::lib::call::{Arguments, Refusal, Reply};
use crate::script::lib::{MAX_HELD, MAX_STACK_VALUES};
use mlua::{Lua, MultiValue, Table, Value};

/// `cmsgpack.unpack(data)`: all values in it.
pub(super) fn all(args: &Arguments<'_>) -> Reply {
    several(args, 0, 0)
}

/// `cmsgpack.unpack_one(data [, offset])`: where the next value begins (-1 at the end), and the value.
pub(super) fn one(args: &Arguments<'_>) -> Reply {
    let offset = args.optional_integer(2, 0)?;
    several(args, 1, offset)
}

/// `cmsgpack.unpack_limit(data, limit [, offset])`: the same for up to `limit` values.
pub(super) fn limited(args: &Arguments<'_>) -> Reply {
    let limit = args.integer(2)?;
    let offset = args.optional_integer(3, 0)?;
    several(args, limit, offset)
}

/// What a message shows of a number that the C library prints as an `int`.
#[expect(clippy::cast_possible_truncation, reason = "the high half is lost there too")]
fn shown(value: i64) -> i32 {
    value as i32
}

/// Up to `limit` values from `offset` on. Without both it is all, and no offset before them.
fn several(args: &Arguments<'_>, limit: i64, offset: i64) -> Reply {
    let data = args.string(1)?;
    let data = data.as_bytes();
    let (start, count) = bounds(&data, limit, offset)?;
    let everything = limit == 0 && offset == 0;
    let mut reader = Reader::new(args.lua(), &data[start..]);
    let mut results = MultiValue::new();
    while !reader.left.is_empty() && (everything || results.len() < count) {
        let value = reader.value()?;
        reader.keep(&value)?;
        results.push_back(value);
    }
    if !everything {
        if reader.used + 1 > MAX_STACK_VALUES {
            return Err(Refusal::failure("stack overflow (in function mp_unpack_full)"));
        }
        let next = i64::try_from(data.len() - reader.left.len()).unwrap_or(i64::MAX);
        results.push_front(Value::Integer(if reader.left.is_empty() { -1 } else { next }));
    }
    Ok(results)
}

/// The two numbers checked against the data and each other.
fn bounds(data: &[u8], limit: i64, offset: i64) -> Result<(usize, usize), Refusal> {
    let (offset_shown, length) = (shown(offset), data.len());
    match (usize::try_from(offset), usize::try_from(limit)) {
        (Ok(start), Ok(count)) if start <= length => Ok((start, count)),
        (Ok(_), Ok(_)) => {
            Err(Refusal::failure(format!("Start offset {offset_shown} greater than input length {length}.")))
        }
        _ => {
            let text = format!("Invalid request to unpack with offset of {offset_shown} and limit of {length}.");
            Err(Refusal::failure(text))
        }
    }
}

/// A collection that is not complete.
enum Frame {
    Array { table: Table, next: usize, left: u32 },
    Map { table: Table, key: Option<Value>, left: u32 },
}

impl Frame {
    /// What the C library has on its stack for it, before the next value.
    fn weight(&self) -> usize {
        match self {
            Self::Array { .. } | Self::Map { key: Some(_), .. } => 2,
            Self::Map { key: None, .. } => 1,
        }
    }
}

/// One value read: complete, or a collection to be filled.
enum Step {
    Value(Value),
    Open(Frame),
}

/// A cursor over the data, and the collections it stands in.
struct Reader<'a> {
    lua: &'a Lua,
    left: &'a [u8],
    /// Values that the C library would have on its stack.
    used: usize,
    stack: Vec<Frame>,
    /// Results that are references into the interpreter.
    kept: usize,
}

impl<'a> Reader<'a> {
    /// The C library counts its argument.
    fn new(lua: &'a Lua, left: &'a [u8]) -> Self {
        Self { lua, left, used: 1, stack: Vec::new(), kept: 0 }
    }

    /// Counts a result.
    fn keep(&mut self, value: &Value) -> Result<(), Refusal> {
        self.used += 1;
        self.kept += usize::from(matches!(value, Value::String(_) | Value::Table(_)));
        if self.kept > MAX_HELD { Err(too_many()) } else { Ok(()) }
    }

    /// The next complete value.
    fn value(&mut self) -> Result<Value, Refusal> {
        loop {
            let mut value = match self.step()? {
                Step::Value(value) => value,
                Step::Open(frame) => match self.open(frame)? {
                    Some(empty) => empty,
                    None => continue,
                },
            };
            loop {
                let Some(frame) = self.stack.last_mut() else { return Ok(value) };
                self.used -= frame.weight();
                let is_complete = frame.add(value)?;
                self.used += if is_complete { 0 } else { frame.weight() };
                if !is_complete {
                    break;
                }
                let Some(Frame::Array { table, .. } | Frame::Map { table, .. }) = self.stack.pop() else {
                    unreachable!("the frame that is complete is on the stack")
                };
                value = Value::Table(table);
            }
        }
    }

    /// Stands in `frame` from now on, or gives its table back when there is nothing to come.
    fn open(&mut self, frame: Frame) -> Result<Option<Value>, Refusal> {
        match frame {
            Frame::Array { table, left: 0, .. } | Frame::Map { table, left: 0, .. } => Ok(Some(Value::Table(table))),
            frame => {
                if matches!(frame, Frame::Array { .. }) && self.used + 2 > MAX_STACK_VALUES {
                    return Err(Refusal::failure("stack overflow (in function mp_decode_to_lua_array)"));
                }
                self.used += frame.weight();
                self.stack.push(frame);
                Ok(None)
            }
        }
    }

    fn step(&mut self) -> Result<Step, Refusal> {
        if self.used + 1 > MAX_STACK_VALUES || self.stack.len() * 2 + self.kept > 2 * MAX_HELD {
            return Err(too_many());
        }
        let [code] = self.take()?;
        Ok(Step::Value(match code {
            0x00..0x80 => Value::Integer(i64::from(code)),
            0xe0.. => Value::Integer(i64::from(code.cast_signed())),
            0x80..0x90 => return self.map(u32::from(code & 0x0f)),
            0x90..0xa0 => return self.array(u32::from(code & 0x0f)),
            0xa0..0xc0 => self.string(usize::from(code & 0x1f))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f64::from(f32::from_be_bytes(self.take()?))),
            0xcb => Value::Number(f64::from_be_bytes(self.take()?)),
            0xcc => Value::Integer(i64::from(u8::from_be_bytes(self.take()?))),
            0xcd => Value::Integer(i64::from(u16::from_be_bytes(self.take()?))),
            0xce => Value::Integer(i64::from(u32::from_be_bytes(self.take()?))),
            0xd0 => Value::Integer(i64::from(i8::from_be_bytes(self.take()?))),
            0xd1 => Value::Integer(i64::from(i16::from_be_bytes(self.take()?))),
            0xd2 => Value::Integer(i64::from(i32::from_be_bytes(self.take()?))),
            0xcf | 0xd3 => Value::Integer(i64::from_be_bytes(self.take()?)), // unsigned ones from 2^63 on wrap
            0xd9 => self.long_string::<1>()?,
            0xda => self.long_string::<2>()?,
            0xdb => self.long_string::<4>()?,
            0xdc => return self.long::<2>().and_then(|count| self.array(count)),
            0xdd => return self.long::<4>().and_then(|count| self.array(count)),
            0xde => return self.long::<2>().and_then(|count| self.map(count)),
            0xdf => return self.long::<4>().and_then(|count| self.map(count)),
            0xc1 | 0xc4..0xca | 0xd4..0xd9 => return Err(Refusal::failure("Bad data format in input.")),
        }))
    }

    fn array(&self, left: u32) -> Result<Step, Refusal> {
        Ok(Step::Open(Frame::Array { table: self.lua.create_table()?, next: 1, left }))
    }

    fn map(&self, left: u32) -> Result<Step, Refusal> {
        Ok(Step::Open(Frame::Map { table: self.lua.create_table()?, key: None, left }))
    }

    /// An unsigned length of `N` bytes.
    fn long<const N: usize>(&mut self) -> Result<u32, Refusal> {
        Ok(self.take::<N>()?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn long_string<const N: usize>(&mut self) -> Result<Value, Refusal> {
        let length = self.long::<N>()?;
        self.string(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn string(&mut self, length: usize) -> Result<Value, Refusal> {
        let (head, rest) = self.left.split_at_checked(length).ok_or_else(missing)?;
        self.left = rest;
        Ok(Value::String(self.lua.create_string(head)?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (head, rest) = self.left.split_first_chunk().ok_or_else(missing)?;
        self.left = rest;
        Ok(*head)
    }
}

fn too_many() -> Refusal {
    let advice = "too many return values at once; use unpack_one or unpack_limit instead.";
    Refusal::failure(format!("stack overflow ({advice})"))
}

fn missing() -> Refusal {
    Refusal::failure("Missing bytes in input.")
}

impl Frame {
    /// Takes the next value in; whether that was the last.
    fn add(&mut self, value: Value) -> Result<bool, Refusal> {
        let left = match self {
            Self::Array { table, next, left } => {
                table.raw_seti(*next, value)?;
                *next += 1;
                left
            }
            Self::Map { table, key, left } => match key.take() {
                None => {
                    *key = Some(value);
                    return Ok(false);
                }
                Some(name) => {
                    check_key(&name)?;
                    table.raw_set(name, value)?;
                    left
                }
            },
        };
        *left -= 1;
        Ok(*left == 0)
    }
}

/// What a table takes as a key.
fn check_key(key: &Value) -> Result<(), Refusal> {
    match key {
        Value::Nil => Err(Refusal::Bare("table index is nil")),
        Value::Number(number) if number.is_nan() => Err(Refusal::Bare("table index is NaN")),
        _ => Ok(()),
    }
}
