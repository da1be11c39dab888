//! The section `memory`.

use super::Lines;
use crate::call::context::Context;
use crate::command::server::account::{Account, fraction};
use crate::util::memory::{ALLOCATOR, AllocatorFigures, allocator_figures, allocator_version};
use crate::util::process::machine_bytes;
use std::sync::atomic::Ordering::Relaxed;

/// Writes the section.
pub fn memory(lines: &mut Lines, ctx: &mut Context<'_>) {
    let account = Account::of(ctx);
    use_of(lines, &account);
    let figures = allocator_figures();
    allocator(lines, figures);
    with_human(lines, "total_system_memory", machine_bytes());
    scripts(lines, ctx, &account);
    limits(lines, ctx);
    fragmentation(lines, &account, figures);
    let limit = ctx.shared.config.maxmemory();
    lines.field("mem_not_counted_for_evict", ctx.shared.keyspace.engine().uncounted_bytes(limit, &ctx.shared.keyspace));
    lines.zeros(&["mem_replication_backlog", "mem_total_replication_buffers"]);
    lines.zeros(&["mem_replicas_repl_buffer", "mem_clients_slaves"]);
    lines.field("mem_clients_normal", account.clients);
    lines.zeros(&["mem_cluster_links", "mem_cluster_slot_import", "mem_cluster_slot_export"]);
    lines.field("mem_aof_buffer", account.log);
    lines.field("mem_allocator", format!("{ALLOCATOR}-{}", allocator_version()));
    lines.zeros(&["mem_overhead_db_hashtable_rehashing", "active_defrag_running"]);
    let freeing = ctx.shared.keyspace.reclaimer().stats();
    lines.field("lazyfree_pending_objects", freeing.pending.load(Relaxed));
    lines.field("lazyfreed_objects", freeing.freed.load(Relaxed));
}

fn use_of(lines: &mut Lines, account: &Account) {
    let (overhead, dataset) = (account.overhead(), account.dataset());
    with_human(lines, "used_memory", account.used);
    with_human(lines, "used_memory_rss", account.resident);
    with_human(lines, "used_memory_peak", account.peak);
    lines.field("used_memory_peak_perc", percent(account.used, account.peak));
    lines.field("used_memory_overhead", overhead);
    lines.field("used_memory_startup", account.startup);
    lines.field("used_memory_dataset", dataset);
    lines.field("used_memory_dataset_perc", percent(dataset, account.used - account.startup));
}

fn allocator(lines: &mut Lines, figures: AllocatorFigures) {
    lines.field("allocator_allocated", figures.allocated);
    lines.field("allocator_active", figures.active);
    lines.field("allocator_resident", figures.resident);
    // Pages go back to the system in one step.
    lines.field("allocator_muzzy", 0);
}

fn scripts(lines: &mut Lines, ctx: &Context<'_>, account: &Account) {
    let scripts = &ctx.shared.scripts;
    let (evals, functions) = scripts.used_bytes();
    let (evals, functions) = (evals as u64, functions as u64);
    let [libraries, function_count] = &scripts.library_counts;
    with_human(lines, "used_memory_lua", evals);
    lines.field("used_memory_vm_eval", evals);
    lines.field("used_memory_scripts_eval", account.scripts);
    lines.field("number_of_cached_scripts", scripts.cache.len());
    lines.field("number_of_functions", function_count.load(Relaxed));
    lines.field("number_of_libraries", libraries.load(Relaxed));
    lines.field("used_memory_vm_functions", functions);
    with_human(lines, "used_memory_vm_total", evals + functions);
    lines.field("used_memory_functions", account.functions);
    with_human(lines, "used_memory_scripts", account.scripts + account.functions);
}

fn limits(lines: &mut Lines, ctx: &Context<'_>) {
    with_human(lines, "maxmemory", ctx.shared.config.maxmemory());
    lines.field("maxmemory_policy", ctx.shared.config.maxmemory_policy().name());
}

/// Where memory goes that is resident and not in use: within pages, to pages that the allocator holds back, and to what is
/// not the allocator's.
fn fragmentation(lines: &mut Lines, account: &Account, figures: AllocatorFigures) {
    let AllocatorFigures { allocated, active, resident } = figures;
    for (name, part, whole) in [
        ("allocator_frag", active, allocated),
        ("allocator_rss", resident, active),
        ("rss_overhead", account.resident, resident),
        ("mem_fragmentation", account.resident, account.used),
    ] {
        lines.field(&format!("{name}_ratio"), format_args!("{:.2}", fraction(part, whole)));
        lines.field(&format!("{name}_bytes"), part.cast_signed().saturating_sub(whole.cast_signed()));
    }
}

fn with_human(lines: &mut Lines, name: &str, bytes: u64) {
    lines.field(name, bytes);
    lines.field(&format!("{name}_human"), human(bytes));
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", fraction(part, whole) * 100.0)
}

/// Bytes with two decimals and a unit, as `994.66K`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let step = bytes.ilog2() / 10;
    let unit = UNITS.get(step as usize - 1).copied().unwrap_or("E");
    format!("{:.2}{unit}", fraction(bytes, 1 << (10 * step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_018_536, "994.66K"),
            (25_276_510_208, "23.54G"),
            (u64::MAX, "16.00E"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(percent(1, 0), "100.00%");
        assert_eq!(percent(1, 8), "12.50%");
    }
}
