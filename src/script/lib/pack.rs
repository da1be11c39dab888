//! `struct`: numbers and strings to and from the bytes of a C structure.
//!
//! Invariant: a size in a format is below 2^31 and is compared with the data that is there before anything is read or
//! reserved. Integers wrap to their size; longer ones than 8 bytes have zeros in the rest. Source: the format language
//! of the Lua `struct` library, `> < ! b B h H l L T i I f d x c s` and space.

use super::call::{Arguments, Library, Refusal, Reply, as_number, one};
use super::{MAX_OUTPUT_BYTES, MAX_STACK_VALUES, number};
use mlua::{Lua, MultiValue, Table, Value};

/// The most bytes of an integer.
const MAX_INTEGER_BYTES: usize = 32;
/// What `!` without a number aligns to.
const MAX_ALIGNMENT: usize = 8;

/// Makes the table `struct`. Errors: those of the interpreter.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    let library = Library::new(lua)?;
    library.function("pack", pack)?;
    library.function("unpack", unpack)?;
    library.function("size", size)?;
    Ok(library.finish())
}

/// A cursor over a format, with the byte order and alignment in force.
struct Format<'a> {
    text: &'a [u8],
    big: bool,
    align: usize,
}

/// One option of a format: its letter and its size in bytes.
#[derive(Clone, Copy)]
struct Item {
    letter: u8,
    size: usize,
}

impl<'a> Format<'a> {
    /// A format ends at its first NUL.
    fn new(text: &'a [u8]) -> Self {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        Self { text: &text[..end], big: cfg!(target_endian = "big"), align: 1 }
    }

    fn next(&mut self) -> Result<Option<Item>, Refusal> {
        let Some((&letter, rest)) = self.text.split_first() else { return Ok(None) };
        self.text = rest;
        let size = match letter {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'f' => 4,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'c' => self.number(1)?,
            b'i' | b'I' => self.integer_size()?,
            _ => 0,
        };
        Ok(Some(Item { letter, size }))
    }

    fn integer_size(&mut self) -> Result<usize, Refusal> {
        let size = self.number(4)?;
        if size > MAX_INTEGER_BYTES {
            let text = format!("integral size {size} is larger than limit of {MAX_INTEGER_BYTES}");
            return Err(Refusal::failure(text));
        }
        Ok(size)
    }

    /// The number that follows, or `default`. Refuses what an `int` does not hold.
    fn number(&mut self, default: usize) -> Result<usize, Refusal> {
        let digits = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (head, rest) = self.text.split_at(digits);
        self.text = rest;
        if digits == 0 {
            return Ok(default);
        }
        head.iter()
            .try_fold(0i32, |value, digit| value.checked_mul(10)?.checked_add(i32::from(digit - b'0')))
            .and_then(|value| usize::try_from(value).ok())
            .ok_or_else(|| Refusal::failure("integral size overflow"))
    }

    /// The padding before an item at `position`.
    fn padding(&self, position: usize, item: Item) -> usize {
        if item.size == 0 || item.letter == b'c' {
            return 0;
        }
        let size = item.size.min(self.align);
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }

    /// An option that describes no data.
    fn control(&mut self, letter: u8) -> Result<(), Refusal> {
        match letter {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(MAX_ALIGNMENT)?;
                if !align.is_power_of_two() {
                    return Err(Refusal::failure(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => {
                let mut text = b"invalid format option '".to_vec();
                text.extend_from_slice(&[letter, b'\'']);
                return Err(Refusal::argument(1, text));
            }
        }
        Ok(())
    }
}

fn is_integer(letter: u8) -> bool {
    matches!(letter, b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I')
}

/// `struct.size(format)`: the bytes that the format describes.
fn size(args: &Arguments<'_>) -> Reply {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut position = 0usize;
    while let Some(item) = format.next()? {
        position += format.padding(position, item);
        match item.letter {
            b's' => return Err(Refusal::argument(1, "option 's' has no fixed size")),
            b'c' if item.size == 0 => return Err(Refusal::argument(1, "option 'c0' has no fixed size")),
            letter if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        position += item.size;
    }
    one(args.lua(), position)
}

/// `struct.pack(format, ...)`: the values as bytes.
fn pack(args: &Arguments<'_>) -> Reply {
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut out = Vec::new();
    let mut next = 2;
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), item), 0);
        match item.letter {
            b'x' => out.push(0),
            b'f' | b'd' => put_float(&mut out, packed_number(args, next)?, item.size, format.big),
            b'c' | b's' => put_string(&mut out, args, next, item)?,
            letter if is_integer(letter) => put_integer(&mut out, packed_number(args, next)?, item.size, format.big),
            letter => {
                format.control(letter)?;
                continue;
            }
        }
        next += usize::from(item.letter != b'x');
        if out.len() > MAX_OUTPUT_BYTES {
            return Err(Refusal::memory());
        }
    }
    one(args.lua(), args.lua().create_string(out)?)
}

/// The refusal of a missing value calls it nil: the C library has pushed one behind the arguments.
fn missing_is_nil(args: &Arguments<'_>, index: usize, wanted: &str, refusal: Refusal) -> Refusal {
    match args.get(index) {
        None => Refusal::argument(index, format!("{wanted} expected, got nil")),
        Some(_) => refusal,
    }
}

fn packed_number(args: &Arguments<'_>, index: usize) -> Result<f64, Refusal> {
    args.number(index).map_err(|refusal| missing_is_nil(args, index, "number", refusal))
}

fn put_integer(out: &mut Vec<u8>, value: f64, size: usize, big: bool) {
    let bits = if value < 0.0 { number::truncated(value).cast_unsigned() } else { number::truncated_unsigned(value) };
    let mut bytes = [0; MAX_INTEGER_BYTES];
    bytes[..8].copy_from_slice(&bits.to_le_bytes());
    put_bytes(out, &mut bytes[..size], big);
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to a float is what the option asks for")]
fn put_float(out: &mut Vec<u8>, value: f64, size: usize, big: bool) {
    if size == 4 {
        put_bytes(out, &mut (value as f32).to_le_bytes(), big);
    } else {
        put_bytes(out, &mut value.to_le_bytes(), big);
    }
}

fn put_bytes(out: &mut Vec<u8>, little: &mut [u8], big: bool) {
    if big {
        little.reverse();
    }
    out.extend_from_slice(little);
}

fn put_string(out: &mut Vec<u8>, args: &Arguments<'_>, index: usize, item: Item) -> Result<(), Refusal> {
    let text = args.string(index).map_err(|refusal| missing_is_nil(args, index, "string", refusal))?;
    let text = text.as_bytes();
    let size = if item.size == 0 { text.len() } else { item.size };
    let part = text.get(..size).ok_or_else(|| Refusal::argument(index + 1, "string too short"))?;
    out.extend_from_slice(part);
    if item.letter == b's' {
        out.push(0);
    }
    Ok(())
}

/// `struct.unpack(format, data [, position])`: the values, then the position behind them.
fn unpack(args: &Arguments<'_>) -> Reply {
    let text = args.string(1)?;
    let data = args.string(2)?;
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let start = args.optional_integer(3, 1)?.cast_unsigned();
    if start == 0 {
        return Err(Refusal::argument(3, "offset must be 1 or greater"));
    }
    let first = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let mut reader = Reader { lua: args.lua(), data: &data, position: first, results: MultiValue::new() };
    let mut format = Format::new(&text);
    while let Some(item) = format.next()? {
        reader.position = reader.position.wrapping_add(format.padding(reader.position, item));
        reader.check(item.size)?;
        if args.len() + reader.results.len() + 2 > MAX_STACK_VALUES {
            return Err(Refusal::failure("stack overflow (too many results)"));
        }
        reader.item(item, &mut format)?;
    }
    let mut results = reader.results;
    let end = reader.position.wrapping_add(1).cast_signed();
    results.push_back(Value::Integer(i64::try_from(end).unwrap_or(i64::MAX)));
    Ok(results)
}

/// Where `unpack` stands in the data, and what it has found.
struct Reader<'a> {
    lua: &'a Lua,
    data: &'a [u8],
    position: usize,
    results: MultiValue,
}

impl Reader<'_> {
    fn check(&self, size: usize) -> Result<(), Refusal> {
        let enough = size <= self.data.len() && self.position <= self.data.len() - size;
        if enough { Ok(()) } else { Err(Refusal::argument(2, "data string too short")) }
    }

    /// Reads one item; `check` has passed for its size.
    fn item(&mut self, item: Item, format: &mut Format<'_>) -> Result<(), Refusal> {
        let bytes = &self.data[self.position..self.position + item.size];
        let value = match item.letter {
            b'x' => None,
            b'f' | b'd' => Some(Value::Number(float(bytes, format.big))),
            b'c' => return self.text(item.size),
            b's' => return self.terminated(),
            letter if is_integer(letter) => {
                Some(Value::Number(integer(bytes, format.big, letter.is_ascii_lowercase())))
            }
            letter => {
                format.control(letter)?;
                None
            }
        };
        self.results.extend(value);
        self.position += item.size;
        Ok(())
    }

    /// A string of `size` bytes; 0 means as many as the number before it says.
    fn text(&mut self, mut size: usize) -> Result<(), Refusal> {
        if size == 0 {
            let last = self.results.pop_back().unwrap_or(Value::Nil);
            let count = as_number(&last);
            let count = count.ok_or_else(|| Refusal::failure("format 'c0' needs a previous size"))?;
            size = usize::try_from(number::truncated_unsigned(count)).unwrap_or(usize::MAX);
            self.check(size)?;
        }
        self.push_text(size)?;
        self.position += size;
        Ok(())
    }

    fn terminated(&mut self) -> Result<(), Refusal> {
        let size = memchr::memchr(0, &self.data[self.position..]);
        let size = size.ok_or_else(|| Refusal::failure("unfinished string in data"))?;
        self.push_text(size)?;
        self.position += size + 1;
        Ok(())
    }

    fn push_text(&mut self, size: usize) -> Result<(), Refusal> {
        let text = self.lua.create_string(&self.data[self.position..self.position + size])?;
        self.results.push_back(Value::String(text));
        Ok(())
    }
}

/// The low 8 bytes of an integer of any size, with the sign that the C library finds.
#[expect(clippy::cast_precision_loss, reason = "every number of the interpreter is a double")]
fn integer(bytes: &[u8], big: bool, is_signed: bool) -> f64 {
    let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if big { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) };
    if !is_signed {
        return value as f64;
    }
    // The sign bit of 8 * size - 1 bits; the shift count wraps at 64, which matters for more than 8 bytes.
    let top_bit = u32::try_from(bytes.len()).unwrap_or(0).wrapping_mul(8).wrapping_sub(1);
    let mask = u64::MAX.wrapping_shl(top_bit);
    let value = if value & mask == 0 { value } else { value | mask };
    value.cast_signed() as f64
}

fn float(bytes: &[u8], big: bool) -> f64 {
    let mut little = [0; 8];
    little[..bytes.len()].copy_from_slice(bytes);
    if big {
        little[..bytes.len()].reverse();
    }
    let [a, b, c, d, ..] = little;
    if bytes.len() == 4 { f64::from(f32::from_le_bytes([a, b, c, d])) } else { f64::from_le_bytes(little) }
}
