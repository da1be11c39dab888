//! Hashes. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NUMFIELDS: &str = "-ERR numfields should be greater than 0 and match the provided number of fields";

/// Runs `body` in both protocols with the usual sizes, with tiny ones, and with none: as a listpack, as one that soon
/// becomes a table, as a table at once.
fn each_form(body: impl Fn(&mut Client)) {
    for (entries, value) in [(512, 64), (2, 4), (0, 0)] {
        both(|c| {
            c.check(&format!("CONFIG SET hash-max-listpack-entries {entries}"), "+OK");
            c.check(&format!("CONFIG SET hash-max-listpack-value {value}"), "+OK");
            body(c);
        });
    }
}

/// Asks, and compares the elements of the reply in the order of their texts.
#[track_caller]
fn check_sorted(c: &mut Client, line: &str, expected: &str) {
    let reply = c.ask(line);
    let inner = reply.strip_prefix('[').and_then(|reply| reply.strip_suffix(']')).unwrap_or(&reply);
    let mut elements: Vec<&str> = inner.split(", ").collect();
    elements.sort_unstable();
    assert_eq!(elements.join(" "), expected, "{line}");
}

/// Milliseconds from now that a test may wait.
fn soon(millis: i64) -> String {
    (UnixMs::now().0 + millis).to_string()
}

fn wait(millis: u64) {
    std::thread::sleep(std::time::Duration::from_millis(millis));
}

#[test]
fn fields_are_set_read_and_removed() {
    each_form(|c| {
        c.check("HSET h a 1 b two c \"\"", ":3");
        c.check("HSET h a one d 4 d 5", ":1");
        c.check("HLEN h", ":4");
        c.check("HGET h a", "$one");
        c.check("HGET h c", "$");
        c.check("HGET h z", "nil");
        c.check("HMGET h d z b d", "[$5, nil, $two, $5]");
        c.check("HEXISTS h d", ":1");
        c.check("HEXISTS h z", ":0");
        c.check("HSTRLEN h b", ":3");
        c.check("HSTRLEN h d", ":1");
        c.check("HSTRLEN h z", ":0");
        check_sorted(c, "HGETALL h", "$ $5 $a $b $c $d $one $two");
        check_sorted(c, "HKEYS h", "$a $b $c $d");
        check_sorted(c, "HVALS h", "$ $5 $one $two");
        c.check("HMSET h a 2 e 3", "+OK");
        c.check("HSETNX h a 9", ":0");
        c.check("HSETNX h f 9", ":1");
        c.check("HMGET h a f", "[$2, $9]");
        c.check("HDEL h z a a b", ":2");
        c.check("HDEL h c d e f g", ":4");
        c.check("EXISTS h", ":0");
    });
}

#[test]
fn missing_hashes_are_empty() {
    both(|c| {
        c.check("HLEN no", ":0");
        c.check("HGET no a", "nil");
        c.check("HMGET no a b", "[nil, nil]");
        c.check("HGETALL no", "[]");
        c.check("HKEYS no", "[]");
        c.check("HVALS no", "[]");
        c.check("HEXISTS no a", ":0");
        c.check("HSTRLEN no a", ":0");
        c.check("HDEL no a", ":0");
        c.check("HRANDFIELD no", "nil");
        c.check("HRANDFIELD no 3 WITHVALUES", "[]");
        c.check("HSCAN no 0 FOO", "[$0, []]");
        c.check("HTTL no FIELDS 2 a b", "[:-2, :-2]");
        c.check("HEXPIRE no 10 FIELDS 1 a", "[:-2]");
        c.check("HPERSIST no FIELDS 1 a", "[:-2]");
        c.check("HGETEX no EX 10 FIELDS 2 a b", "[nil, nil]");
        c.check("HGETDEL no FIELDS 2 a b", "[nil, nil]");
        c.check("EXISTS no", ":0");
    });
}

#[test]
fn other_types_are_refused() {
    both(|c| {
        c.check("SET s x", "+OK");
        for line in [
            "HSET s a 1",
            "HMSET s a 1",
            "HSETNX s a 1",
            "HGET s a",
            "HMGET s a",
            "HDEL s a",
            "HLEN s",
            "HSTRLEN s a",
            "HEXISTS s a",
            "HKEYS s",
            "HVALS s",
            "HGETALL s",
            "HINCRBY s a 1",
            "HINCRBYFLOAT s a 1",
            "HRANDFIELD s",
            "HRANDFIELD s 1",
            "HSCAN s 0",
            "HSCAN s 0 FOO",
            "HTTL s FIELDS 1 a",
            "HEXPIRE s 10 FIELDS 1 a",
            "HPERSIST s FIELDS 1 a",
            "HGETEX s EX x FIELDS 1 a",
            "HSETEX s EX x FIELDS 1 a 1",
            "HSETEX s NX FIELDS 1 a 1",
            "HGETDEL s FIELDS 1 a",
        ] {
            c.check(line, WRONG_TYPE);
        }
        c.check("HINCRBY s a x", NOT_INTEGER);
        c.check("HEXPIRE s x FIELDS 1 a", NOT_INTEGER);
        c.check("HSCAN s x", "-ERR invalid cursor");
        c.check("HSET s a 1 b", "-ERR wrong number of arguments for 'hset' command");
        c.check("HMSET s a 1 b", "-ERR wrong number of arguments for 'hmset' command");
        c.check("GET s", "$x");
    });
}

#[test]
fn numbers_are_added_to() {
    each_form(|c| {
        c.check("HINCRBY h n 5", ":5");
        c.check("HINCRBY h n -7", ":-2");
        c.check("HSET h max 9223372036854775807 word abc empty \"\" f 1.5 inf inf", ":5");
        c.check("HINCRBY h max 1", "-ERR increment or decrement would overflow");
        for field in ["word", "empty", "f"] {
            c.check(&format!("HINCRBY h {field} 1"), "-ERR hash value is not an integer");
        }
        c.check("HINCRBY h n x", NOT_INTEGER);
        c.check("HINCRBYFLOAT h f 0.1", "$1.6");
        c.check("HINCRBYFLOAT h new 5.0e3", "$5000");
        c.check("HINCRBYFLOAT h max 1", "$9223372036854775808");
        c.check("HINCRBYFLOAT h word 1", "-ERR hash value is not a float");
        c.check("HINCRBYFLOAT h inf 1", "-ERR increment would produce NaN or Infinity");
        c.check("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity");
        c.check("HINCRBYFLOAT h f nan", "-ERR value is not a valid float");
        c.check("HINCRBY none n x", NOT_INTEGER);
        c.check("HINCRBYFLOAT none n x", "-ERR value is not a valid float");
        c.check("EXISTS none", ":0");
    });
}

#[test]
fn encodings_follow_the_limits() {
    both(|c| {
        c.check("CONFIG SET hash-max-listpack-entries 3 hash-max-listpack-value 5", "+OK");
        c.check("HSET h a 1 b 2 c 12345", ":3");
        c.check("OBJECT ENCODING h", "$listpack");
        c.check("HSET h a 123456", ":0");
        c.check("OBJECT ENCODING h", "$hashtable");
        c.check("HDEL h a b", ":2");
        c.check("OBJECT ENCODING h", "$hashtable");
        c.check("HSET g a 1 b 2 c 3", ":3");
        c.check("HSET g d 4", ":1");
        c.check("OBJECT ENCODING g", "$hashtable");
        c.check("HSET f a 1 b 2", ":2");
        c.check("HEXPIRE f 100 FIELDS 1 z", "[:-2]");
        c.check("HEXPIRE f 0 FIELDS 1 a", "[:2]");
        c.check("HSETEX f KEEPTTL FIELDS 1 a 1", ":1");
        c.check("OBJECT ENCODING f", "$listpack");
        c.check("HEXPIRE f 100 FIELDS 1 a", "[:1]");
        c.check("OBJECT ENCODING f", "$hashtable");
        c.check("HPERSIST f FIELDS 1 a", "[:1]");
        c.check("OBJECT ENCODING f", "$hashtable");
    });
}

#[test]
fn deadlines_obey_their_conditions() {
    each_form(|c| {
        c.check("HSET h a 1 b 2 c 3", ":3");
        c.check("HEXPIREAT h 4102444800 FIELDS 2 a z", "[:1, :-2]");
        c.check("HEXPIREAT h 4102444900 NX FIELDS 2 a b", "[:0, :1]");
        c.check("HEXPIREAT h 4102444800 GT FIELDS 2 a c", "[:0, :0]");
        c.check("HEXPIREAT h 4102444801 GT FIELDS 1 a", "[:1]");
        c.check("HEXPIREAT h 4102444801 LT FIELDS 2 a c", "[:0, :1]");
        c.check("HEXPIREAT h 4102444802 XX GT FIELDS 2 a c", "[:1, :1]");
        c.check("HPERSIST h FIELDS 3 b c z", "[:1, :1, :-2]");
        c.check("HEXPIREAT h 4102444802 XX FIELDS 2 a b", "[:1, :0]");
        c.check("HEXPIRETIME h FIELDS 3 a b z", "[:4102444802, :-1, :-2]");
        c.check("HPEXPIREAT h 4102444802499 FIELDS 1 b", "[:1]");
        c.check("HPEXPIRETIME h FIELDS 2 a b", "[:4102444802000, :4102444802499]");
        c.check("HEXPIRETIME h FIELDS 1 b", "[:4102444802]");
        c.check("HPEXPIREAT h 4102444802500 FIELDS 1 b", "[:1]");
        c.check("HEXPIRETIME h FIELDS 1 b", "[:4102444803]");
        c.check("HEXPIRE h 100 FIELDS 1 b", "[:1]");
        c.check("HTTL h FIELDS 1 b", "[:100]");
        c.check("HPEXPIRE h 200000 FIELDS 2 b b", "[:1, :1]");
        c.check("HTTL h FIELDS 2 b c", "[:200, :-1]");
        c.check("HPERSIST h FIELDS 2 b b", "[:1, :-1]");
        c.check("HEXPIREAT h 1 FIELDS 3 a b b", "[:2, :2, :-2]");
        c.check("HGETALL h", "[$c, $3]");
        c.check("HPEXPIREAT h 0 FIELDS 1 c", "[:2]");
        c.check("EXISTS h", ":0");
    });
}

#[test]
fn arguments_of_deadlines_are_checked_in_the_order_of_valkey() {
    const COMPATIBLE: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    const INVALID: &str = "-ERR invalid expire time in 'hexpire' command";
    both(|c| {
        c.check("HSET h a 1 b 2 c 3", ":3");
        for (line, reply) in [
            ("HEXPIRE h abc FIELDS 1 a", NOT_INTEGER),
            ("HEXPIRE h abc FIELDS 2 a", NUMFIELDS),
            ("HEXPIRE h 10 FIELDS abc a", NOT_INTEGER),
            ("HEXPIRE h 10 FIELDS 0 a", NUMFIELDS),
            ("HEXPIRE h 10 FIELDS 1 a b", NUMFIELDS),
            ("HEXPIRE h 10 FOO 1 a b", NUMFIELDS),
            ("HEXPIRE h -1 NX FOO FIELDS 1 a", "-ERR Unsupported option FOO"),
            ("HEXPIRE h x NX XX FIELDS 1 a", COMPATIBLE),
            ("HEXPIRE h 10 GT LT FIELDS 1 a", "-ERR GT and LT options at the same time are not compatible"),
            ("HEXPIRE h 10 FIELDS FIELDS 1 a", NOT_INTEGER),
            ("HEXPIRE h 10 NX LT FIELDS", NUMFIELDS),
            ("HEXPIRE h 10 NX LT XX FIELDS", NUMFIELDS),
            ("HEXPIRE h -1 FIELDS 1 a", INVALID),
            ("HEXPIRE h 9223372036854775807 FIELDS 1 a", INVALID),
            ("HEXPIRE no -1 FIELDS 1 a", INVALID),
            ("HTTL h FOO 1 a", SYNTAX),
            ("HTTL h FIELDS 2 a", SYNTAX),
            ("HTTL h FIELDS x a", NOT_INTEGER),
            ("HPERSIST h FOO 1 a", SYNTAX),
            ("HPERSIST h FIELDS 2 a", NUMFIELDS),
            ("HGETDEL h FOO 1 a", SYNTAX),
            ("HGETDEL h FIELDS 0 a", NUMFIELDS),
            ("HGETEX h FOO FIELDS 1 a", SYNTAX),
            ("HGETEX h EX FIELDS 1 a", SYNTAX),
            ("HGETEX h EX 10 PX 10 FIELDS 1 a", SYNTAX),
            ("HGETEX h EX 10 PERSIST FIELDS 1 a", SYNTAX),
            ("HGETEX h KEEPTTL FIELDS 1 a", SYNTAX),
            ("HGETEX h FIELDS 2 a", NUMFIELDS),
            ("HGETEX h EX 10 10 10", NUMFIELDS),
            ("HGETEX h EX -1 FIELDS 1 a", "-ERR invalid expire time in 'hgetex' command"),
            ("HGETEX no EX abc FIELDS 1 a", NOT_INTEGER),
            ("HSETEX h NX XX FIELDS 1 a 1", SYNTAX),
            ("HSETEX h FNX FXX FIELDS 1 a 1", SYNTAX),
            ("HSETEX h KEEPTTL EX 10 FIELDS 1 a 1", SYNTAX),
            ("HSETEX h PERSIST FIELDS 1 a 1", SYNTAX),
            ("HSETEX h EX 10 FIELDS 2 a 1", NUMFIELDS),
            ("HSETEX h EX 10 FIELDS 1 a 1 b", NUMFIELDS),
            ("HSETEX h FNX EX -1 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
            ("HSETEX h NX EX abc FIELDS 1 a 1", ":0"),
        ] {
            c.check(line, reply);
        }
        c.check("HTTL h FIELDS 3 a b c", "[:-1, :-1, :-1]");
    });
}

#[test]
fn values_are_read_with_their_deadlines() {
    each_form(|c| {
        c.check("HSET h a 1 b 2", ":2");
        c.check("HGETEX h FIELDS 3 a z a", "[$1, nil, $1]");
        c.check("HGETEX h EX 100 EX 200 FIELDS 2 a z", "[$1, nil]");
        c.check("HTTL h FIELDS 2 a b", "[:200, :-1]");
        c.check("HGETEX h PERSIST FIELDS 2 a b", "[$1, $2]");
        c.check("HTTL h FIELDS 2 a b", "[:-1, :-1]");
        c.check("HGETEX h PXAT 1 FIELDS 2 a a", "[$1, nil]");
        c.check("HGETEX h PX 0 FIELDS 1 b", "[$2]");
        c.check("EXISTS h", ":0");
        c.check("HGETEX FIELDS FIELDS 1 a", "[nil]");
        c.check("HSET h a 1 b 2", ":2");
        c.check("HGETDEL h FIELDS 3 a z a", "[$1, nil, nil]");
        c.check("HGETDEL h FIELDS 1 b", "[$2]");
        c.check("EXISTS h", ":0");
    });
}

#[test]
fn values_are_set_with_their_deadlines() {
    each_form(|c| {
        c.check("HSETEX h XX FIELDS 1 a 1", ":0");
        c.check("HSETEX h FXX FIELDS 1 a 1", ":0");
        c.check("EXISTS h", ":0");
        c.check("HSETEX h NX FNX EX 100 FIELDS 2 a 1 b 2", ":1");
        c.check("HTTL h FIELDS 2 a b", "[:100, :100]");
        c.check("HSETEX h KEEPTTL FIELDS 2 a 3 c 4", ":1");
        c.check("HTTL h FIELDS 3 a b c", "[:100, :100, :-1]");
        c.check("HSETEX h FNX FIELDS 2 d 1 a 1", ":0");
        c.check("HSETEX h FXX FIELDS 2 a 5 b 6", ":1");
        c.check("HTTL h FIELDS 2 a b", "[:-1, :-1]");
        c.check("HMGET h a b c", "[$5, $6, $4]");
        c.check("HSETEX h NX FIELDS 1 a 1", ":0");
        c.check("HSETEX h EXAT 1 FIELDS 2 a 1 new 2", ":1");
        check_sorted(c, "HKEYS h", "$b $c");
        c.check("HSETEX h EX 0 FIELDS 2 b 1 c 2", ":1");
        c.check("EXISTS h", ":0");
        c.check("HSETEX h EXAT 1 FIELDS 1 a 1", ":1");
        c.check("EXISTS h", ":0");
    });
}

#[test]
fn writes_keep_or_clear_deadlines() {
    each_form(|c| {
        c.check("HSET h a 1 b 2 c 3", ":3");
        c.check("HEXPIRE h 100 FIELDS 3 a b c", "[:1, :1, :1]");
        c.check("HINCRBY h a 1", ":2");
        c.check("HINCRBYFLOAT h b 0.5", "$2.5");
        c.check("HSETNX h c 9", ":0");
        c.check("HTTL h FIELDS 3 a b c", "[:100, :100, :100]");
        c.check("COPY h copy", ":1");
        c.check("RENAME h other", "+OK");
        c.check("HTTL copy FIELDS 2 a b", "[:100, :100]");
        c.check("HSET other a 5 b 6", ":0");
        c.check("HTTL other FIELDS 3 a b c", "[:-1, :-1, :100]");
        c.check("EXPIRE other 50", ":1");
        c.check("PERSIST other", ":1");
        c.check("HTTL other FIELDS 3 a b c", "[:-1, :-1, :100]");
        c.check("SET other x", "+OK");
        assert!(c.ask("INFO keyspace").contains("db0:keys=2,expires=0,avg_ttl=0,keys_with_volatile_items=1\r\n"));
        c.check("DEL copy", ":1");
        assert!(c.ask("INFO keyspace").contains("keys_with_volatile_items=0\r\n"));
    });
}

#[test]
fn fields_are_gone_in_their_millisecond() {
    each_form(|c| {
        c.check("HSET h a 1 b 2 c 3", ":3");
        c.check(&format!("HPEXPIREAT h {} FIELDS 2 a b", soon(30)), "[:1, :1]");
        c.check("HLEN h", ":3");
        wait(40);
        c.check("HLEN h", ":1");
        c.check("HGETALL h", "[$c, $3]");
        c.check("HMGET h a b c", "[nil, nil, $3]");
        c.check("HRANDFIELD h -2", "[$c, $c]");
        c.check("HSCAN h 0", "[$0, [$c, $3]]");
        c.check("HTTL h FIELDS 2 a c", "[:-2, :-1]");
        c.check("HSET h a 5", ":1");
        c.check("HINCRBY h b 5", ":5");
        c.check("HTTL h FIELDS 3 a b c", "[:-1, :-1, :-1]");
        assert!(c.ask("INFO stats").contains("expired_fields:2\r\n"));
    });
}

#[test]
fn a_key_is_gone_with_its_last_field() {
    each_form(|c| {
        for key in ["h", "g", "f"] {
            c.check(&format!("HSETEX {key} PXAT {} FIELDS 2 a 1 b 2", soon(30)), ":1");
        }
        c.check("HSET live a 1", ":1");
        wait(40);
        c.check("KEYS *", "[$live]");
        c.check("RANDOMKEY", "$live");
        c.check("EXISTS h", ":0");
        c.check("TYPE g", "+none");
        c.check("HSET f z 1", ":1");
        c.check("HGETALL f", "[$z, $1]");
        c.check("DBSIZE", ":2");
        let info = c.ask("INFO stats");
        assert!(info.contains("expired_fields:6\r\n") && info.contains("expired_keys:0\r\n"), "{info}");
    });
}

#[test]
fn turns_remove_what_nobody_looks_at() {
    let mut c = Client::new(Resp::V2);
    let many: Vec<String> = (0..5000).map(|number| format!("f{number} v")).collect();
    c.ask(&format!("HSETEX big PXAT {} FIELDS 5000 {}", soon(30), many.join(" ")));
    c.check("HSET big stays 1", ":1");
    c.check("EXPIREAT big 4102444800", ":1");
    c.check(&format!("HSETEX small PXAT {} FIELDS 1 a 1", soon(30)), ":1");
    wait(50);
    for shard in 0..c.shared.keyspace.shards() {
        while c.shared.keyspace.expire_turn(shard, UnixMs::now(), &mut |_, _| {}) {}
    }
    c.check("DBSIZE", ":1");
    let info = c.ask("INFO stats");
    assert!(info.contains("expired_fields:5001\r\n"), "{info}");
    assert!(c.ask("INFO keyspace").contains("db0:keys=1,expires=1,"));
    assert!(c.ask("INFO keyspace").contains("keys_with_volatile_items=0\r\n"));
    c.check("HGETALL big", "[$stays, $1]");
}

#[test]
fn random_fields_have_the_shapes_of_the_protocols() {
    each_form(|c| {
        c.check("HSET h a 1", ":1");
        c.check("HRANDFIELD h", "$a");
        c.check("HRANDFIELD h 0", "[]");
        c.check("HRANDFIELD h 5", "[$a]");
        c.check("HRANDFIELD h -3", "[$a, $a, $a]");
        c.check("HRANDFIELD h x", NOT_INTEGER);
        c.check("HRANDFIELD no 1 FOO", SYNTAX);
        c.check("HRANDFIELD h 1 WITHVALUES FOO", SYNTAX);
        c.check("HRANDFIELD h -4611686018427387904 WITHVALUES", "-ERR value is out of range");
        let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        c.check("HRANDFIELD no -9223372036854775808", range);
    });
    for (resp, pairs) in [(Resp::V2, "[$a, $1, $a, $1]"), (Resp::V3, "[[$a, $1], [$a, $1]]")] {
        let mut c = Client::new(resp);
        c.check("HSET h a 1", ":1");
        c.check("HRANDFIELD h -2 WITHVALUES", pairs);
    }
}

#[test]
fn different_random_fields_are_different() {
    each_form(|c| {
        for field in 0..200 {
            c.check(&format!("HSET h {field} {}", field * field), ":1");
        }
        for count in [1, 20, 60, 100, 199, 200, 300] {
            let reply = c.ask(&format!("HRANDFIELD h {count}"));
            let mut fields: Vec<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
            fields.sort_unstable();
            fields.dedup();
            assert_eq!(fields.len(), count.min(200));
        }
    });
}

#[test]
fn a_walk_meets_every_field() {
    each_form(|c| {
        for field in 0..500 {
            c.check(&format!("HSET h f{field} {field}"), ":1");
        }
        let (mut cursor, mut fields) = ("0".to_owned(), std::collections::BTreeSet::new());
        loop {
            let reply = c.ask(&format!("HSCAN h {cursor} COUNT 20 NOVALUES MATCH f*"));
            let (next, found) = reply[2..reply.len() - 2].split_once(", [").expect("a cursor and an array");
            fields.extend(found.split(", ").filter(|field| !field.is_empty()).map(str::to_owned));
            cursor = next.to_owned();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(fields.len(), 500);
        c.check("HSCAN h 0 COUNT 0", SYNTAX);
        c.check("HSCAN h 0 TYPE hash", SYNTAX);
        c.check("HSCAN h 0 NOSCORES", "-ERR NOSCORES option can only be used in ZSCAN");
        c.check("HSCAN h x", "-ERR invalid cursor");
    });
}

#[test]
fn fields_whose_new_deadline_is_past_count_as_expired() {
    both(|c| {
        c.check("HSET h a 1 b 2 c 3 d 4", ":4");
        for (count, line) in
            [(1, "HPEXPIRE h 0 FIELDS 1 a"), (2, "HEXPIREAT h 1 FIELDS 1 b"), (3, "HGETEX h PXAT 1 FIELDS 1 c")]
        {
            c.ask(line);
            assert!(c.ask("INFO stats").contains(&format!("expired_fields:{count}\r\n")), "{line}");
        }
        c.check("HSETEX h PXAT 1 FIELDS 1 d 5", ":1");
        assert!(c.ask("INFO stats").contains("expired_fields:4\r\n"));
    });
}
