//! What the server does by the clock: rates, hit ratios and the census for INFO, idle clients, the end of pauses, the peak of
//! memory.

use crate::call::census::Pass;
use crate::call::history::{EVERY_S, Sample};
use crate::call::saving;
use crate::call::shared::Shared;
use crate::call::stats::Rates;
use crate::keyspace::{LockPlan, View};
use crate::util::clock::UnixMs;
use crate::util::memory::{as_own, used_bytes};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);

/// Samples that `instantaneous_*` average over.
const SAMPLES: usize = 16;

/// Ticks in a second.
const TICKS_A_SECOND: u64 = 10;

#[derive(Clone, Copy)]
struct Traffic {
    at: UnixMs,
    commands: u64,
    net_in: u64,
    net_out: u64,
    turns: u64,
    turn_nanos: u64,
}

/// Runs for ever. Blocks, on locks too, and so must not run where connections are accepted: while a script holds locks for long, somebody
/// has to be let in who ends it.
pub fn run(shared: &'static Shared) {
    let (mut samples, mut count) = (VecDeque::new(), 0_u64);
    let (mut paused, mut pass) = (false, Pass::default());
    loop {
        std::thread::sleep(TICK);
        if shared.cron_paused.load(Relaxed) || shared.shutdown.requested.load(Relaxed) {
            continue;
        }
        let now = UnixMs::now();
        shared.stats.peak_memory.fetch_max(used_bytes(), Relaxed);
        as_own(|| sample(shared, now, &mut samples));
        evict_clients(shared);
        // More than the limit where that was lowered.
        shared.forget_old_reads(None, 0);
        if let Some(run) = shared.scripts.long.first() {
            run.note(shared.config.busy_reply_threshold_ms());
        }
        saving::look(shared, now);
        as_own(|| shared.census.step(&mut pass, &shared.keyspace, now));
        if count % TICKS_A_SECOND == 0 {
            close_idle(shared, now);
            look_at_stalled(shared, now);
            shared.forget_reads();
            shared.hot.turn(now);
            shared.clients.give_back();
            shared.blocked.give_back();
        }
        if count % (TICKS_A_SECOND * EVERY_S) == 0 {
            as_own(|| remember(shared, now));
        }
        if count % (TICKS_A_SECOND * 60) == 0 {
            shared.keyspace.victims().turn();
        }
        count += 1;
        let pause = shared.clients.pause(now).is_some();
        if paused && !pause {
            shared.clients.set_pause(None);
        }
        paused = pause;
    }
}

/// Closes the clients that take the most memory until all together keep within `maxmemory-clients`.
fn evict_clients(shared: &Shared) {
    let config = &shared.config;
    let limit = match config.maxmemory_clients() {
        0 => return,
        bytes @ 1.. => bytes.unsigned_abs(),
        percent => {
            u64::try_from(u128::from(config.maxmemory()) * u128::from(percent.unsigned_abs()) / 100).unwrap_or(u64::MAX)
        }
    };
    if limit == 0 {
        return;
    }
    let mut clients: Vec<_> = shared.clients.all().into_iter().map(|client| (client.memory_bytes(), client)).collect();
    let mut total: u64 = clients.iter().map(|(bytes, _)| *bytes as u64).sum();
    clients.retain(|(_, client)| !client.no_evict.load(Relaxed));
    clients.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, client) in clients {
        if total <= limit {
            break;
        }
        tracing::info!("Evicting client: id={} addr={} tot-mem={bytes}", client.id, client.addr);
        shared.kill_client(&client);
        shared.stats.evicted_clients.fetch_add(1, Relaxed);
        total -= bytes as u64;
    }
}

fn sample(shared: &Shared, now: UnixMs, samples: &mut VecDeque<Traffic>) {
    let stats = &shared.stats;
    let newest = Traffic {
        at: now,
        commands: stats.sum(|worker| worker.processed.load()),
        net_in: stats.sum(|worker| worker.net_in.load()),
        net_out: stats.sum(|worker| worker.net_out.load()),
        turns: stats.sum(|worker| worker.turns.load()),
        turn_nanos: stats.sum(|worker| worker.turn_nanos.load()),
    };
    samples.push_back(newest);
    if samples.len() > SAMPLES {
        samples.pop_front();
    }
    let Some(oldest) = samples.front() else { return };
    let ms = u64::try_from(now.0.saturating_sub(oldest.at.0)).unwrap_or(0).max(1);
    let rate = |new: u64, old: u64| new.saturating_sub(old).saturating_mul(1000) / ms;
    let turns = newest.turns.saturating_sub(oldest.turns);
    *stats.rates.lock() = Rates {
        commands: rate(newest.commands, oldest.commands),
        net_in: rate(newest.net_in, oldest.net_in),
        net_out: rate(newest.net_out, oldest.net_out),
        turns: rate(newest.turns, oldest.turns),
        turn_nanos: newest.turn_nanos.saturating_sub(oldest.turn_nanos) / turns.max(1),
    };
}

/// Adds a sample to the history. Takes the lock of each shard for a moment.
fn remember(shared: &Shared, now: UnixMs) {
    let stats = View::lock(&shared.keyspace, 0, now, false, LockPlan::Keys, std::iter::empty()).stats();
    let evicted = shared.keyspace.victims().evicted();
    shared.history.add(Sample { at: now, hits: stats.hits, misses: stats.misses, evicted });
}

/// Closes clients that do not take what is sent to them: some limits are about time, and limits may have been lowered.
fn look_at_stalled(shared: &Shared, now: UnixMs) {
    for client in shared.clients.all() {
        if client.output_bytes.load(Relaxed) > 0 {
            let limit = shared.config.output_limits(client.class());
            if client.exceeds(client.waiting_bytes() as u64, &limit, now) {
                client.overflow();
            }
        }
    }
}

/// Closes clients that have been silent for longer than `timeout`.
fn close_idle(shared: &Shared, now: UnixMs) {
    let timeout_ms = i64::try_from(shared.config.timeout_s()).unwrap_or(0).saturating_mul(1000);
    if timeout_ms == 0 {
        return;
    }
    for client in shared.clients.all() {
        let idle_ms = now.0.saturating_sub(client.active_ms.load(Relaxed));
        // Who waits for keys is silent for a reason.
        let listens = client.monitor.load(Relaxed) || client.subscribed.load(Relaxed);
        if idle_ms > timeout_ms && !listens && shared.blocked.find(client.id).is_none() {
            client.kill();
        }
    }
}
