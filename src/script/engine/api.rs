//! The functions of the `redis` (or `server`) table.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::raw::{bytes_at, inner_of, push_bytes, raise};
use super::{Chunk, Inner, Registered, convert};
use crate::protocol::batch::OwnedRequest;
use crate::protocol::reply::Resp;
use crate::script::header::ScriptFlags;
use crate::script::host::LogLevel;
use crate::util::number;
use mlua::ffi::{self, lua_State};
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A request that grew larger is not kept for the next call, in bytes.
const KEPT_REQUEST: usize = 1 << 20;

/// `call`: an error of the command ends the script.
pub unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { command(state, true) }
}

/// `pcall`: an error of the command is returned.
pub unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { command(state, false) }
}

/// Returns an error or raises it.
unsafe fn refuse(state: *mut lua_State, text: &str, raises: bool) -> c_int {
    // SAFETY: called by a function of the interpreter; nothing in its frame needs dropping.
    unsafe {
        if raises {
            return raise(state, text);
        }
        ffi::lua_createtable(state, 0, 1);
        push_bytes(state, b"ERR ");
        push_bytes(state, text.as_bytes());
        ffi::lua_concat(state, 2);
        ffi::lua_setfield(state, -2, c"err".as_ptr());
    }
    1
}

unsafe fn command(state: *mut lua_State, raises: bool) -> c_int {
    // SAFETY: called by a function of the interpreter. The reply lies in `inner`, which nobody changes while it is converted.
    unsafe {
        let inner = inner_of(state);
        if let Err(text) = gather(state, inner) {
            return refuse(state, text, raises);
        }
        if !run_command(inner) {
            return raise(state, "internal error");
        }
        // The request has its own copies; of a call with nearly as many arguments as the stack has room for, the reply needs their place.
        ffi::lua_settop(state, 0);
        let reply: *const [u8] = match inner.out.contiguous() {
            Some(bytes) => bytes,
            None => {
                inner.flat = inner.out.to_vec();
                inner.flat.as_slice()
            }
        };
        if convert::push_reply(state, &*reply) && raises {
            ffi::lua_error(state);
        }
    }
    1
}

/// Makes the arguments a request.
unsafe fn gather(state: *mut lua_State, inner: &mut Inner) -> Result<(), &'static str> {
    if inner.request.held_bytes() > KEPT_REQUEST {
        inner.request = OwnedRequest::new();
    }
    inner.request.clear();
    // SAFETY: called by a function of the interpreter.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            return Err("Please specify at least one argument for this call");
        }
        for index in 1..=count {
            match ffi::lua_type(state, index) {
                ffi::LUA_TSTRING => inner.request.push(bytes_at(state, index).unwrap_or(&[])),
                ffi::LUA_TNUMBER => push_number(&mut inner.request, ffi::lua_tonumber(state, index)),
                _ => return Err("Command arguments must be strings or integers"),
            }
        }
    }
    Ok(())
}

/// A number as commands get it: an integer of up to 2^62 without a point, anything else in its shortest digits.
fn push_number(request: &mut OwnedRequest, value: f64) {
    const LIMIT: f64 = 4_611_686_018_427_387_904.0;
    if value.is_nan() {
        return request.push(if value.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if value.fract() == 0.0 && value.abs() <= LIMIT {
        #[expect(clippy::cast_possible_truncation, reason = "an integer within the range")]
        return request.push(number::format_i64(value as i64).as_bytes());
    }
    request.push(number::format_f64(value).as_bytes());
}

/// Runs the request; `false` after a panic, which is kept.
fn run_command(inner: &mut Inner) -> bool {
    inner.out.clear();
    let Some(mut host) = inner.host else { return false };
    // SAFETY: known only during a step, in which the borrow it came from lasts.
    let host = unsafe { host.as_mut() };
    let (request, out, resp) = (&inner.request, &mut inner.out, inner.resp);
    match catch_unwind(AssertUnwindSafe(|| host.call(request.view(), resp, out))) {
        Ok(()) => true,
        Err(panic) => {
            inner.panic = Some(panic);
            false
        }
    }
}

/// `acl_check_cmd`.
pub unsafe extern "C-unwind" fn acl_check_cmd(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the host as in `run_command`.
    unsafe {
        let inner = inner_of(state);
        if let Err(text) = gather(state, inner) {
            return raise(state, text);
        }
        let Some(mut host) = inner.host else { return 0 };
        match host.as_mut().may_run(inner.request.view()) {
            Some(allowed) => ffi::lua_pushboolean(state, c_int::from(allowed)),
            None => return raise(state, "Invalid command passed to server.acl_check_cmd()"),
        }
    }
    1
}

/// `log`.
pub unsafe extern "C-unwind" fn log(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the text is a value of it until it is written.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count < 2 {
            return raise(state, "server.log() requires two arguments or more.");
        }
        if ffi::lua_isnumber(state, 1) == 0 {
            return raise(state, "First argument must be a number (log level).");
        }
        let level = ffi::lua_tonumber(state, 1);
        let level = match level {
            0.0..1.0 => LogLevel::Debug,
            1.0..2.0 => LogLevel::Verbose,
            2.0..3.0 => LogLevel::Notice,
            3.0..4.0 => LogLevel::Warning,
            _ => return raise(state, "Invalid log level."),
        };
        push_bytes(state, b"");
        for index in 2..=count {
            if ffi::lua_isstring(state, index) != 0 {
                push_bytes(state, if index > 2 { b" " } else { b"" });
                ffi::lua_pushvalue(state, index);
                ffi::lua_concat(state, 3);
            }
        }
        if let Some(mut host) = inner_of(state).host {
            host.as_mut().log(level, bytes_at(state, -1).unwrap_or(&[]));
        }
    }
    0
}

/// `sha1hex`.
pub unsafe extern "C-unwind" fn sha1hex(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) != 1 {
            return raise(state, "wrong number of arguments");
        }
        let digest = crate::script::cache::digest(bytes_at(state, 1).unwrap_or(&[]));
        push_bytes(state, &digest);
    }
    1
}

/// `error_reply`.
pub unsafe extern "C-unwind" fn error_reply(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) != 1 || ffi::lua_type(state, 1) != ffi::LUA_TSTRING {
            return refuse(state, "wrong number or type of arguments", false);
        }
        let text = bytes_at(state, 1).unwrap_or(&[]);
        let text = text.strip_prefix(b"-").unwrap_or(text);
        ffi::lua_createtable(state, 0, 1);
        // A text without a code word gets one.
        push_bytes(state, if text.contains(&b' ') { b"" } else { b"ERR " });
        push_bytes(state, text);
        ffi::lua_concat(state, 2);
        ffi::lua_setfield(state, -2, c"err".as_ptr());
    }
    1
}

/// `status_reply`.
pub unsafe extern "C-unwind" fn status_reply(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) != 1 || ffi::lua_type(state, 1) != ffi::LUA_TSTRING {
            return refuse(state, "wrong number or type of arguments", false);
        }
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_setfield(state, -2, c"ok".as_ptr());
    }
    1
}

/// `setresp`.
pub unsafe extern "C-unwind" fn setresp(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if ffi::lua_gettop(state) != 1 {
            return raise(state, "server.setresp() requires one argument.");
        }
        let version = ffi::lua_tonumber(state, 1);
        inner_of(state).resp = match version {
            2.0..3.0 => Resp::V2,
            3.0..4.0 => Resp::V3,
            _ => return raise(state, "RESP version must be 2 or 3."),
        };
    }
    0
}

/// `set_repl`.
pub unsafe extern "C-unwind" fn set_repl(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter; the host as in `run_command`.
    unsafe {
        if ffi::lua_gettop(state) != 1 {
            return raise(state, "server.set_repl() requires one argument.");
        }
        let flags = ffi::lua_tonumber(state, 1);
        let Some(flags) = (0_u8..4).find(|known| (f64::from(*known)..f64::from(*known) + 1.0).contains(&flags)) else {
            let text = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
            return raise(state, text);
        };
        if let Some(mut host) = inner_of(state).host {
            host.as_mut().set_propagation(flags);
        }
    }
    0
}

/// `replicate_commands`: effects are what is replicated, always.
pub unsafe extern "C-unwind" fn replicate_commands(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { ffi::lua_pushboolean(state, 1) };
    1
}

/// `breakpoint`: there is no debugger.
pub unsafe extern "C-unwind" fn breakpoint(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { ffi::lua_pushboolean(state, 0) };
    1
}

/// `debug`: there is no debugger.
pub unsafe extern "C-unwind" fn debug(_: *mut lua_State) -> c_int {
    0
}

// Functions

/// Arguments of `register_function`, as places on the stack; 0 for none.
#[derive(Default)]
struct Arguments {
    name: c_int,
    callback: c_int,
    description: c_int,
    flags: ScriptFlags,
}

/// `register_function`, in a library that loads; a function of one that has kept its `server` is refused.
pub unsafe extern "C-unwind" fn register_function(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter. The record is made after the last call that may fail.
    unsafe {
        if !inner_of(state).loading {
            return raise(state, "server.register_function can only be called on FUNCTION LOAD command");
        }
        let arguments = match ffi::lua_gettop(state) {
            1 => named_arguments(state),
            2 => plain_arguments(state),
            _ => Err("wrong number of arguments to server.register_function"),
        };
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(text) => return raise(state, text),
        };
        ffi::luaL_checkstack_(state, 4, c"too many arguments".as_ptr());
        let name = bytes_at(state, arguments.name).unwrap_or(&[]);
        let description = (arguments.description != 0).then(|| bytes_at(state, arguments.description)).flatten();
        ffi::lua_pushvalue(state, arguments.callback);
        let chunk = Chunk(ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX));
        inner_of(state).registered.push(Registered {
            name: name.to_vec(),
            description: description.map(<[u8]>::to_vec),
            flags: arguments.flags,
            chunk,
        });
    }
    0
}

unsafe fn plain_arguments(state: *mut lua_State) -> Result<Arguments, &'static str> {
    // SAFETY: called by a function of the interpreter.
    unsafe {
        if ffi::lua_isstring(state, 1) == 0 {
            return Err("first argument to server.register_function must be a string");
        }
        if ffi::lua_type(state, 2) != ffi::LUA_TFUNCTION {
            return Err("second argument to server.register_function must be a function");
        }
    }
    Ok(Arguments { name: 1, callback: 2, ..Arguments::default() })
}

unsafe fn named_arguments(state: *mut lua_State) -> Result<Arguments, &'static str> {
    let mut arguments = Arguments::default();
    // SAFETY: called by a function of the interpreter; values that are kept stay on the stack, below the key that is walked.
    unsafe {
        if ffi::lua_type(state, 1) != ffi::LUA_TTABLE {
            return Err("calling server.register_function with a single argument is only applicable to Lua table \
                        (representing named arguments).");
        }
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, 1) != 0 {
            ffi::luaL_checkstack_(state, 4, c"too many arguments".as_ptr());
            let key = (ffi::lua_type(state, -2) == ffi::LUA_TSTRING).then(|| bytes_at(state, -2)).flatten();
            take_argument(state, key.unwrap_or(&[]), &mut arguments)?;
            // Key and value change places: the value stays, the key goes on walking.
            ffi::lua_insert(state, -2);
        }
    }
    if arguments.name == 0 {
        return Err("server.register_function must get a function name argument");
    }
    if arguments.callback == 0 {
        return Err("server.register_function must get a callback argument");
    }
    Ok(arguments)
}

/// Reads the named argument whose value is on top, over its key, where the value will lie.
unsafe fn take_argument(state: *mut lua_State, key: &[u8], arguments: &mut Arguments) -> Result<(), &'static str> {
    // SAFETY: called by a function of the interpreter.
    unsafe {
        let place = ffi::lua_gettop(state) - 1;
        let kind = ffi::lua_type(state, -1);
        let is_text = ffi::lua_isstring(state, -1) != 0;
        match key {
            b"function_name" if is_text => arguments.name = place,
            b"function_name" => {
                return Err("function_name argument given to server.register_function must be a string");
            }
            b"description" if is_text => arguments.description = place,
            b"description" => return Err("description argument given to server.register_function must be a string"),
            b"callback" if kind == ffi::LUA_TFUNCTION => arguments.callback = place,
            b"callback" => return Err("callback argument given to server.register_function must be a function"),
            b"flags" if kind == ffi::LUA_TTABLE => arguments.flags = read_flags(state)?,
            b"flags" => {
                return Err("flags argument to server.register_function must be a table representing function flags");
            }
            _ => return Err("unknown argument given to server.register_function"),
        }
    }
    Ok(())
}

/// The flags named in the table on top.
unsafe fn read_flags(state: *mut lua_State) -> Result<ScriptFlags, &'static str> {
    let mut flags = ScriptFlags::default();
    // SAFETY: called by a function of the interpreter.
    unsafe {
        for index in 1.. {
            ffi::lua_rawgeti_(state, -1, index);
            if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                ffi::lua_settop(state, -2);
                break;
            }
            let name = (ffi::lua_type(state, -1) == ffi::LUA_TSTRING).then(|| bytes_at(state, -1)).flatten();
            let flag = name.and_then(ScriptFlags::named).ok_or("unknown flag given")?;
            flags = flags.and(flag);
            ffi::lua_settop(state, -2);
        }
    }
    Ok(flags)
}
