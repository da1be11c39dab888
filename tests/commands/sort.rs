//! SORT and SORT_RO. Expected replies are those of Valkey 9.1.

use crate::harness::both;

const SYNTAX: &str = "-ERR syntax error";
const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn numbers_and_texts_are_sorted() {
    both(|c| {
        c.check("RPUSH l 3 1 2 10 -1.5", ":5");
        c.check("SORT l", "[$-1.5, $1, $2, $3, $10]");
        c.check("SORT l DESC", "[$10, $3, $2, $1, $-1.5]");
        c.check("SORT l ALPHA", "[$-1.5, $1, $10, $2, $3]");
        c.check("SORT l desc ASC alpha DESC", "[$3, $2, $10, $1, $-1.5]");
        c.check("SADD s 3 1 2", ":3");
        c.check("SORT_RO s DESC", "[$3, $2, $1]");
        c.check("ZADD z 9 3 8 1 7 2", ":3");
        c.check("SORT z", "[$1, $2, $3]");
        c.check("SORT no", "[]");
        c.check("RPUSH words b a", ":2");
        c.check("SORT words", NOT_NUMBERS);
        c.check("SORT words STORE d", NOT_NUMBERS);
        c.check("SORT words ALPHA", "[$a, $b]");
    });
}

#[test]
fn a_part_is_sorted() {
    both(|c| {
        c.check("RPUSH l 5 3 1 2 4", ":5");
        for (limit, expected) in [
            ("1 2", "[$2, $3]"),
            ("-1 2", "[$1, $2]"),
            ("0 0", "[]"),
            ("9 2", "[]"),
            ("3 -5", "[$4, $5]"),
            ("3 9223372036854775807", "[$4, $5]"),
        ] {
            c.check(&format!("SORT l LIMIT {limit}"), expected);
        }
        c.check("SORT l BY nosort LIMIT 1 2", "[$3, $1]");
        c.check("SORT l BY nosort LIMIT 1 2 DESC", "[$2, $1]");
        c.check("ZADD z 1 c 2 b 3 a", ":3");
        c.check("SORT z BY nosort", "[$c, $b, $a]");
        c.check("SORT z BY nosort DESC LIMIT 0 2", "[$a, $b]");
        c.check("SORT z BY nosort LIMIT 2 5", "[$a]");
    });
}

#[test]
fn patterns_name_other_keys() {
    both(|c| {
        c.check("RPUSH l 1 2 3 4", ":4");
        c.check("MSET w_1 30 w_2 20 w_3 10 name_1 one", "+OK");
        c.check("SORT l BY w_*", "[$4, $3, $2, $1]");
        c.check(
            "SORT l BY w_* GET # GET name_* GET nosuch",
            "[$4, nil, nil, $3, nil, nil, $2, nil, nil, $1, $one, nil]",
        );
        c.check("SORT l BY w_* LIMIT 1 2", "[$3, $2]");
        c.check("SORT l BY w_* DESC LIMIT 0 1", "[$1]");
        c.check("SET w_1 x", "+OK");
        c.check("SORT l BY w_*", NOT_NUMBERS);
        c.check("SORT l BY w_* ALPHA", "[$4, $3, $2, $1]");
        c.check("SORT l BY nosort BY w_*", "[$1, $2, $3, $4]");
        c.check("SORT l GET l*", "[nil, nil, nil, nil]");
        c.check("SORT l GET *->", "[nil, nil, nil, nil]");
    });
}

#[test]
fn results_are_stored() {
    both(|c| {
        c.check("SADD s c a b", ":3");
        c.check("SORT s BY nosort STORE d", ":3");
        c.check("SADD numbers 10 9 1 -2", ":4");
        c.check("EVAL \"return redis.call('SORT', KEYS[1], 'BY', 'nosort')\" 1 numbers", "[$-2, $1, $10, $9]");
        c.check(
            "EVAL \"return redis.call('SORT_RO', KEYS[1], 'BY', 'nosort', 'LIMIT', 1, 2, 'DESC')\" 1 numbers",
            "[$10, $1]",
        );
        c.check("LRANGE d 0 -1", "[$a, $b, $c]");
        c.check("OBJECT ENCODING d", "$listpack");
        c.check("SORT s ALPHA GET x* STORE s", ":3");
        c.check("LRANGE s 0 -1", "[$, $, $]");
        c.check("SORT no STORE d", ":0");
        c.check("EXISTS d", ":0");
        c.check("CONFIG SET list-max-listpack-size 2", "+OK");
        c.check("SORT s ALPHA STORE d", ":3");
        c.check("OBJECT ENCODING d", "$quicklist");
    });
}

#[test]
fn wrong_requests_are_refused() {
    both(|c| {
        c.check("SET k v", "+OK");
        c.check("SORT k", WRONG_TYPE);
        for words in ["FOO", "BY", "GET", "LIMIT 1", "STORE", "ALPHA x"] {
            c.check(&format!("SORT k {words}"), SYNTAX);
        }
        c.check("SORT_RO k STORE d", SYNTAX);
        c.check("SORT k LIMIT x 1", "-ERR value is not an integer or out of range");
        c.check("COMMAND GETKEYS SORT a BY b GET c STORE d", "[$a, $d]");
        c.check("COMMAND GETKEYS SORT a LIMIT 0 STORE STORE e STORE f", "[$a, $f]");
        c.check("COMMAND GETKEYS SORT_RO a BY b*", "[$a]");
    });
}
