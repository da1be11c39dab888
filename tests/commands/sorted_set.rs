//! Sorted sets. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

const SYNTAX: &str = "-ERR syntax error";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// Runs `body` in both protocols, with sets that stay small and with sets that are large from the first member on.
fn every(body: impl Fn(&mut Client)) {
    both(&body);
    both(|c| {
        c.check("CONFIG SET zset-max-listpack-entries 0", "+OK");
        body(c);
    });
}

/// Runs `body` for both sizes in RESP2, for replies with scores.
fn every2(body: impl Fn(&mut Client)) {
    for entries in [0, 128] {
        let mut c = Client::new(Resp::V2);
        c.check(&format!("CONFIG SET zset-max-listpack-entries {entries}"), "+OK");
        body(&mut c);
    }
}

#[test]
fn zadd_adds_and_changes() {
    every(|c| {
        c.check("ZADD z 1 a 2 b", ":2");
        c.check("ZADD z 1 a 3 b 2 c", ":1");
        c.check("ZADD z CH 1 a 4 b 5 d", ":2");
        c.check("ZRANGE z 0 -1", "[$a, $c, $b, $d]");
        c.check("ZCARD z", ":4");
        c.check("ZADD z NX 9 a 9 e", ":1");
        c.check("ZADD z XX 0 a 0 f", ":0");
        c.check("ZRANGE z 0 0", "[$a]");
        c.check("ZADD z GT CH -1 a 10 b", ":1");
        c.check("ZADD z LT CH 1 a 9 b", ":1");
        c.check("ZRANGE z 0 -1", "[$a, $c, $d, $b, $e]");
        c.check("ZADD none XX 1 a", ":0");
        c.check("EXISTS none", ":0");
        c.check("TYPE z", "+zset");
    });
}

#[test]
fn zadd_judges_its_words_before_it_changes_anything() {
    every(|c| {
        for (words, error) in [
            ("NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
            ("NX GT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("GT LT 1 a", "-ERR GT, LT, and/or NX options at the same time are not compatible"),
            ("INCR 1 a 2 b", "-ERR INCR option supports a single increment-element pair"),
            ("1 a 2", SYNTAX),
            ("CH NX", SYNTAX),
            ("1 a x b", NOT_FLOAT),
            ("nan a", NOT_FLOAT),
        ] {
            c.check(&format!("ZADD z {words}"), error);
        }
        c.check("EXISTS z", ":0");
        c.check("SET s x", "+OK");
        c.check("ZADD s 1 a", WRONG_TYPE);
        c.check("ZADD s x a", NOT_FLOAT);
    });
}

#[test]
fn increments() {
    every2(|c| {
        c.check("ZINCRBY z 1.5 a", "$1.5");
        c.check("ZADD z INCR 2 a", "$3.5");
        c.check("ZADD z NX INCR 2 a", "nil");
        c.check("ZADD z XX INCR 2 b", "nil");
        c.check("ZADD z GT INCR -2 a", "nil");
        c.check("ZADD z inf b", ":1");
        c.check("ZINCRBY z -inf b", "-ERR resulting score is not a number (NaN)");
        c.check("ZINCRBY z nx b", SYNTAX);
        c.check("ZMSCORE z a b c", "[$3.5, $inf, nil]");
    });
}

#[test]
fn minus_zero_lives_in_large_sets_only() {
    let mut c = Client::new(Resp::V2);
    c.check("ZADD z -0 a", ":1");
    c.check("ZSCORE z a", "$0");
    c.check("CONFIG SET zset-max-listpack-entries 0", "+OK");
    c.check("ZADD y -0 a", ":1");
    c.check("ZSCORE y a", "$-0");
}

#[test]
fn ranges() {
    every(|c| {
        c.check("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5");
        c.check("ZRANGE z 1 -2", "[$b, $c, $d]");
        c.check("ZRANGE z 0 1 REV", "[$e, $d]");
        c.check("ZREVRANGE z -2 -1", "[$b, $a]");
        c.check("ZRANGE z (1 3 BYSCORE", "[$b, $c]");
        c.check("ZRANGE z 3 (1 BYSCORE REV", "[$c, $b]");
        c.check("ZRANGEBYSCORE z -inf +inf LIMIT 1 2", "[$b, $c]");
        c.check("ZREVRANGEBYSCORE z inf -inf LIMIT 1 2", "[$d, $c]");
        c.check("ZRANGEBYSCORE z 5 1", "[]");
        c.check("ZCOUNT z (1 5", ":4");
        c.check(
            "ZRANGE z 0 -1 LIMIT 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        );
        c.check(
            "ZRANGE z - + BYLEX WITHSCORES",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        );
        c.check("ZRANGE z a b BYSCORE", "-ERR min or max is not a float");
        c.check("ZRANGE z a b", "-ERR value is not an integer or out of range");
        c.check("ZRANGE z 1 2 BYSCORE BYSCORE", SYNTAX);
        c.check("ZRANGE none 0 -1", "[]");
    });
}

#[test]
fn ranges_of_members() {
    every(|c| {
        c.check("ZADD z 0 a 0 b 0 c 0 d", ":4");
        c.check("ZRANGEBYLEX z - (c", "[$a, $b]");
        c.check("ZRANGE z [c (a BYLEX REV", "[$c, $b]");
        c.check("ZREVRANGEBYLEX z + - LIMIT 0 1", "[$d]");
        c.check("ZLEXCOUNT z [b +", ":3");
        c.check("ZLEXCOUNT z + -", ":0");
        c.check("ZLEXCOUNT z b +", "-ERR min or max not valid string range item");
        c.check("ZREMRANGEBYLEX z [b [c", ":2");
        c.check("ZRANGE z 0 -1", "[$a, $d]");
    });
}

#[test]
fn scores_have_the_shape_of_the_protocol() {
    for (resp, flat, one, rank, popped) in [
        (Resp::V2, "[$a, $1.5, $b, $2]", "$1.5", "[:1, $2]", "[$a, $1.5]"),
        (Resp::V3, "[[$a, ,1.5], [$b, ,2]]", ",1.5", "[:1, ,2]", "[$a, ,1.5]"),
    ] {
        let mut c = Client::new(resp);
        c.check("ZADD z 1.5 a 2 b", ":2");
        c.check("ZRANGE z 0 -1 WITHSCORES", flat);
        c.check("ZUNION 1 z WITHSCORES", flat);
        c.check("ZSCORE z a", one);
        c.check("ZRANK z b WITHSCORE", rank);
        c.check("ZRANK z none WITHSCORE", "nil");
        c.check("ZREVRANK z b", ":0");
        c.check("ZSCAN z 0", "[$0, [$a, $1.5, $b, $2]]");
        c.check("ZPOPMIN z", popped);
        c.check("ZRANK z b WITHSCORE x", "-ERR wrong number of arguments for 'zrank' command");
    }
}

#[test]
fn members_go_and_the_key_with_the_last_one() {
    every(|c| {
        c.check("ZADD z 1 a 2 b 3 c 4 d 5 e", ":5");
        c.check("ZREM z a x", ":1");
        c.check("ZREMRANGEBYRANK z 0 0", ":1");
        c.check("ZREMRANGEBYSCORE z 3 (4", ":1");
        c.check("ZRANGE z 0 -1", "[$d, $e]");
        c.check("ZREM z d e f", ":2");
        c.check("EXISTS z", ":0");
        c.check("ZADD z 1 a", ":1");
        c.check("ZREMRANGEBYRANK z 0 -1", ":1");
        c.check("EXISTS z", ":0");
        c.check("ZREM z a", ":0");
    });
}

#[test]
fn pops() {
    every2(|c| {
        c.check("ZADD z 1 a 2 b 3 c 4 d", ":4");
        c.check("ZPOPMAX z 2", "[$d, $4, $c, $3]");
        c.check("ZPOPMIN z 0", "[]");
        c.check("ZPOPMIN z -1", "-ERR value is out of range, must be positive");
        c.check("ZMPOP 2 none z MIN COUNT 9", "[$z, [[$a, $1], [$b, $2]]]");
        c.check("EXISTS z", ":0");
        c.check("ZMPOP 1 z MAX", "nil");
        c.check("ZPOPMIN z", "[]");
        c.check("ZMPOP 0 z MIN", "-ERR numkeys should be greater than 0");
        c.check("ZMPOP 1 z MIN COUNT 0", "-ERR count should be greater than 0");
        c.check("ZADD z 1 a 2 b", ":2");
        c.check("BZPOPMIN none z 0", "[$z, $a, $1]");
        c.check("BZMPOP 0 1 z MAX", "[$z, [[$b, $2]]]");
        c.check("BZPOPMAX z x", "-ERR timeout is not a float or out of range");
    });
}

#[test]
fn unions_intersections_differences() {
    every2(|c| {
        c.check("ZADD a 1 x 2 y 3 z", ":3");
        c.check("ZADD b 10 y 20 z 30 w", ":3");
        c.check("SADD s y w", ":2");
        c.check("ZUNION 2 a b WITHSCORES", "[$x, $1, $y, $12, $z, $23, $w, $30]");
        c.check("ZINTER 2 a b WEIGHTS 2 1 AGGREGATE MAX WITHSCORES", "[$y, $10, $z, $20]");
        c.check("ZDIFF 2 a b WITHSCORES", "[$x, $1]");
        c.check("ZINTER 2 a s WITHSCORES", "[$y, $3]");
        c.check("ZUNION 2 s b AGGREGATE MIN WITHSCORES", "[$w, $1, $y, $1, $z, $20]");
        c.check("ZINTERCARD 2 a b", ":2");
        c.check("ZINTERCARD 2 a b LIMIT 1", ":1");
        c.check("ZUNIONSTORE a 2 a b AGGREGATE MIN", ":4");
        c.check("ZRANGE a 0 -1 WITHSCORES", "[$x, $1, $y, $2, $z, $3, $w, $30]");
        c.check("ZINTERSTORE d 2 a none", ":0");
        c.check("EXISTS d", ":0");
        c.check("ZDIFFSTORE d 2 a b", ":1");
        c.check("ZDIFFSTORE d 1 none", ":0");
        c.check("EXISTS d", ":0");
        c.check("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command");
        c.check("ZUNION 2 a", SYNTAX);
        c.check("ZUNION 1 a WEIGHTS x", "-ERR weight value is not a float");
        c.check("SET t x", "+OK");
        c.check("ZUNION 2 a t WEIGHTS x y", WRONG_TYPE);
    });
}

/// Each time that a key is named, its scores count once more, in the order in which Valkey adds them; only the members are
/// looked up once.
#[test]
fn scores_count_as_often_as_their_key_is_named() {
    every2(|c| {
        c.check("ZADD a 0.1 x 1 y", ":2");
        c.check("ZADD b 0.7 x 2 z", ":2");
        c.check("ZADD i inf x", ":1");
        c.check("SADD s x y w", ":3");
        c.check("SET t string", "+OK");
        c.check("ZINTER 1 a WITHSCORES", "[$x, $0.1, $y, $1]");
        c.check("ZINTER 3 a a a WITHSCORES", "[$x, $0.30000000000000004, $y, $3]");
        c.check("ZINTER 3 a a a AGGREGATE MIN WITHSCORES", "[$x, $0.1, $y, $1]");
        c.check("ZINTER 2 a a WEIGHTS 2 -3 AGGREGATE MAX WITHSCORES", "[$x, $0.2, $y, $2]");
        c.check("ZINTER 4 a b a b WITHSCORES", "[$x, $1.5999999999999999]");
        c.check("ZINTER 3 a b a WEIGHTS 1 2 -3 WITHSCORES", "[$x, $1.2]");
        c.check("ZINTER 3 s a s WEIGHTS 2 1 3 WITHSCORES", "[$x, $5.1, $y, $6]");
        c.check("ZINTER 2 i i WEIGHTS 1 -1 WITHSCORES", "[$x, $0]");
        c.check("ZINTER 3 i i i WEIGHTS 1 -1 1 WITHSCORES", "[$x, $inf]");
        c.check("ZINTER 2 i i WEIGHTS 0 1 WITHSCORES", "[$x, $inf]");
        c.check("ZINTER 2 i i WEIGHTS 1 0 WITHSCORES", "[$x, $0]");
        c.check("ZINTER 4 a no a no", "[]");
        c.check("ZINTERSTORE d 3 a a a", ":2");
        c.check("ZRANGE d 0 -1 WITHSCORES", "[$x, $0.30000000000000004, $y, $3]");
        c.check("ZUNION 3 a b a WITHSCORES", "[$x, $0.8999999999999999, $y, $2, $z, $2]");
        c.check("ZDIFF 4 a b no b WITHSCORES", "[$y, $1]");
        c.check("ZDIFF 3 a b a WITHSCORES", "[]");
        c.check("ZDIFF 3 no a no", "[]");
        c.check("ZDIFFSTORE d 3 a a a", ":0");
        c.check("EXISTS d", ":0");
        c.check("ZDIFFSTORE d 3 a b b", ":1");

        let many = vec!["a s"; 2000].join(" ");
        c.check(&format!("ZINTERCARD 4000 {many}"), ":2");
        c.check(&format!("ZINTERCARD 4000 {many} LIMIT 1"), ":1");
        c.check(&format!("ZINTERCARD 4001 {many} no"), ":0");
        c.check(&format!("ZINTERCARD 4001 {many} b"), ":1");
        c.check(&format!("ZINTERCARD 4001 {many} t"), WRONG_TYPE);
        c.check("ZINTERCARD 2 a a", ":2");
        c.check("ZINTERCARD 3 a a a LIMIT 0", ":2");
        c.check("ZINTERCARD 3 a a a LIMIT 1", ":1");
        c.check("ZINTERCARD 3 no no no", ":0");
        c.check("ZINTER 3 a t a", WRONG_TYPE);
        c.check("ZDIFF 3 a a t", WRONG_TYPE);
    });
}

#[test]
fn zrangestore_stores() {
    every(|c| {
        c.check("ZADD z 1 a 2 b 3 c", ":3");
        c.check("ZRANGESTORE d z 1 -1", ":2");
        c.check("ZRANGE d 0 -1", "[$b, $c]");
        c.check("ZRANGESTORE z z 2 (1 BYSCORE REV LIMIT 0 5", ":1");
        c.check("ZRANGE z 0 -1", "[$b]");
        c.check("ZRANGESTORE d none 0 -1", ":0");
        c.check("EXISTS d", ":0");
        c.check("ZRANGESTORE d z 0 -1 WITHSCORES", SYNTAX);
    });
}

/// As in Valkey 9.1.2: what is stored before a member too long for a listpack comes into one, which has no -0.
#[test]
fn zrangestore_stores_in_the_order_of_the_reply() {
    let mut c = Client::new(Resp::V2);
    c.check(&format!("ZADD zero -0 m 1 {}", "x".repeat(70)), ":2");
    for (range, score) in [("0 -1", "$0"), ("0 -1 REV", "$-0"), ("1 (-1 BYSCORE REV", "$-0"), ("(-1 1 BYSCORE", "$0")] {
        c.check(&format!("ZRANGESTORE d zero {range}"), ":2");
        c.check("ZSCORE d m", score);
    }
}

#[test]
fn members_at_random() {
    every2(|c| {
        c.check("ZADD z 1 a", ":1");
        c.check("ZRANDMEMBER z", "$a");
        c.check("ZRANDMEMBER z -3", "[$a, $a, $a]");
        c.check("ZRANDMEMBER z 5 WITHSCORES", "[$a, $1]");
        c.check("ZRANDMEMBER z 0", "[]");
        c.check("ZRANDMEMBER none", "nil");
        c.check("ZRANDMEMBER none 2", "[]");
        c.check("ZRANDMEMBER z 1 x", SYNTAX);
        c.check("ZRANDMEMBER z -99999999999", "-ERR value is out of range");
    });
}

#[test]
fn encodings_follow_the_thresholds() {
    let mut c = Client::new(Resp::V2);
    c.check("CONFIG SET zset-max-listpack-entries 2 zset-max-listpack-value 5", "+OK");
    c.check("ZADD z 1 a 1 b", ":2");
    c.check("OBJECT ENCODING z", "$listpack");
    c.check("ZADD z 1 c", ":1");
    c.check("OBJECT ENCODING z", "$skiplist");
    c.check("ZREM z c", ":1");
    c.check("OBJECT ENCODING z", "$skiplist");
    c.check("ZUNIONSTORE z 1 z", ":2");
    c.check("OBJECT ENCODING z", "$listpack");
    c.check("ZADD z XX 1 longer", ":0");
    c.check("OBJECT ENCODING z", "$skiplist");
    c.check("ZADD y 1 a 1 a 1 a", ":1");
    c.check("OBJECT ENCODING y", "$skiplist");
}

#[test]
fn a_walk_meets_everybody_once() {
    let mut c = Client::new(Resp::V2);
    for n in 0..1000 {
        c.check(&format!("ZADD z {n} m{n}"), ":1");
    }
    let (mut cursor, mut met) = ("0".to_owned(), Vec::new());
    loop {
        let page = c.ask(&format!("ZSCAN z {cursor} COUNT 50 NOSCORES MATCH m*"));
        let (next, members) =
            page[2..].split_once(", [").map(|(next, rest)| (next.to_owned(), rest.to_owned())).unwrap();
        met.extend(members.trim_end_matches(']').split(", ").filter(|member| !member.is_empty()).map(str::to_owned));
        if next == "0" {
            break;
        }
        cursor = next;
    }
    met.sort_unstable();
    met.dedup();
    assert_eq!(met.len(), 1000);
    c.check("ZSCAN z x", "-ERR invalid cursor");
    c.check("ZSCAN z 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN");
}
