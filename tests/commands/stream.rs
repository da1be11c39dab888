//! Streams. Expected replies are those of Valkey 9.1; of Redis 8.2 for XDELEX, XACKDEL and what becomes of references.

use crate::harness::{Client, both};
use larder::keyspace::{LockPlan, View};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;

const SYNTAX: &str = "-ERR syntax error";
const INVALID_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// Runs `body` with nodes of the usual size and with nodes of two entries, in both protocols.
fn all_sizes(body: impl Fn(&mut Client)) {
    both(&body);
    both(|c| {
        c.check("CONFIG SET stream-node-max-entries 2", "+OK");
        body(c);
    });
}

/// Adds the entries `1-0` to `<count>-0`, each with the field `f` and its number.
fn fill(c: &mut Client, count: u64) {
    for ms in 1..=count {
        c.check(&format!("XADD s {ms}-0 f {ms}"), &format!("${ms}-0"));
    }
}

#[test]
fn ids_ascend() {
    both(|c| {
        c.check("XADD s 5-1 a 1 b 2", "$5-1");
        c.check("XADD s 5-* a 1", "$5-2");
        c.check("XADD s 6 a 1", "$6-0");
        let small = "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
        for id in ["6-0", "5-9", "5-*", "0-1"] {
            c.check(&format!("XADD s {id} a 1"), small);
        }
        c.check("XADD s 0-0 a 1", "-ERR The ID specified in XADD must be greater than 0-0");
        c.check("XADD s 18446744073709551615-18446744073709551615 a 1", "$18446744073709551615-18446744073709551615");
        let exhausted = "-ERR The stream has exhausted the last possible ID, unable to add more items";
        c.check("XADD s * a 1", exhausted);
        c.check("XLEN s", ":4");
        c.check("TYPE s", "+stream");
        c.check("OBJECT ENCODING s", "$stream");
    });
}

#[test]
fn ids_come_from_the_clock_and_never_go_back() {
    let mut c = Client::new(Resp::V2);
    let first = c.ask("XADD s * a 1");
    let ms: u64 = first[1..].split('-').next().and_then(|ms| ms.parse().ok()).unwrap();
    assert!(ms > 1_700_000_000_000, "{first}");
    c.check("XADD s 99999999999999-7 a 1", "$99999999999999-7");
    c.check("XADD s * a 1", "$99999999999999-8");
}

#[test]
fn what_is_no_entry_is_refused() {
    both(|c| {
        let arity = "-ERR wrong number of arguments for 'xadd' command";
        for line in ["XADD s * a", "XADD s 1-1 a 1 b", "XADD s NOMKSTREAM 1-1 a", "XADD s MAXLEN 3 *"] {
            c.check(line, arity);
        }
        for id in ["-", "+", "x", "1-", "-1", "1-x", "\"\"", "1-1-1", "$"] {
            c.check(&format!("XADD s {id} a 1"), INVALID_ID);
        }
        c.check("XADD s NOMKSTREAM 1-1 a 1", "nil");
        c.check("EXISTS s", ":0");
        c.check("SET k v", "+OK");
        for line in ["XADD k * a 1", "XLEN k", "XRANGE k - +", "XDEL k 1-1", "XTRIM k MAXLEN 1", "XREAD STREAMS k 0"] {
            c.check(line, WRONG_TYPE);
        }
    });
}

#[test]
fn ranges_run_both_ways() {
    all_sizes(|c| {
        fill(c, 5);
        c.check("XRANGE s 2 3", "[[$2-0, [$f, $2]], [$3-0, [$f, $3]]]");
        c.check("XRANGE s (2 3-0", "[[$3-0, [$f, $3]]]");
        c.check("XRANGE s (2 (3-0", "[]");
        c.check("XREVRANGE s + - COUNT 2", "[[$5-0, [$f, $5]], [$4-0, [$f, $4]]]");
        c.check("XREVRANGE s (3-0 -", "[[$2-0, [$f, $2]], [$1-0, [$f, $1]]]");
        c.check("XRANGE s 3 2", "[]");
        c.check("XRANGE s - + COUNT 0", "nil");
        c.check("XRANGE s - + COUNT -3", "nil");
        c.check("XRANGE none - + COUNT 0", "[]");
        c.check("XRANGE s - + COUNT x", NOT_INTEGER);
        c.check("XRANGE s - + COUNT", SYNTAX);
        c.check("XRANGE s (- +", INVALID_ID);
        c.check("XRANGE s - (0-0", "-ERR invalid end ID for the interval");
        let last = "18446744073709551615-18446744073709551615";
        c.check(&format!("XRANGE s ({last} +"), "-ERR invalid start ID for the interval");
    });
}

#[test]
fn deleted_entries_are_passed_over() {
    all_sizes(|c| {
        fill(c, 5);
        c.check("XDEL s 1-0 3-0 3-0 9-9", ":2");
        c.check("XRANGE s - +", "[[$2-0, [$f, $2]], [$4-0, [$f, $4]], [$5-0, [$f, $5]]]");
        c.check("XREVRANGE s 4 - COUNT 2", "[[$4-0, [$f, $4]], [$2-0, [$f, $2]]]");
        c.check("XDEL s 2 4 5", ":3");
        c.check("XLEN s", ":0");
        c.check("EXISTS s", ":1");
        c.check("XADD s 5-0 a 1", "-ERR The ID specified in XADD is equal or smaller than the target stream top item");
        c.check("XADD s 5-1 a 1", "$5-1");
        c.check("XDEL s x", INVALID_ID);
        c.check("XDEL none x", ":0");
    });
}

#[test]
fn trimming_takes_the_oldest() {
    all_sizes(|c| {
        fill(c, 9);
        c.check("XTRIM s MAXLEN 7", ":2");
        c.check("XTRIM s MINID = 4", ":1");
        c.check("XADD s MAXLEN = 3 10-0 f 10", "$10-0");
        c.check("XRANGE s - +", "[[$8-0, [$f, $8]], [$9-0, [$f, $9]], [$10-0, [$f, $10]]]");
        c.check("XTRIM s MAXLEN 0", ":3");
        c.check("XTRIM none MAXLEN 0", ":0");
    });
    let mut c = Client::new(Resp::V2);
    c.check("CONFIG SET stream-node-max-entries 2", "+OK");
    fill(&mut c, 9);
    c.check("XTRIM s MAXLEN ~ 4", ":4");
    c.check("XTRIM s MAXLEN ~ 0 LIMIT 3", ":2");
    c.check("XTRIM s MAXLEN ~ 0 LIMIT 1", ":0");
    c.check("XLEN s", ":3");
}

#[test]
fn trimming_says_what_is_wrong() {
    both(|c| {
        let rest = "cannot be used without";
        let both = "-ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
        c.check("XTRIM s MAXLEN 1 MINID 2", both);
        c.check("XTRIM s MAXLEN 1 LIMIT 2", &format!("-ERR syntax error, LIMIT {rest} the special ~ option"));
        c.check("XTRIM s LIMIT 2", &format!("-ERR syntax error, LIMIT {rest} specifying a trimming strategy"));
        c.check("XADD s LIMIT 2 * a 1", &format!("-ERR syntax error, LIMIT {rest} specifying a trimming strategy"));
        c.check("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy");
        c.check("XTRIM s MAXLEN -1", "-ERR The MAXLEN argument must be >= 0.");
        c.check("XTRIM s MAXLEN ~ 1 LIMIT -1", "-ERR The LIMIT argument must be >= 0.");
        c.check("XTRIM s MAXLEN x", NOT_INTEGER);
        c.check("XTRIM s MINID x", INVALID_ID);
        c.check("XTRIM s FOO 1", SYNTAX);
    });
}

#[test]
fn xread_reads_behind_an_id() {
    for (resp, open, close) in [(Resp::V2, "[[", "]]"), (Resp::V3, "[", "]")] {
        let mut c = Client::new(resp);
        fill(&mut c, 3);
        c.check("XREAD STREAMS s 2", &format!("{open}$s, [[$3-0, [$f, $3]]]{close}"));
        c.check("XREAD COUNT 1 STREAMS none s 0 0", &format!("{open}$s, [[$1-0, [$f, $1]]]{close}"));
        c.check("XREAD STREAMS s +", &format!("{open}$s, [[$3-0, [$f, $3]]]{close}"));
        c.check("XREAD STREAMS s $", "nil");
        c.check("XREAD STREAMS s 3", "nil");
        c.check("XREAD STREAMS none 0", "nil");
    }
    both(|c| {
        let unbalanced = "an ID or '$' must be specified.";
        let text = format!("-ERR Unbalanced 'xread' list of streams: for each stream key {unbalanced}");
        c.check("XREAD STREAMS a b 0", &text);
        let text =
            "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
        c.check("XREAD STREAMS a >", text);
        let text = "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
        c.check("XREAD NOACK STREAMS a 0", text);
        c.check("XREAD BLOCK x STREAMS a 0", "-ERR timeout is not an integer or out of range");
        c.check("XREAD BLOCK -1 STREAMS a 0", "-ERR timeout is negative");
        c.check("XREAD COUNT 1 BLOCK 1", SYNTAX);
    });
}

#[test]
fn groups_share_out_entries() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c, 4);
    c.check("XGROUP CREATE s g 0", "+OK");
    c.check("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists");
    c.check("XREADGROUP GROUP g a COUNT 2 STREAMS s >", "[[$s, [[$1-0, [$f, $1]], [$2-0, [$f, $2]]]]]");
    c.check("XREADGROUP GROUP g b COUNT 1 STREAMS s >", "[[$s, [[$3-0, [$f, $3]]]]]");
    c.check("XREADGROUP GROUP g b NOACK STREAMS s >", "[[$s, [[$4-0, [$f, $4]]]]]");
    c.check("XREADGROUP GROUP g b STREAMS s >", "nil");
    c.check("XREADGROUP GROUP g a STREAMS s 1", "[[$s, [[$2-0, [$f, $2]]]]]");
    c.check("XPENDING s g", "[:3, $1-0, $3-0, [[$a, $2], [$b, $1]]]");
    c.check("XDEL s 1-0", ":1");
    c.check("XREADGROUP GROUP g a STREAMS s 0", "[[$s, [[$1-0, nil], [$2-0, [$f, $2]]]]]");
    c.check("XACK s g 1-0 1-0 4-0", ":1");
    let pending = c.ask("XPENDING s g - + 10 a");
    assert!(
        pending.starts_with("[[$2-0, $a, :") && pending.ends_with(", :3]]"),
        "idle for some milliseconds: {pending}"
    );
    c.check("XPENDING s g IDLE 100000 - + 10", "[]");
    c.check("XPENDING s g - + 10 nobody", "[]");
    c.check("XGROUP DELCONSUMER s g a", ":1");
    c.check("XGROUP DELCONSUMER s g a", ":0");
    c.check("XPENDING s g", "[:1, $3-0, $3-0, [[$b, $1]]]");
    c.check("XGROUP DESTROY s g", ":1");
    c.check("XGROUP DESTROY s g", ":0");
}

#[test]
fn a_group_that_is_missing_is_named() {
    both(|c| {
        let tail = "in XREADGROUP with GROUP option";
        c.check("XREADGROUP GROUP g c STREAMS s >", &format!("-NOGROUP No such key 's' or consumer group 'g' {tail}"));
        fill(c, 1);
        c.check("XREADGROUP GROUP g c STREAMS s >", &format!("-NOGROUP No such key 's' or consumer group 'g' {tail}"));
        for line in ["XPENDING s g", "XCLAIM s g c 0 1-0", "XAUTOCLAIM s g c 0 0"] {
            c.check(line, "-NOGROUP No such key 's' or consumer group 'g'");
        }
        for line in ["XGROUP SETID s g 0", "XGROUP CREATECONSUMER s g c", "XGROUP DELCONSUMER s g c"] {
            c.check(line, "-NOGROUP No such consumer group 'g' for key name 's'");
        }
        c.check("XINFO CONSUMERS s g", "-NOGROUP No such consumer group 'g' for key name 's'");
        c.check("XACK s g x", ":0");
        let missing = c.ask("XGROUP CREATE none g $");
        assert!(missing.starts_with("-ERR The XGROUP subcommand requires the key to exist. Note that"), "{missing}");
        c.check("XGROUP CREATE none g $ MKSTREAM", "+OK");
        c.check("XLEN none", ":0");
        c.check("XINFO STREAM nothing", "-ERR no such key");
        c.check(
            "XGROUP CREATE s g 0 FOO",
            "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
        );
    });
}

/// STREAMS may be the name of a group or a consumer. Valkey's key specification takes it for the word all the same; here
/// the keys that are locked are those that are read.
#[test]
fn words_may_be_names() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c, 1);
    c.check("XGROUP CREATE s STREAMS 0", "+OK");
    c.check("XREADGROUP GROUP STREAMS c STREAMS s >", "[[$s, [[$1-0, [$f, $1]]]]]");
    c.check("XREADGROUP NOACK GROUP STREAMS STREAMS STREAMS s >", "nil");
    c.check("XREADGROUP NOACK GROUP STREAMS STREAMS STREAMS s 0", "[[$s, []]]");
    c.check("XREADGROUP COUNT 1 GROUP STREAMS STREAMS STREAMS s 0", "[[$s, []]]");
    c.check("COMMAND GETKEYS XREADGROUP NOACK GROUP g STREAMS STREAMS s >", "[$s]");
    c.check("COMMAND GETKEYS XREAD FOO STREAMS s 1", "[$s]");
}

#[test]
fn claims_change_hands() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c, 4);
    c.check("XGROUP CREATE s g 0", "+OK");
    assert!(c.ask("XREADGROUP GROUP g a COUNT 3 STREAMS s >").starts_with('['));
    c.check("XCLAIM s g b 100000 1-0", "[]");
    c.check("XCLAIM s g b 0 1-0 9-9 4-0 IDLE 50000000", "[[$1-0, [$f, $1]]]");
    c.check("XCLAIM s g b 0 4-0 FORCE JUSTID RETRYCOUNT 7", "[$4-0]");
    // Less than a second goes by here.
    let seconds = |line: String, from: &str| {
        let at = line.find(from).map_or(0, |at| at + from.len());
        let end = line[at..].find(',').map_or(line.len(), |end| at + end);
        let idle_ms: u64 = line[at..end].parse().unwrap_or(u64::MAX);
        format!("{}{} s{}", &line[..at], idle_ms / 1000, &line[end..])
    };
    assert_eq!(seconds(c.ask("XPENDING s g IDLE 1000000 - + 10"), "b, :"), "[[$1-0, $b, :50000 s, :2]]");
    assert_eq!(seconds(c.ask("XPENDING s g 4 4 10"), "b, :"), "[[$4-0, $b, :0 s, :7]]");
    c.check("XDEL s 2-0", ":1");
    c.check("XAUTOCLAIM s g c 0 - COUNT 2", "[$3-0, [[$1-0, [$f, $1]]], [$2-0]]");
    c.check("XAUTOCLAIM s g c 0 (1-0 COUNT 2 JUSTID", "[$0-0, [$3-0, $4-0], []]");
    c.check("XPENDING s g", "[:3, $1-0, $4-0, [[$c, $3]]]");
    c.check("XCLAIM s g b x 1-0", "-ERR Invalid min-idle-time argument for XCLAIM");
    c.check("XCLAIM s g b 0 1-0 FOO", "-ERR Unrecognized XCLAIM option 'FOO'");
    c.check("XAUTOCLAIM s g b 0 0 COUNT 0", "-ERR COUNT must be > 0");
    c.check("XAUTOCLAIM s g b 0 0 COUNT 9223372036854775807", "-ERR COUNT must be > 0");
}

#[test]
fn figures_are_told_and_set() {
    all_sizes(|c| {
        fill(c, 3);
        c.check("XDEL s 2-0", ":1");
        c.check("XGROUP CREATE s g 1-0 ENTRIESREAD 1", "+OK");
        let groups =
            "[[$name, $g, $consumers, :0, $pending, :0, $last-delivered-id, $1-0, $entries-read, :1, $lag, nil]]";
        c.check("XINFO GROUPS s", groups);
        c.check("XGROUP SETID s g $", "+OK");
        let groups =
            "[[$name, $g, $consumers, :0, $pending, :0, $last-delivered-id, $3-0, $entries-read, nil, $lag, :0]]";
        c.check("XINFO GROUPS s", groups);
        c.check("XSETID s 9-9 ENTRIESADDED 20 MAXDELETEDID 4-4", "+OK");
        let figures = c.ask("XINFO STREAM s");
        for part in [
            "[$length, :2, ",
            "$last-generated-id, $9-9, $max-deleted-entry-id, $4-4, $entries-added, :20, ",
            "$recorded-first-entry-id, $1-0, $groups, :1, $first-entry, [$1-0, [$f, $1]], $last-entry, [$3-0, [$f, $3]]]",
        ] {
            assert!(figures.contains(part), "{figures}");
        }
        let smaller = "-ERR The ID specified in XSETID is smaller than";
        c.check("XSETID s 2-0", &format!("{smaller} current max_deleted_entry_id"));
        c.check("XSETID s 5-0 MAXDELETEDID 6", &format!("{smaller} the provided max_deleted_entry_id"));
        c.check(
            "XSETID s 5-0 ENTRIESADDED 1",
            "-ERR The entries_added specified in XSETID is smaller than the target stream length",
        );
        c.check("XSETID none 1-0", "-ERR no such key");
    });
}

#[test]
fn references_are_kept_forgotten_or_respected() {
    let mut c = Client::new(Resp::V2);
    fill(&mut c, 6);
    c.check("XGROUP CREATE s g 0", "+OK");
    assert!(c.ask("XREADGROUP GROUP g c COUNT 4 STREAMS s >").starts_with('['));
    c.check("XACK s g 1-0 2-0", ":2");
    c.check("XDELEX s ACKED IDS 5 1-0 1-0 3-0 5-0 9-0", "[:1, :-1, :2, :2, :2]");
    c.check("XDELEX s KEEPREF IDS 1 3-0", "[:1]");
    c.check("XPENDING s g", "[:2, $3-0, $4-0, [[$c, $2]]]");
    c.check("XDELEX s IDS 1 3-0 DELREF", "[:-1]");
    c.check("XPENDING s g", "[:1, $4-0, $4-0, [[$c, $1]]]");
    c.check("XACKDEL s g IDS 3 4-0 4-0 5-0", "[:1, :-1, :-1]");
    c.check("XTRIM s MAXLEN 0 ACKED", ":1");
    c.check("XLEN s", ":2");
    c.check("XTRIM s DELREF MAXLEN 1", ":1");
    c.check("XADD s KEEPREF MAXLEN 1 7-0 a 1", "$7-0");
    c.check("XDELEX none IDS 2 1-0 x", "[:-1, :-1]");
    c.check("XACKDEL s none IDS 1 x", "[:-1]");
    c.check("XDELEX s IDS 0 1", "-ERR Number of IDs must be a positive integer");
    c.check("XDELEX s IDS 2 1", "-ERR The `numids` parameter must match the number of arguments");
    c.check("XDELEX s DELREF ACKED IDS 1 1", SYNTAX);
    c.check("XDELEX s DELREF 1 1", SYNTAX);
}

#[test]
fn a_limit_needs_something_to_limit() {
    both(|c| {
        let unlimited = "-ERR syntax error, LIMIT cannot be used without the special ~ option";
        c.check("XADD s LIMIT 0 * f v", unlimited);
        c.check("XADD s NOMKSTREAM LIMIT 0 1-1 f v", unlimited);
        c.check(
            "XADD s LIMIT 5 * f v",
            "-ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        );
        c.check("XTRIM s LIMIT 0", "-ERR syntax error, XTRIM must be called with a trimming strategy");
        c.check("EXISTS s", ":0");
    });
}

/// Lookups that found their key while `lines` ran.
fn hits(c: &mut Client, lines: &[&str]) -> usize {
    c.check("CONFIG RESETSTAT", "+OK");
    lines.iter().for_each(|line| drop(c.ask(line)));
    let stats = c.ask("INFO stats");
    let value = stats.lines().find_map(|line| line.strip_prefix("keyspace_hits:")).map(str::parse);
    value.expect("a line of INFO").expect("a number")
}

/// Every request that named a stream looked at all who waited for it, so that to arm 5,000 readers took 1.5 seconds.
#[test]
fn requests_that_change_nothing_try_nobody_who_waits() {
    let mut c = Client::new(Resp::V2);
    c.check("XADD s 1-0 f 1", "$1-0");
    c.check("XGROUP CREATE s g $", "+OK");
    let mut readers: Vec<Client> = (0..20).map(|_| c.beside()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.check(&format!("XREADGROUP GROUP g {} BLOCK 0 STREAMS s >", number % 2), "blocked");
    }
    assert_eq!(hits(&mut c, &["XLEN s", "EXISTS s"]), 2);
    let idle = ["XTRIM s MAXLEN 5", "XACK s g 1-0", "XDEL s 9-9", "EXPIRE none 5", "XREAD STREAMS s $", "XADD t 1 f 1"];
    assert!(hits(&mut c, &idle) < 20);
    let mut one = c.beside();
    one.check("CONFIG RESETSTAT", "+OK");
    assert_eq!(one.ask("XREAD BLOCK 0 STREAMS s $"), "blocked");
    assert!(hits(&mut c, &["PING"]) < 20);

    assert!(hits(&mut c, &["XADD s 2-0 f 2"]) >= 20, "a change tries everybody");
    assert_eq!(readers[0].served(), "[[$s, [[$2-0, [$f, $2]]]]]");
    assert_eq!(one.served(), "[[$s, [[$2-0, [$f, $2]]]]]");
    assert!(hits(&mut c, &["XLEN s"]) == 1 && readers[1..].iter_mut().all(|reader| reader.served() == "blocked"));
    c.check("XADD s 3-0 f 3", "$3-0");
    assert_eq!(readers[1].served(), "[[$s, [[$3-0, [$f, $3]]]]]");
    c.check("XGROUP DESTROY s g", ":1");
    for reader in &mut readers[2..] {
        assert_eq!(reader.served(), "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    }
    assert_eq!(c.shared.blocked.len(), 0);
}

/// They waited for a stream that had gone, and heard of it only when another came into its place.
#[test]
fn readers_of_a_group_are_told_that_their_stream_has_expired() {
    let mut c = Client::new(Resp::V2);
    let (mut of_group, mut of_all, mut of_list) = (c.beside(), c.beside(), c.beside());
    of_list.check("BLPOP s 0", "blocked");
    c.check("XGROUP CREATE s g $ MKSTREAM", "+OK");
    c.check("PEXPIRE s 20", ":1");
    let on_nokey = |c: &mut Client| c.ask("INFO clients").contains("total_blocking_keys_on_nokey:1\r\n");
    of_all.check("XREAD BLOCK 0 STREAMS s $", "blocked");
    assert!(!on_nokey(&mut c));
    of_group.check("XREADGROUP GROUP g a BLOCK 0 STREAMS s >", "blocked");
    assert!(on_nokey(&mut c));
    std::thread::sleep(std::time::Duration::from_millis(25));
    c.expire();
    assert_eq!(of_group.served(), "blocked");
    c.serve_late();
    assert_eq!(of_group.served(), "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    let failed = "cmdstat_xreadgroup:calls=1,usec=";
    let stats = c.ask("INFO commandstats");
    assert!(stats.lines().any(|line| line.starts_with(failed) && line.ends_with(",failed_calls=1")), "{stats}");
    assert_eq!([of_all.served(), of_list.served()], ["blocked"; 2]);
    c.check("RPUSH s a", ":1");
    assert_eq!(of_list.served(), "[$s, $a]");
}

/// A transaction's time stands still, and those who wait were served at that time: with what had expired meanwhile.
#[test]
fn who_waits_is_not_served_what_has_expired() {
    let mut c = Client::new(Resp::V2);
    let mut waiting = c.beside();
    waiting.check("BLPOP l 0", "blocked");
    for line in ["MULTI", "RPUSH l a", "PEXPIRE l 20", "DEBUG SLEEP 0.03"] {
        c.ask(line);
    }
    c.check("EXEC", "[:1, :1, +OK]");
    assert_eq!(waiting.served(), "blocked");
    c.check("RPUSH l b", ":1");
    assert_eq!(waiting.served(), "[$l, $b]");
}

/// What a request of another worker finds that comes between the change of a stream and the service that follows it.
#[test]
fn readers_who_wait_come_before_a_request_that_follows_the_change() {
    let mut c = Client::new(Resp::V2);
    let (mut first, mut second, mut reader) = (c.beside(), c.beside(), c.beside());
    c.check("XGROUP CREATE s g $ MKSTREAM", "+OK");
    first.check("XREADGROUP GROUP g a BLOCK 0 STREAMS s >", "blocked");
    second.check("XREADGROUP GROUP g b BLOCK 0 STREAMS s >", "blocked");
    reader.check("XREAD BLOCK 0 STREAMS s $", "blocked");
    c.check("XADD new 1-0 f 1", "$1-0");
    c.check("XGROUP CREATE new g 0", "+OK");

    let keyspace = &c.shared.keyspace;
    let (from, to) = (keyspace.hasher().key(b"new"), keyspace.hasher().key(b"s"));
    let hashes = [from.hash, to.hash].into_iter();
    let mut view = View::lock(keyspace, 0, UnixMs::now(), false, LockPlan::Keys, hashes);
    assert!(view.rename(from, 0, to) && view.rouse(0, to));
    drop(view);

    assert_eq!(first.served(), "blocked");
    c.check("XREADGROUP GROUP g c STREAMS s >", "nil");
    c.check("DEL s", ":1");
    assert_eq!([first.served(), reader.served()], ["[[$s, [[$1-0, [$f, $1]]]]]"; 2]);
    assert!(second.served().starts_with("-"), "its group is gone");
}
