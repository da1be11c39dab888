//! The section of persistence: loading, snapshots, the append-only file.

use super::Lines;
use crate::call::context::Context;
use crate::persistence::rdb::save::Progress;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Writes the section.
pub(super) fn persistence(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stats = &ctx.shared.stats;
    let (saving, running) = (&ctx.shared.saving, ctx.shared.saving.running());
    let (report, progress) = (saving.report(), running.as_ref().map(|running| &running.progress));
    let of_progress = |figure: fn(&Progress) -> &AtomicU64| progress.map_or(0, |it| figure(it).load(Relaxed));
    lines.zeros(&["loading", "async_loading"]);
    let kept = of_progress(|it| &it.kept_bytes);
    lines.field("current_cow_peak", kept);
    lines.field("current_cow_size", kept);
    lines.zeros(&["current_cow_size_age"]);
    let (keys, total) = (of_progress(|it| &it.keys), of_progress(|it| &it.total));
    lines.field("current_fork_perc", format_args!("{:.2}", percent(keys, total)));
    lines.field("current_save_keys_processed", keys);
    lines.field("current_save_keys_total", total);
    lines.field("rdb_changes_since_last_save", stats.dirty.load(Relaxed));
    let background = running.as_ref().filter(|running| running.background);
    lines.field("rdb_bgsave_in_progress", u8::from(background.is_some()));
    lines.field("rdb_last_save_time", report.saved_at.seconds());
    lines.field("rdb_last_bgsave_status", if report.ok { "ok" } else { "err" });
    lines.field("rdb_last_bgsave_time_sec", report.took_s);
    let current_s = background.map_or(-1, |running| ctx.now.seconds() - running.since.seconds());
    lines.field("rdb_current_bgsave_time_sec", current_s);
    lines.field("rdb_saves", report.saves);
    lines.field("rdb_last_cow_size", report.kept_bytes);
    lines.zeros(&["rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    lines.zeros(&["aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    lines.field("aof_last_rewrite_time_sec", -1);
    lines.field("aof_current_rewrite_time_sec", -1);
    lines.field("aof_last_bgrewrite_status", "ok");
    lines.zeros(&["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    lines.field("aof_last_write_status", "ok");
    lines.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
