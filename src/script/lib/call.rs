//! One call of a library function: its arguments as the C interface of Lua reads them, and its refusals as Lua errors.
//!
//! Invariant: a refusal reaches the script as a plain string with the position of the caller before it, as `luaL_error`
//! makes it. A Rust function can only raise an object of the binding, so each function stands behind one in Lua that
//! raises the text it is handed.

use super::{FRONT, MAX_STACK_VALUES, number};
use mlua::{Function, IntoLua, Lua, LuaString, MaybeSend, MultiValue, Table, Value};
use std::borrow::Cow;

/// Turns a function of ours, whose first result is the text of a refusal or nil, into what scripts call.
const WRAP: &str = "local error = ...
local function finish(refusal, ...)
  if refusal then error(refusal, 0) end
  return ...
end
return function(raw) return function(...) return finish(raw(...)) end end";

/// Frames between our function and the one that called it: the function in Lua stands between.
const WRAPPER_LEVEL: usize = 1;
const CALLER_LEVEL: usize = 2;

/// The most results of a function: the stack of a C function, less what the binding keeps there.
const MAX_RESULTS: usize = MAX_STACK_VALUES - 4;

/// Why a function gives no result.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Argument `index` (from 1) is not what it should be.
    Argument { index: usize, text: Vec<u8> },
    /// The text, with the caller's position before it.
    Failure(Vec<u8>),
    /// The text as it is: what the interpreter itself reports from inside a C function.
    Bare(&'static str),
    /// The interpreter refused, out of memory for example.
    Engine(mlua::Error),
}

impl Refusal {
    /// A refusal of argument `index`, counted from 1.
    pub(super) fn argument(index: usize, text: impl Into<Vec<u8>>) -> Self {
        Self::Argument { index, text: text.into() }
    }

    /// A refusal with `text` behind the position.
    pub(super) fn failure(text: impl Into<Vec<u8>>) -> Self {
        Self::Failure(text.into())
    }

    /// The interpreter's own words for too little memory.
    pub(super) fn memory() -> Self {
        Self::Bare("not enough memory")
    }

    fn text(self, lua: &Lua) -> mlua::Result<Vec<u8>> {
        Ok(match self {
            Self::Argument { index, text } => {
                let (name, is_method) = called_as(lua);
                let index = if is_method { index.saturating_sub(1) } else { index };
                let what = if is_method && index == 0 {
                    format!("calling '{name}' on bad self (")
                } else {
                    format!("bad argument #{index} to '{name}' (")
                };
                [position(lua), what.into_bytes(), text, b")".into()].concat()
            }
            Self::Failure(text) => {
                let mut whole = position(lua);
                whole.extend_from_slice(&text);
                whole
            }
            Self::Bare(text) => text.into(),
            Self::Engine(mlua::Error::MemoryError(_)) => b"not enough memory".into(),
            Self::Engine(mlua::Error::StackError) => b"stack overflow".into(),
            Self::Engine(error) => return Err(error),
        })
    }
}

impl From<mlua::Error> for Refusal {
    fn from(error: mlua::Error) -> Self {
        Self::Engine(error)
    }
}

/// `chunk:line: ` of the caller, empty when it is not written in Lua.
fn position(lua: &Lua) -> Vec<u8> {
    lua.inspect_stack(CALLER_LEVEL, |frame| {
        let chunk = frame.source().short_src;
        match (frame.current_line(), chunk) {
            (Some(line), Some(chunk)) => format!("{chunk}:{line}: ").into_bytes(),
            _ => Vec::new(),
        }
    })
    .unwrap_or_default()
}

/// The name by which the caller reached the function, and whether it wrote a colon before it: the first argument is
/// not counted then.
///
/// The engine may put a function in C in front of ours; then that one was called by name. `pcall` in that place was not
/// called for us but by the script, and what it calls has no name.
fn called_as(lua: &Lua) -> (String, bool) {
    let name_at = |level| {
        lua.inspect_stack(level, |frame| {
            let names = frame.names();
            Some((names.name?.into_owned(), names.name_what == Some("method")))
        })
        .flatten()
    };
    let is_c = || lua.inspect_stack(CALLER_LEVEL, |frame| frame.source().what == "C") == Some(true);
    let in_front = || name_at(CALLER_LEVEL).filter(|(name, _)| is_c() && !matches!(name.as_str(), "pcall" | "xpcall"));
    name_at(WRAPPER_LEVEL).or_else(in_front).unwrap_or_else(|| ("?".to_owned(), false))
}

/// What a function returns: its results, or why there are none.
pub(super) type Reply = Result<MultiValue, Refusal>;

/// Refuses more results than the binding can hand over.
fn few_enough(results: MultiValue) -> Reply {
    if results.len() > MAX_RESULTS { Err(Refusal::failure("stack overflow (too many results)")) } else { Ok(results) }
}

/// One result. O(1).
pub(super) fn one(lua: &Lua, value: impl IntoLua) -> Reply {
    Ok([value.into_lua(lua)?].into_iter().collect())
}

/// Puts functions into a table, each behind its function in Lua.
pub(super) struct Library {
    lua: Lua,
    wrap: Function,
    table: Table,
}

impl Library {
    /// An empty library. Errors: those of the interpreter.
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        let wrap = match lua.named_registry_value::<Option<Function>>(FRONT)? {
            Some(front) => front,
            None => lua.load(WRAP).set_name("=library").call(lua.globals().raw_get::<Value>("error")?)?,
        };
        Ok(Self { lua: lua.clone(), wrap, table: lua.create_table()? })
    }

    /// Adds `body` under `name`. Errors: those of the interpreter.
    pub(super) fn function<F>(&self, name: &str, body: F) -> mlua::Result<()>
    where
        F: Fn(&Arguments<'_>) -> Reply + MaybeSend + 'static,
    {
        let raw = self.lua.create_function(move |lua, values: MultiValue| {
            match body(&Arguments { lua, values: &values }).and_then(few_enough) {
                Ok(mut results) => {
                    results.push_front(Value::Nil);
                    Ok(results)
                }
                Err(refusal) => {
                    let text = refusal.text(lua)?;
                    Ok([Value::String(lua.create_string(text)?)].into_iter().collect())
                }
            }
        })?;
        self.table.raw_set(name, self.wrap.call::<Function>(raw)?)
    }

    /// Adds a value that is no function. Errors: those of the interpreter.
    pub(super) fn value(&self, name: &str, value: impl IntoLua) -> mlua::Result<()> {
        self.table.raw_set(name, value)
    }

    /// The finished table. O(1).
    pub(super) fn finish(self) -> Table {
        self.table
    }
}

/// The arguments of a call. Indices count from 1, as in the messages.
pub(super) struct Arguments<'a> {
    lua: &'a Lua,
    values: &'a MultiValue,
}

impl<'a> Arguments<'a> {
    /// The interpreter.
    pub(super) fn lua(&self) -> &'a Lua {
        self.lua
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Argument `index`, if it was given.
    pub(super) fn get(&self, index: usize) -> Option<&'a Value> {
        self.values.get(index - 1)
    }

    /// Whether argument `index` was left out, or is nil.
    pub(super) fn is_absent(&self, index: usize) -> bool {
        matches!(self.get(index), None | Some(Value::Nil))
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Value> {
        self.values.iter()
    }

    /// Argument `index` as a string; numbers have their text.
    pub(super) fn string(&self, index: usize) -> Result<Cow<'a, LuaString>, Refusal> {
        match self.get(index) {
            Some(Value::String(text)) => Ok(Cow::Borrowed(text)), // a clone could find no reference left
            Some(value @ (Value::Integer(_) | Value::Number(_))) => {
                let text = self.lua.coerce_string(value.clone())?;
                text.map(Cow::Owned).ok_or_else(|| self.mismatch(index, "string"))
            }
            _ => Err(self.mismatch(index, "string")),
        }
    }

    /// Argument `index` as a number; strings that read as one count.
    pub(super) fn number(&self, index: usize) -> Result<f64, Refusal> {
        match self.get(index) {
            Some(value) => as_number(value).ok_or_else(|| self.mismatch(index, "number")),
            None => Err(self.mismatch(index, "number")),
        }
    }

    /// Argument `index` as an integer, cut toward zero.
    pub(super) fn integer(&self, index: usize) -> Result<i64, Refusal> {
        self.number(index).map(number::truncated)
    }

    /// Argument `index` as an integer, `default` when it is absent or nil.
    pub(super) fn optional_integer(&self, index: usize, default: i64) -> Result<i64, Refusal> {
        if self.is_absent(index) { Ok(default) } else { self.integer(index) }
    }

    /// The refusal of argument `index` that has another type than `wanted`.
    pub(super) fn mismatch(&self, index: usize, wanted: &str) -> Refusal {
        let found = self.get(index).map_or("no value", type_name);
        Refusal::argument(index, format!("{wanted} expected, got {found}"))
    }
}

/// The number in a value, or in a string that reads as one.
pub(super) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "every number of the interpreter is a double: this was one")]
        Value::Integer(integer) => Some(*integer as f64),
        Value::String(text) => number::whole(&text.as_bytes()),
        _ => None,
    }
}

/// The name of a value's type in messages.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
