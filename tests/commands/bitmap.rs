//! Bitmaps. Expected replies are those of Valkey 9.1, for DIFF, DIFF1, ANDOR and ONE those of Redis 8.2.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const BAD_OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const BAD_BIT: &str = "-ERR bit is not an integer or out of range";
const BAD_TYPE: &str =
    "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

#[test]
fn single_bits() {
    both(|c| {
        c.check("GETBIT k 7", ":0");
        c.check("SETBIT k 7 1", ":0");
        c.check("GET k", "$\u{1}");
        c.check("SETBIT k 7 1", ":1");
        c.check("SETBIT k 1 1", ":0");
        c.check("GET k", "$A");
        c.check("SETBIT k 20 0", ":0");
        c.check("STRLEN k", ":3");
        c.check("GETBIT k 1", ":1");
        c.check("GETBIT k 20000", ":0");
        c.check("OBJECT ENCODING k", "$raw");
    });
}

#[test]
fn single_bits_of_large_strings() {
    let mut c = Client::new(Resp::V2);
    c.check("SETBIT k 80000000 1", ":0");
    c.check("STRLEN k", ":10000001");
    c.check("SETBIT k 80000000 1", ":1");
    c.check("SETBIT k 7 1", ":0");
    c.check("BITCOUNT k", ":2");
    c.check("BITPOS k 1 1", ":80000000");
    c.check("EXPIRE k 100", ":1");
    c.check("SETBIT k 80000000 0", ":1");
    c.check("TTL k", ":100");
}

#[test]
fn integers_are_text_to_bits() {
    both(|c| {
        c.check("SET n 1", "+OK");
        c.check("GETBIT n 2", ":1");
        c.check("BITCOUNT n", ":3");
        c.check("BITPOS n 1", ":2");
        c.check("OBJECT ENCODING n", "$int");
        c.check("SETBIT n 2 1", ":1");
        c.check("OBJECT ENCODING n", "$raw");
        c.check("SETBIT n 6 1", ":0");
        c.check("INCR n", ":4");
    });
}

#[test]
fn single_bits_are_checked() {
    both(|c| {
        for offset in ["-1", "4294967296", "abc", "\"\"", "#1", "01"] {
            c.check(&format!("SETBIT k {offset} 2"), BAD_OFFSET);
            c.check(&format!("GETBIT k {offset}"), BAD_OFFSET);
        }
        for bit in ["2", "-1", "abc", "\"\""] {
            c.check(&format!("SETBIT k 1 {bit}"), BAD_BIT);
        }
        c.check("EXISTS k", ":0");
    });
}

#[test]
fn bits_are_counted() {
    both(|c| {
        c.check("BITCOUNT none", ":0");
        c.check("BITCOUNT none 0 -1 BIT", ":0");
        c.check("SET k foobar", "+OK");
        for (part, count) in [
            ("", 26),
            (" 1", 22),
            (" 0 0", 4),
            (" 1 1 byte", 6),
            (" 5 30 BIT", 17),
            (" -7 -1 BIT", 4),
            (" -2 -1", 7),
            (" 2 1", 0),
            (" -10 -20", 0),
            (" 10 20", 0),
            (" -100 100", 26),
            (" -9223372036854775808 9223372036854775807 BIT", 26),
        ] {
            c.check(&format!("BITCOUNT k{part}"), &format!(":{count}"));
        }
        c.check("BITCOUNT k a", NOT_INTEGER);
        c.check("BITCOUNT none a", NOT_INTEGER);
        c.check("BITCOUNT k a b FOO", NOT_INTEGER);
        c.check("BITCOUNT k 0 b FOO", SYNTAX);
        c.check("BITCOUNT k 0 b BIT", NOT_INTEGER);
        c.check("BITCOUNT k 1 2 BIT 3", SYNTAX);
    });
}

#[test]
fn bits_are_found() {
    both(|c| {
        c.check("BITPOS none 0", ":0");
        c.check("BITPOS none 1", ":-1");
        c.check("BITPOS none 0 5 6", ":0");
        c.check("SET k foobar", "+OK");
        for (arguments, place) in [
            ("1", 1),
            ("0", 0),
            ("1 1", 9),
            ("0 1 1", 8),
            ("1 -10 -20", 1),
            ("1 5 4", -1),
            ("1 100", -1),
            ("0 100", -1),
            ("1 3 7 BIT", 5),
            ("0 1 2 BIT", -1),
            ("0 1 3 BIT", 3),
        ] {
            c.check(&format!("BITPOS k {arguments}"), &format!(":{place}"));
        }
        c.check("BITFIELD k SET i48 0 -1", "[:112628796121458]");
        c.check("BITPOS k 0", ":48");
        c.check("BITPOS k 0 2", ":48");
        c.check("BITPOS k 0 2 -1", ":-1");
        c.check("SET empty \"\"", "+OK");
        c.check("BITPOS empty 0", ":-1");
        c.check("BITPOS k 2", "-ERR The bit argument must be 1 or 0.");
        c.check("BITPOS k 2 x x x x", "-ERR The bit argument must be 1 or 0.");
        c.check("BITPOS k x", NOT_INTEGER);
        c.check("BITPOS k 1 0 b FOO", SYNTAX);
        c.check("BITPOS k 1 0 1 BIT 2", SYNTAX);
    });
}

#[test]
fn strings_are_combined() {
    both(|c| {
        c.check("SET a abc", "+OK");
        c.check("SET b ab", "+OK");
        c.check("SET d old EX 100", "+OK");
        c.check("BITOP AND d a b", ":3");
        c.check("GET d", "$ab\0");
        c.check("TTL d", ":-1");
        c.check("OBJECT ENCODING d", "$raw");
        c.check("BITOP or d a none b", ":3");
        c.check("GET d", "$abc");
        c.check("BITOP XOR d a b", ":3");
        c.check("GET d", "$\0\0c");
        c.check("BITOP XOR a a a", ":3");
        c.check("GET a", "$\0\0\0");
        c.check("BITOP NOT d none", ":0");
        c.check("EXISTS d", ":0");
        c.check("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key.");
        c.check("BITOP FOO d a", SYNTAX);
        c.check("SET n 12", "+OK");
        c.check("BITOP AND d n", ":2");
        c.check("GET d", "$12");
    });
}

#[test]
fn strings_are_combined_as_redis_8_does() {
    both(|c| {
        c.check("SET a 7", "+OK");
        c.check("SET b 5", "+OK");
        c.check("SET c 4", "+OK");
        for (name, value) in [("DIFF", "\u{2}"), ("DIFF1", "\0"), ("ANDOR", "5"), ("ONE", "\u{2}")] {
            c.check(&format!("BITOP {name} d a b c"), ":1");
            c.check("GET d", &format!("${value}"));
        }
        for name in ["DIFF", "DIFF1", "ANDOR"] {
            let error = format!("-ERR BITOP {name} must be called with at least two source keys.");
            c.check(&format!("BITOP {name} d a"), &error);
        }
        c.check("BITOP ONE d a", ":1");
    });
}

#[test]
fn fields() {
    both(|c| {
        c.check("BITFIELD none", "[]");
        c.check("BITFIELD none GET u8 0 GET i64 7", "[:0, :0]");
        c.check("EXISTS none", ":0");
        c.check("BITFIELD k SET u8 #1 255 GET u8 8 GET i8 #1 GET u4 #2", "[:0, :255, :-1, :15]");
        c.check("STRLEN k", ":2");
        c.check("BITFIELD k INCRBY u8 8 1", "[:0]");
        c.check("BITFIELD k OVERFLOW sat INCRBY i5 100 -100 OVERFLOW fail INCRBY i5 100 -1", "[:-16, nil]");
        c.check("BITFIELD k OVERFLOW FAIL SET u4 0 16 GET u4 0", "[nil, :0]");
        c.check("BITFIELD k OVERFLOW SAT SET u63 0 -1", "[:0]");
        c.check("BITFIELD k GET u63 0 GET i64 1", "[:9223372036854775807, :-4]");
        c.check("BITFIELD_RO k GET u2 0", "[:3]");
        c.check("BITFIELD_RO k GET u8 0 SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand");
        c.check("BITFIELD grown OVERFLOW FAIL SET u1 99 2", "[nil]");
        c.check("STRLEN grown", ":13");
    });
}

#[test]
fn fields_are_checked() {
    both(|c| {
        for kind in ["u64", "i65", "u0", "i", "u", "x8", "U8", "i08", "\"\""] {
            c.check(&format!("BITFIELD k SET {kind} a 1"), BAD_TYPE);
        }
        for place in ["-1", "#", "#-1", "##1", "4294967296", "#1152921504606846976", "a"] {
            c.check(&format!("BITFIELD k SET u8 {place} 1"), BAD_OFFSET);
        }
        c.check("BITFIELD k SET u8 0 a", NOT_INTEGER);
        c.check("BITFIELD k SET u8 0 1 OVERFLOW", SYNTAX);
        c.check("BITFIELD k SET u8 0 1 OVERFLOW x", "-ERR Invalid OVERFLOW type specified");
        c.check("BITFIELD k SET u8 0 1 SET u8 0", SYNTAX);
        c.check("BITFIELD k SET u8 0 1 GET u8", SYNTAX);
        c.check("EXISTS k", ":0");
        c.check("BITFIELD k OVERFLOW WRAP", "[]");
    });
}

#[test]
fn fields_say_what_they_do_with_their_key() {
    let mut c = Client::new(Resp::V2);
    let (reads, writes) = ("[[$k, [+RO, +access]]]", "[[$k, [+RW, +access, +update]]]");
    for (rest, expected) in [
        (" GET u8 0", reads),
        ("", reads),
        (" OVERFLOW SET", reads),
        (" GET u8 0 SET u8 0 1", writes),
        (" OVERFLOW", writes),
        (" FOO", writes),
    ] {
        c.check(&format!("COMMAND GETKEYSANDFLAGS BITFIELD k{rest}"), expected);
    }
}
