//! The libraries that scripts find beside Lua's own: `cjson`, `cmsgpack`, `struct` and `bit`.
//!
//! Invariant: value for value, and error text for error text, what Valkey's libraries answer; `tests/data/lua/` holds the
//! recorded answers. Nothing that a script passes makes them panic, recurse without bound, or reserve memory that the
//! length of a real input does not justify.
//!
//! They know values of the interpreter and nothing of the server. Each `open` makes a fresh table; the caller makes it
//! a global and protects it.

pub mod bit;
mod call;
pub mod json;
pub mod msgpack;
mod number;
pub mod pack;

#[cfg(test)]
mod tests;

/// The name under which the engine may leave, in the interpreter's registry, a function that makes what stands in front of
/// a function of ours: one in C, which unlike one in Lua does not lose its caller to a tail call.
pub const FRONT: &str = "larder.front";

/// The most bytes that one call may produce. They stand outside the memory that the interpreter may have (512 MiB), and the
/// string made of them inside, so that half of it is the most that could be handed over.
const MAX_OUTPUT_BYTES: usize = 256 * 1024 * 1024;

/// The stack of a C function in Lua 5.1, in values. Valkey's libraries end there, so ours do: it is what bounds nesting
/// and the number of results.
const MAX_STACK_VALUES: usize = 8000;

/// The most references into the interpreter that one call keeps at a time: the binding has some 8000 for everything.
const MAX_HELD: usize = 4000;
