//! Running a script: at once, or step by step when it takes long.

use super::host::{ScriptHost, Standing};
use crate::call::context::{Blocking, Context};
use crate::call::effects::Effect;
use crate::call::error::CommandError;
use crate::call::shared::Shared;
use crate::call::spec::{Outcome, Slices};
use crate::keyspace::View;
use crate::script::Engine;
use crate::script::engine::{Chunk, Progress, ScriptError, Vm};
use crate::script::long::LongRun;
use crate::util::clock::{Ticks, UnixMs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A script makes way for others after so long, in nanoseconds.
const STEP_NANOS: u64 = 5_000_000;

/// The interpreter of a run, and where it goes back to.
pub enum Runner {
    /// Of a worker.
    Script(Box<Engine>),
    /// Of the libraries, with the function's name.
    Function(Box<Vm>, Vec<u8>),
}

impl Runner {
    fn vm(&mut self) -> &mut Vm {
        match self {
            Runner::Script(engine) => &mut engine.vm,
            Runner::Function(vm, _) => vm,
        }
    }

    fn give_back(self, shared: &Shared, worker: usize) {
        match self {
            Runner::Script(engine) => shared.scripts.give_engine(worker, engine),
            Runner::Function(vm, _) => {
                let mut libraries = shared.scripts.libraries.lock();
                libraries.give_vm(vm);
                shared.scripts.note_libraries(&libraries);
            }
        }
    }
}

/// What is to run.
#[derive(Clone, Copy)]
pub struct Call {
    /// The script or function.
    pub chunk: Chunk,
    /// Index of the first key in the request.
    pub first_key: usize,
    /// How many keys there are.
    pub keys: usize,
}

/// Runs a script or function, and writes its reply. `strayed` is set when it needed more locks than it has.
pub fn run(
    ctx: &mut Context<'_>,
    mut runner: Runner,
    call: Call,
    standing: Standing,
    strayed: &dyn Fn(),
) -> Result<Outcome, CommandError> {
    let (db, request, started) = (ctx.session.db, ctx.request, Ticks::now());
    if ctx.blocking != Blocking::Refused {
        ctx.session.frozen_us = None;
    }
    let mut host = ScriptHost { ctx, standing };
    let progress = runner.vm().run(call.chunk, request, call.first_key, call.keys, &mut host, STEP_NANOS);
    let standing = host.standing;
    ctx.replaced = true; // its commands are logged, not itself
    if standing.strayed {
        strayed();
    }
    match progress {
        Progress::Done(result) => {
            runner.give_back(ctx.shared, ctx.session.client.worker);
            finish(ctx, db);
            count_failed(ctx, standing.failed && result.is_ok());
            result.map(|()| Outcome::Done).map_err(command_error)
        }
        Progress::Paused => Ok(Outcome::Slices(Box::new(LongScript::begin(ctx, runner, standing, db, started)))),
    }
}

fn command_error(error: ScriptError) -> CommandError {
    if error.counted { CommandError::Counted(error.text) } else { CommandError::Bytes(error.text) }
}

/// Counts a failed call of EVAL or FCALL that nobody else counts.
fn count_failed(ctx: &Context<'_>, failed: bool) {
    if failed {
        ctx.shared.stats.workers[ctx.session.client.worker].commands[ctx.command.id].failed.add(1);
    }
}

/// The database that the client had selected is its own again.
fn finish(ctx: &mut Context<'_>, db: usize) {
    if ctx.session.db != db {
        ctx.session.db = db;
        ctx.session.client.db.store(db, Relaxed);
    }
}

/// A script that has left its worker in the middle, with its locks.
struct LongScript {
    shared: &'static Shared,
    worker: usize,
    runner: Option<Runner>,
    view: Option<View<'static>>,
    standing: Standing,
    /// The database that its client had selected.
    db: usize,
    now: UnixMs,
    effects: Vec<Effect>,
    ready: Vec<(usize, Box<[u8]>)>,
    run: Arc<LongRun>,
}

impl LongScript {
    fn begin(ctx: &mut Context<'_>, runner: Runner, standing: Standing, db: usize, started: Ticks) -> LongScript {
        let name = match &runner {
            Runner::Script(_) => Vec::new(),
            Runner::Function(_, name) => name.clone(),
        };
        let run = ctx.shared.scripts.long.begin(LongRun {
            function: matches!(runner, Runner::Function(..)),
            name,
            command: ctx.request.iter().map(<[u8]>::to_vec).collect(),
            started,
            wrote: AtomicBool::new(standing.wrote),
            killed: AtomicBool::new(false),
            noted: AtomicBool::new(false),
        });
        let (shared, worker) = (ctx.shared, ctx.session.client.worker);
        shared.keyspace.set_patience(false);
        let mut long = LongScript {
            shared,
            worker,
            runner: Some(runner),
            view: None,
            standing,
            db,
            now: ctx.now,
            effects: Vec::new(),
            ready: Vec::new(),
            run,
        };
        long.leave(ctx);
        long
    }

    /// Takes the locks, and what is to be said when they are released, out of a run.
    fn leave(&mut self, ctx: &mut Context<'_>) {
        let empty = View::empty(&self.shared.keyspace, ctx.session.db, self.now);
        self.view = Some(std::mem::replace(&mut ctx.db, empty));
        self.effects = std::mem::take(&mut ctx.effects);
        self.ready = std::mem::take(&mut ctx.ready);
        self.run.wrote.store(self.standing.wrote, Relaxed);
    }

    fn enter(&mut self, ctx: &mut Context<'_>) {
        if let Some(view) = self.view.take() {
            ctx.db = view;
        }
        ctx.now = self.now;
        ctx.replaced = true;
        ctx.effects = std::mem::take(&mut self.effects);
        ctx.ready = std::mem::take(&mut self.ready);
    }
}

impl Slices for LongScript {
    fn step(&mut self, ctx: &mut Context<'_>) -> bool {
        self.enter(ctx);
        let Some(runner) = &mut self.runner else { return true };
        if self.run.killed.load(Relaxed) {
            runner.vm().stop(if self.run.function {
                "Script killed by user with FUNCTION KILL."
            } else {
                "Script killed by user with SCRIPT KILL."
            });
        }
        let mut host = ScriptHost { ctx, standing: self.standing };
        let progress = runner.vm().resume(&mut host, STEP_NANOS);
        self.standing = host.standing;
        let Progress::Done(result) = progress else {
            self.leave(ctx);
            return false;
        };
        finish(ctx, self.db);
        if let Err(error) = result {
            let error = command_error(error);
            ctx.reply.error_bytes(&error.reply_text());
            ctx.shared.stats.count_error(&error);
            self.standing.failed = true;
        }
        count_failed(ctx, self.standing.failed);
        true
    }

    fn holds_locks(&self) -> bool {
        true
    }
}

impl Drop for LongScript {
    /// Over, or given up with its connection: the interpreter goes back, and those who were kept back go on.
    fn drop(&mut self) {
        if let Some(runner) = self.runner.take()
            && !std::thread::panicking()
        {
            match runner {
                Runner::Script(engine) if engine.vm.is_paused() => drop(engine),
                Runner::Function(vm, name) if vm.is_paused() => {
                    // Its functions are in there: end what runs, then give it back.
                    let mut vm = vm;
                    vm.end();
                    Runner::Function(vm, name).give_back(self.shared, self.worker);
                }
                runner => runner.give_back(self.shared, self.worker),
            }
        }
        self.run.note(self.shared.config.busy_reply_threshold_ms());
        self.shared.scripts.long.end(&self.run);
        self.shared.keyspace.set_patience(!self.shared.scripts.long.any());
        self.shared.clients.wake_paused();
    }
}
