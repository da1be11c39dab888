//! `cjson`: values to and from JSON.
//!
//! Invariant: neither direction recurses: nesting is a vector, as deep as the options say and Valkey's stack allows.
//! Each table that `new` makes has options of its own. Source: the interface of Lua CJSON 2.1.
//!
//! A table is an array when all its keys are positive integers and it is not too sparse, and it is not empty; else it
//! is an object. `null` is a light userdata of address 0.

mod decode;
mod encode;

use super::call::{Arguments, Library, Refusal, Reply, one};
use mlua::{Lua, MultiValue, Table, Value};
use parking_lot::Mutex;
use std::sync::Arc;

/// What the functions of one table are set to.
#[derive(Clone, Copy)]
struct Options {
    /// Encode arrays that are too sparse as objects, instead of refusing them.
    convert_sparse: bool,
    /// An array is too sparse when its greatest index is over `sparse_ratio` times its elements (0: never) ..
    sparse_ratio: i32,
    /// .. and over this.
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    encode_invalid: InvalidNumbers,
    decode_invalid: bool,
    keep_buffer: bool,
    /// Significant digits of a number.
    precision: i32,
}

/// What becomes of NaN and the infinities.
#[derive(Clone, Copy)]
enum InvalidNumbers {
    Refuse,
    Write,
    Null,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            convert_sparse: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: 1000,
            decode_depth: 1000,
            encode_invalid: InvalidNumbers::Refuse,
            decode_invalid: true,
            keep_buffer: true,
            precision: 14,
        }
    }
}

/// Where the interpreter's `next` is kept: not with each table, whose number scripts decide.
const NEXT: &str = "larder.next";

/// Makes the table `cjson`. Errors: those of the interpreter.
pub fn open(lua: &Lua) -> mlua::Result<Table> {
    let library = Library::new(lua)?;
    let next: Value = lua.globals().raw_get("next")?;
    lua.set_named_registry_value(NEXT, next)?;
    let shared = Arc::new(Mutex::new(Options::default()));
    conversions(&library, &shared)?;
    for (name, option) in OPTIONS {
        let shared = Arc::clone(&shared);
        library.function(name, move |args| option(args, &mut shared.lock()))?;
    }
    library.function("new", |args| one(args.lua(), open(args.lua())?))?;
    library.value("null", Value::NULL)?;
    library.value("_NAME", "cjson")?;
    library.value("_VERSION", "2.1.0")?;
    Ok(library.finish())
}

/// A function that sets and tells an option.
type Setter = fn(&Arguments<'_>, &mut Options) -> Reply;

const OPTIONS: [(&str, Setter); 7] = [
    ("encode_sparse_array", encode_sparse_array),
    ("encode_max_depth", |args, options| integer_option(args, &mut options.encode_depth, i32::MAX)),
    ("decode_max_depth", |args, options| integer_option(args, &mut options.decode_depth, i32::MAX)),
    ("encode_number_precision", |args, options| integer_option(args, &mut options.precision, 14)),
    ("encode_keep_buffer", |args, options| switch_option(args, &mut options.keep_buffer)),
    ("encode_invalid_numbers", encode_invalid_numbers),
    ("decode_invalid_numbers", |args, options| switch_option(args, &mut options.decode_invalid)),
];

fn conversions(library: &Library, shared: &Arc<Mutex<Options>>) -> mlua::Result<()> {
    let options = Arc::clone(shared);
    library.function("encode", move |args| {
        let value = single(args)?;
        let text = encode::encode(args.lua(), &options.lock(), value.clone())?;
        one(args.lua(), args.lua().create_string(text)?)
    })?;
    let options = Arc::clone(shared);
    library.function("decode", move |args| {
        single(args)?;
        let text = args.string(1)?;
        one(args.lua(), decode::decode(args.lua(), &options.lock(), &text.as_bytes())?)
    })
}

fn single<'a>(args: &Arguments<'a>) -> Result<&'a Value, Refusal> {
    match args.get(1) {
        Some(value) if args.len() == 1 => Ok(value),
        _ => Err(Refusal::argument(1, "expected 1 argument")),
    }
}

fn at_most(args: &Arguments<'_>, count: usize) -> Result<(), Refusal> {
    if args.len() > count { Err(Refusal::argument(count + 1, "found too many arguments")) } else { Ok(()) }
}

/// Sets `setting` to argument `index` if there is one.
fn set_integer(args: &Arguments<'_>, index: usize, setting: &mut i32, least: i32, most: i32) -> Result<(), Refusal> {
    if !args.is_absent(index) {
        let value = i32::try_from(args.integer(index)?).ok().filter(|value| (least..=most).contains(value));
        let refusal = || Refusal::argument(1, format!("expected integer between {least} and {most}"));
        *setting = value.ok_or_else(refusal)?;
    }
    Ok(())
}

/// The place of argument 1 in `words`, with true standing for `yes` and false for 0; `None` when there is none.
fn choice(args: &Arguments<'_>, words: &[&str], yes: usize) -> Result<Option<usize>, Refusal> {
    match args.get(1) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(value)) => Ok(Some(if *value { yes } else { 0 })),
        Some(_) => {
            let word = args.string(1)?;
            let word = word.as_bytes();
            let found = words.iter().position(|known| known.as_bytes() == &*word);
            let refusal = || Refusal::argument(1, [b"invalid option '", &*word, b"'"].concat());
            Ok(Some(found.ok_or_else(refusal)?))
        }
    }
}

fn set_switch(args: &Arguments<'_>, setting: &mut bool) -> Result<(), Refusal> {
    if let Some(place) = choice(args, &["off", "on"], 1)? {
        *setting = place == 1;
    }
    Ok(())
}

fn integer_option(args: &Arguments<'_>, setting: &mut i32, most: i32) -> Reply {
    at_most(args, 1)?;
    set_integer(args, 1, setting, 1, most)?;
    one(args.lua(), *setting)
}

fn switch_option(args: &Arguments<'_>, setting: &mut bool) -> Reply {
    at_most(args, 1)?;
    set_switch(args, setting)?;
    one(args.lua(), *setting)
}

/// `encode_sparse_array([convert [, ratio [, safe]]])`
fn encode_sparse_array(args: &Arguments<'_>, options: &mut Options) -> Reply {
    at_most(args, 3)?;
    set_switch(args, &mut options.convert_sparse)?;
    set_integer(args, 2, &mut options.sparse_ratio, 0, i32::MAX)?;
    set_integer(args, 3, &mut options.sparse_safe, 0, i32::MAX)?;
    let ratio = Value::Integer(options.sparse_ratio.into());
    let safe = Value::Integer(options.sparse_safe.into());
    Ok(MultiValue::from_iter([Value::Boolean(options.convert_sparse), ratio, safe]))
}

/// `encode_invalid_numbers([false | true | "null"])`
fn encode_invalid_numbers(args: &Arguments<'_>, options: &mut Options) -> Reply {
    at_most(args, 1)?;
    match choice(args, &["off", "on", "null"], 1)? {
        None => {}
        Some(0) => options.encode_invalid = InvalidNumbers::Refuse,
        Some(1) => options.encode_invalid = InvalidNumbers::Write,
        Some(_) => options.encode_invalid = InvalidNumbers::Null,
    }
    match options.encode_invalid {
        InvalidNumbers::Refuse => one(args.lua(), false),
        InvalidNumbers::Write => one(args.lua(), true),
        InvalidNumbers::Null => one(args.lua(), "null"),
    }
}

/// The values that the C library has on its stack inside the open collections: one for an array, two for an object.
/// It leaves room for three more at each level.
fn stack_is_full(used: usize, room: usize) -> bool {
    used + room > super::MAX_STACK_VALUES
}
