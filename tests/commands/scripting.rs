//! Scripts and functions. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::call::spec::{CommandSpec, Flags, Scope};
use larder::command::GROUPS;
use larder::protocol::reply::Resp;

const SHA: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
const NO_SCRIPT: &str = "-NOSCRIPT No matching script.";

#[test]
fn scripts_run_and_are_known_by_their_digests() {
    both(|c| {
        c.check(&format!("EVALSHA {SHA} 0"), NO_SCRIPT);
        c.check("EVAL \"return 1\" 0", ":1");
        c.check(&format!("EVALSHA {SHA} 0"), ":1");
        c.check(&format!("EVALSHA {} 0", SHA.to_uppercase()), ":1");
        c.check(&format!("SCRIPT EXISTS {SHA} abc"), "[:1, :0]");
        c.check(&format!("SCRIPT SHOW {SHA}"), "$return 1");
        c.check("SCRIPT FLUSH", "+OK");
        c.check(&format!("EVALSHA {SHA} 0"), NO_SCRIPT);
        c.check("SCRIPT LOAD \"return 1\"", &format!("${SHA}"));
        c.check(&format!("EVALSHA_RO {SHA} 0"), ":1");
        c.check("EVALSHA abc 5", NO_SCRIPT);
        c.check("EVAL \"return {KEYS[1],ARGV[1],ARGV[2]}\" 1 a b c", "[$a, $b, $c]");
        c.check("EVAL \"return 1\" x", "-ERR value is not an integer or out of range");
        c.check("EVAL \"return 1\" -1", "-ERR Number of keys can't be negative");
        c.check("EVAL \"return 1\" 2 a", "-ERR Number of keys can't be greater than number of args");
        c.check("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.");
    });
}

#[test]
fn scripts_that_name_a_command_may_work_beyond_their_database_at_once() {
    let beyond = |row: &&CommandSpec| {
        let scope = matches!(row.scope, Scope::Server | Scope::WalkServer | Scope::KeysEverywhere | Scope::Select);
        scope && !row.flags.has(Flags::NOSCRIPT)
    };
    let rows = GROUPS.iter().flat_map(|group| group.iter());
    let known: Vec<&str> =
        rows.filter(|row| beyond(row) || row.subcommands.iter().any(|sub| beyond(&sub))).map(|row| row.name).collect();
    assert!(known.contains(&"select") && known.contains(&"flushdb"), "{known:?}");
    known.iter().for_each(|name| assert!(larder::script::cache::may_select(name.as_bytes()), "{name}"));
    both(|c| {
        c.check("SET k v", "+OK");
        c.check("EVAL \"return redis.call('FLUSHDB')\" 0", "+OK");
        c.check("DBSIZE", ":0");
    });
}

#[test]
fn scripts_run_commands() {
    both(|c| {
        c.check("EVAL \"return redis.call('set', KEYS[1], ARGV[1])\" 1 k v", "+OK");
        c.check("EVAL \"return redis.call('get', KEYS[1])\" 1 k", "$v");
        c.check("EVAL \"return redis.call('get', 'k') .. redis.call('incr', 'n')\" 0", "$v1");
        c.check("GET n", "$1");
        c.check(
            "EVAL \"return redis.call('lpush', 'k', 1)\" 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: on @user_script:1.",
        );
        c.check(
            "EVAL \"return redis.call('subscribe', 'x')\" 0",
            "-ERR This Valkey command is not allowed from script script: on @user_script:1.",
        );
        c.check(
            "EVAL \"return redis.call('nosuch')\" 0",
            "-ERR Unknown command called from script script: on @user_script:1.",
        );
        c.check(
            "EVAL \"return redis.call('get')\" 0",
            "-ERR Wrong number of args calling command from script script: on @user_script:1.",
        );
        c.check(
            "EVAL_RO \"return redis.call('set', 'x', 1)\" 0",
            "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:1.",
        );
        c.check(
            "EVAL \"#!lua flags=no-writes\nreturn redis.call('set', 'x', 1)\" 0",
            "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:2.",
        );
    });
}

#[test]
fn other_databases() {
    both(|c| {
        c.check("EVAL \"redis.call('select', 5) redis.call('set', 'k', 1) return redis.call('get', 'k')\" 0", "$1");
        c.check("EXISTS k", ":0");
        c.check("SELECT 5", "+OK");
        c.check("EXISTS k", ":1");
        c.check("EVAL \"return redis.call(ARGV[1], 0)\" 0 select", "+OK");
        c.check("EVAL \"redis.call('flushall') return redis.call('dbsize')\" 0", ":0");
    });
}

#[test]
fn transactions_and_blocking_commands() {
    let mut c = Client::new(Resp::V2);
    c.check("MULTI", "+OK");
    c.check("EVAL \"return redis.call('incr', 'n')\" 0", "+QUEUED");
    c.check("EVAL \"return redis.call('nosuch')\" 0", "+QUEUED");
    c.check("EXEC", "[:1, -ERR Unknown command called from script script: on @user_script:1.]");
    c.check("EVAL \"return redis.call('blpop', 'l', 0)\" 0", "nil");
}

#[test]
fn functions() {
    both(|c| {
        let code = "#!lua name=lib\nlocal n = 0 redis.register_function('f', function(keys, args) return {keys[1], args[1]} end) redis.register_function('n', function() n = n + 1 return n end)";
        c.check(&format!("FUNCTION LOAD \"{code}\""), "$lib");
        c.check(&format!("FUNCTION LOAD \"{code}\""), "-ERR Library 'lib' already exists");
        c.check(&format!("FUNCTION LOAD REPLACE \"{code}\""), "$lib");
        c.check("FCALL f 1 a b", "[$a, $b]");
        c.check("FCALL F 1 a b", "[$a, $b]");
        c.check("FCALL n 0", ":1");
        c.check("FCALL n 0", ":2");
        c.check("FCALL_RO f 0", "-ERR Can not execute a script with write flag using *_ro command.");
        c.check("FCALL nosuch 0", "-ERR Function not found");
        c.check("FCALL f x", "-ERR Bad number of keys provided");
        c.check("FUNCTION LOAD \"#!lua name=x\nreturn 1\"", "-ERR No functions registered");
        c.check(
            "FUNCTION LOAD \"#!lua name=x\nredis.register_function('f', function() end)\"",
            "-ERR Function f already exists",
        );
        c.check("FUNCTION LOAD \"return 1\"", "-ERR Missing library metadata");
        c.check("FUNCTION DELETE nosuch", "-ERR Library not found");
        c.check("FUNCTION DELETE lib", "+OK");
        c.check("FCALL f 0", "-ERR Function not found");
        c.check("FUNCTION FLUSH", "+OK");
        c.check("FUNCTION LIST", "[]");
    });
}

/// An error of a command that a script ran was counted twice, and one of a command refused before it ran not at all.
#[test]
fn errors_of_scripts_are_counted_once() {
    both(|c| {
        c.check("SET s x", "+OK");
        for script in [
            "return redis.call('lpush','s','1')",
            "return redis.pcall('lpush','s','1')",
            "redis.pcall('lpush') return 1",
            "return redis.error_reply('MINE a')",
        ] {
            c.ask(&format!("EVAL \"{script}\" 0"));
        }
        let text = c.ask("INFO errorstats");
        for (code, count) in [("WRONGTYPE", 2), ("ERR", 1), ("MINE", 1)] {
            assert!(text.contains(&format!("errorstat_{code}:count={count}\r\n")), "{text}");
        }
        let text = c.ask("INFO commandstats");
        let line = text.lines().find(|line| line.starts_with("cmdstat_lpush:")).unwrap_or_default();
        assert!(line.contains("calls=2,") && line.ends_with("rejected_calls=1,failed_calls=2"), "{line}");
    });
}

/// Codes beyond so many were not counted at all.
#[test]
fn error_codes_beyond_128_are_counted_together() {
    both(|c| {
        for code in 0..140 {
            c.ask(&format!("EVAL \"return redis.error_reply('E{code} x')\" 0"));
        }
        c.ask("EVAL \"return redis.error_reply('E5 x')\" 0");
        c.ask("EVAL \"return redis.error_reply('E135 x')\" 0");
        let text = c.ask("INFO errorstats");
        for (code, count) in [("E5", 2), ("E127", 1), ("ERRORSTATS_OVERFLOW", 13)] {
            assert!(text.contains(&format!("errorstat_{code}:count={count}\r\n")), "{text}");
        }
        assert_eq!(text.matches("errorstat_").count(), 129, "{text}");
        // Those of commands are counted by their own names all the same.
        c.ask("SET a b c d");
        c.ask("SET s x");
        c.ask("LPUSH s x");
        let text = c.ask("INFO errorstats");
        for (code, count) in [("ERR", 1), ("WRONGTYPE", 1), ("ERRORSTATS_OVERFLOW", 13)] {
            assert!(text.contains(&format!("errorstat_{code}:count={count}\r\n")), "{text}");
        }
    });
}

/// What Valkey 9.1.2 counts: each error within a reply by its first word, but not again one of a command; and a script whose reply has
/// one has failed.
#[test]
fn errors_within_a_reply_are_counted() {
    both(|c| {
        c.check("SET s x", "+OK");
        for script in [
            "return {1, {err='MINE a'}, {{err='MINE b'}}, {err='single'}}",
            "return {map={x={err='MINE c'}}}",
            "return {redis.pcall('lpush','s','1')}",
            "redis.pcall('lpush','s','1') return {1}",
        ] {
            c.ask(&format!("EVAL \"{script}\" 0"));
        }
        let text = c.ask("INFO errorstats");
        for (code, count) in [("WRONGTYPE", 2), ("ERR", 1), ("MINE", 3)] {
            assert!(text.contains(&format!("errorstat_{code}:count={count}\r\n")), "{text}");
        }
        let text = c.ask("INFO commandstats");
        let line = text.lines().find(|line| line.starts_with("cmdstat_eval:")).unwrap_or_default();
        assert!(line.contains("calls=4,") && line.ends_with("failed_calls=3"), "{line}");
    });
}

/// A monitor saw what a script ran as if its client had sent it, and the script not at all.
#[test]
fn monitors_see_a_script_and_then_what_it_runs() {
    both(|c| {
        let mut monitor = c.beside();
        monitor.check("MONITOR", "+OK");
        c.check("EVAL \"return redis.call('set', 'k', 'v')\" 0", "+OK");
        let seen = monitor.mail();
        let places: Vec<_> = ["\"EVAL\"", "[0 lua] \"set\" \"k\" \"v\""].map(|text| seen.find(text)).into();
        assert!(places[0].is_some() && places[0] < places[1], "{seen}");
    });
}

/// What a script or a transaction ran was missing in the slow log and among the latency events.
#[test]
fn the_slow_log_has_what_scripts_and_transactions_run() {
    let mut c = Client::new(Resp::V2);
    c.check("CONFIG SET slowlog-log-slower-than 0", "+OK");
    c.check("SLOWLOG RESET", "+OK");
    c.check("EVAL \"redis.call('SET', KEYS[1], '5'); return redis.call('INCR', KEYS[1])\" 1 k", ":6");
    c.check("SLOWLOG LEN", ":4"); // RESET, SET, INCR, EVAL
    let log = c.ask("SLOWLOG GET");
    assert!(log.find("$INCR") < log.find("$SET") && log.contains("$EVAL"), "{log}");
    c.check("SLOWLOG RESET", "+OK");
    c.check("MULTI", "+OK");
    c.check("GET k", "+QUEUED");
    c.check("EXEC", "[$6]");
    c.check("SLOWLOG LEN", ":3"); // RESET, MULTI, GET: EXEC stands for nothing of its own
}

/// The arguments were still on the stack of the interpreter when the reply was to be put there.
#[test]
fn a_command_may_have_as_many_arguments_as_unpack_gives() {
    both(|c| {
        let push = "local a = {} for i = 1, 7999 do a[i] = i end return";
        c.check(&format!("EVAL \"{push} redis.call('RPUSH', KEYS[1], unpack(a))\" 1 l"), ":7999");
        c.check(&format!("EVAL \"{push} redis.pcall('RPUSH', KEYS[1], unpack(a))\" 1 l"), ":15998");
        c.check("EVAL \"local t = redis.call('LRANGE', KEYS[1], 0, -1) return {#t, t[15998]}\" 1 l", "[:15998, $7999]");
    });
}

/// A code that a line break ends was counted with all that follows it up to a space.
#[test]
fn a_line_break_ends_an_error_code() {
    both(|c| {
        let reply = c.ask(r#"EVAL "error(redis.error_reply('-MINE\r\n-FAKE x'))" 0"#);
        assert!(reply.starts_with("-MINE  -FAKE x"), "{reply}");
        assert!(c.ask("INFO errorstats").contains("errorstat_MINE:count=1\r\n"));
    });
}

/// It answered OK, and changed nothing.
#[test]
fn what_is_denied_to_scripts_cannot_be_allowed() {
    both(|c| {
        c.check("DEBUG SET-DISABLE-DENY-SCRIPTS 0", "+OK");
        let refused = "-ERR Commands that are denied to scripts cannot be allowed on this server";
        c.check("DEBUG SET-DISABLE-DENY-SCRIPTS 1", refused);
        let reply = c.ask("EVAL \"return redis.call('DEBUG', 'SLEEP', '0')\" 0");
        assert!(reply.contains("not allowed from script"), "{reply}");
    });
}
