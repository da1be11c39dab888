//! The section of persistence: loading, snapshots, the append-only file.

use super::Lines;
use crate::call::context::Context;
use std::sync::atomic::Ordering::Relaxed;

/// Writes the section.
pub(super) fn persistence(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stats = &ctx.shared.stats;
    lines.zeros(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    lines.field("current_fork_perc", "0.00");
    lines.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
    lines.field("rdb_changes_since_last_save", stats.dirty.load(Relaxed));
    lines.field("rdb_bgsave_in_progress", 0);
    // As Redis: a server that has never saved counts from its start.
    lines.field("rdb_last_save_time", ctx.shared.identity.started.seconds());
    lines.field("rdb_last_bgsave_status", "ok");
    lines.field("rdb_last_bgsave_time_sec", -1);
    lines.field("rdb_current_bgsave_time_sec", -1);
    lines.zeros(&["rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    lines.zeros(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    lines.field("aof_last_write_status", "ok");
    lines.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
}
