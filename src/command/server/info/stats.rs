//! The sections `stats`, `commandstats`, `errorstats` and `latencystats`.

use super::Lines;
use crate::call::clients::Listen;
use crate::call::context::Context;
use crate::call::shared::Shared;
use crate::call::stats::{CommandStats, Stats};
use histogram::{Histogram, Quantile};
use std::sync::atomic::Ordering::Relaxed;

/// Writes the section `stats`.
pub fn stats(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stats = &ctx.shared.stats;
    let rates = *stats.rates.lock();
    lines.field("total_connections_received", stats.connections.load(Relaxed));
    lines.field("total_commands_processed", stats.sum(|worker| worker.processed.load()));
    lines.field("instantaneous_ops_per_sec", rates.commands);
    lines.field("total_net_input_bytes", stats.sum(|worker| worker.net_in.load()));
    lines.field("total_net_output_bytes", stats.sum(|worker| worker.net_out.load()));
    lines.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    lines.zeros(&["total_net_cluster_slot_import_bytes", "total_net_cluster_slot_export_bytes"]);
    lines.field("instantaneous_input_kbps", kilobytes(rates.net_in));
    lines.field("instantaneous_output_kbps", kilobytes(rates.net_out));
    lines.field("instantaneous_input_repl_kbps", kilobytes(0));
    lines.field("instantaneous_output_repl_kbps", kilobytes(0));
    lines.field("rejected_connections", stats.rejected_connections.load(Relaxed));
    lines.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    keys(lines, ctx);
    let pubsub = &ctx.shared.pubsub;
    lines.field("pubsub_channels", pubsub.count(Listen::Channel));
    lines.field("pubsub_patterns", pubsub.count(Listen::Pattern));
    lines.field("pubsubshard_channels", pubsub.count(Listen::Shard));
    // What a fork is elsewhere: everybody waits for it.
    let saving = ctx.shared.saving.report();
    lines.field("latest_fork_usec", saving.cut_nanos / 1000);
    lines.field("total_forks", saving.cuts);
    lines.zeros(&["migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits"]);
    lines.zeros(&["active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    lines.zeros(&["total_active_defrag_time", "current_active_defrag_time"]);
    let tracking = &ctx.shared.tracking;
    lines.field("tracking_total_keys", tracking.keys());
    lines.field("tracking_total_items", tracking.items());
    lines.field("tracking_total_prefixes", tracking.prefixes());
    replies(lines, stats);
    lines.field("acl_access_denied_auth", stats.errors().get("WRONGPASS").copied().unwrap_or(0));
    lines.zeros(&["acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel"]);
    // Of all workers together.
    lines.field("eventloop_cycles", stats.sum(|worker| worker.turns.load()));
    lines.field("eventloop_duration_sum", stats.sum(|worker| worker.turn_nanos.load()) / 1000);
    lines.field("eventloop_duration_cmd_sum", stats.command_nanos() / 1000);
    lines.field("instantaneous_eventloop_cycles_per_sec", rates.turns);
    lines.field("instantaneous_eventloop_duration_usec", rates.turn_nanos / 1000);
}

fn keys(lines: &mut Lines, ctx: &mut Context<'_>) {
    let shards = ctx.db.stats();
    lines.field("expired_keys", shards.expired);
    lines.field("expired_keys_active", shards.expired_active);
    lines.field("expired_fields", shards.expired_fields);
    staleness(lines, ctx);
    let stats = &ctx.shared.stats;
    lines.field("expired_time_cap_reached_count", stats.sum(|worker| worker.expire_caps.load()));
    lines.field("expire_cycle_cpu_milliseconds", stats.sum(|worker| worker.expire_nanos.load()) / 1_000_000);
    lines.field("evicted_keys", shards.evicted);
    lines.field("evicted_clients", stats.evicted_clients.load(Relaxed));
    lines.field("evicted_scripts", ctx.shared.scripts.cache.evicted());
    let (total, current) = ctx.shared.keyspace.engine().exceeded_ms(ctx.now);
    lines.field("total_eviction_exceeded_time", total);
    lines.field("current_eviction_exceeded_time", current);
    lines.field("keyspace_hits", shards.hits);
    lines.field("keyspace_misses", shards.misses);
}

/// The share of keys, and of hashes with fields, that have expired and are still there, of those that expire at all.
#[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
fn staleness(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stale = ctx.db.stale();
    let databases = 0..ctx.shared.keyspace.databases();
    let (mut timed, mut volatile) = (0, 0);
    for db in databases {
        timed += ctx.db.timed(db);
        volatile += ctx.db.volatile(db);
    }
    let percent = |stale: f64, all: usize| stale * 100.0 / all.max(1) as f64;
    lines.field("expired_stale_perc", format_args!("{:.2}", percent(stale.keys, timed)));
    let hashes = percent(stale.hashes, volatile);
    lines.field("expired_keys_with_volatile_items_stale_perc", format_args!("{hashes:.2}"));
}

fn replies(lines: &mut Lines, stats: &Stats) {
    lines.field("unexpected_error_replies", 0);
    lines.field("total_error_replies", stats.error_replies.load(Relaxed));
    lines.field("dump_payload_sanitizations", 0);
    lines.field("total_reads_processed", stats.sum(|worker| worker.reads.load()));
    lines.field("total_writes_processed", stats.sum(|worker| worker.writes.load()));
    lines.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed", "io_threaded_freed_objects"]);
    lines.zeros(&["io_threaded_accept_processed", "io_threaded_poll_processed"]);
    lines.zeros(&["io_threaded_total_prefetch_batches", "io_threaded_total_prefetch_entries"]);
    lines.field("client_query_buffer_limit_disconnections", stats.query_limit_disconnections.load(Relaxed));
    lines.field("client_output_buffer_limit_disconnections", stats.output_limit_disconnections.load(Relaxed));
}

/// Kilobytes with two decimals.
#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn kilobytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1024.0)
}

/// Writes the section `commandstats`: the commands that were called or refused.
pub fn commands(lines: &mut Lines, ctx: &mut Context<'_>) {
    for command in ctx.shared.commands.all() {
        let [calls, nanos, rejected, failed] = [
            |counters: &CommandStats| counters.calls.load(),
            |counters: &CommandStats| counters.nanos.load(),
            |counters: &CommandStats| counters.rejected.load(),
            |counters: &CommandStats| counters.failed.load(),
        ]
        .map(|counter| ctx.shared.stats.sum(|worker| counter(&worker.commands[command.id])));
        if calls + rejected + failed > 0 {
            lines.push(format_args!(
                "cmdstat_{}:calls={calls},usec={},usec_per_call={},rejected_calls={rejected},failed_calls={failed}\r\n",
                command.full_name(),
                nanos / 1000,
                per_call(nanos, calls),
            ));
        }
    }
}

/// Microseconds with two decimals.
#[expect(clippy::cast_precision_loss, reason = "an average for people to read")]
fn per_call(nanos: u64, calls: u64) -> String {
    format!("{:.2}", nanos as f64 / 1000.0 / calls.max(1) as f64)
}

/// Writes the section `errorstats`.
pub fn errors(lines: &mut Lines, ctx: &mut Context<'_>) {
    for (code, count) in ctx.shared.stats.errors() {
        // The code of an error that quotes a client may hold anything.
        let code: String =
            code.chars().map(|letter| if letter == ':' || letter.is_control() { '_' } else { letter }).collect();
        lines.push(format_args!("errorstat_{code}:count={count}\r\n"));
    }
}

/// Writes the section `latencystats`: percentiles of the run times of commands that were called.
pub fn latencies(lines: &mut Lines, ctx: &mut Context<'_>) {
    let percentiles = ctx.shared.config.latency_tracking_info_percentiles();
    let quantiles: Vec<f64> = percentiles.iter().map(|percent| (percent / 100.0).clamp(0.0, 1.0)).collect();
    for command in ctx.shared.commands.all() {
        let Some(times) = distribution(ctx.shared, command.id) else { continue };
        let Ok(Some(found)) = times.quantiles(&quantiles) else { continue };
        let bucket = |quantile: f64| Quantile::new(quantile).ok().and_then(|quantile| found.get(&quantile));
        let shown: Vec<String> = quantiles
            .iter()
            .zip(&percentiles)
            .filter_map(|(quantile, percent)| Some(format!("p{percent}={}", microseconds(bucket(*quantile)?.end()))))
            .collect();
        lines.push(format_args!("latency_percentiles_usec_{}:{}\r\n", command.full_name(), shown.join(",")));
    }
}

/// The run times of a command over all workers.
fn distribution(shared: &Shared, command: usize) -> Option<Histogram> {
    let mut all = shared.stats.workers.iter().filter_map(|worker| worker.commands[command].histogram());
    let first = all.next()?;
    // Counts that overflow are left out; that takes 2^64 calls.
    Some(all.fold(first, |sum, one| sum.checked_add(&one).unwrap_or(sum)))
}

/// Microseconds with three decimals.
fn microseconds(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        assert_eq!(microseconds(11_007), "11.007");
        assert_eq!(microseconds(1), "0.001");
        assert_eq!(per_call(11_000, 2), "5.50");
        assert_eq!(per_call(0, 0), "0.00");
        assert_eq!(kilobytes(1536), "1.50");
    }
}
