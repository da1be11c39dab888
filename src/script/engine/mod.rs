//! The interpreter: Lua 5.1 in a sandbox, run in steps on a stack of its own.
//!
//! A [`Vm`] owns an interpreter. A job runs on a coroutine, so that it can be left in the middle, when it has run for long,
//! and gone on with later from the same thread or another: nothing of it refers to the worker's stack. Invariants: every
//! call into the interpreter that may fail is made inside a protected call; an error leaves by a jump over the frames of
//! this folder, so nothing that needs dropping lives in a frame across a call that may fail; the host is only known while
//! a step runs. Must not know: keyspace, clients, commands.
//!
//! Source: the Lua 5.1 reference manual, chapter 3.

#![expect(unsafe_code, reason = "the interpreter is a C library; its hook, memory and errors have no safe interface")]

mod api;
mod convert;
mod guard;
mod raw;
mod setup;
mod strings;

use super::header::ScriptFlags;
use super::host::Host;
use super::random::Random;
use crate::protocol::batch::{OwnedRequest, RequestView};
use crate::protocol::reply::{Output, Resp};
use crate::util::clock::Ticks;
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use mlua::ffi;
use mlua::{Lua, LuaOptions, StdLib};
use std::any::Any;
use std::ffi::c_int;
use std::ptr::{self, NonNull};

/// The stack that scripts run on, in bytes. 200 nested calls through C with a buffer of 8 KiB each, a pattern of
/// 5000 items, and a command fit; only what is touched is taken from the system.
const STACK_BYTES: usize = 16 << 20;

/// What an interpreter may hold, in bytes: a script that wants more gets an error.
const MEMORY_BYTES: usize = 512 << 20;

/// After a script that left more than this, and more than twice what was in use when that was done last, everything unused is freed at
/// once: with so many scripts loaded that they alone take as much, it would be done for each that runs.
const KEPT_BYTES: usize = 32 << 20;

/// Instructions between two looks at the clock: some 0.1 ms.
const HOOK_INSTRUCTIONS: c_int = 10_000;

/// How long a library may take to load, in nanoseconds.
const LOAD_NANOS: u64 = 500_000_000;

/// What an interpreter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// EVAL: `KEYS` and `ARGV` are globals.
    Scripts,
    /// FUNCTION: keys and arguments are parameters.
    Functions,
}

/// A compiled script or a registered function of one [`Vm`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk(c_int);

/// A function that a library registered.
pub struct Registered {
    /// Its name.
    pub name: Vec<u8>,
    /// What it says it does.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: ScriptFlags,
    /// What runs.
    pub chunk: Chunk,
}

/// Why a script has no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// What its client gets.
    pub text: Vec<u8>,
    /// It is the error of a command that the script ran, and was counted there.
    pub counted: bool,
}

/// What became of a step.
pub enum Progress {
    /// The script is over: its reply is written, or this is the error.
    Done(Result<(), ScriptError>),
    /// It has run for its time and is to be resumed.
    Paused,
}

/// What the interpreter is to do inside the protected call.
enum Job<'a> {
    /// Compile this script.
    Compile(&'a [u8]),
    /// Give a chunk back.
    Forget(Chunk),
    /// Run a script or function with these keys and arguments.
    Run { chunk: Chunk, request: RequestView<'a>, first_key: usize, keys: usize },
    /// Run a library, which registers functions.
    Load(&'a [u8]),
    /// Free what is unused.
    Collect,
}

/// An error with the place where it arose.
#[derive(Default)]
struct Failure {
    text: Vec<u8>,
    /// Chunk and line.
    place: Option<(Vec<u8>, c_int)>,
    /// See [`ScriptError`].
    counted: bool,
}

impl Failure {
    fn into_error(self) -> ScriptError {
        let mut text = self.text;
        text.truncate(until_nul(&text).len());
        if let Some((source, line)) = self.place {
            text.extend_from_slice(b" script: on ");
            text.extend_from_slice(&source);
            text.extend_from_slice(format!(":{line}.").as_bytes());
        }
        ScriptError { text, counted: self.counted }
    }
}

/// A text as C sees it, for which a NUL is the end.
fn until_nul(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// What the functions that scripts call find behind the pointer they carry.
struct Inner {
    state: *mut ffi::lua_State,
    kind: Kind,
    /// Known during a step.
    host: Option<NonNull<dyn Host>>,
    job: *const Job<'static>,
    yielder: *const Yielder<(), ()>,
    /// Version that replies come to the script in.
    resp: Resp,
    request: OwnedRequest,
    out: Output,
    flat: Vec<u8>,
    random: Random,
    /// When the step began, and how long it may take.
    began: Ticks,
    step_nanos: u64,
    /// Why the script is to end, once it is.
    stop: Option<&'static str>,
    /// The script has caught the error that ends it.
    stop_caught: bool,
    failure: Option<Failure>,
    /// Errors within the reply, and whether they have been counted.
    errors: Vec<(Vec<u8>, bool)>,
    compiled: Option<Chunk>,
    registered: Vec<Registered>,
    loading: bool,
    /// A panic in the host, to be passed on when the interpreter is left.
    panic: Option<Box<dyn Any + Send>>,
    refs: Refs,
}

/// Places in the registry.
#[derive(Default)]
struct Refs {
    runner: c_int,
    on_error: c_int,
    globals: c_int,
    /// Globals of a library that is loading.
    load_globals: c_int,
    /// The key that marks the metatable of a proxy.
    proxy: c_int,
    /// What `getmetatable` gives for strings.
    string_meta: c_int,
    keys: c_int,
    argv: c_int,
}

/// Owns the [`Inner`] that C closures point to.
struct Owner(NonNull<Inner>);

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `Vm::new`, dropped once; the interpreter, a field before this one of `Vm`, is
        // closed already, so no closure is left that points here.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// An interpreter.
pub struct Vm {
    /// The interpreter, which is reached through `inner`; before that one, so that it is closed first.
    _lua: Lua,
    running: Option<Coroutine<(), (), (), DefaultStack>>,
    stack: Option<DefaultStack>,
    /// With more bytes in use than this, everything unused is freed.
    full_at: usize,
    inner: Owner,
}

// SAFETY: whatever refers to the interpreter (state, coroutine, inner) lies in this struct and is only reached through
// `&mut self`; neither Lua nor the coroutine's stack is bound to a thread, and the host, which may be, is known only inside
// a step.
unsafe impl Send for Vm {}

impl Vm {
    /// A fresh interpreter; some 0.3 ms.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(kind: Kind) -> Result<Vm, String> {
        let options = LuaOptions::new().catch_rust_panics(false);
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libs, options).map_err(|error| error.to_string())?;
        lua.set_memory_limit(MEMORY_BYTES).map_err(|error| error.to_string())?;
        let inner = Box::new(Inner {
            state: ptr::null_mut(),
            kind,
            host: None,
            job: ptr::null(),
            yielder: ptr::null(),
            resp: Resp::V2,
            request: OwnedRequest::new(),
            out: Output::new(),
            flat: Vec::new(),
            random: Random::default(),
            began: Ticks::now(),
            step_nanos: u64::MAX,
            stop: None,
            stop_caught: false,
            failure: None,
            errors: Vec::new(),
            compiled: None,
            registered: Vec::new(),
            loading: false,
            panic: None,
            refs: Refs::default(),
        });
        let inner = Owner(NonNull::from(Box::leak(inner)));
        setup::build(&lua, inner.0).map_err(|error| error.to_string())?;
        let stack = DefaultStack::new(STACK_BYTES).map_err(|error| error.to_string())?;
        Ok(Vm { _lua: lua, running: None, stack: Some(stack), full_at: KEPT_BYTES, inner })
    }

    fn inner(&mut self) -> &mut Inner {
        // SAFETY: alive as long as `self`; C closures use it only while the interpreter runs, which `&mut self` of this
        // call excludes.
        unsafe { self.inner.0.as_mut() }
    }

    /// Bytes that the interpreter holds.
    pub fn used_bytes(&self) -> usize {
        // SAFETY: the state lives as long as `self`; counting raises no error.
        let (kilobytes, rest) = unsafe {
            let state = self.inner.0.as_ref().state;
            (ffi::lua_gc(state, ffi::LUA_GCCOUNT, 0), ffi::lua_gc(state, ffi::LUA_GCCOUNTB, 0))
        };
        usize::try_from(kilobytes).unwrap_or(0) * 1024 + usize::try_from(rest).unwrap_or(0)
    }

    /// Whether a script was left in the middle.
    pub fn is_paused(&self) -> bool {
        self.running.is_some()
    }

    /// Compiles a script, without its first line if that begins with `#!`.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn compile(&mut self, text: &[u8]) -> Result<Chunk, Vec<u8>> {
        self.enter(&Job::Compile(text), None, u64::MAX);
        let inner = self.inner();
        match (inner.compiled.take(), inner.failure.take()) {
            (Some(chunk), None) => Ok(chunk),
            (_, failure) => Err(failure.unwrap_or_default().text),
        }
    }

    /// Gives up a script or function.
    pub fn forget(&mut self, chunk: Chunk) {
        self.enter(&Job::Forget(chunk), None, u64::MAX);
    }

    /// Runs a library and returns the functions that it registered.
    ///
    /// # Errors
    /// What it failed with.
    pub fn load(&mut self, text: &[u8], host: &mut dyn Host) -> Result<Vec<Registered>, Vec<u8>> {
        self.enter(&Job::Load(text), Some(host), LOAD_NANOS);
        let inner = self.inner();
        let registered = std::mem::take(&mut inner.registered);
        let Some(failure) = inner.failure.take() else { return Ok(registered) };
        registered.into_iter().for_each(|function| self.forget(function.chunk));
        Err(failure.text)
    }

    /// Begins to run `chunk` with the keys and arguments that stand in `request` from `first_key` on; for at most about
    /// `step_nanos`.
    pub fn run(
        &mut self,
        chunk: Chunk,
        request: RequestView<'_>,
        first_key: usize,
        keys: usize,
        host: &mut dyn Host,
        step_nanos: u64,
    ) -> Progress {
        self.enter(&Job::Run { chunk, request, first_key, keys }, Some(host), step_nanos);
        self.progress()
    }

    /// Goes on with a script that was left in the middle.
    pub fn resume(&mut self, host: &mut dyn Host, step_nanos: u64) -> Progress {
        self.step(Some(host), step_nanos);
        self.progress()
    }

    /// Brings a script that was left in the middle to its end: its stack holds frames of C that cannot be unwound. It finds
    /// no host any more.
    pub fn end(&mut self) {
        while self.running.is_some() {
            self.stop("Script killed by user with SCRIPT KILL.");
            self.step(None, u64::MAX);
        }
    }

    /// Makes a script that was left in the middle end with an error when it is resumed.
    pub fn stop(&mut self, why: &'static str) {
        self.inner().stop = Some(why);
    }

    fn progress(&mut self) -> Progress {
        if self.running.is_some() {
            return Progress::Paused;
        }
        let failure = self.inner().failure.take();
        if self.used_bytes() > self.full_at {
            self.enter(&Job::Collect, None, u64::MAX);
            self.full_at = KEPT_BYTES.max(2 * self.used_bytes());
        }
        Progress::Done(failure.map_or(Ok(()), |failure| Err(failure.into_error())))
    }

    /// Begins a job, and runs it to its end or first pause.
    fn enter(&mut self, job: &Job<'_>, host: Option<&mut dyn Host>, step_nanos: u64) {
        debug_assert!(self.running.is_none(), "one job at a time");
        let Some(stack) = self.stack.take() else { return };
        let inner = self.inner.0;
        self.inner().failure = None;
        self.inner().stop = None;
        self.inner().stop_caught = false;
        self.inner().job = ptr::from_ref(job).cast();
        self.running = Some(Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: `inner` outlives the coroutine, which `Vm` owns and ends before it. What `job` points to is alive: it is
            // read before the first pause, during `enter`.
            unsafe { raw::run_job(inner, yielder) }
        }));
        self.step(host, step_nanos);
    }

    fn step(&mut self, host: Option<&mut dyn Host>, step_nanos: u64) {
        let Some(mut running) = self.running.take() else { return };
        let inner = self.inner();
        // SAFETY: only the lifetime is changed; the host is forgotten below, before the borrow ends.
        inner.host = host.map(|host| unsafe {
            std::mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host>>(NonNull::from(host))
        });
        inner.began = Ticks::now();
        inner.step_nanos = step_nanos;
        let result = running.resume(());
        let inner = self.inner();
        inner.host = None;
        let panic = inner.panic.take();
        match result {
            CoroutineResult::Yield(()) => self.running = Some(running),
            CoroutineResult::Return(()) => self.stack = Some(running.into_stack()),
        }
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
