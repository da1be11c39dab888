//! The end: asked for by a signal or a client, prepared for by a snapshot where one is wanted, given up when that fails.
//!
//! Invariant: what was answered before the end is in the snapshot that is saved for it. Must not know: how connections end.

use crate::call::clients::Pause;
use crate::call::saving::temporary_file;
use crate::call::shared::{Shared, ShutdownRequest};
use crate::util::clock::UnixMs;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Between two looks at a snapshot on its way.
const LOOK: Duration = Duration::from_millis(2);

/// Snapshots that are saved at most because writes came in behind one: those that were being run when they were held back.
const ROUNDS: usize = 5;

/// Takes from signals that are not meant to end the server the power to do so: a terminal that is closed, or a log that is moved away, sends a
/// hangup. Where the system does not allow it they end it, as before.
pub fn ignore_others() {
    for kind in [SignalKind::hangup(), SignalKind::alarm(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
        let _ = signal(kind); // what has once been listened to no longer ends the process
    }
}

/// The signals that end the server.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

impl Signals {
    /// The words of the option that says what the signal does.
    async fn next(&mut self, shared: &Shared) -> String {
        tokio::select! {
            () = next(&mut self.terminate) => {
                tracing::warn!("Received SIGTERM: stopping");
                shared.config.shutdown_on_sigterm()
            }
            () = next(&mut self.interrupt) => {
                tracing::warn!("Received SIGINT: stopping");
                shared.config.shutdown_on_sigint()
            }
        }
    }
}

/// Returns when the server is to end: asked by a signal or a client, and with the snapshot saved that it is to leave.
pub async fn stopped(shared: &'static Shared) {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate()).ok(), interrupt: signal(SignalKind::interrupt()).ok() };
    loop {
        tokio::select! {
            words = signals.next(shared) => shared.shutdown.ask(request_of(&words)),
            () = shared.shutdown.wake.notified() => tracing::warn!("User requested shutdown..."),
        }
        let request = *shared.shutdown.request.lock();
        tokio::select! {
            ready = prepare(shared, request) => {
                if ready {
                    break;
                }
                shared.shutdown.give_up();
                tracing::warn!("The server does not stop: its data could not be saved");
            }
            _ = signals.next(shared) => {
                tracing::warn!("A second signal: stopping without saving");
                shared.shutdown.request.lock().failed = true;
                shared.shutdown.request.lock().now = true;
                break;
            }
        }
    }
    shared.keyspace.cancel_cut();
    // What is being written stays behind otherwise.
    let _ = shared.saving.disk.remove(&temporary_file(&shared.config));
    shared.shutdown.decide();
}

fn request_of(words: &str) -> ShutdownRequest {
    let has = |word: &str| words.split(' ').any(|one| one == word);
    let save = if has("save") || has("nosave") { Some(has("save")) } else { None };
    ShutdownRequest { now: has("now"), failed: false, save, force: has("force") }
}

/// Saves what is to be saved; `false` when the server must not end.
async fn prepare(shared: &'static Shared, request: ShutdownRequest) -> bool {
    let save = request.save.unwrap_or_else(|| !shared.config.save_points().is_empty());
    // Of data that is still being loaded, a snapshot would lack the rest.
    if !save || shared.loading.is_on() {
        return true;
    }
    tracing::info!("Saving the final RDB snapshot before exiting.");
    let pause = shared.clients.pause(UnixMs::now());
    shared.clients.set_pause(Some(Pause { until: UnixMs(i64::MAX), all: false }));
    let saved = save_all(shared).await;
    if !saved && !request.force {
        shared.clients.set_pause(pause);
    }
    saved || request.force
}

/// Saves until nothing has changed since.
async fn save_all(shared: &'static Shared) -> bool {
    let mut rounds = 0;
    while shared.shutdown.preparing.load(Acquire) {
        // Whatever is being saved now lacks what has come since.
        shared.keyspace.cancel_cut();
        let Ok(job) = shared.begin_save(false) else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let running = shared.saving.submit(job);
        let outcome = loop {
            if let Some(outcome) = running.outcome() {
                break outcome;
            }
            if !shared.shutdown.preparing.load(Acquire) {
                running.cancel();
            }
            tokio::time::sleep(LOOK).await;
        };
        rounds += 1;
        match outcome {
            Ok(()) if shared.stats.dirty.load(Relaxed) == 0 || rounds == ROUNDS => return true,
            Ok(()) => {}
            Err(_) => return false,
        }
    }
    false
}
