//! `bit`: operations on the low 32 bits of numbers, with signed results.
//!
//! Invariant: a number stands for its value modulo 2^32, rounded to an integer, halves to even; where a double is too
//! coarse for that, for the bits that adding 2^52 + 2^51 leaves. Source: the semantics of Lua BitOp 1.0.

use super::call::{Arguments, Library, Refusal, Reply, one};
use mlua::{Lua, Table};

/// 2^52 + 2^51: added to a number, it leaves the integer in the low bits of the double.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// Makes the table `bit`. Errors: those of the interpreter.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    let library = Library::new(lua)?;
    unary(&library, "tobit", |bits| bits)?;
    unary(&library, "bnot", |bits| !bits)?;
    unary(&library, "bswap", u32::swap_bytes)?;
    fold(&library, "band", |all, bits| all & bits)?;
    fold(&library, "bor", |all, bits| all | bits)?;
    fold(&library, "bxor", |all, bits| all ^ bits)?;
    shift(&library, "lshift", u32::wrapping_shl)?;
    shift(&library, "rshift", u32::wrapping_shr)?;
    shift(&library, "arshift", |bits, count| bits.cast_signed().wrapping_shr(count).cast_unsigned())?;
    shift(&library, "rol", |bits, count| bits.rotate_left(count & 31))?;
    shift(&library, "ror", |bits, count| bits.rotate_right(count & 31))?;
    library.function("tohex", tohex)?;
    Ok(library.finish())
}

fn bits(args: &Arguments<'_>, index: usize) -> Result<u32, Refusal> {
    let number = args.number(index)?;
    #[expect(clippy::cast_possible_truncation, reason = "the low half is where the integer is")]
    Ok((number + MAGIC).to_bits() as u32)
}

fn signed(args: &Arguments<'_>, bits: u32) -> Reply {
    one(args.lua(), bits.cast_signed())
}

fn unary(library: &Library, name: &str, operation: fn(u32) -> u32) -> mlua::Result<()> {
    library.function(name, move |args| signed(args, operation(bits(args, 1)?)))
}

fn fold(library: &Library, name: &str, operation: fn(u32, u32) -> u32) -> mlua::Result<()> {
    library.function(name, move |args| {
        let mut all = bits(args, 1)?;
        for index in 2..=args.len() {
            all = operation(all, bits(args, index)?);
        }
        signed(args, all)
    })
}

/// Shifts count modulo 32.
fn shift(library: &Library, name: &str, operation: fn(u32, u32) -> u32) -> mlua::Result<()> {
    library.function(name, move |args| {
        let value = bits(args, 1)?;
        signed(args, operation(value, bits(args, 2)? & 31))
    })
}

/// `bit.tohex(x [, n])`: the low `n` hexadecimal digits, capitals when `n` is negative.
fn tohex(args: &Arguments<'_>) -> Reply {
    let value = bits(args, 1)?;
    let wanted = if args.len() < 2 { 8 } else { bits(args, 2)?.cast_signed() };
    let text = if wanted < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let digits = usize::try_from(wanted.unsigned_abs()).unwrap_or(8).min(8);
    one(args.lua(), &text[8 - digits..])
}
