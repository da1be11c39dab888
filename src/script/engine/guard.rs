//! Functions of the standard library that a server must guard, and tables that scripts may read but not change.
//!
//! A protected table is hidden behind an empty one, its *proxy*, whose metatable finds what is read and refuses what is
//! written. Functions that go past metatables are wrapped: they ask first whether they were given a proxy. The wrapped
//! functions run in the wrapper's place, so that their error messages name the caller. What stock Lua 5.1.5 gets wrong with
//! hostile arguments is stopped here too: `unpack` with huge ranges, compiled code, the name of a chunk freed while it is
//! compiled.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::Inner;
use super::raw::{Piece, bytes_at, inner_of, push_bytes, raise_stop, read_piece};
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int};

/// Values that `unpack` returns at most: what the interpreter's stack may hold.
const MAX_UNPACKED: i64 = 7_999;

const READ_ONLY: &[u8] = b"Attempt to modify a readonly table";

/// Pushes a proxy of the table at `index`.
///
/// # Safety
/// Inside a protected call.
pub unsafe fn push_proxy(state: *mut lua_State, inner: &Inner, index: c_int) {
    // SAFETY: the caller's promise.
    unsafe {
        ffi::lua_pushvalue(state, index);
        ffi::lua_createtable(state, 0, 0);
        ffi::lua_createtable(state, 0, 3);
        ffi::lua_pushvalue(state, -3);
        ffi::lua_setfield(state, -2, c"__index".as_ptr());
        ffi::lua_pushcclosure(state, refuse_write, 0);
        ffi::lua_setfield(state, -2, c"__newindex".as_ptr());
        // What tells a proxy from any other table: scripts cannot make this key.
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, inner.refs.proxy);
        ffi::lua_pushboolean(state, 1);
        ffi::lua_rawset(state, -3);
        ffi::lua_setmetatable(state, -2);
        ffi::lua_remove(state, -2);
    }
}

/// Whether the value at `index` is a proxy; then the table behind it is pushed.
unsafe fn open_proxy(state: *mut lua_State, inner: &Inner, index: c_int) -> bool {
    // SAFETY: inside a function that scripts call.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE || ffi::lua_getmetatable(state, index) == 0 {
            return false;
        }
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, inner.refs.proxy);
        ffi::lua_rawget_(state, -2);
        let is_proxy = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_settop(state, -2);
        if is_proxy {
            push_bytes(state, b"__index");
            ffi::lua_rawget_(state, -2);
            ffi::lua_remove(state, -2);
        } else {
            ffi::lua_settop(state, -2);
        }
        is_proxy
    }
}

unsafe extern "C-unwind" fn refuse_write(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; raises with the place of the assignment.
    unsafe { ffi::luaL_error(state, c"Attempt to modify a readonly table".as_ptr()) }
}

/// What reading a global that does not exist calls.
pub unsafe extern "C-unwind" fn missing_global(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let name = ffi::lua_tolstring(state, 2, std::ptr::null_mut());
        if name.is_null() {
            let text = c"Second argument to luaProtectedTableError must be a string or number";
            return ffi::luaL_error(state, text.as_ptr());
        }
        ffi::luaL_error(state, c"Script attempted to access nonexistent global variable '%s'".as_ptr(), name)
    }
}

/// Calls the wrapped function, the second upvalue, in the place of the wrapper.
unsafe fn wrapped(state: *mut lua_State) -> c_int {
    // SAFETY: `setup` gave the wrapper a C function; it finds the wrapper's arguments and needs no upvalues of its own.
    unsafe {
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(2)) {
            Some(function) => function(state),
            None => 0,
        }
    }
}

/// For functions that change their first argument.
pub unsafe extern "C-unwind" fn guard_write(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if open_proxy(state, inner_of(state), 1) {
            push_bytes(state, READ_ONLY);
            ffi::lua_error(state);
        }
        wrapped(state)
    }
}

/// For functions that look into their first argument past its metatable.
pub unsafe extern "C-unwind" fn guard_read(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if open_proxy(state, inner_of(state), 1) {
            ffi::lua_replace(state, 1);
        }
        wrapped(state)
    }
}

/// `pairs`: over a proxy, walks what is behind it without giving it away.
pub unsafe extern "C-unwind" fn pairs(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the second upvalue is the guarded `next`.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnil(state);
    }
    3
}

/// `getmetatable`: a proxy has none that scripts could change.
pub unsafe extern "C-unwind" fn getmetatable(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_type(state, 1) == ffi::LUA_TSTRING {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, inner_of(state).refs.string_meta);
            return 1;
        }
        if open_proxy(state, inner_of(state), 1) {
            // Of the table behind it, as if that were the table; only the one of the globals has any.
            if ffi::lua_getmetatable(state, -1) == 0 {
                ffi::lua_pushnil(state);
                return 1;
            }
            push_proxy(state, inner_of(state), -1);
            return 1;
        }
        wrapped(state)
    }
}

/// `pcall`: of an error that is a table with `err`, the caller sees that field alone. The end of a script is not caught.
pub unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) == 0 {
            ffi::lua_pushnil(state);
        }
        let status = ffi::lua_pcall(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET, 0);
        if status != 0 {
            let inner = inner_of(state);
            if inner.stop.is_some() {
                if inner.stop_caught {
                    return raise_stop(state, inner);
                }
                // Once a script may see why it ends, as elsewhere.
                inner.stop_caught = true;
            }
            if ffi::lua_istable(state, -1) != 0 {
                push_bytes(state, b"err");
                ffi::lua_rawget_(state, -2);
                let take = if ffi::lua_type(state, -1) == ffi::LUA_TNIL { -2 } else { -1 };
                ffi::lua_pushvalue(state, take);
            }
            ffi::lua_pushboolean(state, 0);
            ffi::lua_insert(state, -2);
            return 2;
        }
        // As many results as there was room for may have come back.
        ffi::luaL_checkstack_(state, 1, c"too many results".as_ptr());
        ffi::lua_pushboolean(state, 1);
        ffi::lua_insert(state, 1);
        ffi::lua_gettop(state)
    }
}

/// `xpcall`. The end of a script is not caught, and not shown to the handler, which would run without the hook.
pub unsafe extern "C-unwind" fn xpcall(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        ffi::luaL_checkany(state, 2);
        ffi::lua_settop(state, 2);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 2);
        ffi::lua_pushcclosure(state, handle_error, 2);
        ffi::lua_insert(state, 1);
        let status = ffi::lua_pcall(state, 0, ffi::LUA_MULTRET, 1);
        let inner = inner_of(state);
        if inner.stop.is_some() {
            return raise_stop(state, inner);
        }
        ffi::lua_pushboolean(state, c_int::from(status == 0));
        ffi::lua_replace(state, 1);
        ffi::lua_gettop(state)
    }
}

/// Calls the handler of `xpcall`, the second upvalue.
unsafe extern "C-unwind" fn handle_error(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter with the error.
    unsafe {
        if inner_of(state).stop.is_none() {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
            ffi::lua_insert(state, 1);
            ffi::lua_call(state, 1, 1);
        }
    }
    1
}

/// For functions that catch errors: the end of a script is not caught.
pub unsafe extern "C-unwind" fn guard_catch(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let count = wrapped(state);
        let inner = inner_of(state);
        if inner.stop.is_some() { raise_stop(state, inner) } else { count }
    }
}

/// `unpack`, with ranges counted in 64 bits.
pub unsafe extern "C-unwind" fn unpack(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        let first = integer_or(state, 2, 1);
        let last = integer_or(state, 3, i64::try_from(ffi::lua_objlen(state, 1)).unwrap_or(i64::MAX));
        if first > last {
            return 0;
        }
        let count = c_int::try_from((last - first + 1).min(MAX_UNPACKED + 1)).unwrap_or(c_int::MAX);
        if i64::from(count) > MAX_UNPACKED || ffi::lua_checkstack(state, count) == 0 {
            return ffi::luaL_error(state, c"too many results to unpack".as_ptr());
        }
        for index in first..=last {
            ffi::lua_rawgeti_(state, 1, c_int::try_from(index).unwrap_or(0));
        }
        count
    }
}

/// The argument at `index` as a 32-bit integer, as the interpreter reads one; `default` without it.
unsafe fn integer_or(state: *mut lua_State, index: c_int, default: i64) -> i64 {
    // SAFETY: called by a function of the interpreter.
    unsafe {
        if ffi::lua_type(state, index) <= ffi::LUA_TNIL {
            return default;
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates, which is as good as what C does")]
        let value = ffi::luaL_checknumber(state, index) as i32;
        i64::from(value)
    }
}

/// Compiles text and pushes the function or the message; 0 when it is a function.
///
/// Nothing is collected meanwhile: stock Lua 5.1 may free the chunk's name while it compiles (CVE-2025-49844).
///
/// # Safety
/// Inside a protected call; `text` outlives the call.
pub unsafe fn load_text(state: *mut lua_State, text: &[u8], name: &CStr) -> c_int {
    let mut piece = Piece::new(text);
    // SAFETY: the caller's promise. The compiler catches its own errors.
    unsafe {
        ffi::lua_gc(state, ffi::LUA_GCSTOP, 0);
        let status = ffi::lua_load(state, read_piece, (&raw mut piece).cast(), name.as_ptr());
        ffi::lua_gc(state, ffi::LUA_GCRESTART, 0);
        status
    }
}

/// `loadstring`: text only.
pub unsafe extern "C-unwind" fn loadstring(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the strings are arguments and stay where they are.
    unsafe {
        let mut len = 0;
        let text = ffi::luaL_checklstring(state, 1, &raw mut len);
        let name = ffi::luaL_optlstring(state, 2, text, std::ptr::null_mut());
        let text = std::slice::from_raw_parts(text.cast::<u8>(), len);
        finish_load(state, text, CStr::from_ptr(name))
    }
}

unsafe fn finish_load(state: *mut lua_State, text: &[u8], name: &CStr) -> c_int {
    // SAFETY: as for its callers.
    unsafe {
        if load_text(state, text, name) == 0 {
            return 1;
        }
        ffi::lua_pushnil(state);
        ffi::lua_insert(state, -2);
    }
    2
}

/// `load`: gathers the pieces first.
pub unsafe extern "C-unwind" fn load(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the text is a value on the stack while it is compiled.
    unsafe {
        let name = ffi::luaL_optlstring(state, 2, c"=(load)".as_ptr(), std::ptr::null_mut());
        ffi::luaL_checktype(state, 1, ffi::LUA_TFUNCTION);
        ffi::lua_settop(state, 3);
        push_bytes(state, b"");
        let mut pieces = 1;
        loop {
            ffi::luaL_checkstack_(state, 4, c"too many nested functions".as_ptr());
            ffi::lua_pushvalue(state, 1);
            ffi::lua_call(state, 0, 1);
            if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                ffi::lua_settop(state, -2);
                break;
            }
            if ffi::lua_isstring(state, -1) == 0 {
                return ffi::luaL_error(state, c"reader function must return a string".as_ptr());
            }
            if ffi::lua_objlen(state, -1) == 0 {
                ffi::lua_settop(state, -2);
                break;
            }
            pieces += 1;
            // Joined a thousand at a time: neither the stack nor the copying gets out of hand.
            if pieces == 1000 {
                ffi::lua_concat(state, pieces);
                pieces = 1;
            }
        }
        ffi::lua_concat(state, pieces);
        let text = bytes_at(state, -1).unwrap_or(&[]);
        finish_load(state, text, CStr::from_ptr(name))
    }
}

/// `collectgarbage`: what would change the pace of collecting for everybody does nothing.
pub unsafe extern "C-unwind" fn collectgarbage(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let harmful = matches!(
            (ffi::lua_type(state, 1) == ffi::LUA_TSTRING).then(|| bytes_at(state, 1)).flatten(),
            Some(b"stop" | b"restart" | b"setpause" | b"setstepmul")
        );
        if harmful {
            ffi::lua_pushnumber(state, 0.0);
            return 1;
        }
        wrapped(state)
    }
}

/// `tonumber`: short decimal integers, what scripts mostly have, without the general conversion.
pub unsafe extern "C-unwind" fn tonumber(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) == 1
            && ffi::lua_type(state, 1) == ffi::LUA_TSTRING
            && let Some(number) = bytes_at(state, 1).and_then(short_integer)
        {
            ffi::lua_pushnumber(state, f64::from(number));
            return 1;
        }
        wrapped(state)
    }
}

/// The number that up to nine digits spell.
fn short_integer(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// `math.randomseed`.
pub unsafe extern "C-unwind" fn randomseed(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        #[expect(clippy::cast_possible_truncation, reason = "a seed is 32 bits, of whatever number")]
        let seed = ffi::luaL_checkinteger(state, 1) as i32;
        inner_of(state).random.seed(seed);
    }
    0
}

/// `math.random`.
pub unsafe extern "C-unwind" fn random(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let unit = inner_of(state).random.unit();
        let number = match ffi::lua_gettop(state) {
            0 => unit,
            1 => {
                let high = integer_or(state, 1, 0);
                ffi::luaL_argcheck(state, c_int::from(high >= 1), 1, c"interval is empty".as_ptr());
                (unit * to_double(high)).floor() + 1.0
            }
            2 => {
                let (low, high) = (integer_or(state, 1, 0), integer_or(state, 2, 0));
                ffi::luaL_argcheck(state, c_int::from(low <= high), 2, c"interval is empty".as_ptr());
                (unit * to_double(high - low + 1)).floor() + to_double(low)
            }
            _ => return ffi::luaL_error(state, c"wrong number of arguments".as_ptr()),
        };
        ffi::lua_pushnumber(state, number);
    }
    1
}

#[expect(clippy::cast_precision_loss, reason = "of 33 bits at most")]
fn to_double(value: i64) -> f64 {
    value as f64
}

/// Pushes the text of any value, as `tostring` gives it.
///
/// # Safety
/// Inside a protected call.
pub unsafe fn push_text(state: *mut lua_State, index: c_int) {
    // SAFETY: the caller's promise.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING | ffi::LUA_TNUMBER => {
                ffi::lua_pushvalue(state, index);
                bytes_at(state, -1);
            }
            ffi::LUA_TBOOLEAN => {
                push_bytes(state, if ffi::lua_toboolean(state, index) != 0 { b"true" } else { b"false" });
            }
            ffi::LUA_TNIL | ffi::LUA_TNONE => push_bytes(state, b"nil"),
            // An error of the binding, which has no other form.
            ffi::LUA_TUSERDATA if ffi::luaL_callmeta(state, index, c"__tostring".as_ptr()) != 0 => {
                let text = bytes_at(state, -1).unwrap_or(&[]);
                let end = memchr::memmem::find(text, b"\nstack traceback").unwrap_or(text.len());
                push_bytes(state, &text[..end]);
            }
            kind => {
                let name = ffi::lua_typename(state, kind);
                ffi::lua_pushfstring(state, c"%s: %p".as_ptr(), name, ffi::lua_topointer(state, index));
            }
        }
    }
}

/// Stands in front of a function of our libraries, the second upvalue: the first result of that is the text of an error, or
/// nil before its results.
unsafe extern "C-unwind" fn front(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        if ffi::lua_type(state, 1) == ffi::LUA_TSTRING {
            ffi::lua_settop(state, 1);
            ffi::lua_error(state);
        }
        ffi::lua_remove(state, 1);
        ffi::lua_gettop(state)
    }
}

/// Puts a front before the function that is its argument.
pub unsafe extern "C-unwind" fn make_front(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushcclosure(state, front, 2);
    }
    1
}
