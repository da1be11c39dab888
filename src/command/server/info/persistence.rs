//! The section of persistence: loading, snapshots, the append-only file.

use super::Lines;
use crate::call::context::Context;
use std::sync::atomic::Ordering::Relaxed;

/// Writes the section.
pub(super) fn persistence(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stats = &ctx.shared.stats;
    let loading = &ctx.shared.loading;
    lines.field("loading", u8::from(loading.is_on()));
    lines.zeros(&["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    lines.field("current_fork_perc", "0.00");
    lines.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    lines.field("rdb_changes_since_last_save", stats.dirty.load(Relaxed));
    lines.field("rdb_bgsave_in_progress", 0);
    // As Redis: a server that has never saved counts from its start.
    lines.field("rdb_last_save_time", ctx.shared.identity.started.seconds());
    lines.field("rdb_last_bgsave_status", "ok");
    lines.field("rdb_last_bgsave_time_sec", -1);
    lines.field("rdb_current_bgsave_time_sec", -1);
    lines.zeros(&["rdb_saves", "rdb_last_cow_size"]);
    lines.field("rdb_last_load_keys_expired", loading.progress().expired.load(Relaxed));
    lines.field("rdb_last_load_keys_loaded", loading.progress().keys.load(Relaxed));
    lines.zeros(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    lines.field("aof_last_write_status", "ok");
    lines.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if loading.is_on() {
        far(lines, ctx);
    }
}

/// How far loading is.
#[expect(clippy::cast_precision_loss, reason = "a percentage with two digits")]
fn far(lines: &mut Lines, ctx: &Context<'_>) {
    let (loading, progress) = (&ctx.shared.loading, ctx.shared.loading.progress());
    let (bytes, total) = (progress.bytes.load(Relaxed), progress.total_bytes.load(Relaxed));
    lines.field("loading_start_time", loading.started().seconds());
    lines.field("loading_total_bytes", total);
    lines.field("loading_rdb_used_mem", progress.writer_bytes.load(Relaxed));
    lines.field("loading_loaded_bytes", bytes);
    let percent = bytes as f64 * 100.0 / total.max(1) as f64;
    lines.field("loading_loaded_perc", format_args!("{percent:.2}"));
    lines.field("loading_eta_seconds", loading.eta_s(ctx.now));
}
