//! The server: sockets, threads, tasks and signals, which no other room has.
//!
//! The main thread accepts connections and keeps time; each worker thread runs a current-thread runtime on which its
//! connections live; one more thread frees what takes long to free, and one moves what lies in sparse pages.

mod append_log;
mod compaction;
mod connection;
mod cron;
mod expiry;
mod listener;
pub mod log;
mod pace;
mod purging;
mod recovery;
mod replay;
mod shutdown;
mod socket;
mod threads;
mod worker;

use crate::call::open_files;
use crate::call::outside::Outside;
use crate::call::saving;
use crate::call::shared::{Identity, Shared, random_id};
use crate::command::GROUPS;
use crate::config::{Config, REDIS_VERSION};
use crate::keyspace::reclaim::{Reclaimer, Reclaiming};
use crate::keyspace::{KeyHasher, Keyspace};
use crate::persistence::disk::{Closing, RealDisk};
use crate::util::clock::UnixMs;
use crate::util::turns::{give_way, stand_back};
use listener::Listeners;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use worker::Workers;

/// How long connections have, after the server was asked to stop, to send the replies that are written.
const FAREWELL: Duration = Duration::from_secs(3);

/// How much nicer than the workers who frees what takes long to free and gives memory back to the system: with a third of their share whoever
/// has just used up its own waits for a third of the time.
const FREEING_NICE: i32 = 5;

/// How much nicer who closes long files that have no name any more: nobody waits for that.
const CLOSING_NICE: i32 = 10;

/// Runs the server until it is asked to stop; the exit status says whether it could start and stop well.
pub fn run(config: Arc<Config>, log: log::Log) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("Can't start the runtime: {error}")),
    };
    runtime.block_on(serve(config, log))
}

fn fail(why: &str) -> ExitCode {
    tracing::error!("{why}");
    ExitCode::FAILURE
}

async fn serve(config: Arc<Config>, log: log::Log) -> ExitCode {
    let pid = std::process::id();
    tracing::warn!("larder is starting: version {}, Redis {REDIS_VERSION}, PID: {pid}", env!("CARGO_PKG_VERSION"));
    shutdown::ignore_others();
    if let Err(why) = open_files::adjust_maxclients(&config) {
        return fail(&why);
    }
    let (listeners, hall) = match Listeners::bind(&config, log) {
        Ok(bound) => bound,
        Err(why) => return fail(&why),
    };
    let (keyspace, reclaiming) = keyspace(&config);
    let threads = config.threads();
    let mut shared = Shared::new(Arc::clone(&config), keyspace, threads, GROUPS, identity(&config));
    for (from, to) in config.renames() {
        if let Err(why) = shared.commands.rename(from, to) {
            return fail(&format!("rename-command {}: {why}", String::from_utf8_lossy(from)));
        }
    }
    let (disk, closing) = RealDisk::with_closer();
    shared.use_disk(Arc::new(disk));
    if let Err(error) = shared.oom_scores.follow(&config) {
        tracing::warn!("Unable to set oom_score_adj: {error}");
    }
    shared.outside = OnceLock::from(Box::new(hall) as Box<dyn Outside>);
    // Lives as long as the process: every thread refers to it, and none outlives it.
    let shared: &'static Shared = Box::leak(Box::new(shared));
    if let Err(error) = start_threads(shared, reclaiming, closing) {
        return fail(&format!("Can't start a thread: {error}"));
    }
    let workers = match Workers::start(shared) {
        Ok(workers) => workers,
        Err(error) => return fail(&format!("Can't start a worker: {error}")),
    };
    write_pid_file(&config);
    crate::util::memory::note_startup();
    tracing::info!("Server initialized");
    listeners.announce();
    let mut recovery = match recovery::begin(shared) {
        Ok(recovery) => recovery,
        Err(why) => return fail(&why),
    };
    let mut accepting = Box::pin(listeners.accept(shared, &workers));
    let mut stopping = std::pin::pin!(shutdown::stopped(shared));
    tokio::select! {
        // What is not loaded yet must not be saved: nothing is.
        () = async { tokio::select! { () = &mut accepting => {}, () = &mut stopping => {} } } => {
            drop(accepting);
            return farewell(shared).await;
        }
        loaded = recovery.end() => if let Err(why) = loaded { return fail(&why) },
    }
    if let Err(error) = append_log::start(shared) {
        return fail(&format!("Can't start a thread: {error}"));
    }
    if let Err(error) = threads::start_again("larder-cron", move || cron::run(shared)) {
        return fail(&format!("Can't start a thread: {error}"));
    }
    tracing::info!("Ready to accept connections");
    tokio::select! {
        () = &mut accepting => {}
        () = &mut stopping => {}
    }
    drop(accepting); // the ports are free for whoever comes next, before the clients learn that this server goes
    farewell(shared).await
}

/// Starts what works beside the workers from the first moment.
fn start_threads(shared: &'static Shared, reclaiming: Reclaiming, closing: Closing) -> io::Result<()> {
    threads::start("larder-free", move || {
        stand_back();
        give_way(FREEING_NICE);
        reclaiming.run();
    })?;
    threads::start_again("larder-purge", || {
        stand_back();
        give_way(FREEING_NICE);
        purging::run();
    })?;
    threads::start("larder-close", move || {
        stand_back();
        give_way(CLOSING_NICE);
        closing.run();
    })?;
    threads::start_again("larder-compact", move || compaction::run(shared))?;
    // With the priority of those who serve requests: with a lower one it would be interrupted more often while it holds a lock that they wait
    // for. With all processors busy a turn then took up to 4 ms, and 1.7 ms so.
    threads::start("larder-save", move || saving::run(shared))
}

fn keyspace(config: &Arc<Config>) -> (Keyspace, Reclaiming) {
    let (reclaimer, reclaiming) = Reclaimer::new(Arc::clone(config));
    (Keyspace::new(config.databases(), config.threads(), KeyHasher::new(), reclaimer), reclaiming)
}

fn identity(config: &Config) -> Identity {
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let config_file = config.file().map(|path| path.display().to_string()).unwrap_or_default();
    Identity { run_id: random_id(), started: UnixMs::now(), executable, config_file }
}

fn write_pid_file(config: &Config) {
    if let Some(path) = config.pidfile()
        && let Err(error) = std::fs::write(&path, format!("{}\n", std::process::id()))
    {
        tracing::warn!("Can't write the pid file {}: {error}", path.display());
    }
}

/// Lets connections answer what they have read, then ends.
async fn farewell(shared: &Shared) -> ExitCode {
    shared.clients.all().iter().for_each(|client| client.notify());
    let request = *shared.shutdown.request.lock();
    let patience = if request.now { Duration::ZERO } else { FAREWELL };
    let gone = async {
        while !shared.clients.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(patience, gone).await;
    append_log::finish(shared);
    if let Some(path) = shared.config.pidfile() {
        let _ = std::fs::remove_file(path);
    }
    if let Some(path) = shared.config.unixsocket() {
        let _ = std::fs::remove_file(path);
    }
    tracing::warn!("larder is now ready to exit, bye bye...");
    if request.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
