//! What the server says of itself: HOTKEYS, the section `larder`, the figures of the memory.

use crate::harness::{Client, both};
use larder::call::census::Pass;
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;

fn info(c: &mut Client, section: &str, name: &str) -> Option<String> {
    let text = c.ask(&format!("INFO {section}"));
    text.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).map(str::to_owned)
}

/// The keys of one of the lists of HOTKEYS GET.
fn listed(reply: &str, name: &str) -> Vec<String> {
    let (_, list) = reply.split_once(&format!("${name}, [")).unwrap_or(("", "]"));
    let (list, _) = list.split_once(']').unwrap_or(("", ""));
    list.split(", ").filter_map(|word| word.strip_prefix('$')).map(str::to_owned).collect()
}

#[test]
fn a_session_of_hot_keys() {
    both(|c| {
        c.check("HOTKEYS GET", "nil");
        c.check("HOTKEYS STOP", "nil");
        c.check("HOTKEYS RESET", "+OK");
        c.check("HOTKEYS START METRICS 2 CPU NET COUNT 3", "+OK");
        c.check("HOTKEYS START METRICS 1 CPU", "-ERR hotkey tracking session already in progress");
        c.check("HOTKEYS RESET", "-ERR hotkey tracking session in progress, stop tracking first");
        for _ in 0..50 {
            c.ask("SET hottest 0123456789012345678901234567890123456789");
            c.ask("MSET warm v hottest v");
        }
        for number in 0..10 {
            c.ask(&format!("GET cold{number}"));
        }
        c.ask("PING");
        let reply = c.ask("HOTKEYS GET");
        assert!(reply.starts_with("[[$tracking-active, :1, $sample-ratio, :1, $selected-slots, [[:0, :16383]], "));
        c.check("HOTKEYS STOP", "+OK");
        let reply = c.ask("HOTKEYS GET");
        for name in [
            "all-commands-all-slots-us",
            "net-bytes-all-commands-all-slots",
            "collection-start-time-unix-ms",
            "collection-duration-ms",
            "total-cpu-time-user-ms",
            "total-cpu-time-sys-ms",
            "total-net-bytes",
            "by-cpu-time-us",
        ] {
            assert!(reply.contains(&format!("${name}, ")), "{name} in {reply}");
        }
        assert!(reply.starts_with("[[$tracking-active, :0, "));
        let by_net = listed(&reply, "by-net-bytes");
        assert_eq!((by_net.len(), &by_net[..2]), (3, &["hottest".to_owned(), "warm".to_owned()][..]), "{reply}");
        c.check("HOTKEYS RESET", "+OK");
        c.check("HOTKEYS GET", "nil");
    });
}

#[test]
fn a_session_counts_what_it_is_asked_for() {
    let mut c = Client::new(Resp::V2);
    c.check("HOTKEYS START METRICS 1 NET SAMPLE 5", "+OK");
    c.check("HOTKEYS STOP", "+OK");
    let reply = c.ask("HOTKEYS GET");
    assert!(reply.contains("$sample-ratio, :5") && reply.contains("$by-net-bytes"));
    assert!(!reply.contains("cpu"), "{reply}");
    // A session that has ended makes room for the next one.
    c.check("HOTKEYS START METRICS 2 GPU CPU DURATION 1000000", "+OK");
    let reply = c.ask("HOTKEYS GET");
    assert!(reply.contains("$by-cpu-time-us") && !reply.contains("$total-net-bytes"));
    c.check("HOTKEYS STOP", "+OK");
}

#[test]
fn commands_of_a_transaction_are_counted_for_their_keys() {
    let mut c = Client::new(Resp::V2);
    c.check("HOTKEYS START METRICS 1 NET", "+OK");
    c.check("MULTI", "+OK");
    for _ in 0..3 {
        c.check("SET a 0123456789", "+QUEUED");
    }
    c.check("SET b 0123456789", "+QUEUED");
    c.check("EXEC", "[+OK, +OK, +OK, +OK]");
    c.check("HOTKEYS STOP", "+OK");
    let reply = c.ask("HOTKEYS GET");
    assert_eq!(listed(&reply, "by-net-bytes"), ["a", "b"], "{reply}");
}

#[test]
fn wrong_words_for_a_session() {
    let mut c = Client::new(Resp::V2);
    for (words, error) in [
        ("", "METRICS parameter is required"),
        (" METRICS", "METRICS parameter is required"),
        (" COUNT 1", "METRICS parameter is required"),
        (" METRICS 0 CPU", "METRICS count must be > 0 and <= 2"),
        (" METRICS -1", "METRICS count must be > 0 and <= 2"),
        (" METRICS 3 CPU NET", "METRICS count must be > 0 and <= 2"),
        (" METRICS x CPU", "METRICS count must be > 0 and <= 2"),
        (" METRICS 2 CPU", "METRICS count does not match number of metric types provided"),
        (" METRICS 2 CPU CPU", "METRICS CPU defined more than once!"),
        (" METRICS 2 NET NET", "METRICS NET defined more than once!"),
        (" METRICS 2 GPU NYET", "METRICS no valid metrics passed. Supported: CPU|NET"),
        (" METRICS 1 CPU NET", "syntax error"),
        (" METRICS 1 CPU COUNT", "syntax error"),
        (" METRICS 1 CPU COUNT 0", "COUNT must be between 1 and 64"),
        (" METRICS 1 CPU COUNT 65", "COUNT must be between 1 and 64"),
        (" METRICS 1 CPU DURATION 0", "DURATION must be between 1 and 1000000"),
        (" METRICS 1 CPU SAMPLE 0", "SAMPLE ratio must be positive"),
        (" METRICS 1 CPU SLOTS 2 0 5", "SLOTS parameter cannot be used in non-cluster mode"),
    ] {
        c.check(&format!("HOTKEYS START{words}"), &format!("-ERR {error}"));
        c.check("HOTKEYS GET", "nil");
    }
    c.check("HOTKEYS", "-ERR wrong number of arguments for 'hotkeys' command");
    assert!(c.ask("HOTKEYS HELP").starts_with("[+HOTKEYS <subcommand>"));
}

#[test]
fn hot_keys_are_found_without_a_session() {
    let mut c = Client::new(Resp::V3);
    c.check("CONFIG SET hotkeys-top-k 2", "+OK");
    c.check("HOTKEYS GET", "[]");
    c.ask("SELECT 3");
    for round in 0..20_000 {
        c.ask(if round % 2 == 0 { "GET hot" } else { "GET warm" });
        c.ask("GET hot");
        c.ask(&format!("GET cold:{round}"));
    }
    c.shared.hot.turn(UnixMs(UnixMs::now().0 + 10_000));
    let reply = c.ask("HOTKEYS GET");
    assert!(reply.starts_with("[[$key, $hot, $db, :3, $qps, :"), "{reply}");
    assert!(reply.contains("], [$key, $warm, $db, :3, $qps, :"), "{reply}");
    let shown = info(&mut c, "larder", "hot_key_1").unwrap_or_default();
    assert!(shown.starts_with("db=3,ops_per_sec=") && shown.ends_with(",key=hot"), "{shown}");
    // Of some 60,000 requests in ten seconds a 64th may be counted for the wrong key.
    let error: u64 =
        info(&mut c, "larder", "hot_keys_error_per_sec").and_then(|figure| figure.parse().ok()).unwrap_or(0);
    assert!((80..110).contains(&error), "{error}");
    c.check("HOTKEYS RESET", "+OK");
    c.check("HOTKEYS GET", "[]");
}

#[test]
fn the_census_counts_every_key_once() {
    let mut c = Client::new(Resp::V2);
    for number in 0..3_000 {
        c.ask(&format!("SET key:{number} value"));
    }
    c.ask("SELECT 2");
    c.ask("SADD set a b c");
    c.ask("ZADD big\u{1}key 1 a");
    c.ask(&format!("LPUSH list {}", "x".repeat(100_000)));
    let usage = c.ask("MEMORY USAGE list");
    let mut pass = Pass::default();
    let (now, mut steps) = (UnixMs::now(), 0);
    while c.shared.census.last().ended.0 == 0 {
        c.shared.census.step(&mut pass, &c.shared.keyspace, now);
        steps += 1;
        assert!(steps < 1_000);
    }
    assert!(info(&mut c, "larder", "type_string").is_some_and(|line| line.starts_with("keys=3000,bytes=")));
    assert_eq!(info(&mut c, "larder", "type_hash").as_deref(), Some("keys=0,bytes=0"));
    assert!(info(&mut c, "larder", "type_zset").is_some_and(|line| line.starts_with("keys=1,")));
    let bytes = usage.trim_start_matches(':');
    let expected = format!("db=2,type=list,bytes={bytes},key=list");
    assert_eq!(info(&mut c, "larder", "big_key_1"), Some(expected));
    let odd = (2..=10).filter_map(|place| info(&mut c, "larder", &format!("big_key_{place}")));
    assert_eq!(odd.filter(|line| line.ends_with(r"key=big\x01key")).count(), 1);
    // The next pass begins a second later.
    let began = c.shared.census.last().began;
    c.shared.census.step(&mut pass, &c.shared.keyspace, UnixMs(now.0 + 999));
    assert_eq!(c.shared.census.last().began, began);
    c.shared.census.step(&mut pass, &c.shared.keyspace, UnixMs(now.0 + 1000));
    while c.shared.census.last().began == began {
        c.shared.census.step(&mut pass, &c.shared.keyspace, UnixMs(now.0 + 1001));
    }
    assert!(info(&mut c, "larder", "type_string").is_some_and(|line| line.starts_with("keys=3000,bytes=")));
}

#[test]
fn hits_and_victims_are_told() {
    let mut c = Client::new(Resp::V2);
    let before = UnixMs(UnixMs::now().0 - 30_000);
    c.shared.history.add(larder::call::history::Sample { at: before, ..Default::default() });
    c.ask("SET k v");
    for _ in 0..30 {
        c.ask("GET k");
    }
    for _ in 0..10 {
        c.ask("GET none");
    }
    for minutes in ["1m", "10m", "60m"] {
        assert_eq!(info(&mut c, "larder", &format!("hit_ratio_{minutes}")).as_deref(), Some("0.7500"));
        assert_eq!(info(&mut c, "larder", &format!("lookups_{minutes}")).as_deref(), Some("40"));
    }
    assert_eq!(info(&mut c, "larder", "victims_recent").as_deref(), Some("0"));
    (0..9).for_each(|_| c.shared.keyspace.victims().note(3));
    c.shared.keyspace.victims().note(2);
    assert_eq!(info(&mut c, "larder", "victims_recent").as_deref(), Some("10"));
    assert_eq!(info(&mut c, "larder", "victim_age_youngest_s").as_deref(), Some("2"));
    assert_eq!(info(&mut c, "larder", "victim_age_median_s").as_deref(), Some("3"));
    c.check("CONFIG RESETSTAT", "+OK");
    assert_eq!(info(&mut c, "larder", "lookups_1m").as_deref(), Some("0"));
}

/// Fields of Valkey 9.1.2 in the sections that larder answers for its memory, counters and keys, except those that tell of an event
/// loop or of buffers of a kind that larder does not have.
const FIELDS: &[(&str, &str)] = &[
    (
        "memory",
        "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak used_memory_peak_human \
         used_memory_peak_perc used_memory_overhead used_memory_startup used_memory_dataset used_memory_dataset_perc \
         allocator_allocated allocator_active allocator_resident allocator_muzzy total_system_memory \
         total_system_memory_human used_memory_lua used_memory_vm_eval used_memory_lua_human used_memory_scripts_eval \
         number_of_cached_scripts number_of_functions number_of_libraries used_memory_vm_functions \
         used_memory_vm_total used_memory_vm_total_human used_memory_functions used_memory_scripts \
         used_memory_scripts_human maxmemory maxmemory_human maxmemory_policy allocator_frag_ratio \
         allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes rss_overhead_ratio rss_overhead_bytes \
         mem_fragmentation_ratio mem_fragmentation_bytes mem_not_counted_for_evict mem_replication_backlog \
         mem_total_replication_buffers mem_replicas_repl_buffer mem_clients_slaves mem_clients_normal \
         mem_cluster_links mem_cluster_slot_import mem_cluster_slot_export mem_aof_buffer mem_allocator \
         mem_overhead_db_hashtable_rehashing active_defrag_running lazyfree_pending_objects lazyfreed_objects",
    ),
    (
        "stats",
        "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes \
         total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes \
         total_net_cluster_slot_import_bytes total_net_cluster_slot_export_bytes instantaneous_input_kbps \
         instantaneous_output_kbps instantaneous_input_repl_kbps instantaneous_output_repl_kbps \
         rejected_connections sync_full sync_partial_ok sync_partial_err expired_keys expired_fields \
         expired_stale_perc expired_keys_with_volatile_items_stale_perc expired_time_cap_reached_count \
         expire_cycle_cpu_milliseconds evicted_keys evicted_clients evicted_scripts total_eviction_exceeded_time \
         current_eviction_exceeded_time keyspace_hits keyspace_misses pubsub_channels pubsub_patterns \
         pubsubshard_channels latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys \
         active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses \
         total_active_defrag_time current_active_defrag_time tracking_total_keys tracking_total_items \
         tracking_total_prefixes unexpected_error_replies total_error_replies dump_payload_sanitizations \
         total_reads_processed total_writes_processed io_threaded_reads_processed io_threaded_writes_processed \
         io_threaded_freed_objects io_threaded_accept_processed io_threaded_poll_processed \
         io_threaded_total_prefetch_batches io_threaded_total_prefetch_entries \
         client_query_buffer_limit_disconnections client_output_buffer_limit_disconnections \
         acl_access_denied_auth acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel \
         eventloop_cycles eventloop_duration_sum eventloop_duration_cmd_sum instantaneous_eventloop_cycles_per_sec \
         instantaneous_eventloop_duration_usec",
    ),
    ("keyspace", "db0"),
];

#[test]
fn info_has_the_fields_that_monitoring_reads() {
    let mut c = Client::new(Resp::V2);
    c.ask("SET k v");
    for (section, fields) in FIELDS {
        let (alone, everything) = (c.ask(&format!("INFO {section}")), c.ask("INFO everything"));
        for field in fields.split_whitespace() {
            for text in [&alone, &everything] {
                assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{field}:"))).count(), 1, "{field}");
            }
        }
    }
    assert!(!c.ask("INFO").contains("# Larder") && c.ask("INFO everything").contains("# Larder"));
}

#[test]
fn memory_tells_where_resident_bytes_go() {
    let mut c = Client::new(Resp::V2);
    let part = |c: &mut Client, name: &str| -> i64 {
        info(c, "memory", name).and_then(|figure| figure.parse().ok()).unwrap_or(i64::MIN)
    };
    let text = c.ask("INFO memory");
    let figure = |name: &str| -> i64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|figure| figure.parse().ok()).unwrap_or(i64::MIN)
    };
    assert_eq!(figure("allocator_frag_bytes"), figure("allocator_active") - figure("allocator_allocated"));
    assert_eq!(figure("allocator_rss_bytes"), figure("allocator_resident") - figure("allocator_active"));
    assert_eq!(figure("rss_overhead_bytes"), figure("used_memory_rss") - figure("allocator_resident"));
    assert_eq!(figure("mem_fragmentation_bytes"), figure("used_memory_rss") - figure("used_memory"));
    assert!(part(&mut c, "allocator_allocated") > 0);
}

#[test]
fn there_are_no_modules() {
    both(|c| {
        c.check("MODULE LIST", "[]");
        let refused = c.ask("MODULE LOAD /x");
        assert!(
            refused.starts_with("-ERR MODULE command not allowed. If the enable-module-command option"),
            "{refused}"
        );
        c.check("MODULE LIST a", "-ERR wrong number of arguments for 'module|list' command");
    });
}
