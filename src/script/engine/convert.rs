//! Replies become values of Lua, and the other way round.
//!
//! The tables of conversion are those of the scripting reference: a reply of a type that Lua lacks is a table with one
//! field (`ok`, `err`, `double`, `map`, `set`, `big_number`, `verbatim_string`), and such a table becomes that reply.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::raw::{bytes_at, push_bytes};
use super::{Inner, until_nul};
use crate::protocol::reply::{Reply, Resp};
use mlua::ffi::{self, lua_State};
use std::borrow::Cow;
use std::ffi::{CStr, c_int};

/// Stack slots that one level of nesting takes at most.
const LEVEL_SLOTS: c_int = 6;

/// Nested deeper than this a value is cut off; as deep as the interpreter's own stack lets others go.
const MAX_DEPTH: usize = 7990;

/// The field by which the error of a command is known; its name is that of Redis.
const COUNTED: &CStr = c"ignore_error_stats_update";

// From replies to values

/// A reply that is read: what is left of it.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next line: its marker and what follows, without the line end.
    fn line(&mut self) -> (u8, &'a [u8]) {
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or(&[]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.split_first().map_or((b'_', &[]), |(marker, text)| (*marker, text))
    }

    /// The bytes of a string of `len` bytes.
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let bytes = self.rest.get(..len).unwrap_or(self.rest);
        self.rest = self.rest.get(len + 2..).unwrap_or(&[]);
        bytes
    }
}

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn length(text: &[u8]) -> usize {
    usize::try_from(number(text)).unwrap_or(0)
}

/// Pushes the value of a whole reply. `true` when it is an error.
///
/// # Safety
/// Inside a protected call, with room for some values; `reply` outlives the call and its owner needs no dropping.
pub unsafe fn push_reply(state: *mut lua_State, reply: &[u8]) -> bool {
    let mut reader = Reader { rest: reply };
    // SAFETY: the caller's promise.
    unsafe { push_next(state, &mut reader) };
    reply.first() == Some(&b'-')
}

/// Makes the value on top the one field of a table.
unsafe fn wrap(state: *mut lua_State, name: &CStr) {
    // SAFETY: as for `push_reply`.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_insert(state, -2);
        ffi::lua_setfield(state, -2, name.as_ptr());
    }
}

unsafe fn push_next(state: *mut lua_State, reader: &mut Reader<'_>) {
    let (marker, text) = reader.line();
    // SAFETY: as for `push_reply`.
    unsafe {
        ffi::luaL_checkstack_(state, LEVEL_SLOTS, c"reply too deep".as_ptr());
        match marker {
            b':' => {
                #[expect(clippy::cast_precision_loss, reason = "numbers of Lua are doubles")]
                ffi::lua_pushnumber(state, number(text) as f64);
            }
            b'+' => {
                push_bytes(state, text);
                wrap(state, c"ok");
            }
            b'-' => {
                push_bytes(state, text);
                wrap(state, c"err");
                ffi::lua_pushboolean(state, 1);
                ffi::lua_setfield(state, -2, COUNTED.as_ptr());
            }
            b'$' | b'*' if text == b"-1" => ffi::lua_pushboolean(state, 0),
            b'$' => push_bytes(state, reader.bytes(length(text))),
            b'*' | b'>' => push_array(state, reader, length(text)),
            b'%' => push_pairs(state, reader, length(text), c"map", true),
            b'~' => push_pairs(state, reader, length(text), c"set", false),
            b',' => {
                let value = crate::util::number::parse_f64(text).unwrap_or(f64::NAN);
                ffi::lua_pushnumber(state, value);
                wrap(state, c"double");
            }
            b'#' => ffi::lua_pushboolean(state, c_int::from(text == b"t")),
            b'(' => {
                push_bytes(state, text);
                wrap(state, c"big_number");
            }
            b'=' => push_verbatim(state, reader.bytes(length(text))),
            b'|' => {
                for _ in 0..length(text) * 2 {
                    push_next(state, reader);
                    ffi::lua_settop(state, -2);
                }
                push_next(state, reader);
            }
            _ => ffi::lua_pushnil(state),
        }
    }
}

unsafe fn push_array(state: *mut lua_State, reader: &mut Reader<'_>, len: usize) {
    // SAFETY: as for `push_reply`.
    unsafe {
        ffi::lua_createtable(state, c_int::try_from(len).unwrap_or(0), 0);
        for index in 0..len {
            push_next(state, reader);
            ffi::lua_rawseti_(state, -2, c_int::try_from(index + 1).unwrap_or(c_int::MAX));
        }
    }
}

/// A table of keys and values, or of keys that are true, under the name of its type.
unsafe fn push_pairs(state: *mut lua_State, reader: &mut Reader<'_>, len: usize, name: &CStr, values: bool) {
    // SAFETY: as for `push_reply`.
    unsafe {
        ffi::lua_createtable(state, 0, c_int::try_from(len).unwrap_or(0));
        for _ in 0..len {
            push_next(state, reader);
            if values {
                push_next(state, reader);
            } else {
                ffi::lua_pushboolean(state, 1);
            }
            if ffi::lua_type(state, -2) == ffi::LUA_TNIL {
                ffi::lua_settop(state, -3);
            } else {
                ffi::lua_rawset(state, -3);
            }
        }
        wrap(state, name);
    }
}

unsafe fn push_verbatim(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: as for `push_reply`.
    unsafe {
        ffi::lua_createtable(state, 0, 2);
        push_bytes(state, bytes.get(..3).unwrap_or(bytes));
        ffi::lua_setfield(state, -2, c"format".as_ptr());
        push_bytes(state, bytes.get(4..).unwrap_or(&[]));
        ffi::lua_setfield(state, -2, c"string".as_ptr());
        wrap(state, c"verbatim_string");
    }
}

// From values to replies

/// Writes the value on top of the stack, the script's result, as its reply. A table with `err` is its failure.
///
/// # Safety
/// Inside a protected call, during a step.
pub unsafe fn reply(state: *mut lua_State, inner: &mut Inner) {
    // SAFETY: the caller's promise; the host is known during a step. Neither the host's reply nor the reader below needs
    // dropping.
    unsafe {
        if ffi::lua_istable(state, -1) != 0 && field(state, c"err", ffi::LUA_TSTRING) {
            let text = bytes_at(state, -1).unwrap_or(&[]).to_vec();
            ffi::lua_settop(state, -2);
            inner.failure = Some(super::Failure { text, place: None, counted: is_counted(state) });
            return;
        }
        let Some(mut host) = inner.host else { return };
        inner.errors.clear();
        let mut reply = host.as_mut().reply();
        write_value(state, inner, &mut reply, 0);
        inner.errors.drain(..).for_each(|(text, counted)| host.as_mut().count_error(text, counted));
    }
}

/// Whether the error on top of the stack is that of a command, which has been counted.
///
/// # Safety
/// As for [`reply`]; on top is a table.
pub unsafe fn is_counted(state: *mut lua_State) -> bool {
    // SAFETY: the caller's promise; the value that `field` leaves is taken off.
    unsafe {
        let counted = field(state, COUNTED, ffi::LUA_TBOOLEAN);
        if counted {
            ffi::lua_settop(state, -2);
        }
        counted
    }
}

/// Whether the table on top has a field of this type, which is then pushed. Metamethods are not asked.
unsafe fn field(state: *mut lua_State, name: &CStr, kind: c_int) -> bool {
    // SAFETY: as for `reply`.
    unsafe {
        push_bytes(state, name.to_bytes());
        ffi::lua_rawget_(state, -2);
        if ffi::lua_type(state, -1) == kind {
            return true;
        }
        ffi::lua_settop(state, -2);
        false
    }
}

/// A number as an integer: without what follows the point; what does not fit is the smallest integer.
fn truncate(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "within the range of integers")]
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

/// A line of a text in which line ends become spaces.
fn line(reply: &mut Reply<'_>, marker: &[u8], text: &[u8]) {
    let out = reply.output();
    out.raw(marker);
    out.raw(&without_line_ends(text));
    out.raw(b"\r\n");
}

/// The same up to a NUL, with a space for each character that ends a line.
fn without_line_ends(text: &[u8]) -> Cow<'_, [u8]> {
    let text = until_nul(text);
    let ends = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !text.iter().any(ends) {
        return Cow::Borrowed(text);
    }
    text.iter().map(|byte| if ends(byte) { b' ' } else { *byte }).collect()
}

/// Writes the value on top of the stack and takes it off.
unsafe fn write_value(state: *mut lua_State, inner: &mut Inner, reply: &mut Reply<'_>, depth: usize) {
    // SAFETY: as for `reply`.
    unsafe {
        match ffi::lua_type(state, -1) {
            ffi::LUA_TSTRING => reply.bulk(bytes_at(state, -1).unwrap_or(&[])),
            ffi::LUA_TNUMBER => reply.integer(truncate(ffi::lua_tonumber(state, -1))),
            ffi::LUA_TBOOLEAN => {
                let value = ffi::lua_toboolean(state, -1) != 0;
                match (inner.resp, value) {
                    (Resp::V3, _) => reply.boolean(value),
                    (Resp::V2, true) => reply.integer(1),
                    (Resp::V2, false) => reply.null(),
                }
            }
            ffi::LUA_TTABLE if depth > MAX_DEPTH || ffi::lua_checkstack(state, LEVEL_SLOTS) == 0 => {
                reply.error("ERR reached lua stack limit");
            }
            ffi::LUA_TTABLE => write_table(state, inner, reply, depth),
            _ => reply.null(),
        }
        ffi::lua_settop(state, -2);
    }
}

unsafe fn write_table(state: *mut lua_State, inner: &mut Inner, reply: &mut Reply<'_>, depth: usize) {
    // SAFETY: as for `reply`. `field` leaves the value on top of the table; it is taken off at the end.
    unsafe {
        if field(state, c"err", ffi::LUA_TSTRING) {
            line(reply, b"-", bytes_at(state, -1).unwrap_or(&[]));
            ffi::lua_settop(state, -2);
            return note_error(state, inner);
        } else if field(state, c"ok", ffi::LUA_TSTRING) {
            line(reply, b"+", bytes_at(state, -1).unwrap_or(&[]));
        } else if field(state, c"double", ffi::LUA_TNUMBER) {
            reply.double(ffi::lua_tonumber(state, -1));
        } else if field(state, c"map", ffi::LUA_TTABLE) {
            write_pairs(state, inner, reply, depth, true);
        } else if field(state, c"set", ffi::LUA_TTABLE) {
            write_pairs(state, inner, reply, depth, false);
        } else if field(state, c"big_number", ffi::LUA_TSTRING) {
            let text = bytes_at(state, -1).unwrap_or(&[]);
            if reply.resp() == Resp::V3 { line(reply, b"(", text) } else { reply.bulk(&without_line_ends(text)) }
        } else if field(state, c"verbatim_string", ffi::LUA_TTABLE) {
            write_verbatim(state, reply);
        } else {
            return write_array(state, inner, reply, depth);
        }
        ffi::lua_settop(state, -2);
    }
}

/// Remembers the error on top of the stack, part of a reply, to be counted.
unsafe fn note_error(state: *mut lua_State, inner: &mut Inner) {
    // SAFETY: as for `reply`; nothing is held that needs dropping while the interpreter is asked.
    unsafe {
        let counted = is_counted(state);
        if field(state, c"err", ffi::LUA_TSTRING) {
            inner.errors.push((bytes_at(state, -1).unwrap_or(&[]).to_vec(), counted));
            ffi::lua_settop(state, -2);
        }
    }
}

/// The elements from 1 on, up to the first nil.
unsafe fn write_array(state: *mut lua_State, inner: &mut Inner, reply: &mut Reply<'_>, depth: usize) {
    let place = reply.deferred();
    let mut len = 0;
    // SAFETY: as for `reply`.
    unsafe {
        loop {
            ffi::lua_rawgeti_(state, -1, c_int::try_from(len + 1).unwrap_or(c_int::MAX));
            if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                break;
            }
            write_value(state, inner, reply, depth + 1);
            len += 1;
        }
        ffi::lua_settop(state, -2);
    }
    reply.finish_array(place, len);
}

/// The keys of the table on top, and its values when asked for.
unsafe fn write_pairs(state: *mut lua_State, inner: &mut Inner, reply: &mut Reply<'_>, depth: usize, values: bool) {
    let place = reply.deferred();
    let mut len = 0;
    // SAFETY: as for `reply`; the key is copied before it is written, which may change it.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, -2) != 0 {
            ffi::lua_pushvalue(state, -2);
            write_value(state, inner, reply, depth + 1);
            if values {
                write_value(state, inner, reply, depth + 1);
            } else {
                ffi::lua_settop(state, -2);
            }
            len += 1;
        }
    }
    if values { reply.finish_map(place, len) } else { reply.finish_set(place, len) }
}

unsafe fn write_verbatim(state: *mut lua_State, reply: &mut Reply<'_>) {
    // SAFETY: as for `reply`; a missing part leaves nothing on the stack.
    unsafe {
        let mut format = *b"txt";
        if !field(state, c"format", ffi::LUA_TSTRING) {
            return reply.null();
        }
        for (to, from) in format.iter_mut().zip(bytes_at(state, -1).unwrap_or(&[])) {
            *to = *from;
        }
        ffi::lua_settop(state, -2);
        if !field(state, c"string", ffi::LUA_TSTRING) {
            return reply.null();
        }
        reply.verbatim(format, bytes_at(state, -1).unwrap_or(&[]));
        ffi::lua_settop(state, -2);
    }
}
