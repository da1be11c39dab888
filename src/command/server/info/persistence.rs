//! The section of persistence: loading, snapshots, the append-only file.

use super::Lines;
use crate::call::context::Context;
use crate::persistence::rdb::save::Progress;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Writes the section.
pub(super) fn persistence(lines: &mut Lines, ctx: &mut Context<'_>) {
    let stats = &ctx.shared.stats;
    let loading = &ctx.shared.loading;
    let (saving, running) = (&ctx.shared.saving, ctx.shared.saving.running());
    let (report, progress) = (saving.report(), running.as_ref().map(|running| &running.progress));
    let of_progress = |figure: fn(&Progress) -> &AtomicU64| progress.map_or(0, |it| figure(it).load(Relaxed));
    lines.field("loading", u8::from(loading.is_on()));
    lines.zeros(&["async_loading"]);
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
    lines.field("rdb_last_load_keys_expired", loading.progress().expired.load(Relaxed));
    lines.field("rdb_last_load_keys_loaded", loading.progress().keys.load(Relaxed));
    append_log(lines, ctx);
    if loading.is_on() {
        far(lines, ctx);
    }
}

/// How far loading is.
fn far(lines: &mut Lines, ctx: &Context<'_>) {
    let (loading, progress) = (&ctx.shared.loading, ctx.shared.loading.progress());
    let (bytes, total) = (progress.bytes.load(Relaxed), progress.total_bytes.load(Relaxed));
    lines.field("loading_start_time", loading.started().seconds());
    lines.field("loading_total_bytes", total);
    lines.field("loading_rdb_used_mem", progress.writer_bytes.load(Relaxed));
    lines.field("loading_loaded_bytes", bytes);
    lines.field("loading_loaded_perc", format_args!("{:.2}", percent(bytes, total)));
    lines.field("loading_eta_seconds", loading.eta_s(ctx.now));
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// How the append-only file fares.
fn append_log(lines: &mut Lines, ctx: &Context<'_>) {
    let log = &ctx.shared.append_log;
    let report = *log.report();
    let word = |ok| if ok { "ok" } else { "err" };
    lines.field("aof_enabled", u8::from(log.is_on()));
    lines.field("aof_rewrite_in_progress", u8::from(report.rewriting));
    lines.field("aof_rewrite_scheduled", u8::from(report.scheduled));
    lines.field("aof_last_rewrite_time_sec", report.took_s);
    let current_s = report.since.map_or(-1, |since| ctx.now.seconds() - since.seconds());
    lines.field("aof_current_rewrite_time_sec", current_s);
    lines.field("aof_last_bgrewrite_status", word(report.ok));
    lines.field("aof_rewrites", report.rewrites);
    lines.field("aof_rewrites_consecutive_failures", report.failures);
    lines.field("aof_last_write_status", word(!log.log.is_faulty()));
    lines.field("aof_last_cow_size", report.kept_bytes);
    lines.zeros(&["module_fork_in_progress", "module_fork_last_cow_size"]);
    if log.is_on() {
        let files = log.files();
        lines.field("aof_current_size", files.bytes(log.log.file_bytes()));
        lines.field("aof_base_size", files.base_bytes);
        lines.field("aof_pending_rewrite", 0);
        lines.field("aof_buffer_length", log.log.buffered());
        lines.field("aof_pending_bio_fsync", u8::from(log.is_syncing()));
        lines.field("aof_delayed_fsync", log.delayed());
    }
}
