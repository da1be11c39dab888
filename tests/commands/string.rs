//! Strings. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use bytes::Bytes;
use larder::protocol::reply::Resp;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "-ERR value is not a valid float";
const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

#[test]
fn set_stores_and_get_returns() {
    both(|c| {
        c.check("GET k", "nil");
        c.check("SET k v", "+OK");
        c.check("GET k", "$v");
        c.check("SET k \"\"", "+OK");
        c.check("GET k", "$");
        c.check("STRLEN k", ":0");
        c.check("SET k -42", "+OK");
        c.check("GET k", "$-42");
        c.check("STRLEN k", ":3");
        c.check("STRLEN none", ":0");
        c.check("GETDEL k", "$-42");
        c.check("GETDEL k", "nil");
    });
}

#[test]
fn set_obeys_its_conditions() {
    both(|c| {
        c.check("SET k v XX", "nil");
        c.check("SET k v NX", "+OK");
        c.check("SET k w NX", "nil");
        c.check("SET k w NX GET", "$v");
        c.check("GET k", "$v");
        c.check("SET k w XX GET", "$v");
        c.check("SET k x IFEQ v", "nil");
        c.check("SET k x IFEQ v GET", "$w");
        c.check("SET k x IFEQ w GET", "$w");
        c.check("SET k 7 IFEQ x", "+OK");
        c.check("SET k 8 ifeq 7", "+OK");
        c.check("GET k", "$8");
        c.check("SET none x IFEQ v", "nil");
        c.check("SET none x IFEQ v GET", "nil");
        c.check("SET none x NX GET", "nil");
        c.check("GET none", "$x");
    });
}

#[test]
fn set_refuses_words_that_contradict_each_other() {
    both(|c| {
        for words in [
            "NX XX",
            "XX NX",
            "IFEQ a NX",
            "XX IFEQ a",
            "IFEQ a IFEQ a",
            "IFEQ",
            "EX",
            "EX 1 PX 1",
            "EX 1 KEEPTTL",
            "KEEPTTL PXAT 1",
            "PERSIST",
            "FOO",
            "EX abc FOO",
        ] {
            c.check(&format!("SET k v {words}"), SYNTAX);
        }
        c.check("EXISTS k", ":0");
        c.check("SET k v NX NX KEEPTTL KEEPTTL", "+OK");
        c.check("SET k v EX 10 EX 20 GET GET", "$v");
        c.check("TTL k", ":20");
    });
}

#[test]
fn deadlines_out_of_range_change_nothing() {
    both(|c| {
        c.check("SET k v", "+OK");
        for (form, number) in [
            ("EX", "0"),
            ("PX", "-1"),
            ("EX", "9223372036854775"),
            ("EX", "9223372036854775807"),
            ("PX", "9223372036854775807"),
            ("EXAT", "9223372036854776"),
        ] {
            for (head, name) in [("SET k w", "set"), ("GETEX k", "getex"), ("MSETEX 1 k w", "msetex")] {
                let error = format!("-ERR invalid expire time in '{name}' command");
                c.check(&format!("{head} {form} {number}"), &error);
            }
        }
        c.check("SETEX k 0 w", "-ERR invalid expire time in 'setex' command");
        c.check("PSETEX k -1 w", "-ERR invalid expire time in 'psetex' command");
        c.check("SETEX k 1.5 w", NOT_INTEGER);
        c.check("SET k w EX abc", NOT_INTEGER);
        c.check("GETEX none EX abc", NOT_INTEGER);
        c.check("GET k", "$v");
        c.check("TTL k", ":-1");
        c.check("SET k w PXAT 9223372036854775807", "+OK");
        c.check("GET k", "$w");
    });
}

#[test]
fn a_deadline_in_the_past_removes_the_key() {
    both(|c| {
        c.check("SET k v PXAT 1", "+OK");
        c.check("EXISTS k", ":0");
        c.check("SET k v", "+OK");
        c.check("SET k w EXAT 1 GET", "$v");
        c.check("EXISTS k", ":0");
        c.check("SET k v", "+OK");
        c.check("GETEX k PXAT 1", "$v");
        c.check("EXISTS k", ":0");
        c.check("MSETEX 2 k v l w PXAT 1", ":1");
        c.check("EXISTS k l", ":0");
    });
}

#[test]
fn deadlines_are_kept_set_and_removed() {
    both(|c| {
        c.check("SETEX k 100 v", "+OK");
        c.check("TTL k", ":100");
        c.check("SET k w KEEPTTL", "+OK");
        c.check("TTL k", ":100");
        c.check("APPEND k x", ":2");
        c.check("SETRANGE k 0 1", ":2");
        c.check("SET k 5 KEEPTTL", "+OK");
        c.check("INCR k", ":6");
        c.check("INCRBYFLOAT k 0.5", "$6.5");
        c.check("TTL k", ":100");
        c.check("GETEX k PERSIST", "$6.5");
        c.check("TTL k", ":-1");
        c.check("GETEX k PX 200000", "$6.5");
        c.check("TTL k", ":200");
        c.check("GETEX k", "$6.5");
        c.check("TTL k", ":200");
        c.check("GETEX k KEEPTTL", SYNTAX);
        c.check("GETEX k EX 1 PERSIST", SYNTAX);
        c.check("GETSET k v", "$6.5");
        c.check("TTL k", ":-1");
        c.check("PSETEX k 100000 v", "+OK");
        c.check("MSET k w", "+OK");
        c.check("TTL k", ":-1");
    });
}

#[test]
fn several_keys_at_once() {
    both(|c| {
        c.check("MSET a 1 b 2 a 3", "+OK");
        c.check("MGET a b none a", "[$3, $2, nil, $3]");
        c.check("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command");
        c.check("MSETNX c 1 a 2", ":0");
        c.check("EXISTS c", ":0");
        c.check("MSETNX c 1 c 2", ":1");
        c.check("GET c", "$2");
        c.check("MSETNX c 1 d", "-ERR wrong number of arguments for 'msetnx' command");
        c.check("SETNX c 9", ":0");
        c.check("SETNX d 9", ":1");
    });
}

#[test]
fn msetex_stores_all_or_nothing() {
    both(|c| {
        c.check("MSETEX 2 a 1 b 2 EX 100", ":1");
        c.check("TTL b", ":100");
        c.check("MSETEX 2 a 3 b 4 KEEPTTL XX", ":1");
        c.check("TTL a", ":100");
        c.check("MSETEX 2 a 5 c 6 XX", ":0");
        c.check("MSETEX 2 a 5 c 6 NX", ":0");
        c.check("MGET a b c", "[$3, $4, nil]");
        c.check("MSETEX 2 c 1 c 2 NX", ":1");
        c.check("MSETEX 1 c 3", ":1");
        for words in ["3 a 1 b 2", "1 a 1 b 2", "1 a 1 GET", "1 a 1 IFEQ 1", "1 a 1 NX XX", "2147483647 a 1"] {
            c.check(&format!("MSETEX {words}"), SYNTAX);
        }
        for number in ["0", "-1", "x", "2147483648", "9223372036854775807"] {
            c.check(&format!("MSETEX {number} a 1"), "-ERR invalid numkeys value or out of range");
        }
    });
}

#[test]
fn delifeq_compares_the_text() {
    both(|c| {
        c.check("MSET text abc number 10", "+OK");
        c.check("DELIFEQ text ab", ":0");
        c.check("DELIFEQ text abc", ":1");
        c.check("DELIFEQ text abc", ":0");
        c.check("DELIFEQ number 010", ":0");
        c.check("DELIFEQ number 10", ":1");
        c.check("EXISTS text number", ":0");
    });
}

#[test]
fn counting_stays_within_64_bits() {
    both(|c| {
        c.check("INCR k", ":1");
        c.check("DECR k", ":0");
        c.check("INCRBY k 9223372036854775807", ":9223372036854775807");
        c.check("INCR k", "-ERR increment or decrement would overflow");
        c.check("DECRBY k -1", "-ERR increment or decrement would overflow");
        c.check("DECRBY k -9223372036854775808", "-ERR decrement would overflow");
        c.check("GET k", "$9223372036854775807");
        c.check("INCRBY k 1.5", NOT_INTEGER);
        c.check("SET k 007", "+OK");
        c.check("INCR k", NOT_INTEGER);
        c.check("SET k 1", "+OK");
        c.check("APPEND k 0", ":2");
        c.check("INCR k", ":11");
        c.check("DECRBY k 12", ":-1");
    });
}

#[test]
fn floats_add_as_long_doubles() {
    both(|c| {
        c.check("INCRBYFLOAT k 10.50", "$10.5");
        c.check("INCRBYFLOAT k 0.1", "$10.6");
        c.check("INCRBYFLOAT k -10.6", "$0");
        c.check("SET k 5.0e3", "+OK");
        c.check("INCRBYFLOAT k 2.0e2", "$5200");
        c.check("OBJECT ENCODING k", "$embstr");
        c.check("INCR k", ":5201");
        c.check("OBJECT ENCODING k", "$int");
        c.check("INCRBYFLOAT k abc", NOT_FLOAT);
        c.check("INCRBYFLOAT k inf", "-ERR increment would produce NaN or Infinity");
        c.check("SET k \"\"", "+OK");
        c.check("INCRBYFLOAT k 1", NOT_FLOAT);
        let sum = c.ask("INCRBYFLOAT huge 1e4000");
        assert_eq!(sum.len(), 4001, "the nearest long double lies a little below");
        assert_eq!(c.ask("GET huge"), sum);
    });
}

#[test]
fn append_and_setrange_grow_strings() {
    both(|c| {
        c.check("APPEND k 12", ":2");
        c.check("OBJECT ENCODING k", "$int");
        c.check("APPEND k 3", ":3");
        c.check("OBJECT ENCODING k", "$raw");
        c.check("SETRANGE k 5 x", ":6");
        c.check("GET k", "$123\0\0x");
        c.check("SETRANGE k 0 ab", ":6");
        c.check("GET k", "$ab3\0\0x");
        c.check("SETRANGE k 10 \"\"", ":6");
        c.check("SETRANGE none 10 \"\"", ":0");
        c.check("APPEND empty \"\"", ":0");
        c.check("EXISTS none empty", ":1");
        c.check("SETRANGE k -1 x", "-ERR offset is out of range");
        c.check("SETRANGE k x x", NOT_INTEGER);
        c.check("SETRANGE k 536870912 x", TOO_LONG);
        c.check("SETRANGE none 9223372036854775807 x", TOO_LONG);
        c.check("EXISTS none", ":0");
        c.check("GETRANGE k 1 2", "$b3");
        c.check("SUBSTR k -1 -1", "$x");
        c.check("GETRANGE none 0 -1", "$");
        c.check("GETRANGE k 1 x", NOT_INTEGER);
    });
}

/// A value crosses from the key's own entry to an allocation of its own while it grows, and is never cut or copied wrongly.
#[test]
fn strings_of_every_size_read_back() {
    let mut c = Client::new(Resp::V2);
    let mut text = String::new();
    for step in 0..600 {
        let part = format!("{step}-").repeat(1 + step % 40);
        text.push_str(&part);
        c.check(&format!("APPEND k {part}"), &format!(":{}", text.len()));
        if step % 50 == 0 {
            c.check("GET k", &format!("${text}"));
            let (start, end) = (text.len() / 3, text.len() / 2);
            c.check(&format!("GETRANGE k {start} {end}"), &format!("${}", &text[start..=end]));
            c.check(&format!("SETRANGE k {start} @"), &format!(":{}", text.len()));
            text.replace_range(start..=start, "@");
        }
    }
    c.check("GETSET k 5", &format!("${text}"));
    c.check("GET k", "$5");
}

#[test]
fn large_values_are_shared_not_copied() {
    let mut c = Client::new(Resp::V2);
    let large = Bytes::from(vec![b'x'; 100_000]);
    assert_eq!(c.ask_large("SET k", large.clone()), "+OK");
    assert_eq!(c.ask("GET k").len(), 100_001);
    c.check("APPEND k y", ":100001");
    c.check("GETRANGE k 99999 100000", "$xy");
    assert_eq!(large.len(), 100_000, "the reader of the old value still has it");
    c.check("COPY k l", ":1");
    c.check("SETRANGE l 0 z", ":100001");
    c.check("GETRANGE k 0 0", "$x");
    c.check("GETRANGE l 0 0", "$z");
}

#[test]
fn the_limit_of_strings_is_proto_max_bulk_len() {
    let mut c = Client::new(Resp::V2);
    c.shared.config.set_many(&[(b"proto-max-bulk-len", b"1mb")]).unwrap();
    c.check("SETRANGE k 1048576 x", TOO_LONG);
    c.check("SETRANGE k 1048575 x", ":1048576");
    c.check("APPEND k x", TOO_LONG);
    c.check("APPEND k \"\"", ":1048576");
    c.check("STRLEN k", ":1048576");
    c.check("SETRANGE a 510 x", ":511");
    c.check("SETRANGE b 511 x", ":512");
    c.check("LCS a a LEN", ":511");
    for options in ["", " LEN", " IDX"] {
        c.check(
            &format!("LCS a b{options}"),
            "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        );
    }
}

#[test]
fn lcs_tells_text_length_and_places() {
    both(|c| {
        c.check("MSET a ohmytext b mynewtext", "+OK");
        c.check("LCS a b", "$mytext");
        c.check("LCS a b LEN", ":6");
        c.check("LCS a b IDX", "[$matches, [[[:4, :7], [:5, :8]], [[:2, :3], [:0, :1]]], $len, :6]");
        let long = "[$matches, [[[:4, :7], [:5, :8], :4]], $len, :6]";
        c.check("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", long);
        c.check("LCS a b WITHMATCHLEN MINMATCHLEN -4", "$mytext");
        c.check("LCS a none", "$");
        c.check("LCS none none IDX", "[$matches, [], $len, :0]");
        c.check("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.");
        c.check("LCS a b MINMATCHLEN", SYNTAX);
        c.check("LCS a b MINMATCHLEN x", NOT_INTEGER);
        c.check("LCS a b FOO", SYNTAX);
        c.check("SET n 1234", "+OK");
        c.check("LCS n n", "$1234");
    });
}

/// Long comparisons run in slices, without a lock.
#[test]
fn lcs_of_long_strings() {
    let mut c = Client::new(Resp::V3);
    let a: Vec<u8> = (0..9000_u32).map(|i| b'a' + u8::try_from(i * i % 7).unwrap()).collect();
    let b: Vec<u8> = (0..9000_u32).map(|i| b'a' + u8::try_from(i * 3 % 7).unwrap()).collect();
    c.ask_large("SET a", Bytes::from(a));
    c.ask_large("SET b", Bytes::from(b));
    let text = c.ask("LCS a b");
    c.check("LCS a b LEN", &format!(":{}", text.len() - 1));
    c.check("LCS b a LEN", &format!(":{}", text.len() - 1));
    c.check("LCS a a LEN", ":9000");
}
