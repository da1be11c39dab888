//! The section `larder`: how well the cache does its work, and what lies in it.

use super::{Lines, named};
use crate::call::census::KINDS;
use crate::call::context::Context;
use crate::call::history::Sample;
use crate::call::hot::{HotKey, SAMPLED, WINDOW_S};
use std::sync::atomic::Ordering::Relaxed;

/// Hot keys that are shown.
const HOTTEST: usize = 10;

/// Writes the section.
pub fn larder(lines: &mut Lines, ctx: &mut Context<'_>) {
    hits(lines, ctx);
    victims(lines, ctx);
    memory(lines, ctx);
    census(lines, ctx);
    hot_keys(lines, ctx);
}

fn hits(lines: &mut Lines, ctx: &mut Context<'_>) {
    let (stats, evicted) = (ctx.db.stats(), ctx.shared.keyspace.victims().evicted());
    let now = Sample { at: ctx.now, hits: stats.hits, misses: stats.misses, evicted };
    for minutes in [1, 10, 60] {
        let change = ctx.shared.history.change(now, minutes * 60);
        lines.field(&format!("lookups_{minutes}m"), change.lookups);
        lines.field(&format!("hit_ratio_{minutes}m"), format_args!("{:.4}", change.hit_ratio));
    }
    let change = ctx.shared.history.change(now, 10);
    lines.field("evictions_per_sec", format_args!("{:.2}", change.evicted_per_s));
}

fn memory(lines: &mut Lines, ctx: &Context<'_>) {
    lines.field("compacted_blocks", ctx.shared.stats.compacted.load(Relaxed));
}

fn victims(lines: &mut Lines, ctx: &Context<'_>) {
    let report = ctx.shared.keyspace.victims().report();
    lines.field("victims_recent", report.count);
    lines.field("victim_age_youngest_s", report.youngest_s);
    lines.field("victim_age_median_s", report.median_s);
}

fn census(lines: &mut Lines, ctx: &Context<'_>) {
    let count = ctx.shared.census.last();
    let known = count.ended.0 > 0;
    lines.field("census_age_s", if known { (ctx.now.0 - count.ended.0).max(0) / 1000 } else { -1 });
    lines.field("census_duration_ms", count.ended.0 - count.began.0);
    for (kind, share) in KINDS.iter().zip(count.shares) {
        lines.field(&format!("type_{}", kind.name()), format_args!("keys={},bytes={}", share.keys, share.bytes));
    }
    for (number, big) in count.biggest.iter().enumerate() {
        let (key, kind) = (named(&big.key), big.kind.name());
        let place = number + 1;
        lines.field(
            &format!("big_key_{place}"),
            format_args!("db={},type={kind},bytes={},key={key}", big.db, big.bytes),
        );
    }
}

fn hot_keys(lines: &mut Lines, ctx: &Context<'_>) {
    lines.field("hot_keys_window_s", WINDOW_S);
    lines.field("hot_keys_sampled", format_args!("1/{SAMPLED}"));
    for (number, HotKey { db, key, per_second }) in ctx.shared.hot.hottest(HOTTEST).into_iter().enumerate() {
        let key = named(&key);
        lines.field(&format!("hot_key_{}", number + 1), format_args!("db={db},ops_per_sec={per_second},key={key}"));
    }
}
