//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use super::harness::{Client, both};

const REFUSED: &str = "-EXECABORT Transaction discarded because of previous errors.";

#[test]
fn queues_and_runs() {
    both(|c| {
        c.check("MULTI", "+OK");
        for line in ["SET a 1", "INCR a", "LPUSH a x", "SELECT 3", "SET b 2", "KEYS *", "DBSIZE", "SELECT 0", "GET a"] {
            c.check(line, "+QUEUED");
        }
        let replies = c.ask("EXEC");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(replies, format!("[+OK, :2, {wrong}, +OK, +OK, [$b], :1, +OK, $2]"));
        c.check("EXEC", "-ERR EXEC without MULTI");
        c.check("MULTI", "+OK");
        c.check("MONITOR", "+QUEUED");
        c.check("EXEC", "[-ERR MONITOR isn't allowed for DENY BLOCKING client]");
        c.check("EXISTS a", ":1");
        c.check("DISCARD", "-ERR DISCARD without MULTI");
        c.check("MULTI", "+OK");
        c.check("DEL a", "+QUEUED");
        c.check("DISCARD", "+OK");
        c.check("EXISTS a", ":1");
        c.check("MULTI", "+OK");
        c.check("EXEC", "[]");
    });
}

#[test]
fn a_refused_command_refuses_the_transaction() {
    both(|c| {
        for (line, error) in [
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
            ("MULTI", "-ERR Command 'multi' not allowed inside a transaction"),
            ("WATCH a", "-ERR Command 'watch' not allowed inside a transaction"),
            ("DISCARD x", "-ERR wrong number of arguments for 'discard' command"),
        ] {
            c.check("MULTI", "+OK");
            c.check("SET a 1", "+QUEUED");
            c.check(line, error);
            c.check("EXEC", REFUSED);
            c.check("EXISTS a", ":0");
        }
        c.check("MULTI", "+OK");
        c.check("EXEC x", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command");
        c.check("EXEC", "-ERR EXEC without MULTI");
    });
}

#[test]
fn out_of_memory_refuses_before_anything_runs() {
    both(|c| {
        c.check("CONFIG SET maxmemory 1", "+OK");
        c.check("MULTI", "+OK");
        c.check("SET a 1", "-OOM command not allowed when used memory > 'maxmemory'.");
        c.check("EXEC", REFUSED);
        c.check("CONFIG SET maxmemory 0", "+OK");
        c.check("MULTI", "+OK");
        c.check("SET a 1", "+QUEUED");
        c.beside().check("CONFIG SET maxmemory 1", "+OK");
        let why = "OOM command not allowed when used memory > 'maxmemory'.";
        c.check("EXEC", &format!("-EXECABORT Transaction discarded because of: {why}"));
        c.check("EXEC", "-ERR EXEC without MULTI");
        c.check("EXISTS a", ":0");
    });
}

#[test]
fn watched_keys_that_change_stop_exec() {
    both(|c| {
        let mut other = c.beside();
        for (before, change) in [
            ("PING", "SET a 1"),
            ("SET a 1", "DEL a"),
            ("SET a 1", "SET a 1"),
            ("SET a 1", "EXPIRE a 1000"),
            ("SET a 1", "RENAME a b"),
            ("SET b 1", "RENAME b a"),
            ("SET a 1", "FLUSHALL"),
            ("SET a 1", "FLUSHDB"),
            ("SET a 1", "SWAPDB 0 1"),
            ("SET a 1", "MOVE a 2"),
            ("SADD a 1", "SPOP a"),
            ("PING", "LPUSH a 1"),
            ("PING", "COPY b a"),
        ] {
            c.ask("FLUSHALL");
            c.ask("SET b 5");
            c.ask(before);
            c.check("WATCH a other", "+OK");
            other.ask(change);
            c.check("MULTI", "+OK");
            c.check("SET done 1", "+QUEUED");
            assert_eq!(c.ask("EXEC"), "nil", "{change}");
            c.check("EXISTS done", ":0");
        }
    });
}

#[test]
fn what_is_no_change_lets_exec_run() {
    both(|c| {
        let mut other = c.beside();
        for (before, harmless) in [
            ("SET a 1", "GET a"),
            ("SET a 1", "SET b 1"),
            ("SET a 1", "SETNX a 2"),
            ("PING", "FLUSHALL"),
            ("PING", "SWAPDB 0 1"),
            ("PING", "DEL a"),
            ("SET a 1", "EXPIRE nosuch 10"),
            ("SET a 1", "DEBUG SLEEP 0"),
        ] {
            c.ask("FLUSHALL");
            c.ask(before);
            c.check("WATCH a a", "+OK");
            other.ask(harmless);
            c.check("MULTI", "+OK");
            c.check("SET done 1", "+QUEUED");
            assert_eq!(c.ask("EXEC"), "[+OK]", "{harmless}");
        }
        for end in ["UNWATCH", "RESET"] {
            c.ask("HELLO 2");
            c.check("WATCH a", "+OK");
            other.ask("INCR a");
            c.ask(end);
            c.check("MULTI", "+OK");
            c.check("PING", "+QUEUED");
            assert_eq!(c.ask("EXEC"), "[+PONG]");
        }
        c.check("WATCH a", "+OK");
        other.ask("INCR a");
        c.check("MULTI", "+OK");
        c.check("DISCARD", "+OK");
        c.check("MULTI", "+OK");
        assert_eq!(c.ask("EXEC"), "[]", "a discarded transaction takes its watches with it");
    });
}

#[test]
fn a_watched_key_that_expires_has_changed() {
    both(|c| {
        c.check("SET a 1 PX 5", "+OK");
        c.check("WATCH a", "+OK");
        std::thread::sleep(std::time::Duration::from_millis(10));
        c.check("MULTI", "+OK");
        c.check("PING", "+QUEUED");
        c.check("EXEC", "nil");
        c.check("SET a 1 PX 5", "+OK");
        std::thread::sleep(std::time::Duration::from_millis(10));
        c.check("WATCH a", "+OK");
        c.check("MULTI", "+OK");
        assert_eq!(c.ask("EXEC"), "[]", "it had expired before");
    });
}

#[test]
fn the_watch_of_a_database_is_its_own() {
    both(|c| {
        c.check("WATCH a", "+OK");
        let mut other = c.beside();
        other.ask("SELECT 1");
        other.ask("SET a 1");
        c.check("SELECT 1", "+OK");
        c.check("MULTI", "+OK");
        assert_eq!(c.ask("EXEC"), "[]");
    });
}

#[test]
fn nothing_waits_inside_a_transaction() {
    both(|c| {
        c.check("MULTI", "+OK");
        for line in ["BLPOP q 0", "BLMOVE q r LEFT LEFT 0", "XREAD BLOCK 0 STREAMS s $", "BZPOPMIN z 0"] {
            c.check(line, "+QUEUED");
        }
        let replies = c.ask("EXEC");
        assert_eq!(replies.matches("nil").count(), 4, "{replies}");
    });
}

#[test]
fn who_waits_is_served_after_the_transaction() {
    both(|c| {
        let mut waiting = c.beside();
        waiting.check("BLPOP q 0", "blocked");
        c.check("MULTI", "+OK");
        for line in ["LPUSH q 1", "LPUSH q 2", "LLEN q"] {
            c.check(line, "+QUEUED");
        }
        c.check("EXEC", "[:1, :2, :2]");
        assert_eq!(waiting.served(), "[$q, $2]");
        c.check("LLEN q", ":1");
    });
}

#[test]
fn the_server_can_be_asked_about_inside() {
    both(|c| {
        c.ask("CONFIG SET enable-debug-command yes");
        c.check("MULTI", "+OK");
        let lines = [
            "INFO",
            "RANDOMKEY",
            "SCAN 0",
            "MEMORY STATS",
            "CONFIG RESETSTAT",
            "FLUSHALL",
            "SWAPDB 0 1",
            "SORT x BY w_*",
        ];
        for line in lines {
            c.check(line, "+QUEUED");
        }
        let replies = c.ask("EXEC");
        assert!(!replies.contains("-ERR") && replies.ends_with(", []]"), "{replies}");
    });
}

/// A key that had expired, and came with the other database in place of none, ended the transaction of who watched it.
#[test]
fn expired_keys_that_are_exchanged_are_no_change() {
    both(|c| {
        c.ask("CONFIG SET enable-debug-command yes");
        c.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
        let run = |c: &mut Client, lines: &[&str], result: &str| {
            c.check("FLUSHALL", "+OK");
            c.check("SELECT 1", "+OK");
            lines.iter().for_each(|line| c.check(line, "+OK"));
            std::thread::sleep(std::time::Duration::from_millis(3));
            for (line, reply) in [
                ("SELECT 1", "+OK"),
                ("WATCH x", "+OK"),
                ("SWAPDB 0 1", "+OK"),
                ("MULTI", "+OK"),
                ("PING", "+QUEUED"),
                ("EXEC", result),
            ] {
                c.check(line, reply);
            }
        };
        run(c, &["SELECT 0", "SET x foo PX 1"], "[+PONG]");
        run(c, &["SET x foo PX 1", "SELECT 0", "SET x bar PX 1"], "[+PONG]");
        run(c, &["SET x foo PX 1", "SELECT 0", "SET x bar"], "nil");
        run(c, &["SET x foo", "SELECT 0", "SET x bar PX 1"], "nil");
        // What expires between WATCH and SWAPDB has changed.
        c.check("FLUSHALL", "+OK");
        c.check("SET x foo PX 100", "+OK");
        c.check("WATCH x", "+OK");
        std::thread::sleep(std::time::Duration::from_millis(120));
        c.check("SWAPDB 0 1", "+OK");
        c.check("MULTI", "+OK");
        c.check("EXEC", "nil");
    });
}

#[test]
fn many_keys_are_watched_in_time_that_grows_with_their_number() {
    both(|c| {
        let keys: Vec<String> = (0..100_000).map(|number| format!("key:{number}")).collect();
        assert_eq!(c.ask(&format!("WATCH {}", keys.join(" "))), "+OK");
        assert!(c.ask("CLIENT INFO").contains(" watch=100000 "));
        c.beside().check("SET key:77777 1", "+OK");
        c.check("MULTI", "+OK");
        c.check("EXEC", "nil");
        c.check("FLUSHALL", "+OK");
        assert_eq!(c.ask(&format!("BLPOP {} 0", keys.join(" "))), "blocked");
    });
}
