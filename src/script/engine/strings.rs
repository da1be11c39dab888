//! `string.find`, `match`, `gmatch` and `gsub`, over our own matcher.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::Inner;
use super::raw::{bytes_at, inner_of, is_to_stop, push_bytes, raise_stop};
use crate::script::pattern::{Captured, Fault, Matcher, effective};
use mlua::ffi::{self, lua_State, luaL_Buffer};
use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;

/// What makes a pattern more than a text.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// The string argument at `index`.
unsafe fn check_bytes<'a>(state: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: called by a function of the interpreter; arguments stay where they are.
    unsafe {
        let bytes = ffi::luaL_checklstring(state, index, &raw mut len);
        std::slice::from_raw_parts(bytes.cast(), len)
    }
}

/// Raises the error of a pattern.
unsafe fn raise_fault(state: *mut lua_State, inner: *mut Inner, fault: Fault) -> c_int {
    // SAFETY: called by a function of the interpreter with nothing to drop.
    unsafe {
        match fault {
            Fault::Text(text) => ffi::luaL_error(state, c"%s".as_ptr(), text.as_ptr()),
            Fault::Stopped => raise_stop(state, &*inner),
        }
    }
}

/// Pushes one capture of a match.
unsafe fn push_capture(state: *mut lua_State, capture: Captured<'_>) {
    // SAFETY: called by a function of the interpreter.
    unsafe {
        match capture {
            Captured::Text(text) => push_bytes(state, text),
            #[expect(clippy::cast_precision_loss, reason = "no text is that long")]
            Captured::Position(place) => ffi::lua_pushnumber(state, place as f64),
        }
    }
}

/// Pushes all captures of a match, the whole of it where there are none and `whole` is set.
unsafe fn push_captures(
    state: *mut lua_State,
    matcher: &Matcher<'_, '_>,
    start: usize,
    end: usize,
    whole: bool,
) -> Result<c_int, Fault> {
    let count = if matcher.captures() == 0 && whole { 1 } else { matcher.captures() };
    let slots = c_int::try_from(count).unwrap_or(0);
    // SAFETY: called by a function of the interpreter.
    unsafe {
        ffi::luaL_checkstack_(state, slots + 2, c"too many captures".as_ptr());
        for index in 0..count {
            push_capture(state, matcher.capture(index, start, end)?);
        }
    }
    Ok(slots)
}

/// `string.find`.
pub unsafe extern "C-unwind" fn find(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { search(state, true) }
}

/// `string.match`.
pub unsafe extern "C-unwind" fn match_(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { search(state, false) }
}

unsafe fn push_place(state: *mut lua_State, place: usize) {
    // SAFETY: called by a function of the interpreter.
    unsafe {
        #[expect(clippy::cast_precision_loss, reason = "no text is that long")]
        ffi::lua_pushnumber(state, place as f64);
    }
}

/// Where to begin, from the argument at `index`: counted from 1, or from the end when negative.
unsafe fn first_place(state: *mut lua_State, index: c_int, len: usize) -> usize {
    // SAFETY: called by a function of the interpreter.
    let place = unsafe { ffi::luaL_optinteger(state, index, 1) };
    let len_signed = i64::try_from(len).unwrap_or(i64::MAX);
    let place = if place < 0 { (place + len_signed + 1).max(0) } else { place };
    usize::try_from(place - 1).unwrap_or(0).min(len)
}

unsafe fn search(state: *mut lua_State, find: bool) -> c_int {
    // SAFETY: called by a function of the interpreter; the matcher needs no dropping.
    unsafe {
        let (text, pattern) = (check_bytes(state, 1), check_bytes(state, 2));
        let start = first_place(state, 3, text.len());
        let is_text = || !effective(pattern).iter().any(|byte| SPECIALS.contains(byte));
        if find && (ffi::lua_toboolean(state, 4) != 0 || is_text()) {
            let Some(place) = memchr::memmem::find(&text[start..], pattern) else {
                ffi::lua_pushnil(state);
                return 1;
            };
            push_place(state, start + place + 1);
            push_place(state, start + place + pattern.len());
            return 2;
        }
        let inner: *mut Inner = inner_of(state);
        match search_pattern(state, inner, text, pattern, start, find) {
            Ok(count) => count,
            Err(fault) => raise_fault(state, inner, fault),
        }
    }
}

unsafe fn search_pattern(
    state: *mut lua_State,
    inner: *mut Inner,
    text: &[u8],
    pattern: &[u8],
    start: usize,
    find: bool,
) -> Result<c_int, Fault> {
    let anchored = pattern.first() == Some(&b'^');
    // SAFETY: in a function of the interpreter.
    let mut stop = || unsafe { is_to_stop(inner) };
    let mut matcher = Matcher::new(text, &pattern[usize::from(anchored)..], &mut stop);
    let last = if anchored { start } else { text.len() };
    for place in start..=last {
        let Some(end) = matcher.match_at(place)? else { continue };
        // SAFETY: called by a function of the interpreter.
        unsafe {
            if !find {
                return push_captures(state, &matcher, place, end, true);
            }
            push_place(state, place + 1);
            push_place(state, end);
            return Ok(push_captures(state, &matcher, place, end, false)? + 2);
        }
    }
    // SAFETY: called by a function of the interpreter.
    unsafe { ffi::lua_pushnil(state) };
    Ok(1)
}

/// `string.gmatch`: an iterator, with text, pattern and place behind the pointer that all our functions carry.
pub unsafe extern "C-unwind" fn gmatch(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        check_bytes(state, 1);
        check_bytes(state, 2);
        ffi::lua_settop(state, 2);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        ffi::lua_pushcclosure(state, gmatch_next, 4);
    }
    1
}

unsafe extern "C-unwind" fn gmatch_next(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the strings are upvalues.
    unsafe {
        let inner: *mut Inner = inner_of(state);
        let text = bytes_at(state, ffi::lua_upvalueindex(2)).unwrap_or(&[]);
        let pattern = bytes_at(state, ffi::lua_upvalueindex(3)).unwrap_or(&[]);
        let first = usize::try_from(ffi::lua_tointeger_(state, ffi::lua_upvalueindex(4))).unwrap_or(0);
        match next_match(state, inner, text, pattern, first) {
            Ok(count) => count,
            Err(fault) => raise_fault(state, inner, fault),
        }
    }
}

unsafe fn next_match(
    state: *mut lua_State,
    inner: *mut Inner,
    text: &[u8],
    pattern: &[u8],
    first: usize,
) -> Result<c_int, Fault> {
    // SAFETY: in a function of the interpreter.
    let mut stop = || unsafe { is_to_stop(inner) };
    let mut matcher = Matcher::new(text, pattern, &mut stop);
    for place in first..=text.len() {
        let Some(end) = matcher.match_at(place)? else { continue };
        // SAFETY: called by a function of the interpreter.
        unsafe {
            push_place(state, if end == place { end + 1 } else { end });
            ffi::lua_replace(state, ffi::lua_upvalueindex(4));
            return push_captures(state, &matcher, place, end, true);
        }
    }
    Ok(0)
}

/// `string.gsub`.
pub unsafe extern "C-unwind" fn gsub(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the buffer is plain data, and the matcher needs no dropping.
    unsafe {
        let (text, pattern) = (check_bytes(state, 1), check_bytes(state, 2));
        let kind = ffi::lua_type(state, 3);
        let most = ffi::luaL_optinteger(state, 4, i64::try_from(text.len() + 1).unwrap_or(i64::MAX));
        let known = [ffi::LUA_TNUMBER, ffi::LUA_TSTRING, ffi::LUA_TFUNCTION, ffi::LUA_TTABLE].contains(&kind);
        ffi::luaL_argcheck(state, c_int::from(known), 3, c"string/function/table expected".as_ptr());
        let inner: *mut Inner = inner_of(state);
        let mut buffer = MaybeUninit::<luaL_Buffer>::uninit();
        ffi::luaL_buffinit(state, buffer.as_mut_ptr());
        match substitute(state, inner, text, pattern, most, buffer.as_mut_ptr()) {
            Ok(count) => {
                ffi::luaL_pushresult(buffer.as_mut_ptr());
                push_place(state, count);
                2
            }
            Err(fault) => raise_fault(state, inner, fault),
        }
    }
}

unsafe fn add(buffer: *mut luaL_Buffer, bytes: &[u8]) {
    // SAFETY: a buffer in use, in a function of the interpreter.
    unsafe { ffi::luaL_addlstring(buffer, bytes.as_ptr().cast::<c_char>(), bytes.len()) };
}

unsafe fn substitute(
    state: *mut lua_State,
    inner: *mut Inner,
    text: &[u8],
    pattern: &[u8],
    most: i64,
    buffer: *mut luaL_Buffer,
) -> Result<usize, Fault> {
    let anchored = pattern.first() == Some(&b'^');
    // SAFETY: in a function of the interpreter.
    let mut stop = || unsafe { is_to_stop(inner) };
    let mut matcher = Matcher::new(text, &pattern[usize::from(anchored)..], &mut stop);
    let (mut count, mut place) = (0, 0);
    // SAFETY: as for `gsub`.
    unsafe {
        while count < usize::try_from(most).unwrap_or(0) {
            let found = matcher.match_at(place)?;
            if let Some(end) = found {
                count += 1;
                replace(state, &matcher, place, end, text, buffer)?;
            }
            match found {
                Some(end) if end > place => place = end,
                _ if place < text.len() => {
                    add(buffer, &text[place..=place]);
                    place += 1;
                }
                _ => break,
            }
            if anchored {
                break;
            }
        }
        add(buffer, &text[place..]);
    }
    Ok(count)
}

/// Adds what replaces a match.
unsafe fn replace(
    state: *mut lua_State,
    matcher: &Matcher<'_, '_>,
    start: usize,
    end: usize,
    text: &[u8],
    buffer: *mut luaL_Buffer,
) -> Result<(), Fault> {
    // SAFETY: as for `gsub`.
    unsafe {
        match ffi::lua_type(state, 3) {
            ffi::LUA_TFUNCTION => {
                ffi::lua_pushvalue(state, 3);
                let count = push_captures(state, matcher, start, end, true)?;
                ffi::lua_call(state, count, 1);
            }
            ffi::LUA_TTABLE => {
                push_capture(state, matcher.capture(0, start, end)?);
                ffi::lua_gettable_(state, 3);
            }
            _ => return replace_by_text(state, matcher, start, end, text, buffer),
        }
        if ffi::lua_toboolean(state, -1) == 0 {
            ffi::lua_settop(state, -2);
            push_bytes(state, &text[start..end]);
        } else if ffi::lua_isstring(state, -1) == 0 {
            let name: *const c_char = ffi::lua_typename(state, ffi::lua_type(state, -1));
            let format: &CStr = c"invalid replacement value (a %s)";
            ffi::luaL_error(state, format.as_ptr(), name);
        }
        ffi::luaL_addvalue(buffer);
    }
    Ok(())
}

unsafe fn replace_by_text(
    state: *mut lua_State,
    matcher: &Matcher<'_, '_>,
    start: usize,
    end: usize,
    text: &[u8],
    buffer: *mut luaL_Buffer,
) -> Result<(), Fault> {
    // SAFETY: as for `gsub`.
    unsafe {
        let mut rest = bytes_at(state, 3).unwrap_or(&[]);
        while let Some(escape) = memchr::memchr(b'%', rest) {
            add(buffer, &rest[..escape]);
            let code = rest.get(escape + 1).copied();
            match code {
                Some(b'0') => add(buffer, &text[start..end]),
                Some(digit @ b'1'..=b'9') => {
                    push_capture(state, matcher.capture(usize::from(digit - b'1'), start, end)?);
                    ffi::luaL_addvalue(buffer);
                }
                // A lone `%` at the end is followed by the zero that ends the text in C.
                other => add(buffer, &[other.unwrap_or(0)]),
            }
            rest = rest.get(escape + 2..).unwrap_or(&[]);
        }
        add(buffer, rest);
    }
    Ok(())
}
