//! What scripts find: the globals, built once for an interpreter.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::raw::{install_hook, on_error, push_bytes, runner};
use super::{Inner, Kind, api, guard, strings};
use crate::script::lib;
use mlua::ffi::{self, lua_CFunction, lua_State};
use mlua::{Function, Lua};
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

/// Functions of the base library that scripts get as they are.
const BASE: &[&CStr] = &[c"assert", c"error", c"gcinfo", c"ipairs", c"rawequal", c"select", c"tostring", c"type"];

/// Functions of the base library that are guarded.
const GUARDED_BASE: &[(&CStr, lua_CFunction)] = &[
    (c"collectgarbage", guard::collectgarbage),
    (c"getmetatable", guard::getmetatable),
    (c"next", guard::guard_read),
    (c"rawget", guard::guard_read),
    (c"rawset", guard::guard_write),
    (c"setmetatable", guard::guard_write),
    (c"tonumber", guard::tonumber),
];

/// Functions of the base library that are ours.
const OWN_BASE: &[(&CStr, lua_CFunction)] = &[
    (c"load", guard::load),
    (c"loadstring", guard::loadstring),
    (c"pcall", guard::pcall),
    (c"unpack", guard::unpack),
    (c"xpcall", guard::xpcall),
];

/// A library: its name, functions taken as they are, and guarded ones.
type Library = (&'static CStr, &'static [&'static CStr], &'static [(&'static CStr, lua_CFunction)]);

const LIBRARIES: &[Library] = &[
    (
        c"string",
        &[c"byte", c"char", c"dump", c"format", c"len", c"lower", c"rep", c"reverse", c"sub", c"upper"],
        &[
            (c"find", strings::find),
            (c"gfind", strings::gmatch),
            (c"gmatch", strings::gmatch),
            (c"gsub", strings::gsub),
            (c"match", strings::match_),
        ],
    ),
    (
        c"table",
        &[c"concat", c"foreach", c"foreachi", c"getn", c"maxn", c"remove", c"setn", c"sort"],
        &[(c"insert", guard::guard_write)],
    ),
    (
        c"math",
        &[
            c"abs", c"acos", c"asin", c"atan", c"atan2", c"ceil", c"cos", c"cosh", c"deg", c"exp", c"floor", c"fmod",
            c"frexp", c"huge", c"ldexp", c"log", c"log10", c"max", c"min", c"mod", c"modf", c"pi", c"pow", c"rad",
            c"sin", c"sinh", c"sqrt", c"tan", c"tanh",
        ],
        &[(c"random", guard::random), (c"randomseed", guard::randomseed)],
    ),
    (c"os", &[c"clock"], &[]),
    (c"coroutine", &[c"create", c"running", c"status", c"wrap", c"yield"], &[(c"resume", guard::guard_catch)]),
];

/// Libraries of ours.
const OWN_LIBRARIES: &[&CStr] = &[c"bit", c"cjson", c"cmsgpack", c"struct"];

/// The functions of the server's table that functions too may call.
const SERVER: &[(&CStr, lua_CFunction)] = &[
    (c"acl_check_cmd", api::acl_check_cmd),
    (c"call", api::call),
    (c"error_reply", api::error_reply),
    (c"log", api::log),
    (c"pcall", api::pcall),
    (c"set_repl", api::set_repl),
    (c"setresp", api::setresp),
    (c"sha1hex", api::sha1hex),
    (c"status_reply", api::status_reply),
];

/// Those that only scripts have.
const SCRIPT_SERVER: &[(&CStr, lua_CFunction)] =
    &[(c"breakpoint", api::breakpoint), (c"debug", api::debug), (c"replicate_commands", api::replicate_commands)];

/// Those of a library that loads.
const LOAD_SERVER: &[(&CStr, lua_CFunction)] = &[(c"log", api::log), (c"register_function", api::register_function)];

/// Numbers of the server's table.
const LEVELS: &[(&CStr, f64)] =
    &[(c"LOG_DEBUG", 0.0), (c"LOG_VERBOSE", 1.0), (c"LOG_NOTICE", 2.0), (c"LOG_WARNING", 3.0)];

/// Where effects go.
const PROPAGATION: &[(&CStr, f64)] =
    &[(c"REPL_NONE", 0.0), (c"REPL_AOF", 1.0), (c"REPL_REPLICA", 2.0), (c"REPL_SLAVE", 2.0), (c"REPL_ALL", 3.0)];

/// The version of Redis that scripts are told, as INFO tells it: text, and the number with a byte for each part.
const VERSION: (&[u8], f64) = (crate::config::REDIS_VERSION.as_bytes(), 459_778.0);
/// The version of Valkey whose interface this is.
const VALKEY_VERSION: (&[u8], f64) = (b"9.1.2", 590_082.0);
/// Scripts ask for it to tell the two families apart.
const SERVER_NAME: &[u8] = b"valkey";

/// Builds the globals of a fresh interpreter, and lets it find `inner`.
///
/// # Errors
/// There is no memory for it.
pub fn build(lua: &Lua, inner: NonNull<Inner>) -> mlua::Result<()> {
    // SAFETY: as below.
    let front = unsafe { lua.exec_raw::<Function>((), |state| push_function(state, inner, guard::make_front)) }?;
    lua.set_named_registry_value(lib::FRONT, front)?;
    let globals = lua.globals();
    globals.set("bit", lib::bit::open(lua)?)?;
    globals.set("cjson", lib::json::open(lua)?)?;
    globals.set("cmsgpack", lib::msgpack::open(lua)?)?;
    globals.set("struct", lib::pack::open(lua)?)?;
    drop(globals);
    // SAFETY: `exec_raw` calls with a live state inside a protected call; the frames below hold nothing to drop.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack_(state, 30, c"no room".as_ptr());
            (*inner.as_ptr()).state = state;
            install_hook(state, inner);
            build_globals(state, inner);
            ffi::lua_settop(state, 0);
        })
    }
}

/// Pushes a function that carries `inner`.
unsafe fn push_function(state: *mut lua_State, inner: NonNull<Inner>, function: lua_CFunction) {
    // SAFETY: as for `build`.
    unsafe {
        ffi::lua_pushlightuserdata(state, inner.as_ptr().cast());
        ffi::lua_pushcclosure(state, function, 1);
    }
}

/// Wraps the function on top.
unsafe fn wrap(state: *mut lua_State, inner: NonNull<Inner>, function: lua_CFunction) {
    // SAFETY: as for `build`.
    unsafe {
        ffi::lua_pushlightuserdata(state, inner.as_ptr().cast());
        ffi::lua_insert(state, -2);
        ffi::lua_pushcclosure(state, function, 2);
    }
}

unsafe fn keep(state: *mut lua_State) -> c_int {
    // SAFETY: as for `build`.
    unsafe { ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX) }
}

unsafe fn build_globals(state: *mut lua_State, inner: NonNull<Inner>) {
    // SAFETY: as for `build`. `inner` is not borrowed while the interpreter runs a function that uses it.
    unsafe {
        let kind = (*inner.as_ptr()).kind;
        let refs = &raw mut (*inner.as_ptr()).refs;
        ffi::lua_createtable(state, 0, 0);
        (*refs).proxy = keep(state);
        push_function(state, inner, runner);
        (*refs).runner = keep(state);
        push_function(state, inner, on_error);
        (*refs).on_error = keep(state);
        push_bytes(state, b"KEYS");
        (*refs).keys = keep(state);
        push_bytes(state, b"ARGV");
        (*refs).argv = keep(state);

        ffi::lua_createtable(state, 0, 64);
        let globals = ffi::lua_gettop(state);
        base(state, inner, globals);
        LIBRARIES.iter().for_each(|library| add_library(state, inner, globals, library));
        for name in OWN_LIBRARIES {
            ffi::lua_getfield_(state, ffi::LUA_GLOBALSINDEX, name.as_ptr());
            guard::push_proxy(state, inner.as_ref(), -1);
            ffi::lua_setfield(state, globals, name.as_ptr());
            ffi::lua_settop(state, globals);
        }
        add_server(state, inner, globals, kind);
        guard::push_proxy(state, inner.as_ref(), globals);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_setfield(state, globals, c"_G".as_ptr());
        // From here on, what is compiled sees these globals.
        ffi::lua_replace(state, ffi::LUA_GLOBALSINDEX);
        refuse_missing(state, globals);
        ffi::lua_pushvalue(state, globals);
        (*refs).globals = keep(state);
        (*refs).load_globals = load_globals(state, inner);
    }
}

/// Reading what the table at `index` lacks is an error.
unsafe fn refuse_missing(state: *mut lua_State, index: c_int) {
    // SAFETY: as for `build`.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushcclosure(state, guard::missing_global, 0);
        ffi::lua_setfield(state, -2, c"__index".as_ptr());
        ffi::lua_setmetatable(state, index);
    }
}

unsafe fn base(state: *mut lua_State, inner: NonNull<Inner>, globals: c_int) {
    // SAFETY: as for `build`.
    unsafe {
        for name in BASE {
            ffi::lua_getfield_(state, ffi::LUA_GLOBALSINDEX, name.as_ptr());
            ffi::lua_setfield(state, globals, name.as_ptr());
        }
        for (name, function) in GUARDED_BASE {
            ffi::lua_getfield_(state, ffi::LUA_GLOBALSINDEX, name.as_ptr());
            wrap(state, inner, *function);
            ffi::lua_setfield(state, globals, name.as_ptr());
        }
        for (name, function) in OWN_BASE {
            push_function(state, inner, *function);
            ffi::lua_setfield(state, globals, name.as_ptr());
        }
        ffi::lua_getfield_(state, globals, c"next".as_ptr());
        wrap(state, inner, guard::pairs);
        ffi::lua_setfield(state, globals, c"pairs".as_ptr());
        push_bytes(state, b"Lua 5.1");
        ffi::lua_setfield(state, globals, c"_VERSION".as_ptr());
    }
}

unsafe fn add_library(state: *mut lua_State, inner: NonNull<Inner>, globals: c_int, library: &Library) {
    let (name, plain, guarded) = library;
    // SAFETY: as for `build`. Stack: the library as it was, ours, its proxy.
    unsafe {
        ffi::lua_getfield_(state, ffi::LUA_GLOBALSINDEX, name.as_ptr());
        ffi::lua_createtable(state, 0, 32);
        for field in *plain {
            ffi::lua_getfield_(state, -2, field.as_ptr());
            ffi::lua_setfield(state, -2, field.as_ptr());
        }
        for (field, function) in *guarded {
            ffi::lua_getfield_(state, -2, field.as_ptr());
            wrap(state, inner, *function);
            ffi::lua_setfield(state, -2, field.as_ptr());
        }
        guard::push_proxy(state, inner.as_ref(), -1);
        if name.to_bytes() == b"string" {
            string_methods(state, inner);
        }
        ffi::lua_setfield(state, globals, name.as_ptr());
        ffi::lua_settop(state, globals);
    }
}

/// Lets strings have the functions of our table as methods, and scripts see that through a proxy.
unsafe fn string_methods(state: *mut lua_State, inner: NonNull<Inner>) {
    // SAFETY: as for `build`. Stack: our table, its proxy.
    unsafe {
        push_bytes(state, b"");
        if ffi::lua_getmetatable(state, -1) != 0 {
            ffi::lua_pushvalue(state, -4);
            ffi::lua_setfield(state, -2, c"__index".as_ptr());
            ffi::lua_settop(state, -2);
        }
        ffi::lua_settop(state, -2);
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushvalue(state, -2);
        ffi::lua_setfield(state, -2, c"__index".as_ptr());
        guard::push_proxy(state, inner.as_ref(), -1);
        (*inner.as_ptr()).refs.string_meta = keep(state);
        ffi::lua_settop(state, -2);
    }
}

unsafe fn add_functions(state: *mut lua_State, inner: NonNull<Inner>, functions: &[(&CStr, lua_CFunction)]) {
    for (name, function) in functions {
        // SAFETY: as for `build`.
        unsafe {
            push_function(state, inner, *function);
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
    }
}

unsafe fn add_numbers(state: *mut lua_State, numbers: &[(&CStr, f64)]) {
    for (name, number) in numbers {
        // SAFETY: as for `build`.
        unsafe {
            ffi::lua_pushnumber(state, *number);
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
    }
}

unsafe fn add_versions(state: *mut lua_State) {
    // SAFETY: as for `build`.
    unsafe {
        for (name, text) in
            [(c"REDIS_VERSION", VERSION.0), (c"VALKEY_VERSION", VALKEY_VERSION.0), (c"SERVER_NAME", SERVER_NAME)]
        {
            push_bytes(state, text);
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
        add_numbers(state, &[(c"REDIS_VERSION_NUM", VERSION.1), (c"VALKEY_VERSION_NUM", VALKEY_VERSION.1)]);
        add_numbers(state, LEVELS);
    }
}

/// The server's table, under both of its names.
unsafe fn add_server(state: *mut lua_State, inner: NonNull<Inner>, globals: c_int, kind: Kind) {
    // SAFETY: as for `build`.
    unsafe {
        ffi::lua_createtable(state, 0, 32);
        add_functions(state, inner, SERVER);
        if kind == Kind::Scripts {
            add_functions(state, inner, SCRIPT_SERVER);
        }
        add_versions(state);
        add_numbers(state, PROPAGATION);
        name_server(state, inner, globals);
    }
}

/// Puts the table on top into the globals at `globals`.
unsafe fn name_server(state: *mut lua_State, inner: NonNull<Inner>, globals: c_int) {
    // SAFETY: as for `build`.
    unsafe {
        guard::push_proxy(state, inner.as_ref(), -1);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_setfield(state, globals, c"redis".as_ptr());
        ffi::lua_setfield(state, globals, c"server".as_ptr());
        ffi::lua_settop(state, globals);
    }
}

/// What a library sees while it loads: the server's table with `register_function`, and nothing else.
unsafe fn load_globals(state: *mut lua_State, inner: NonNull<Inner>) -> c_int {
    // SAFETY: as for `build`.
    unsafe {
        ffi::lua_createtable(state, 0, 2);
        let globals = ffi::lua_gettop(state);
        ffi::lua_createtable(state, 0, 16);
        add_functions(state, inner, LOAD_SERVER);
        add_versions(state);
        refuse_missing(state, globals + 1);
        name_server(state, inner, globals);
        refuse_missing(state, globals);
        keep(state)
    }
}
