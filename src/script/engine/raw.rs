//! Inside the protected call: jobs, the hook, errors.

#![expect(unsafe_code, reason = "calls of the C library")]

use super::{Chunk, Failure, HOOK_INSTRUCTIONS, Inner, Job, Kind, convert, guard};
use crate::protocol::reply::Resp;
use crate::script::header::body;
use crate::util::clock::Ticks;
use corosensei::Yielder;
use mlua::ffi::{self, lua_Debug, lua_State};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};

/// The address that leads from an interpreter to its [`Inner`].
static INNER_KEY: u8 = 0;

/// Pushes bytes as a string. May raise a memory error.
///
/// # Safety
/// `state` is a live interpreter with room for one value, inside a protected call.
pub unsafe fn push_bytes(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: pointer and length are of one slice; the rest is the caller's promise.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast(), bytes.len()) };
}

/// The bytes of the string or number at `index`; a number becomes a string in place. `None` for other types. May raise a
/// memory error. The bytes live as long as the value stays where it is.
///
/// # Safety
/// `state` is a live interpreter inside a protected call.
pub unsafe fn bytes_at<'a>(state: *mut lua_State, index: c_int) -> Option<&'a [u8]> {
    let mut len = 0;
    // SAFETY: the caller's promise; the string that is returned has `len` bytes.
    unsafe {
        let bytes = ffi::lua_tolstring(state, index, &raw mut len);
        (!bytes.is_null()).then(|| std::slice::from_raw_parts(bytes.cast(), len))
    }
}

/// The `Inner` behind a function that carries it as its first upvalue.
///
/// # Safety
/// Called by a function that `setup` made.
pub unsafe fn inner_of<'a>(state: *mut lua_State) -> &'a mut Inner {
    // SAFETY: `setup` gave every such function the pointer as first upvalue, and it outlives the interpreter; no other
    // reference is in use while a function of the interpreter runs, because the host does not reach it.
    unsafe { &mut *ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Inner>() }
}

/// Makes the interpreter find its `Inner` from the hook, and sets the hook.
///
/// # Safety
/// As [`push_bytes`].
pub unsafe fn install_hook(state: *mut lua_State, inner: NonNull<Inner>) {
    // SAFETY: the caller's promise; the key's address is unique to this purpose.
    unsafe {
        ffi::lua_pushlightuserdata(state, ptr::from_ref(&INNER_KEY).cast_mut().cast());
        ffi::lua_pushlightuserdata(state, inner.as_ptr().cast());
        ffi::lua_rawset(state, ffi::LUA_REGISTRYINDEX);
        // Coroutines that scripts create inherit it.
        ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    }
}

/// Looks at the clock every so many instructions.
unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: called by the interpreter, which leaves room for some values; `install_hook` stored the pointer.
    unsafe {
        ffi::lua_pushlightuserdata(state, ptr::from_ref(&INNER_KEY).cast_mut().cast());
        ffi::lua_rawget_(state, ffi::LUA_REGISTRYINDEX);
        let inner = ffi::lua_touserdata(state, -1).cast::<Inner>();
        ffi::lua_settop(state, -2);
        if !inner.is_null() {
            tick(state, inner);
        }
    }
}

/// Makes way for others when the step has lasted long enough, and ends the script when it is to end.
///
/// # Safety
/// As [`push_bytes`].
unsafe fn tick(state: *mut lua_State, inner: *mut Inner) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_to_stop(inner) {
            raise_stop(state, &*inner);
        }
    }
}

/// Makes way for others when the step has lasted long enough; whether the script is to end, afterwards. The owner of the
/// interpreter may change `inner` meanwhile, which is why this takes a pointer.
///
/// # Safety
/// `inner` is alive; called in a function of the interpreter, while it runs a job.
pub unsafe fn is_to_stop(inner: *mut Inner) -> bool {
    // SAFETY: the caller's promise; the yielder was set by `run_job`, whose frame is alive below this one.
    unsafe {
        if (*inner).stop.is_none() && Ticks::now().nanos_since((*inner).began) >= (*inner).step_nanos {
            if (*inner).loading {
                (*inner).stop = Some("FUNCTION LOAD timeout");
            } else if let Some(yielder) = NonNull::new((*inner).yielder.cast_mut()) {
                yielder.as_ref().suspend(());
            }
        }
        (*inner).stop.is_some()
    }
}

/// Raises the error that ends a script.
///
/// # Safety
/// As [`push_bytes`]; `stop` is set.
pub unsafe fn raise_stop(state: *mut lua_State, inner: &Inner) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { raise(state, inner.stop.unwrap_or_default()) }
}

/// Raises an error of the server's functions: a table with `err`, which begins with `ERR `.
///
/// # Safety
/// As [`push_bytes`]. Nothing in the caller's frame needs dropping.
pub unsafe fn raise(state: *mut lua_State, text: &str) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        ffi::lua_createtable(state, 0, 1);
        push_bytes(state, b"ERR ");
        push_bytes(state, text.as_bytes());
        ffi::lua_concat(state, 2);
        ffi::lua_setfield(state, -2, c"err".as_ptr());
        ffi::lua_error(state)
    }
}

/// Runs the job of `inner` in a protected call.
///
/// # Safety
/// `inner` is alive, its job too until the first pause.
pub unsafe fn run_job(inner: NonNull<Inner>, yielder: &Yielder<(), ()>) {
    // SAFETY: the caller's promise. The runner takes everything else from `inner`. Neither call below can raise an error: one
    // value always fits, and the other is the protected call.
    unsafe {
        (*inner.as_ptr()).yielder = ptr::from_ref(yielder);
        let state = (*inner.as_ptr()).state;
        let top = ffi::lua_gettop(state);
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner.as_ptr()).refs.runner);
        if ffi::lua_pcall(state, 0, 0, 0) != 0 && (*inner.as_ptr()).failure.is_none() {
            (*inner.as_ptr()).failure =
                Some(Failure { text: b"ERR not enough memory".to_vec(), place: None, counted: false });
        }
        ffi::lua_settop(state, top);
        (*inner.as_ptr()).yielder = ptr::null();
        (*inner.as_ptr()).job = ptr::null();
    }
}

/// The function that every job begins in.
pub unsafe extern "C-unwind" fn runner(state: *mut lua_State) -> c_int {
    // SAFETY: made by `setup`; the job is alive, see `run_job`.
    unsafe {
        let inner: *mut Inner = inner_of(state);
        match &*(*inner).job {
            Job::Compile(text) => compile(state, inner, text),
            Job::Forget(chunk) => ffi::luaL_unref(state, ffi::LUA_REGISTRYINDEX, chunk.0),
            Job::Run { chunk, .. } => run(state, inner, *chunk),
            Job::Load(text) => load(state, inner, text),
            Job::Collect => {
                ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
            }
        }
    }
    0
}

/// Compiles `text` and leaves it on the stack; the compiler's message is the failure otherwise.
unsafe fn parse(state: *mut lua_State, inner: *mut Inner, text: &[u8], name: &CStr, what: &[u8]) -> bool {
    // SAFETY: inside the runner. No frame here holds anything to drop across a call that may fail.
    unsafe {
        if guard::load_text(state, body(text), name) == 0 {
            return true;
        }
        let message = bytes_at(state, -1).unwrap_or(b"not enough memory");
        (*inner).failure = Some(Failure {
            text: [b"ERR Error compiling ", what, b": ", message].concat(),
            place: None,
            counted: false,
        });
        false
    }
}

unsafe fn compile(state: *mut lua_State, inner: *mut Inner, text: &[u8]) {
    // SAFETY: as for `parse`.
    unsafe {
        (*inner).compiled = None;
        if parse(state, inner, text, c"@user_script", b"script (new function)") {
            (*inner).compiled = Some(Chunk(ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX)));
        }
    }
}

/// Keys or arguments as a table on the stack.
unsafe fn push_arguments(state: *mut lua_State, job: *const Job<'static>, from: usize, count: usize) {
    // SAFETY: inside the runner, before the first pause.
    unsafe {
        let Job::Run { request, .. } = &*job else { return };
        ffi::lua_createtable(state, c_int::try_from(count).unwrap_or(0), 0);
        for index in 0..count {
            push_bytes(state, request.arg(from + index));
            ffi::lua_rawseti_(state, -2, c_int::try_from(index + 1).unwrap_or(c_int::MAX));
        }
    }
}

unsafe fn run(state: *mut lua_State, inner: *mut Inner, chunk: Chunk) {
    // SAFETY: inside the runner.
    unsafe {
        let Job::Run { request, first_key, keys, .. } = &*(*inner).job else { return };
        let (job, first_key, keys) = ((*inner).job, *first_key, *keys);
        let arguments = request.argc().saturating_sub(first_key + keys);
        (*inner).resp = Resp::V2;
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner).refs.on_error);
        let mut count = 0;
        if (*inner).kind == Kind::Scripts {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner).refs.globals);
            for (name, from, len) in
                [((*inner).refs.keys, first_key, keys), ((*inner).refs.argv, first_key + keys, arguments)]
            {
                ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, name);
                push_arguments(state, job, from, len);
                ffi::lua_rawset(state, -3);
            }
            ffi::lua_settop(state, -2);
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, chunk.0);
        } else {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, chunk.0);
            push_arguments(state, job, first_key, keys);
            push_arguments(state, job, first_key + keys, arguments);
            count = 2;
        }
        if ffi::lua_pcall(state, count, 1, 1) != 0 {
            return settle_failure(state, inner);
        }
        convert::reply(state, &mut *inner);
    }
}

/// A library's globals: an empty table that finds those of a library that loads behind it, and later those of functions.
unsafe fn load(state: *mut lua_State, inner: *mut Inner, text: &[u8]) {
    // SAFETY: inside the runner.
    unsafe {
        (*inner).registered.clear();
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner).refs.on_error);
        if !parse(state, inner, text, c"@user_function", b"function") {
            return;
        }
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner).refs.load_globals);
        guard::push_proxy(state, &*inner, -1);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_setfenv(state, 2);
        ffi::lua_pushvalue(state, 2);
        (*inner).loading = true;
        let status = ffi::lua_pcall(state, 0, 0, 1);
        (*inner).loading = false;
        if status != 0 {
            settle_failure(state, inner);
            if let Some(failure) = &mut (*inner).failure {
                failure.text = [b"ERR Error registering functions: ", &failure.text[..]].concat();
            }
            return;
        }
        // Stack: handler, chunk, loading globals, proxy.
        if ffi::lua_getmetatable(state, 4) != 0 {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, (*inner).refs.globals);
            ffi::lua_setfield(state, -2, c"__index".as_ptr());
        }
    }
}

/// After a failed run: what the error handler noted, or, where it could not run, the error itself.
unsafe fn settle_failure(state: *mut lua_State, inner: *mut Inner) {
    // SAFETY: inside the runner.
    unsafe {
        if (*inner).failure.is_none() {
            let message = bytes_at(state, -1).unwrap_or(b"not enough memory");
            (*inner).failure = Some(Failure { text: [b"ERR ", message].concat(), place: None, counted: false });
        }
    }
}

/// Notes an error that no function of the script has caught, and where it arose.
pub unsafe extern "C-unwind" fn on_error(state: *mut lua_State) -> c_int {
    // SAFETY: called by the interpreter as an error handler, with the error as argument; what needs dropping is made after
    // the last call that may fail.
    unsafe {
        let inner = inner_of(state);
        let mut counted = false;
        let prefix: &[u8] = if ffi::lua_istable(state, 1) != 0 {
            counted = convert::is_counted(state);
            push_bytes(state, b"err");
            ffi::lua_rawget_(state, 1);
            b""
        } else {
            guard::push_text(state, 1);
            b"ERR "
        };
        let place = position(state);
        let text = bytes_at(state, -1);
        inner.failure = Some(Failure {
            text: text.map_or_else(|| b"ERR unknown error".to_vec(), |text| [prefix, text].concat()),
            place: place.map(|(source, line)| (source.to_bytes().to_vec(), line)),
            counted,
        });
        ffi::lua_settop(state, 1);
    }
    1
}

/// Chunk and line of the function that raised the error, or of its caller where it is not written in Lua.
unsafe fn position<'a>(state: *mut lua_State) -> Option<(&'a CStr, c_int)> {
    for level in 1..=2 {
        // SAFETY: plain data, filled by the calls; the source's text belongs to a function that is running.
        unsafe {
            let mut debug: lua_Debug = std::mem::zeroed();
            if ffi::lua_getstack(state, level, &raw mut debug) == 0 {
                return None;
            }
            ffi::lua_getinfo(state, c"Sl".as_ptr(), &raw mut debug);
            if CStr::from_ptr(debug.what).to_bytes() != b"C" || level == 2 {
                return Some((CStr::from_ptr(debug.source), debug.currentline));
            }
        }
    }
    None
}

/// A reader for the compiler over one piece of text.
///
/// What begins like compiled code gets a space put before it: it is read as text, and refused as such.
pub struct Piece<'a> {
    text: &'a [u8],
    begun: bool,
}

impl<'a> Piece<'a> {
    /// A reader at the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Piece<'a> {
        Piece { text, begun: false }
    }
}

/// Gives the compiler the next bytes of the [`Piece`] behind `data`.
pub unsafe extern "C-unwind" fn read_piece(_: *mut lua_State, data: *mut c_void, size: *mut usize) -> *const c_char {
    // SAFETY: `data` is the piece that was given to the compiler, `size` a place for the length.
    let (piece, size) = unsafe { (&mut *data.cast::<Piece<'_>>(), &mut *size) };
    if !piece.begun && piece.text.first() == Some(&0x1b) {
        piece.begun = true;
        *size = 1;
        return c" ".as_ptr();
    }
    piece.begun = true;
    let text = std::mem::take(&mut piece.text);
    *size = text.len();
    if text.is_empty() { ptr::null() } else { text.as_ptr().cast() }
}
