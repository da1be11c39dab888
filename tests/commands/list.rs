//! Lists. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use bytes::Bytes;
use larder::protocol::reply::Resp;

const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";

/// Runs `body` with lists of every encoding, and RESP2 and RESP3.
fn all(body: impl Fn(&mut Client)) {
    for size in ["-2", "-1", "128", "4", "1"] {
        both(|c| {
            c.check(&format!("CONFIG SET list-max-listpack-size {size}"), "+OK");
            body(c);
        });
    }
}

#[test]
fn elements_are_put_at_and_taken_from_both_ends() {
    all(|c| {
        c.check("LPUSHX l a", ":0");
        c.check("RPUSHX l a", ":0");
        c.check("RPUSH l c d", ":2");
        c.check("LPUSH l b a", ":4");
        c.check("LPUSHX l 1 2", ":6");
        c.check("RPUSHX l -7 \"\"", ":8");
        c.check("LLEN l", ":8");
        c.check("LRANGE l 0 -1", "[$2, $1, $a, $b, $c, $d, $-7, $]");
        c.check("TYPE l", "+list");
        c.check("LPOP l", "$2");
        c.check("RPOP l", "$");
        c.check("LPOP l 2", "[$1, $a]");
        c.check("RPOP l 3", "[$-7, $d, $c]");
        c.check("LPOP l 0", "[]");
        c.check("RPOP l 100", "[$b]");
        c.check("EXISTS l", ":0");
        c.check("LPOP l", "nil");
        c.check("LPOP l 0", "nil");
        c.check("RPOP l 1", "nil");
    });
}

#[test]
fn wrong_types_and_arguments_are_refused() {
    all(|c| {
        c.check("SET s v", "+OK");
        c.check("RPUSH l a b", ":2");
        for line in [
            "LPUSH s a",
            "RPUSHX s a",
            "LPOP s",
            "RPOP s 1",
            "LLEN s",
            "LINDEX s x",
            "LRANGE s 0 1",
            "LSET s x y",
            "LINSERT s AFTER a b",
            "LTRIM s 0 1",
            "LREM s 0 a",
            "LPOS s a",
            "LMOVE s l LEFT LEFT",
            "LMOVE l s LEFT LEFT",
            "RPOPLPUSH l s",
            "LMPOP 1 s LEFT",
            "LMPOP 3 none s l LEFT",
            "BLPOP none s 0",
            "BLMOVE l s LEFT LEFT 0",
            "BRPOPLPUSH s l 0",
            "BLMPOP 0 2 none s RIGHT",
        ] {
            c.check(line, WRONG_TYPE);
        }
        for line in ["LPOP l x", "LPOP s x", "RPOP none -1", "LPOP l 9223372036854775808"] {
            c.check(line, NOT_POSITIVE);
        }
        c.check("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command");
        c.check("LINDEX none x", "nil");
        for line in ["LINDEX l x", "LSET l x y", "LRANGE none x 1", "LRANGE s 1 x", "LTRIM s x 1", "LREM s x a"] {
            c.check(line, NOT_INTEGER);
        }
        for line in
            ["LINSERT none in a b", "LMOVE none none LEFT up", "LMPOP 2 l LEFT", "LMPOP 1 l up", "LMPOP 1 l LEFT FOO 1"]
        {
            c.check(line, SYNTAX);
        }
        c.check("LRANGE l 0 -1", "[$a, $b]");
    });
}

#[test]
fn elements_are_found_by_index() {
    all(|c| {
        c.check("RPUSH l a b c d e", ":5");
        for (index, reply) in
            [(0, "$a"), (4, "$e"), (-1, "$e"), (-5, "$a"), (2, "$c"), (5, "nil"), (-6, "nil"), (i64::MIN, "nil")]
        {
            c.check(&format!("LINDEX l {index}"), reply);
        }
        for (start, stop, reply) in [
            (0, 0, "[$a]"),
            (1, -2, "[$b, $c, $d]"),
            (-2, 100, "[$d, $e]"),
            (-100, 1, "[$a, $b]"),
            (3, 2, "[]"),
            (5, 9, "[]"),
            (0, -6, "[]"),
            (i64::MIN, i64::MAX, "[$a, $b, $c, $d, $e]"),
        ] {
            c.check(&format!("LRANGE l {start} {stop}"), reply);
        }
        c.check("LRANGE none 0 -1", "[]");
        c.check("LINDEX none 0", "nil");
    });
}

#[test]
fn elements_are_replaced_inserted_and_removed() {
    all(|c| {
        c.check("RPUSH l a b c a b c", ":6");
        c.check("LSET l 1 x", "+OK");
        c.check("LSET l -1 42", "+OK");
        c.check("LSET l 6 y", "-ERR index out of range");
        c.check("LSET l -9223372036854775808 y", "-ERR index out of range");
        c.check("LSET none 0 y", "-ERR no such key");
        c.check("LRANGE l 0 -1", "[$a, $x, $c, $a, $b, $42]");
        c.check("LINSERT l before a 1", ":7");
        c.check("LINSERT l AFTER 42 2", ":8");
        c.check("LINSERT l AFTER 42x 2", ":-1");
        c.check("LINSERT none AFTER a b", ":0");
        c.check("LRANGE l 0 -1", "[$1, $a, $x, $c, $a, $b, $42, $2]");
        c.check("LREM l -1 a", ":1");
        c.check("LREM l 0 x", ":1");
        c.check("LREM l 5 none", ":0");
        c.check("LREM l -9223372036854775807 none", ":0");
        let least = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        c.check("LREM l -9223372036854775808 a", least);
        c.check("LREM none 0 a", ":0");
        c.check("LRANGE l 0 -1", "[$1, $a, $c, $b, $42, $2]");
        c.check("LTRIM l 1 -2", "+OK");
        c.check("LRANGE l 0 -1", "[$a, $c, $b, $42]");
        c.check("LTRIM l 5 9", "+OK");
        c.check("EXISTS l", ":0");
        c.check("LTRIM l 0 1", "+OK");
        c.check("RPUSH l a a a", ":3");
        c.check("LREM l 0 a", ":3");
        c.check("EXISTS l", ":0");
    });
}

#[test]
fn positions_are_found_from_either_end() {
    all(|c| {
        c.check("RPUSH l a b c 1 2 3 c c", ":8");
        for (words, reply) in [
            ("c", ":2"),
            ("3", ":5"),
            ("x", "nil"),
            ("c RANK 2", ":6"),
            ("c RANK -1", ":7"),
            ("c RANK 4", "nil"),
            ("c RANK 9223372036854775807", "nil"),
            ("c COUNT 2", "[:2, :6]"),
            ("c COUNT 0", "[:2, :6, :7]"),
            ("c RANK -1 COUNT 2", "[:7, :6]"),
            ("c RANK -2 COUNT 0", "[:6, :2]"),
            ("x COUNT 0", "[]"),
            ("c COUNT 0 MAXLEN 3", "[:2]"),
            ("c MAXLEN 2", "nil"),
            ("c RANK -1 COUNT 0 MAXLEN 2", "[:7, :6]"),
            ("c MAXLEN 0 COUNT 1", "[:2]"),
            ("c RANK 1 RANK 2", ":6"),
            ("c COUNT", SYNTAX),
            ("c FOO 1", SYNTAX),
            ("c RANK x", NOT_INTEGER),
            ("c COUNT -1", "-ERR COUNT can't be negative"),
            ("c MAXLEN x", "-ERR MAXLEN can't be negative"),
        ] {
            c.check(&format!("LPOS l {words}"), reply);
        }
        c.check("LPOS none a", "nil");
        c.check("LPOS none a COUNT 1", "[]");
        let zero = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
        c.check("LPOS l c RANK 0", zero);
        let least = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        c.check("LPOS l c RANK -9223372036854775808", least);
    });
}

#[test]
fn elements_move_between_lists() {
    all(|c| {
        c.check("RPUSH a 1 2 3", ":3");
        c.check("LMOVE a b LEFT RIGHT", "$1");
        c.check("RPOPLPUSH a b", "$3");
        c.check("LRANGE b 0 -1", "[$3, $1]");
        c.check("LMOVE a b right left", "$2");
        c.check("EXISTS a", ":0");
        c.check("LMOVE a b LEFT RIGHT", "nil");
        c.check("RPOPLPUSH none b", "nil");
        c.check("LRANGE b 0 -1", "[$2, $3, $1]");
        c.check("LMOVE b b LEFT RIGHT", "$2");
        c.check("RPOPLPUSH b b", "$2");
        c.check("LRANGE b 0 -1", "[$2, $3, $1]");
        c.check("RPUSH one x", ":1");
        c.check("LMOVE one one LEFT LEFT", "$x");
        c.check("LRANGE one 0 -1", "[$x]");
        c.check("SET s v", "+OK");
        c.check("LMOVE none s LEFT RIGHT", "nil");
    });
}

#[test]
fn several_elements_are_taken_from_the_first_list_there_is() {
    all(|c| {
        c.check("RPUSH b 1 2 3 4", ":4");
        c.check("LMPOP 2 a b LEFT", "[$b, [$1]]");
        c.check("LMPOP 2 a b RIGHT COUNT 2", "[$b, [$4, $3]]");
        c.check("BLMPOP 0 1 b right count 10", "[$b, [$2]]");
        c.check("EXISTS b", ":0");
        c.check("LMPOP 2 a b LEFT", "nil");
        for count in ["0", "-1", "x", "9223372036854775808"] {
            c.check(&format!("LMPOP {count} a LEFT"), "-ERR numkeys should be greater than 0");
            c.check(&format!("LMPOP 1 a LEFT COUNT {count}"), "-ERR count should be greater than 0");
        }
        c.check("LMPOP 9223372036854775807 a LEFT", SYNTAX);
        c.check("LMPOP 1 a LEFT COUNT", SYNTAX);
        c.check("LMPOP 1 a LEFT COUNT 1 COUNT 2", SYNTAX);
        c.check("BLMPOP -1 0 a LEFT", "-ERR numkeys should be greater than 0");
        c.check("BLMPOP -1 1 a LEFT", "-ERR timeout is negative");
        c.check("BLPOP a inf", "-ERR timeout is out of range");
        c.check("BLPOP a x", "-ERR timeout is not a float or out of range");
        c.check("BLMOVE a b LEFT up x", SYNTAX);
    });
}

#[test]
fn encodings_are_those_of_redis() {
    both(|c| {
        c.check("RPUSH l 1 2 3", ":3");
        c.check("OBJECT ENCODING l", "$listpack");
        c.ask_large("RPUSH l", Bytes::from(vec![b'x'; 9000]));
        c.check("OBJECT ENCODING l", "$quicklist");
        c.check("RPOP l 1", &format!("[${}]", "x".repeat(9000)));
        c.check("OBJECT ENCODING l", "$listpack");
        c.check("CONFIG SET list-max-listpack-size 4", "+OK");
        c.check("RPUSH l 4", ":4");
        c.check("OBJECT ENCODING l", "$listpack");
        c.check("LINSERT l AFTER none x", ":-1");
        c.check("OBJECT ENCODING l", "$quicklist");
        c.check("LTRIM l 0 2", "+OK");
        c.check("OBJECT ENCODING l", "$quicklist");
        c.check("LTRIM l 0 1", "+OK");
        c.check("OBJECT ENCODING l", "$listpack");
        c.check("COPY l m", ":1");
        c.check("LRANGE m 0 -1", "[$1, $2]");
    });
}

#[test]
fn many_elements_stay_in_order() {
    all(|c| {
        for number in 0..300 {
            c.check(&format!("RPUSH l {number}"), &format!(":{}", 2 * number + 1));
            c.check(&format!("LPUSH l -{number}"), &format!(":{}", 2 * number + 2));
        }
        c.check("LINDEX l 0", "$-299");
        c.check("LINDEX l 299", "$-0");
        c.check("LINDEX l 300", "$0");
        c.check("LRANGE l 297 302", "[$-2, $-1, $-0, $0, $1, $2]");
        c.check("LRANGE l -2 -1", "[$298, $299]");
        c.check("LTRIM l 298 301", "+OK");
        c.check("LRANGE l 0 -1", "[$-1, $-0, $0, $1]");
    });
}

#[test]
fn clients_wait_and_are_served_in_turn() {
    for resp in [Resp::V2, Resp::V3] {
        let mut writer = Client::new(resp);
        let (mut a, mut b, mut c) = (writer.beside(), writer.beside(), writer.beside());
        a.check("BLPOP l m 0", "blocked");
        b.check("BRPOP m l l 0.5", "blocked");
        c.check("BLMOVE l n LEFT RIGHT 0", "blocked");
        writer.check("RPUSH l 1 2 3", ":3");
        assert_eq!([a.served(), b.served(), c.served()], ["[$l, $1]", "[$l, $3]", "$2"]);
        writer.check("LRANGE n 0 -1", "[$2]");
        writer.check("EXISTS l m", ":0");
        assert_eq!(writer.shared.blocked.len(), 0);

        a.check("BLPOP l 0", "blocked");
        b.check("BLPOP l 0", "blocked");
        writer.check("LPUSH l x", ":1");
        assert_eq!([a.served(), b.served()], ["[$l, $x]", "blocked"]);
        a.check("BLPOP l 0", "blocked");
        writer.check("LPUSH l y", ":1");
        assert_eq!([a.served(), b.served()], ["blocked", "[$l, $y]"]);
        writer.check("DEL l", ":0");
        writer.check("RPUSH l z", ":1");
        assert_eq!(a.served(), "[$l, $z]");
    }
}

#[test]
fn what_is_no_list_serves_nobody() {
    both(|c| {
        let (mut a, mut b) = (c.beside(), c.beside());
        a.check("BLPOP l 0", "blocked");
        b.check("BLMOVE m l LEFT RIGHT 0", "blocked");
        c.check("SET l v", "+OK");
        assert_eq!(a.served(), "blocked");
        c.check("RPUSH m 1", ":1");
        assert_eq!(b.served(), WRONG_TYPE, "the destination is a string");
        c.check("LRANGE m 0 -1", "[$1]");
        c.check("RENAME m l", "+OK");
        assert_eq!(a.served(), "[$l, $1]");
    });
}

#[test]
fn chains_of_moves_run_to_their_end() {
    both(|c| {
        let (mut a, mut b, mut d) = (c.beside(), c.beside(), c.beside());
        a.check("BLMOVE l1 l2 LEFT RIGHT 0", "blocked");
        b.check("BLMOVE l2 l3 LEFT RIGHT 0", "blocked");
        d.check("BLPOP l3 0", "blocked");
        c.check("RPUSH l1 x", ":1");
        assert_eq!([a.served(), b.served(), d.served()], ["$x", "$x", "[$l3, $x]"]);
        c.check("EXISTS l1 l2 l3", ":0");
    });
}

#[test]
fn a_trim_that_takes_nothing_is_no_change() {
    all(|c| {
        c.check("RPUSH l a b", ":2");
        for (line, reply) in [("LTRIM l 0 -1", "[+PONG]"), ("LTRIM l -100 100", "[+PONG]"), ("LTRIM l 1 -1", "nil")] {
            c.check("WATCH l", "+OK");
            c.check(line, "+OK");
            c.check("MULTI", "+OK");
            c.check("PING", "+QUEUED");
            c.check("EXEC", reply);
        }
    });
}
